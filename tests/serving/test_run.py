"""run() with real signals, and an interrupt while a server in a thread is set up."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from subprocess import PIPE, Popen, run

import pytest

from fourtuple import Service, serve_in_thread

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
