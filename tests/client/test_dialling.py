"""Attempts of the blocking client to connect: whose time they take, and what ends them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from client.conftest import AT_ONCE, BRIEFLY, SECONDS, Peer, failure_in, failure_of, until
from fourtuple import Pool, Pushes, Retries
from fourtuple.blocking import Client
from fourtuple.blocking.descriptor import Alarm
from fourtuple.errors import ConnectionBusy, ConnectionEnded, DeadlinePassed, Fate
from fourtuple.events import ClientConnected, ClientDisconnected, Event
from fourtuple.net.connecting import steps


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


def log_in(connection: Any) -> None:
    assert connection.request(b"login") == b"welcome"


def test_a_caller_that_has_no_time_for_it_leaves_the_attempt_to_the_next_one(
    peer: Peer, threads: ThreadPoolExecutor
) -> None:
    with Client(peer.address, "line", retries=AT_ONCE, greet=log_in, pushes=Pushes()) as client:
        pushes = client.pushes()
        with pytest.raises(DeadlinePassed, match="no push came"):
            pushes.receive(0.001)
        line = peer.accept()
        assert line.hear() == b"login"
        with pytest.raises(DeadlinePassed, match=r"(an attempt to connect|greet) has not ended"):
            client.wait_ready(0.001)
        line.say(b"welcome", b"*push")
        assert pushes.receive(SECONDS) == b"*push"
        assert client.statistics.connects_failed == 0
        assert peer.nobody_came()
    until(lambda: not any(each.name == "fourtuple connect" for each in threading.enumerate()))


def test_with_fail_fast_the_deadline_of_one_caller_ends_no_other_request(
    peer: Peer, threads: ThreadPoolExecutor
) -> None:
    with Client(peer.address, "line", retries=AT_ONCE, greet=log_in, pool=Pool(fail_fast=True)) as client:
        with pytest.raises(DeadlinePassed):
            client.request(b"short", 0.001)
        other = threads.submit(client.request, b"long", SECONDS)
        line = peer.accept()
        assert line.hear() == b"login"
        line.say(b"welcome")
        assert line.hear() == b"long"
        line.say(b"LONG")
        assert other.result(SECONDS) == b"LONG"


def test_a_request_is_answered_although_another_connection_greets(peer: Peer, threads: ThreadPoolExecutor) -> None:
    with Client(peer.address, "line", retries=AT_ONCE, greet=log_in, pool=Pool(max_connections=2)) as client:
        ready = threads.submit(client.wait_ready, SECONDS)
        line = peer.accept()
        assert line.hear() == b"login"
        line.say(b"welcome")
        ready.result(SECONDS)
        asked = []
        for number in range(2):
            asked.append(threads.submit(client.request, b"%d" % number, SECONDS))
            assert line.hear() == b"%d" % number
        assert peer.accept().hear() == b"login"  # and gets no answer
        line.say(b"zero", b"one")
        assert [each.result(SECONDS) for each in asked] == [b"zero", b"one"]


@pytest.mark.parametrize("seconds", [SECONDS, 5.0], ids=["in the caller's thread", "in a thread of its own"])
@pytest.mark.parametrize("tls", [False, True], ids=["greet", "tls"])
def test_close_ends_an_attempt(peer: Peer, threads: ThreadPoolExecutor, seconds: float, tls: bool) -> None:
    options: dict[str, Any] = {"tls": True} if tls else {"greet": log_in}
    client: Client[bytes, bytes] = Client(peer.address, "line", retries=AT_ONCE, **options)
    asked = threads.submit(client.request, b"asked", seconds)
    line = peer.accept()
    assert line.socket.recv(5)  # a part of what comes: it waits for the answer
    client.close()
    error = asked.exception(4.0)  # earlier than any deadline
    assert isinstance(error, ConnectionEnded)
    assert error.fate is Fate.NOT_SENT
    until(lambda: not any(each.name == "fourtuple connect" for each in threading.enumerate()))


def test_close_ends_the_look_up_of_a_name(threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    looking = threading.Event()
    over = threading.Event()

    def look_up(step: steps.Resolve, then: Any) -> threading.Thread:
        thread = threading.Thread(target=over.wait, args=(SECONDS,))
        thread.start()
        looking.set()
        return thread

    monkeypatch.setattr(steps, "look_up", look_up)
    client: Client[bytes, bytes] = Client("name.invalid:1", "line", retries=AT_ONCE)
    asked = threads.submit(client.request, b"asked", SECONDS)
    assert looking.wait(SECONDS)
    client.close()
    assert isinstance(asked.exception(4.0), ConnectionEnded)
    over.set()


class Stopped:
    """A stop that has rung."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    @property
    def rung(self) -> bool:
        return True

    def fileno(self) -> int | None:
        return self._descriptor

    def why_ended(self) -> Exception:
        return ConnectionEnded("closed")


