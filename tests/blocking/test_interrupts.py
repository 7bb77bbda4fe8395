"""A signal handler that raises, at each place where it may run: nothing stays reserved for a call that has ended."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from typing import Any

import pytest

from fourtuple import Pushes, Retries, Service, pool, serve_in_thread
from fourtuple.blocking import (
    BlockingConnection,
    Client,
    changes,
    client_io,
    connect,
    connection,
    dialling,
    ending,
    link,
    receiving,
    requests,
    select,
    sending,
    shared_socket,
    wait,
)
from fourtuple.blocking import client as client_module
from fourtuple.blocking.thread_work import ThreadWork
from fourtuple.errors import DeadlinePassed, FourTupleError
from fourtuple.pool import Call
from interrupting import Interrupt, interrupts

pytestmark = pytest.mark.slow  # a sweep

SECONDS = 30.0
AT_ONCE = Retries(delay=0.001, max_delay=0.001, after_loss=0.0)
CLIENT = (client_module, client_io, changes, dialling, link)
CONNECTION = (connection, receiving, requests, select, shared_socket)


#: What the server got, and how often.
seen: Counter[bytes] = Counter()


class Alarm(Interrupt, Exception):
    """As the handler of SIGALRM often raises it: an Exception, like an error of the message."""


@pytest.fixture
def address() -> Iterator[str]:
    service = Service("line")

    @service.reply
    def echo(message: bytes) -> bytes:
        seen[message] += 1
        return message

    with serve_in_thread(service, "127.0.0.1:0") as server:
        yield str(server.address)


def elsewhere(function: Callable[[], Any]) -> Any:
    """Call it in another thread, and return what it returns."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(function).result(SECONDS)


def is_free(lock: Any) -> bool:
    def look() -> bool:
        if taken := lock.acquire(blocking=False):
            lock.release()
        return bool(taken)

    return bool(elsewhere(look))


def check(client: Client[Any, Any], where: str) -> None:
    """Every thread can use the client, and none is missing that it waits for."""
    assert is_free(client._lock), where
    assert client._working == set(), where
    assert not any(member.link.reading for member in client.pool.members), where  # type: ignore[attr-defined]
    # Idempotent: the interrupt may have ended the connection, which is noticed now.
    assert elsewhere(lambda: client.request(b"there", SECONDS, idempotent=True)) == b"there", where
    assert client.request(b"here", SECONDS, idempotent=True) == b"here", where
    assert (client.statistics.waiting, client.statistics.in_use) == (0, 0), where


@pytest.mark.parametrize("kind", [Interrupt, Alarm])
@pytest.mark.parametrize("fresh", [False, True], ids=["on a connection", "with a new connection"])
def test_a_request_of_a_client(address: str, fresh: bool, kind: type[Interrupt]) -> None:
    with Client(address, "line", retries=AT_ONCE) as client:
        client.wait_ready(SECONDS)

        def ask() -> None:
            with suppress(FourTupleError):  # what an Alarm has become
                client.request(b"asked", SECONDS)

        places = 0
        for where in interrupts(ask, *CLIENT, pool.pool, pool.reconnecting, kind=kind):
            check(client, where)
            places += 1
            if fresh:
                client.expire()
        assert places > (80 if fresh else 40)


POOL = (pool.pool, pool.members, pool.member, pool.correlation, pool.calls, pool.receiving, pool.intake, pool.losing)


@pytest.mark.parametrize("kind", [Interrupt, Alarm])
def test_no_reply_goes_to_another_request_wherever_the_interrupt_comes(address: str, kind: type[Interrupt]) -> None:
    with Client(address, "line", retries=AT_ONCE) as client:
        client.wait_ready(SECONDS)

        def ask() -> None:
            with suppress(FourTupleError):  # what an Alarm has become
                client.request(b"asked", SECONDS)

        for where in interrupts(ask, *CLIENT, *CONNECTION, sending, *POOL, kind=kind):
            check(client, where)


def test_the_request_of_another_thread_survives_an_interrupt_of_the_thread_that_works(address: str) -> None:
    """It is sent, once, or it fails at once: it does not wait for its deadline."""
    with Client(address, "line", retries=AT_ONCE) as client:
        client.wait_ready(SECONDS)
        others: list[Call] = []
        numbers = count()
        seen.clear()

        def ask() -> None:
            other = Call(b"other %d" % next(numbers), timeout=SECONDS)
            with client._lock:
                client.pool.ask(other, client.clock())
            others.append(other)
            client.request(b"asked", SECONDS)

        for where in interrupts(ask, client_io, sending, pool.pool, pool.calls, pool.receiving, pool.correlation):
            while others:
                other = others.pop()
                client._work(ThreadWork(lambda: other.done, other))  # noqa: B023  # called at once
                assert not isinstance(other.error, DeadlinePassed), where
            check(client, where)
            # It may be sent again only if it was certainly not sent before.
            assert not [message for message, times in seen.items() if message[:5] == b"other" and times > 1], where


