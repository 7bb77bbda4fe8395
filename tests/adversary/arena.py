"""The arena: the server under attack, the guest who must be served throughout, and the adversaries' tools."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PAGE = os.sysconf("SC_PAGE_SIZE")
MIB = 1 << 20

#: What the server, with all that the kernel holds for its and the adversaries' sockets, may grow by in any of
#: these attacks. The kernel's part is that of the whole machine: both ends of each connection are in it.
MEMORY = 192 * MIB
#: The guest waits no longer than this for a reply, on a machine that runs other tests, too.
PATIENCE = 10.0


@dataclass
class Target:
    """The process of :mod:`adversary.target`."""

    process: subprocess.Popen[str]
    ports: list[int]
    at_first: dict[str, Any] = field(default_factory=dict)

    @property
    def port(self) -> int:
        return self.ports[0]

    def report(self) -> dict[str, Any]:
        """Its numbers of now."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        numbers: dict[str, Any] = json.loads(self.process.stdout.readline())
        return numbers

    def when(self, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Its numbers as soon as something is so; the test's timeout is the bound."""
        while not condition(numbers := self.report()):
            time.sleep(0.01)  # a question a hundred times a second is not an attack of its own
        return numbers

    def memory(self) -> int:
        """Octets: resident, and the kernel's for TCP."""
        resident = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return (resident + kernel_pages()) * PAGE


def kernel_pages() -> int:
    """The pages that TCP holds on this machine: proc(5), /proc/net/sockstat."""
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        words = line.split()
        if words[0] == "TCP:":
            return int(words[words.index("mem") + 1])
    raise AssertionError("no TCP line in /proc/net/sockstat")


@contextmanager
def target(
    readiness: str,
    loop: str,
    *,
    kind: str = "echo",
    others: str | None = None,
    framings: tuple[str, ...] = ("line",),
    limits: dict[str, Any] | None = None,
    deadlines: dict[str, Any] | None = None,
    sockets: dict[str, Any] | None = None,
    tls: dict[str, Any] | None = None,
    proxy: dict[str, Any] | None = None,
    nofile: int | None = None,
    descriptors_left: int | None = None,
) -> Iterator[Target]:
    """Servers in a process of their own, one for each framing: the first of ``kind``, the rest perhaps of another.

    At the end it has every descriptor back, and its counters add up.
    """
    configuration = {
        "readiness": readiness, "loop": loop, "kinds": [kind, others or kind], "framings": framings,
        "limits": limits or {}, "deadlines": deadlines or {}, "sockets": sockets or {},
        "tls": tls or {}, "proxy": proxy or {},
        "nofile": nofile, "descriptors_left": descriptors_left,
    }  # fmt: skip
    command = [sys.executable, str(Path(__file__).with_name("target.py")), json.dumps(configuration)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            there = Target(process, json.loads(process.stdout.readline()))
            there.at_first = there.report()
            yield there
            at_last = there.when(lambda numbers: not any(each["active"] for each in numbers["statistics"]))
            adds_up(at_last)
            there.when(lambda numbers: numbers["descriptors"] == there.at_first["descriptors"])
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()


def adds_up(numbers: dict[str, Any]) -> None:
    """What the counters say is what the observer heard."""
    told, sums = (
        numbers["told"],
        {name: sum(each[name] for each in numbers["statistics"]) for name in numbers["statistics"][0]},
    )
    assert sums["accepted"] == told.get("accepted", 0) == told.get("closed", 0) == sums["closed"]
    assert sums["refused"] == told.get("refused", 0)
    assert [sums["octets_in"], sums["octets_out"]] == numbers["octets"]
    assert told.get("handler-raised", 0) == 0


class Guest:
    """Behaves: asks, waits for the answer, asks again; now and then it comes anew. Counts what it gets."""

    def __init__(self, there: Target, port: int, question: bytes, returning: bool, blast: bool) -> None:
        self.replies = 0
        self.longest = 0.0
        self.failure: BaseException | None = None
        self.most = self.least = there.memory()
        self._there = there
        self._port = port
        self._question = question
        self._reply = question[:8] + b"." * 1_000_000 + b"\n" if blast else question
        self._returning = returning
        self._enough = threading.Event()
        self._served = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            while not self._enough.is_set():
                with socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE) as sock:
                    while not self._enough.is_set():
                        self._ask(sock)
                        if self._returning and self.replies % 20 == 0:
                            break
        except BaseException as error:
            self.failure = error
            self._served.set()

    def _ask(self, sock: socket.socket) -> None:
        began = time.monotonic()
        sock.sendall(self._question)
        reply = bytearray()
        while len(reply) < len(self._reply):
            part = sock.recv(1 << 20)
            assert part, f"the server closed on its guest after {self.replies} replies"
            reply += part
        assert reply == self._reply
        self.longest = max(self.longest, time.monotonic() - began)
        self.replies += 1
        self._served.set()
        self.most = max(self.most, self._there.memory())
        self._enough.wait(0.005)  # its pace

    def is_served(self, replies: int = 20) -> None:
        """Wait until it got that many replies more."""
        wanted = self.replies + replies
        while self.replies < wanted and self.failure is None:
            self._served.clear()
            self._served.wait(PATIENCE)
        self.check()

    def check(self) -> None:
        if self.failure is not None:
            raise AssertionError("the guest was not served") from self.failure

    @property
    def growth(self) -> int:
        """By how much memory has grown at most."""
        return self.most - self.least


@contextmanager
def guest(
    there: Target,
    port: int | None = None,
    question: bytes = b"hello\n",
    *,
    returning: bool = True,
    blast: bool = False,
) -> Iterator[Guest]:
    """A guest alongside: served before, during and after, within memory that is bounded."""
    one = Guest(there, port or there.port, question, returning, blast)
    one._thread.start()
    try:
        one.is_served()
        yield one
        one.is_served()
        assert one.growth < MEMORY, f"memory grew by {one.growth / MIB:.1f} MiB"
        assert one.longest < PATIENCE
    finally:
        one._enough.set()
        one._thread.join()
    one.check()


# -- the adversaries' tools -------------------------------------------------------------------------------

Attack = Callable[[socket.socket], Awaitable[Any]]


def attack(count: int, port: int, act: Attack) -> list[Any]:
    """Let ``count`` connections act at once; what each came to. A reset, or an end, is what adversaries get."""

    async def one(loop: asyncio.AbstractEventLoop) -> Any:
        with socket.socket() as sock:
            sock.setblocking(False)
            try:
                await loop.sock_connect(sock, ("127.0.0.1", port))
                return await act(sock)
            except ConnectionError as error:
                return type(error).__name__

    async def all_of_them() -> list[Any]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(one(loop) for _ in range(count)))

    return run(all_of_them())


def run(main: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner() as runner:
        return runner.run(main)


async def read_to_the_end(sock: socket.socket) -> bytes:
    loop, octets = asyncio.get_running_loop(), bytearray()
    while part := await loop.sock_recv(sock, 65536):
        octets += part
    return bytes(octets)


async def ends(sock: socket.socket) -> str:
    """Wait for the end of file, or for the reset."""
    try:
        await read_to_the_end(sock)
    except ConnectionError:
        return "reset"
    return "closed"


def resets_when_closed(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