@pytest.mark.parametrize("has_descriptor", [False, True])
def test_close_ends_a_connect(has_descriptor: bool) -> None:
    """The descriptor ends the wait at once; without one, it ends soon."""

    def waiting() -> steps.Steps[None]:
        yield steps.Wait((), steps.clock() + SECONDS)

    alarm = Alarm()
    alarm.ring()
    try:
        with pytest.raises(ConnectionEnded, match="closed"):
            steps.run(waiting(), Stopped(alarm.fileno() if has_descriptor else None))
    finally:
        alarm.close()


def test_the_deadline_of_greet_is_named(peer: Peer, threads: ThreadPoolExecutor) -> None:
    """Its call has no timeout of its own; the error names the attempt's."""
    with Client(peer.address, "line", retries=AT_ONCE, greet=log_in, timeout=0.05) as client:
        with pytest.raises(DeadlinePassed) as caught:
            client.request(b"asked", 0.07)
        cause = caught.value.__cause__
        assert isinstance(cause, DeadlinePassed)
        assert str(cause).startswith("connect deadline of 0.05 s passed on ")
        assert "greet was not done in time" in str(cause)


def test_the_deadline_of_greet_is_named_where_it_writes(peer: Peer) -> None:
    def greet(connection: Any) -> None:
        connection.send_octets(bytes(32 << 20))

    with Client(peer.address, "line", retries=AT_ONCE, greet=greet, timeout=0.05) as client:
        with pytest.raises(DeadlinePassed) as caught:
            client.request(b"asked", 0.07)
        assert str(caught.value.__cause__).startswith("connect deadline of 0.05 s passed on ")


def test_a_greet_that_returns_too_late_has_failed(peer: Peer) -> None:
    """It may wait for anything, not for the connection alone."""

    def greet(_: object) -> None:
        assert client._attempt is not None
        client._attempt._clock = lambda: client.clock() + 1

    with Client(peer.address, "line", retries=Retries(delay=SECONDS), greet=greet, timeout=0.2) as client:
        with pytest.raises(DeadlinePassed) as caught:
            client.request(b"asked", 0.3)
        text = f"connect deadline of 0.2 s passed on {peer.address}: greet was not done in time"
        assert str(caught.value.__cause__) == text


def test_a_greet_that_leaves_a_thread_which_receives_has_failed(peer: Peer, threads: ThreadPoolExecutor) -> None:
    def greet(connection: Any) -> None:
        left.append(threads.submit(connection.receive))
        until(lambda: bool(connection._receiving or left[-1].done()))

    left: list[Any] = []
    with Client(peer.address, "line", retries=AT_ONCE, greet=greet, timeout=5) as client:
        with pytest.raises(DeadlinePassed) as caught:
            client.request(b"asked", 0.2)
        assert isinstance(caught.value.__cause__, ConnectionBusy)
        assert "greet= has left a thread that receives on this connection" in str(caught.value.__cause__)
    for each in left:
        assert isinstance(failure_of(each), ConnectionEnded)


def test_a_thread_that_receives_later_ends_the_connection(peer: Peer, threads: ThreadPoolExecutor) -> None:
    """The client's own thread does not ask again and again whether it may receive."""
    kept: list[Any] = []
    with Client(peer.address, "line", retries=AT_ONCE, greet=kept.append) as client:
        client.wait_ready(SECONDS)
        line = peer.accept()
        stolen = threads.submit(kept[0].receive)
        until(lambda: bool(kept[0]._receiving))
        with pytest.raises(ConnectionBusy, match="greet= has left a thread") as caught:
            client.request(b"asked", SECONDS)
        assert line.hear() == b"asked"
        assert caught.value.fate is Fate.PERHAPS_SENT
        assert failure_of(stolen) is not None


def test_what_greet_raises_in_a_thread_of_its_own(peer: Peer) -> None:
    def greet(_: object) -> None:
        raise SystemExit("no")

    with Client(peer.address, "line", retries=AT_ONCE, greet=greet) as client:
        with pytest.raises(DeadlinePassed) as caught:
            client.request(b"asked", 0.2)
        assert "greet raised SystemExit: no" in str(caught.value.__cause__)