def test_a_thread_that_waits_for_another_ones_reading(address: str) -> None:
    """Its request is outstanding, another thread reads, and it waits for a change. That thread is woken in any case."""
    with Client(address, "line", retries=AT_ONCE) as client:
        client.wait_ready(SECONDS)
        (member,) = client.pool.members
        reading = member.link

        def ask() -> None:
            assert isinstance(reading, link.BlockingLink)
            reading.reader = -1  # a thread that does not come back
            try:
                client.request(b"asked", 0.002)
            except FourTupleError:
                pass
            finally:
                reading.reader = None

        for where in interrupts(ask, client_module, client_io, changes):
            assert is_free(client._lock), where
            assert client._working == set(), where
            assert not client._changes._places or where.startswith("Changes."), where


def test_drain_and_pushes_of_a_client(address: str) -> None:
    with Client(
        address, "line", retries=AT_ONCE, pushes=Pushes(), is_push=lambda message: message[:1] == b"*"
    ) as client:
        pushes = client.pushes()

        def receive() -> None:
            client.send(b"*push")
            pushes.receive(SECONDS)

        client.wait_ready(SECONDS)
        for where in interrupts(receive, *CLIENT):
            check(client, where)
            client.wait_ready(SECONDS)

    def drain() -> None:
        with Client(address, "line", retries=AT_ONCE) as client:
            drained.append(client)
            client.wait_ready(SECONDS)
            client.drain(SECONDS)

    drained: list[Client[Any, Any]] = []
    for where in interrupts(drain, client_module, changes):
        if drained:
            assert is_free(drained[-1]._lock), where
            drained[-1].close()


def calls(one: BlockingConnection[Any, Any]) -> dict[str, Callable[[], object]]:
    def receive() -> None:
        one.send(b"sent")
        one.receive(SECONDS)

    def receive_nowait() -> None:
        one.send(b"sent")
        wait([one], SECONDS)
        one.receive_nowait()

    def pending() -> None:
        one.begin(b"begun").receive(SECONDS)

    return {
        "request": lambda: one.request(b"asked", SECONDS),
        "receive": receive,
        "wait": receive_nowait,
        "begin": pending,
        "unread": lambda: (one.unread(b"there\n"), one.receive(SECONDS)),
    }


@pytest.mark.parametrize("name", ["request", "receive", "wait", "begin", "unread"])
def test_a_connection(address: str, name: str) -> None:
    """After an interrupted call, another thread can receive, and close() ends."""
    one: list[BlockingConnection[Any, Any]] = []

    def call() -> None:
        calls(one[-1])[name]()

    one.append(connect(address, "line"))
    for where in interrupts(call, *CONNECTION):
        assert is_free(one[-1]._in._reading), where
        assert is_free(one[-1]._socket.lock), where
        assert (one[-1]._in.asking, one[-1]._socket.receiving) == (None, False), where
        one[-1].abort()
        one[-1] = connect(address, "line")
    one[-1].close()


def test_close_of_a_connection(address: str) -> None:
    one: list[BlockingConnection[Any, Any]] = []

    one.append(connect(address, "line"))
    for where in interrupts(lambda: one[-1].close(), receiving, shared_socket, ending):
        assert is_free(one[-1]._in._reading), where
        assert is_free(one[-1]._socket.lock), where
        one[-1].abort()
        one[-1] = connect(address, "line")


def test_an_interrupt_of_two_leaves_the_request_to_no_one(address: str) -> None:
    """The second one comes while the first one is handled: the request that waits is not sent any more."""
    client: Client[Any, Any] = Client("127.0.0.1:1", "line", retries=AT_ONCE)
    lock, calls = client._lock, []

    class Twice:
        def __enter__(self) -> None:
            calls.append(1)
            if len(calls) in (2, 3):
                raise Interrupt
            lock.acquire()

        def __exit__(self, *_: object) -> None:
            lock.release()

        def _is_owned(self) -> bool:
            return False

    client._lock = Twice()  # type: ignore[assignment]
    with client:
        with pytest.raises(Interrupt):
            client.request(b"asked", SECONDS)
        client._lock = lock
        assert client.statistics.waiting == 1
        (call,) = client.pool._waiting
        assert call.gone is not None
        assert call.gone()
        assert client._working == set()


def test_threads() -> None:
    """A wait whose wake() was interrupted ends by itself."""
    waiting = changes.Changes()
    place = waiting.place()
    until = threading.TIMEOUT_MAX * 2
    waiting.wait(place, until, lambda: until - 0.001)
    assert not waiting._places
    place = waiting.place()
    waiting.wake()
    waiting.wait(place, None, lambda: 0.0)
