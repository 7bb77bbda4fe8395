"""What only the blocking client has: threads that do each other's work, and interrupts."""

from __future__ import annotations

import functools
import gc
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from client.conftest import AT_ONCE, SECONDS, Peer, until
from fourtuple import Pool, Pushes, Retries, Service, serve_in_thread
from fourtuple.blocking import Client
from fourtuple.blocking.link import BlockingLink
from fourtuple.blocking.shared_socket import SharedSocket
from fourtuple.errors import ConnectionBusy, ConnectionEnded, DeadlinePassed, FourTupleError
from fourtuple.events import ClientConnectFailed, ClientDisconnected, Event
from fourtuple.net.sockets import reset_on_close


def test_there_is_no_thread(peer: Peer) -> None:
    before = threading.active_count()
    with Client(peer.address, "line", retries=AT_ONCE) as client:
        client.wait_ready(SECONDS)
        assert threading.active_count() == before


def test_an_interrupted_request_keeps_its_place(peer: Peer) -> None:
    with Client(peer.address, "line", retries=AT_ONCE) as client:
        client.wait_ready(SECONDS)
        line = peer.accept()

        def interrupt() -> None:
            assert line.hear() == b"one"
            until(lambda: any(member.link.reading for member in client.pool.members))  # type: ignore[attr-defined]
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            client.request(b"one", SECONDS)
        thread.join()
        assert (client.statistics.in_use, client.statistics.abandoned) == (0, 1)
        line.say(b"ONE")
        thread = threading.Thread(target=lambda: line.say(line.hear().upper()))
        thread.start()
        assert client.request(b"two", SECONDS) == b"TWO"
        thread.join()
        assert client.statistics.late_replies == 1


def test_a_send_after_a_long_silence_sends_a_ping_first(peer: Peer) -> None:
    """No thread has read the reply to it meanwhile: the next call does, before it is taken for late."""
    told: list[Event] = []
    pool = Pool(ping_interval=30.0, request_timeout=10.0)
    client = Client(peer.address, "line", ping=b"ping", pool=pool, retries=AT_ONCE, observer=told.append)
    with client:
        client.wait_ready(SECONDS)
        line = peer.accept()
        begun = client.clock()
        for minutes in (1, 2, 3):
            client.clock = lambda minutes=minutes: begun + 60.0 * minutes  # type: ignore[misc]
            client.send(b"news")
            if minutes != 2:  # then the reply to the ping is read, which shows as well that the server lives
                assert line.hear() == b"ping"
                line.say(b"pong")
            assert line.hear() == b"news"
        client.clock = lambda: begun + 240.0
        thread = threading.Thread(target=lambda: line.say(line.hear().upper()))
        thread.start()
        assert client.request(b"one", SECONDS) == b"ONE"
        thread.join()
        assert (client.statistics.pings, client.statistics.connects) == (2, 1)
        client.close()
    assert [each.why for each in told if isinstance(each, ClientDisconnected)] == ["closed"]


def test_a_late_reply_that_no_thread_has_read_is_not_taken_for_missing(peer: Peer) -> None:
    pool = Pool(request_timeout=10.0)
    with Client(peer.address, "line", pool=pool, retries=AT_ONCE) as client:
        client.wait_ready(SECONDS)
        line = peer.accept()
        with pytest.raises(DeadlinePassed):
            client.request(b"one", 0.01)
        assert line.hear() == b"one"
        line.say(b"ONE")
        begun = client.clock()
        client.clock = lambda: begun + 60.0
        thread = threading.Thread(target=lambda: line.say(line.hear().upper()))
        thread.start()
        assert client.request(b"two", SECONDS) == b"TWO"
        thread.join()
        assert (client.statistics.late_replies, client.statistics.connects) == (1, 1)


