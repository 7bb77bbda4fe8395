"""run() with real signals, and a server in a thread."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from subprocess import PIPE, Popen, run
from typing import Any

import pytest

from fourtuple import Deadlines, Service, events, serve_in_thread
from fourtuple.blocking import connect
from fourtuple.errors import DeadlinePassed, ListenAddressInUse
from fourtuple.serving import in_thread, thread_end
from rig import echo

PROGRAM = """
import sys
from fourtuple import Deadlines, Service, run

service = Service("line")

@service.lifespan
async def lifespan():
    yield
    print("torn down", flush=True)

@service.reply
def echo(message):
    return message

loop = {"asyncio": None}
if sys.argv[1] == "uvloop":
    import uvloop
    loop["uvloop"] = uvloop.new_event_loop
aborted = run(
    service,
    "127.0.0.1:0",
    loop_factory=loop[sys.argv[1]],
    on_start=lambda server: print(server.port, flush=True),
    observer=lambda event: print(type(event).__name__, flush=True),
    deadlines=Deadlines(drain_idle_timeout=0.0),
)
print("aborted", aborted, flush=True)
"""


class Program:
    """The program above, in a process of its own."""

    def __init__(self, process: Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []
        self.wait_for("Listening")
        self.port = int(self.wait_for(""))

    def wait_for(self, line: str) -> str:
        """Read on to a line that begins so."""
        assert self.process.stdout is not None
        for said in self.process.stdout:
            self.said.append(said.strip())
            if said.startswith(line):
                return said.strip()
        raise AssertionError(f"it ended before it said {line!r}: {self.said}")

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port))

    def rest(self) -> list[str]:
        """Everything else that it says until its end."""
        assert self.process.stdout is not None
        return self.process.stdout.read().split("\n")[:-1]


@pytest.fixture
def program(loop: str) -> Iterator[Program]:
    with Popen([sys.executable, "-c", PROGRAM, loop], stdout=PIPE, text=True) as process:
        try:
            yield Program(process)
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains(program: Program, number: signal.Signals) -> None:
    with program.connect() as peer, peer.makefile("rb") as lines:
        peer.sendall(b"x\nunfinished")
        assert lines.readline() == b"x\n"
        program.process.send_signal(number)
        program.wait_for("Draining")
        peer.sendall(b" business\n")
        assert lines.readline() == b"unfinished business\n"
        assert lines.read() == b""
    assert program.rest() == ["Closed", "Drained", "torn down", "aborted 0"]
    assert program.process.wait() == 0


def test_a_second_signal_aborts(program: Program) -> None:
    with program.connect() as peer:
        peer.sendall(b"unfinished")
        program.wait_for("Accepted")
        program.process.send_signal(signal.SIGTERM)
        program.wait_for("Draining")
        program.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionResetError):
            peer.recv(1)
        assert program.rest() == ["Closed", "Drained", "torn down", "aborted 1"]
        assert program.process.wait() == 0


HANDLERS = """
import os, signal, sys
from fourtuple import Service, run

def before(number, frame):
    pass

def since(number, frame):
    pass

def begun(server):
    if sys.argv[1] == "since":
        signal.signal(signal.SIGHUP, since)
    os.kill(os.getpid(), signal.SIGTERM)

service = Service("line")
service.reply(bytes.upper)
stopping = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
for number in stopping:
    signal.signal(number, before)
run(service, on_start=begun)
print(*(signal.getsignal(number).__name__ for number in stopping))
"""


@pytest.mark.parametrize("hangup", ["before", "since"])
def test_the_handlers_of_the_program_are_restored(hangup: str) -> None:
    done = run([sys.executable, "-c", HANDLERS, hangup], stdout=PIPE, text=True, check=True)
    assert done.stdout == f"{hangup} before before\n"


LEAVES = """
import socket, sys
from fourtuple import Deadlines, Service, run

service = Service("line")

@service.reply
def leaves(message):
    sys.exit(5)

clients = []

def call(server):
    clients.append(socket.create_connection(("127.0.0.1", server.port)))
    clients[0].sendall(b"x\\n")

run(service, on_start=call, observer=lambda event: None, deadlines=Deadlines(drain_timeout=0.5))
"""


def test_a_handler_that_exits_ends_the_program_with_its_code_alone() -> None:
    done = run([sys.executable, "-c", LEAVES], stderr=PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (5, "")


INTERRUPTED = """
import asyncio, threading, time
from fourtuple import Service, serve_in_thread

service = Service("line")
service.reply(bytes.upper)

@service.lifespan
async def lifespan():
    try:
        print("setting up", flush=True)
        await asyncio.sleep(1000)
        yield
    finally:
        print("cleaned up", flush=True)

try:
    with serve_in_thread(service):
        pass
except KeyboardInterrupt:
    print("interrupted", threading.active_count(), flush=True)
"""


def test_an_interrupt_while_the_thread_of_a_server_starts_cancels_the_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thread.start() waits: the thread may be in the middle of the set-up when Ctrl-C arrives there."""
    service = Service("line")
    service.reply(bytes.upper)
    setting_up = threading.Event()
    told: list[str] = []

    @service.lifespan
    async def lifespan() -> AsyncIterator[None]:
        try:
            setting_up.set()
            await asyncio.sleep(1000)
            yield
        finally:
            told.append("cleaned up")

    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        assert setting_up.wait(20)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt), serve_in_thread(service):
        pass
    assert told == ["cleaned up"]


def test_an_interrupt_while_a_server_in_a_thread_is_set_up_cancels_that() -> None:
    with Popen([sys.executable, "-c", INTERRUPTED], stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "setting up\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "cleaned up\ninterrupted 1\n"
        assert process.wait() == 0


# -- in a thread ------------------------------------------------------------------------------------------


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
