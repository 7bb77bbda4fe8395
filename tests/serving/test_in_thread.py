"""serve_in_thread(): its end, its failures, and a loop that is held."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fourtuple import Deadlines, Service, events, serve_in_thread
from fourtuple.blocking import connect
from fourtuple.errors import DeadlinePassed, EndOfFile, ListenAddressInUse
from fourtuple.serving import in_thread, thread_end
from rig import echo


@pytest.fixture
def loop_factory(loop: str) -> Callable[[], asyncio.AbstractEventLoop]:
    from conftest import LOOPS

    return LOOPS[loop]


@contextmanager
def threads_as_before() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def test_a_server_in_a_thread(loop_factory: Any) -> None:
    with threads_as_before(), serve_in_thread(echo(), loop_factory=loop_factory) as server:
        with connect(server.address, "line") as connection:
            assert connection.request(b"hello") == b"hello"
        assert server.statistics.accepted == 1


def test_call_soon_is_for_other_threads(loop_factory: Any) -> None:
    with (
        serve_in_thread(echo(), loop_factory=loop_factory) as server,
        connect(server.address, "line") as connection,
    ):
        assert connection.request(b"hello") == b"hello"
        (served,) = server.connections.values()
        server.call_soon(served.send, b"from elsewhere")
        assert connection.receive() == b"from elsewhere"


def test_a_start_that_fails_is_raised_where_it_was_asked_for(loop_factory: Any) -> None:
    with (
        threads_as_before(),
        serve_in_thread(echo(), loop_factory=loop_factory) as server,
        pytest.raises(ListenAddressInUse),
        serve_in_thread(echo(), server.address, loop_factory=loop_factory),
    ):
        pass


def test_an_exception_in_the_block_aborts(loop_factory: Any) -> None:
    def talk() -> None:
        with (
            serve_in_thread(echo(), loop_factory=loop_factory) as server,
            connect(server.address, "line") as connection,
        ):
            assert connection.request(b"hello") == b"hello"
            raise ValueError("in the block")

    with threads_as_before(), pytest.raises(ValueError, match="in the block"):
        talk()


def test_a_server_that_stopped_by_itself(loop_factory: Any) -> None:
    with threads_as_before(), serve_in_thread(echo(), loop_factory=loop_factory) as server:
        stopped = asyncio.run_coroutine_threadsafe(server.abort(), server.loop)
        stopped.result()


class LateToClose(asyncio.SelectorEventLoop):
    """A loop that still runs when its main coroutine is over, until somebody has asked for something."""

    def __init__(self) -> None:
        super().__init__()
        self.over = threading.Event()
        self.asked = threading.Event()

    def call_soon_threadsafe(self, *arguments: Any, **options: Any) -> asyncio.Handle:
        handle = super().call_soon_threadsafe(*arguments, **options)
        if self.over.is_set():
            self.asked.set()
        return handle

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        self.over.set()
        assert self.asked.wait(30)
        await super().shutdown_default_executor()


def test_a_stop_that_comes_when_the_loop_is_about_to_close_leaves_no_task() -> None:
    """It was created in the loop's last turn, and never begun."""
    loop = LateToClose()
    told: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda loop, context: told.append(context))
    with threads_as_before(), serve_in_thread(echo(), loop_factory=lambda: loop) as server:
        asyncio.run_coroutine_threadsafe(server.abort(), loop)
        assert loop.over.wait(30)
    gc.collect()
    assert told == []


class Holding:
    """A service whose handler, or set-up, holds the loop until it is released."""

    def __init__(self) -> None:
        self.held, self.released = threading.Event(), threading.Event()
        self.service = Service("line")
        self.service.reply(self.reply)
        self.seen: list[events.Event] = []

    def reply(self, message: bytes) -> bytes:
        self.held.set()
        self.released.wait(60)
        return message

    @contextmanager
    def let_go_at_the_end(self) -> Iterator[None]:
        before = set(threading.enumerate())
        try:
            yield
        finally:
            self.released.set()
            for thread in set(threading.enumerate()) - before:
                thread.join(30)
            assert set(threading.enumerate()) == before


@pytest.fixture
def holding(monkeypatch: pytest.MonkeyPatch) -> Holding:
    monkeypatch.setattr(thread_end, "HELD_SECONDS", 0.2)
    return Holding()