@pytest.mark.parametrize("key", [None, lambda message: message], ids=["by order", "by key"])
def test_interrupts_anywhere(key: Any) -> None:
    """Signals come at random moments, anywhere in the client's code: no reply is at a wrong place."""
    service = Service("line")
    chance = random.Random(7)
    armed: list[bool] = []
    over = threading.Event()
    pause = 5e-4  # seconds, at most, between two signals: so many that about half of the requests are interrupted
    outcomes: list[str] = []
    main = threading.get_ident()

    @service.reply
    def echo(message: bytes) -> bytes:
        return message

    def interrupt(*_: object) -> None:
        if armed and not client.pool.dialler.busy:  # connecting leaves sockets to the garbage collector then
            armed.clear()
            raise KeyboardInterrupt

    def disturb() -> None:
        while not over.wait(chance.random() * pause):
            signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    gc.disable()  # an interrupt of a callback of the collector does not come to the client
    disturbing = threading.Thread(target=disturb)
    try:
        with (
            serve_in_thread(service, "127.0.0.1:0") as server,
            Client(str(server.address), "line", retries=AT_ONCE, key=key) as client,
        ):
            client.wait_ready(SECONDS)
            disturbing.start()
            for number in range(3000):
                try:
                    armed.append(True)
                    reply = client.request(b"%d" % number, SECONDS)
                    armed.clear()
                    assert reply == b"%d" % number
                    outcomes.append("reply")
                except KeyboardInterrupt:
                    outcomes.append("interrupted")
                except FourTupleError as error:
                    armed.clear()
                    outcomes.append(str(error.fate))
                pause = min(0.1, pause * (0.9 if outcomes[-1] == "reply" else 1.1))
            over.set()
            disturbing.join()
            armed.clear()
            assert client.request(b"last", SECONDS, idempotent=True) == b"last"
            assert client.statistics.waiting == client.statistics.in_use == 0
    finally:
        over.set()
        gc.enable()
        signal.signal(signal.SIGUSR1, before)
    assert set(outcomes) <= {"reply", "interrupted", "perhaps_sent"}
    assert outcomes.count("interrupted") > 50
    assert outcomes.count("reply") > 50


@pytest.mark.parametrize("name", ["ping", "key"])
def test_a_function_that_waits_for_the_client_that_calls_it(peer: Peer, name: str) -> None:
    told: list[Event] = []

    def waits(message: Any = b"") -> Any:
        return message if message == b"first" else client.request(b"nested")

    functions: dict[str, Any] = {name: waits}
    client = Client(peer.address, "line", pool=Pool(ping_interval=0.001), observer=told.append, **functions)
    text = r"request\(\) was called in a function that the client calls \(ping=, key=, observer=\), and would wait for"
    with client:
        client.wait_ready(SECONDS)
        if name == "key":
            with pytest.raises(ConnectionBusy, match=text):
                client.request(b"second", SECONDS)
            return
        until(lambda: client.clock() > client.pool.members.due)
        with client._lock:
            client.pool.advance(client.clock())
        gone = next(each for each in told if isinstance(each, ClientDisconnected))
        assert isinstance(gone.error, ConnectionBusy)


def test_the_thread_that_reads_serves_the_others(peer: Peer) -> None:
    """The first thread reads for all; when its own reply has come, another one takes its place."""
    with Client(peer.address, "line", retries=AT_ONCE, pool=Pool(max_pipelined=10)) as client:
        client.wait_ready(SECONDS)
        line = peer.accept()
        replies: dict[int, bytes] = {}

        def ask(number: int) -> None:
            replies[number] = client.request(b"%d" % number, SECONDS)

        threads = []
        for number in range(10):
            threads.append(threading.Thread(target=ask, args=(number,)))
            threads[-1].start()
            assert line.hear() == b"%d" % number
        for number in range(10):
            line.say(b"=%d" % number)
            threads[number].join(SECONDS)
            assert replies[number] == b"=%d" % number


def test_a_request_beside_a_thread_that_waits_for_pushes(peer: Peer) -> None:
    """That thread reads the reply, and its pushes are not in the way."""
    with Client(
        peer.address, "line", retries=AT_ONCE, pushes=Pushes(), is_push=lambda each: each[:1] == b"*"
    ) as client:
        got: list[object] = []
        pushes = client.pushes()

        def consume() -> None:
            got.extend(pushes)

        thread = threading.Thread(target=consume)
        thread.start()
        line = peer.accept()
        answering = threading.Thread(target=lambda: line.say(b"*1", line.hear().upper(), b"*2"))
        answering.start()
        assert client.request(b"one", SECONDS) == b"ONE"
        answering.join()
        client.close()
        thread.join(SECONDS)
        assert got[:1] == [b"*1"]


def test_a_large_request_beside_a_thread_that_reads(peer: Peer) -> None:
    """The kernel does not take it at once, and the thread that reads waits for octets only: its own thread writes."""
    large = bytes(4) * (1 << 20)
    with Client(peer.address, "line", retries=AT_ONCE) as client:
        client.wait_ready(SECONDS)
        line = peer.accept()
        replies: list[bytes] = []
        first = threading.Thread(target=lambda: replies.append(client.request(b"first", SECONDS)))
        first.start()
        assert line.hear() == b"first"
        second = threading.Thread(target=lambda: replies.append(client.request(large, SECONDS)))
        second.start()
        assert line.hear() == large
        line.say(b"FIRST", b"SECOND")
        first.join(SECONDS)
        second.join(SECONDS)
        assert sorted(replies) == [b"FIRST", b"SECOND"]


