"""A process that has no memory left, and then has some again: nobody is forgotten, and whoever comes then is served.

The process is one of its own, with RLIMIT_AS, and takes all memory that it may have, in pieces of down to 512 octets.
So what fails is what happens to need some that the interpreter does not keep: a buffer, a thread's stack, many objects.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, gc, json, os, resource, signal, sys, threading
from fourtuple import Deadlines, Server, Service
from serving.test_faults import KINDS, NONE_LEFT, books

kind, readiness = sys.argv[1:]
threading.stack_size(256 << 10)  # the stacks of those who are served before leave something to be taken
service = Service("line")
KINDS[kind](service)
hoard, lacks = [], [0]

def tell_of(error):
    if isinstance(error, MemoryError) or "thread" in str(error) or getattr(error, "errno", None) == 12:
        lacks[0] += 1
        os.write(1, b"!")

def tell(event):
    tell_of(getattr(event, "error", None))

def take_all(*_):
    size = 1 << 20
    while size >= 512:
        try:
            hoard.append(bytearray(size))
        except MemoryError:
            size >>= 1
    os.write(1, b"N")

def let_go(*_):
    hoard.clear()
    os.write(1, b"F")

def vm_size():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()

async def report(server):
    while books(server) != NONE_LEFT:
        await asyncio.sleep(0.001)
    gc.collect()
    found = {"descriptors": len(os.listdir("/proc/self/fd")), "lacks": lacks[0], "in_turn": server.engine.in_turn}
    os.write(1, json.dumps(found).encode() + b"\\n")

loop = asyncio.new_event_loop()
loop.set_exception_handler(lambda _, context: tell_of(context.get("exception")))
server = Server(service, deadlines=Deadlines(linger_timeout=0.1), readiness=readiness, observer=tell)
loop.run_until_complete(server.start())
reports = set()

def asked():
    os.read(0, 1)
    task = loop.create_task(report(server))
    reports.add(task)
    task.add_done_callback(reports.discard)

loop.add_reader(0, asked)
signal.signal(signal.SIGUSR1, let_go)
signal.signal(signal.SIGUSR2, take_all)
resource.setrlimit(resource.RLIMIT_AS, (vm_size() + (48 << 20), resource.RLIM_INFINITY))
os.write(1, b"%d\\n" % server.port)
while True:
    try:
        loop.run_forever()
    except MemoryError:  # of asyncio's own steps: the program decides what comes of it, and this one goes on
        pass
"""


@dataclass
class Process:
    """The server's process, and what it said."""

    running: subprocess.Popen[bytes]
    port: int = 0
    said: bytes = b""
    clients: list[socket.socket] = field(default_factory=list)

    def hear(self, what: bytes, seconds: float = 20.0) -> bytes:
        """Read on until it has said something of this, at most so long; all that it said so far."""
        assert self.running.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.running.stdout, selectors.EVENT_READ)
            while what not in self.said and selector.select(seconds):
                octets = os.read(self.running.stdout.fileno(), 4096)
                if not octets:
                    raise AssertionError(f"it ended: {self.running.wait()}, having said {self.said!r}")
                self.said += octets
        return self.said

    def client(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        self.clients.append(sock)
        return sock

    def ask(self, sock: socket.socket) -> None:
        sock.sendall(b"again\n")
        got = b""
        while len(got) < 6:
            octets = sock.recv(6 - len(got))
            assert octets, "the server closed it"
            got += octets
        assert got == b"again\n"

    def report(self) -> dict[str, int]:
        """What is left once nobody is here."""
        assert self.running.stdin is not None
        self.said = b""
        self.running.stdin.write(b"?")
        self.running.stdin.flush()
        found: dict[str, int] = json.loads(self.hear(b"\n").replace(b"!", b""))
        return found


@contextmanager
def serving(kind: str, readiness: str) -> Iterator[Process]:
    command = [sys.executable, "-c", PROGRAM, kind, readiness]
    folder, environment = Path(__file__).parents[1], os.environ | {"MALLOC_ARENA_MAX": "1"}  # one for all threads
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        process = Process(running)
        try:
            process.port = int(process.hear(b"\n"))
            yield process
        finally:
            running.kill()
            for client in process.clients:
                client.close()


def ended_or_served(sock: socket.socket, most: int) -> None:
    """Whoever spoke to it while there was no memory has an answer, or an end; silence is the failure."""
    with suppress(ConnectionError):
        while most > 0:
            octets = sock.recv(65536)  # within its timeout
            if not octets:
                return
            most -= len(octets)


def shortage(process: Process, messages: bytes) -> None:
    """Those who are here speak, others come and go, while the process has no memory."""
    here = [process.client() for _ in range(20)]
    for sock in here:
        process.ask(sock)
    process.said = b""
    process.running.send_signal(signal.SIGUSR2)
    process.hear(b"N")
    for number in range(200):
        with suppress(OSError):  # reset as soon as it came, perhaps
            sock = here.pop() if here and number % 2 else process.client()
            sock.sendall(messages)
            if number % 4 == 0:
                sock.shutdown(socket.SHUT_WR)
            elif number % 4 == 1:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
        if process.hear(b"!" * 5, 0.0).count(b"!") >= 5 and number > 40:
            break
    process.hear(b"!")  # it lacked some
    process.said = b""
    while b"F" not in process.said:
        process.running.send_signal(signal.SIGUSR1)  # whose handler may lack memory, too
        process.hear(b"F", 1.0)


@pytest.mark.parametrize("kind", ["inline", "conversation", "blocking"])
def test_behind_a_shortage_of_memory_everything_is_as_before(readiness: str, kind: str) -> None:
    with serving(kind, readiness) as process:
        with process.client() as first:
            process.ask(first)
        before = process.report()
        messages = b"hello\n" * 10 + b"x" * 30_000 + b"\n"
        for _ in range(2):
            shortage(process, messages)
            for sock in process.clients:
                if sock.fileno() >= 0:
                    ended_or_served(sock, len(messages))
                    sock.close()
            for _ in range(10):
                with process.client() as again:
                    process.ask(again)
        after = process.report()
        assert after["lacks"] > before["lacks"]
        assert (after["descriptors"], after["in_turn"]) == (before["descriptors"], False)