def test_a_handler_that_holds_the_loop_does_not_hold_the_block(loop_factory: Any, holding: Holding) -> None:
    def talk() -> None:
        options: Any = {"deadlines": Deadlines(drain_timeout=0.1), "observer": holding.seen.append}
        with serve_in_thread(holding.service, loop_factory=loop_factory, **options) as server:
            peer = socket.create_connection(("127.0.0.1", server.port))
            kept.append(peer)
            peer.sendall(b"hold\n")
            assert holding.held.wait(30)

    kept: list[socket.socket] = []
    with holding.let_go_at_the_end():
        with pytest.raises(DeadlinePassed, match=r"drain_timeout .*Holding\.reply holds the loop; its thread") as late:
            talk()
        assert late.value.which == "drain_timeout"
        (named,) = [event for event in holding.seen if isinstance(event, events.LoopHeld)]
        assert named.handler.endswith("Holding.reply")
    for peer in kept:
        peer.close()


def test_an_exception_of_the_block_tells_what_holds_the_loop(
    loop_factory: Any, holding: Holding, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_thread, "ABORT_SECONDS", 0.1)

    def talk() -> None:
        with (
            serve_in_thread(holding.service, loop_factory=loop_factory, observer=holding.seen.append) as server,
            socket.create_connection(("127.0.0.1", server.port)) as peer,
        ):
            peer.sendall(b"hold\n")
            assert holding.held.wait(30)
            raise ValueError("in the block")

    with holding.let_go_at_the_end(), pytest.raises(ValueError, match="in the block") as raised:
        talk()
    assert "Holding.reply holds the loop" in raised.value.__notes__[0]


def test_a_tear_down_that_takes_its_time_is_waited_for(loop_factory: Any, holding: Holding) -> None:
    steps: list[str] = []

    @holding.service.lifespan
    async def lifespan() -> AsyncIterator[None]:
        yield
        for _ in range(40):
            await asyncio.sleep(0.02)
        steps.append("torn down")

    deadlines = Deadlines(drain_timeout=0.1, drain_idle_timeout=0.0)
    with threads_as_before(), serve_in_thread(holding.service, loop_factory=loop_factory, deadlines=deadlines):
        pass
    assert steps == ["torn down"]


def test_what_ended_the_server_is_raised_at_the_end_of_the_block(loop_factory: Any) -> None:
    service = Service("line")

    @service.reply
    def answer(message: bytes) -> bytes:
        raise SystemExit("enough")

    def talk() -> None:
        with (
            serve_in_thread(service, loop_factory=loop_factory) as server,
            socket.create_connection(("127.0.0.1", server.port)) as peer,
        ):
            peer.sendall(b"x\n")
            assert peer.recv(1) == b""  # that connection was closed before

    with threads_as_before(), pytest.raises(SystemExit, match="enough"):
        talk()


def ends_badly() -> Service:
    """A service whose tear-down fails."""
    service = echo()

    @service.lifespan
    async def lifespan() -> AsyncIterator[None]:
        yield
        raise OSError("the database is gone")

    return service


def test_a_tear_down_that_fails_is_raised_at_the_end_of_the_block(loop_factory: Any) -> None:
    with (
        threads_as_before(),
        pytest.raises(OSError, match="the database is gone"),
        serve_in_thread(ends_badly(), loop_factory=loop_factory),
    ):
        pass


def test_an_exception_of_the_block_also_tells_the_tear_down_that_failed(loop_factory: Any) -> None:
    with (
        threads_as_before(),
        pytest.raises(ValueError, match="in the block") as raised,
        serve_in_thread(ends_badly(), loop_factory=loop_factory),
    ):
        raise ValueError("in the block")
    (note,) = raised.value.__notes__
    first, *lines = note.splitlines()
    assert first == "fourtuple: the server in its thread also failed: OSError: the database is gone"
    assert any("in lifespan" in line for line in lines)  # where it was raised


def test_an_exception_of_the_block_also_tells_what_ended_the_server(loop_factory: Any) -> None:
    service = Service("line")

    @service.reply
    def answer(message: bytes) -> bytes:
        raise SystemExit("enough")

    def talk() -> None:
        with (
            serve_in_thread(service, loop_factory=loop_factory) as server,
            connect(server.address, "line") as connection,
        ):
            connection.request(b"x")

    with threads_as_before(), pytest.raises(EndOfFile) as raised:
        talk()
    assert raised.value.__notes__[0].startswith("fourtuple: the server in its thread also failed: SystemExit: enough\n")