def test_without_another_thread_the_caller_connects(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with Client(peer.address, "line", retries=AT_ONCE, timeout=20) as client:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            client.wait_ready(5.0)
        assert client.state == "ready"


def test_huge_timeouts(peer: Peer, threads: ThreadPoolExecutor) -> None:
    """Longer than the waits of ``threading`` can be."""
    with Client(peer.address, "line", pool=Pool(max_idle=None, max_age=None)) as client:
        client.wait_ready(1e10)
        line = peer.accept()
        one = threads.submit(client.request, b"one", 1e10)
        assert line.hear() == b"one"
        two = threads.submit(client.request, b"two", float("inf"))
        assert line.hear() == b"two"
        drained = threads.submit(client.drain, 1e15)
        until(lambda: client.state == "draining")
        line.say(b"ONE", b"TWO")
        assert (one.result(SECONDS), two.result(SECONDS)) == (b"ONE", b"TWO")
        drained.result(SECONDS)


def test_a_huge_timeout_of_a_thread() -> None:
    thread = threading.Thread(target=int)
    thread.start()
    steps.wait_for_thread(thread, 1e300)
    assert not thread.is_alive()


@pytest.mark.parametrize("method", ["request", "wait_ready", "drain"])
def test_a_call_inside_another_one_of_its_own_thread(
    peer: Peer, threads: ThreadPoolExecutor, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a signal handler makes it: it would wait for the interrupted call, which waits for the handler."""
    told: list[BaseException] = []
    with Client(peer.address, "line", retries=AT_ONCE, deadlines=BRIEFLY) as client:
        client.wait_ready(SECONDS)
        line = peer.accept()
        (member,) = client.pool.members
        waits = member.link.wait  # type: ignore[attr-defined]

        def wait(link: Any, moment: float | None) -> Any:
            monkeypatch.undo()
            try:
                getattr(client, method)(*([b"inner"] if method == "request" else []))
            except ConnectionBusy as error:
                told.append(error)
            client.send(b"sent")  # it waits for nothing of the client
            return waits(moment)

        monkeypatch.setattr(type(member.link), "wait", wait)
        asked = threads.submit(client.request, b"outer", SECONDS)
        assert (line.hear(), line.hear()) == (b"outer", b"sent")
        line.say(b"OUTER")
        assert asked.result(SECONDS) == b"OUTER"
        assert method in str(told[0])
        assert "was called in a signal handler, or by an observer" in str(told[0])


def test_a_request_of_an_observer(peer: Peer, threads: ThreadPoolExecutor) -> None:
    """It is called under the lock of the client, without which no other thread can work."""
    told: list[BaseException] = []

    def observe(event: Event) -> None:
        if isinstance(event, ClientConnected | ClientDisconnected) and not client.pool.closed:
            told.append(failure_in(lambda: client.request(b"asked", SECONDS)))

    with Client(peer.address, "line", retries=AT_ONCE, observer=observe) as client:
        client.wait_ready(SECONDS)
        client.expire()
    assert [type(each) for each in told] == [ConnectionBusy, ConnectionBusy]
    assert "by an observer, while its thread is in another call" in str(told[1])


def test_a_thread_that_leaves_pushes_wakes_the_one_that_waits_for_a_reply(
    peer: Peer, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt ends the thread that reads: another one reads in its place."""
    with Client(
        peer.address, "line", retries=AT_ONCE, pushes=Pushes(), is_push=lambda message: message[:1] == b"*"
    ) as client:
        client.wait_ready(SECONDS)
        line = peer.accept()
        (member,) = client.pool.members
        asked: list[Any] = []

        def interrupted(link: Any, moment: float | None) -> None:
            monkeypatch.undo()
            asked.append(threads.submit(client.request, b"asked", SECONDS))
            assert line.hear() == b"asked"
            until(lambda: bool(client._changes._places))
            line.say(b"ASKED")
            raise KeyboardInterrupt

        monkeypatch.setattr(type(member.link), "wait", interrupted)
        monkeypatch.setattr("fourtuple.blocking.changes.LOOK_SECONDS", SECONDS)
        with pytest.raises(KeyboardInterrupt):
            client.pushes().receive(SECONDS)
        client._lock.acquire()
        client._lock.release()
        client.pool.inbox.consumer = None  # type: ignore[union-attr]
        assert asked[0].result(10) == b"ASKED"