def test_close_wakes_a_thread_that_connects(peer: Peer) -> None:
    """The thread that greets learns of it when greet has returned; the connection is not used."""
    greeting, closed = threading.Event(), threading.Event()

    def greet(_: object) -> None:
        greeting.set()
        closed.wait(SECONDS)

    client = Client(peer.address, "line", retries=AT_ONCE, greet=greet)
    errors: list[BaseException] = []

    def ask() -> None:
        with pytest.raises(ConnectionEnded) as caught:
            client.request(b"one", SECONDS)
        errors.append(caught.value)

    thread = threading.Thread(target=ask)
    thread.start()
    assert greeting.wait(SECONDS)
    client.close()
    closed.set()
    thread.join(SECONDS)
    assert len(errors) == 1
    with pytest.raises(ConnectionResetError):
        peer.accept().hear()
    assert client.statistics.open == 0


def test_a_connection_that_was_reset_and_that_another_thread_ends_meanwhile_raises_nothing_of_its_own(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is ended between poll(2) and recv(2), and its FIN fails: the pool tells what became of the requests there."""
    with Client(peer.address, "line", retries=AT_ONCE) as client:
        client.wait_ready(SECONDS)
        line = peer.accept()
        (member,) = client.pool.members
        link = member.link
        assert isinstance(link, BlockingLink)
        really = SharedSocket.poll

        def poll(self: SharedSocket, *arguments: Any, **options: Any) -> int:
            events = really(self, *arguments, **options)
            link.close()
            return events

        monkeypatch.setattr(SharedSocket, "poll", poll)
        reset_on_close(line.socket)
        line.socket.close()
        link.wait(client.clock() + SECONDS)
        assert link.stream.write_error is not None


class TooLong(TimeoutError):
    """As the handler of an alarm often raises it."""


@pytest.fixture
def alarm() -> Iterator[Callable[[], None]]:
    """What sends this thread a signal, whose handler raises."""

    class Handler:
        def __call__(self, *_: Any) -> None:
            raise TooLong("it takes too long")

    before = signal.signal(signal.SIGUSR1, functools.partial(Handler()))
    main = threading.get_ident()
    yield lambda: signal.pthread_kill(main, signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


@pytest.mark.parametrize("what", ["greet", "TLS"])
def test_what_a_signal_handler_raises_is_no_failed_attempt(
    peer: Peer, alarm: Callable[[], None], threads: ThreadPoolExecutor, what: str
) -> None:
    """It leaves the request, and says nothing about the server: the next request tries again at once."""
    options: dict[str, Any] = {"greet": lambda connection: connection.request(b"login")}
    if what == "TLS":
        options = {"tls": True, "server_hostname": "localhost"}
    events: list[Any] = []
    retries = Retries(delay=SECONDS, jitter=0.0)
    with Client(peer.address, "line", retries=retries, observer=events.append, **options) as client:

        def interrupt() -> None:
            line = peer.accept()
            assert line.socket.recv(1)
            alarm()
            line.close()

        interrupting = threads.submit(interrupt)
        with pytest.raises(TooLong):
            client.request(b"one")
        interrupting.result(SECONDS)
        assert client.statistics.connects_failed == 0
        assert client.health.error is None
        assert not [each for each in events if isinstance(each, ClientConnectFailed)]
        if what == "greet":
            asked = threads.submit(client.request, b"two")
            line = peer.accept()
            assert line.hear() == b"login"
            line.say(b"welcome")
            assert line.hear() == b"two"
            line.say(b"TWO")
            assert asked.result(SECONDS) == b"TWO"


def test_an_error_that_greet_raises_is_one_of_the_attempt(peer: Peer, alarm: Callable[[], None]) -> None:
    """The handler is installed, and has raised nothing."""

    def greet(_connection: Any) -> None:
        raise TooLong("the server takes too long")

    with Client(peer.address, "line", retries=Retries(delay=SECONDS), greet=greet) as client:
        with pytest.raises(DeadlinePassed, match="the server takes too long"):
            client.request(b"one", 0.05)
        assert client.statistics.connects_failed == 1


def test_an_interrupted_drain_goes_on_by_itself(
    peer: Peer, alarm: Callable[[], None], threads: ThreadPoolExecutor
) -> None:
    """The thread with the last request closes the client."""
    client = Client(peer.address, "line", retries=AT_ONCE)
    asked = threads.submit(client.request, b"one")
    line = peer.accept()
    assert line.hear() == b"one"

    def interrupt() -> None:
        until(lambda: client.state == "draining")
        alarm()

    interrupting = threads.submit(interrupt)
    with pytest.raises(TooLong):
        client.drain()
    interrupting.result(SECONDS)
    assert client.state == "draining"
    line.say(b"ONE")
    assert asked.result(SECONDS) == b"ONE"
    assert line.hear() == b""
    assert client.state == "closed"
