"""What fails in the middle of a turn costs connections, with an event; it leaves nothing behind, and nobody deaf.

Each call that may lack memory or descriptors fails, at its first time, its second, its third ..., while peers come,
speak and go. Behind that the server serves as before, and its descriptors and its books are back where they were.
"""

from __future__ import annotations

import _socket
import asyncio
import gc
import os
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from certificates import Files
from fourtuple import Connection, Deadlines, Limits, Proxy, Server, Service, Tls, events
from fourtuple.engine import Channel, Engine
from fourtuple.engine.listener import Listener
from fourtuple.engine.readiness import Nested
from fourtuple.handlers import loss
from fourtuple.serving import accept
from fourtuple.serving.core import ServerCore
from fourtuple.stream import Stream
from rig import turns
from serving.kinds import async_generator, awaited, blocking, concurrent, conversation, generator, in_thread, inline

#: A peer that does not finish is let go soon.
SOON = Deadlines(
    first_message_timeout=None, message_timeout=None, idle_timeout=None, write_timeout=None, linger_timeout=0.05
)


# -- services ---------------------------------------------------------------------------------------------


def parked(service: Service) -> None:
    """Waits for something else than a message, so that it is cancelled with its connection."""

    @service.conversation
    async def talk(connection: Connection) -> None:
        async for message in connection:
            await connection.send(message)
            await connection.peer_finished.wait()


def each(*functions: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
    return {function.__name__: function for function in functions}


KINDS = each(inline, generator, awaited, async_generator, concurrent, in_thread, conversation, parked, blocking)


# -- what peers meet --------------------------------------------------------------------------------------


class Scene:
    """A server with something of its own, and how a peer speaks to it."""

    def __init__(self, feature: str, folder: Path) -> None:
        self.hello = b"hello\n"
        self.options: dict[str, Any] = {}
        self.client: dict[str, Any] = {}
        getattr(self, feature)(folder)

    def plain(self, _: Path) -> None:
        """Nothing that is not usual."""

    def refusal(self, _: Path) -> None:
        self.options["limits"] = Limits(max_connections_per_address=2, refusal="go away")

    def few(self, _: Path) -> None:
        self.options["limits"] = Limits(max_connections=2)

    def paced(self, _: Path) -> None:
        self.options["limits"] = Limits(accept_rate=200.0)

    def rates(self, _: Path) -> None:
        self.options["limits"] = Limits(max_octet_rate=1000.0, max_message_rate_per_address=1000)

    def proxy(self, _: Path) -> None:
        self.options["proxy"] = Proxy(protocol="optional")
        self.hello = b"PROXY TCP4 127.0.0.1 127.0.0.2 1 2\r\nhello\n"

    def tls(self, folder: Path) -> None:
        files = Files(folder)
        self.options["tls"] = Tls(certificate=files.certificate, key=files.key)
        self.hello = bytes.fromhex("1603010005") + b"hello"
        self.client = {"ssl": ssl._create_unverified_context(), "server_hostname": "localhost"}

    async def peers(self, port: int) -> list[_socket.socket]:
        """They come, speak, and go, each in another way, whatever the server makes of them."""
        peers = []
        for end in ("fin", "reset", "half", "close"):
            peer = _socket.socket()  # whose calls do not fail
            peers.append(peer)
            peer.setblocking(False)
            with suppress(BlockingIOError):
                peer.connect(("127.0.0.1", port))
            await turns(6)
            with suppress(OSError):
                peer.send(self.hello)
            await turns(8)
            with suppress(OSError):
                if end == "fin":
                    peer.shutdown(socket.SHUT_WR)
                elif end == "half":
                    peer.send(b"half")
                elif end == "reset":
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    peer.close()
            await turns(6)
        return peers

    async def ask(self, port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, **self.client)
        writer.write(b"again\n")
        got = await reader.readexactly(6)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        return got


FEATURES = ["plain", "refusal", "few", "paced", "rates", "proxy", "tls"]


def books(server: Server) -> tuple[int, ...]:
    """How many are here, as each of the books has it."""
    active = server.statistics.active
    return (
        len(server.connections),
        active,
        sum(server._core.admission.policy.by_address.values()),
        len(server.engine.channels),
    )


NONE_LEFT = (0, 0, 0, 0)


async def soon(what: str, condition: Callable[[], bool]) -> None:
    """The sweep has a real clock here: it comes within milliseconds."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.001)


# -- what fails -------------------------------------------------------------------------------------------


class Fault:
    """Calls that fail, ``count`` of them from the one with the number ``at`` on, counted while it is armed."""

    def __init__(self, error: Callable[[], BaseException], at: int = 0, count: int = 1) -> None:
        self.error, self.at, self.count = error, at, count
        self.calls = 0
        self.armed = False

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, which fails sometimes, instead of doing what it does."""

        def fails(*arguments: Any, **options: Any) -> Any:
            if self.armed:
                self.calls += 1
                if self.at < self.calls <= self.at + self.count:
                    raise self.error()
            return function(*arguments, **options)

        return fails


def no_memory() -> MemoryError:
    return MemoryError("none is left")


def no_thread() -> RuntimeError:
    return RuntimeError("can't start new thread")


def no_watch() -> OSError:
    return OSError(28, "No space left on device")  # max_user_watches of epoll(7)


#: Where: what holds the function, its name, and how it fails.
PLACES: dict[str, tuple[Any, str, Callable[[], BaseException]]] = {
    "recv": (socket.socket, "recv", no_memory),
    "send": (socket.socket, "send", no_memory),
    "close a socket": (socket.socket, "close", no_memory),
    "close a descriptor": (os, "close", no_memory),
    "watch": (Nested, "watch", no_memory),
    "watch, for the kernel": (Nested, "watch", no_watch),
    "close_later": (Engine, "close_later", no_memory),
    "schedule": (Engine, "_schedule", no_memory),
    "add": (Engine, "add", no_memory),
    "flush soon": (Engine, "flush_soon", no_memory),
    "revisit": (Engine, "revisit", no_memory),
    "a turn": (Engine, "_serve_all", no_memory),
    "the end of a turn": (Engine, "_flush", no_memory),
    "start": (Channel, "start", no_memory),
    "flush": (Channel, "flush", no_memory),
    "settle": (Channel, "settle", no_memory),
    "abort": (Channel, "abort", no_memory),
    "end": (Channel, "_end", no_memory),
    "leave": (Channel, "leave", no_memory),
    "a channel": (accept, "Channel", no_memory),
    "a stream": (accept, "Stream", no_memory),
    "a runner": (accept, "runner_for", no_memory),
    "a connection": (ServerCore, "connection_of", no_memory),
    "decode": (Stream, "received", no_memory),
    "end of file": (Stream, "received_eof", no_memory),
    "broken": (Stream, "broken", no_memory),
    "accepted": (events, "Accepted", no_memory),
    "closed": (events, "Closed", no_memory),
    "pause": (Listener, "pause", no_memory),
    "resume": (Listener, "resume", no_memory),
    "tell of a loss": (loss, "tell", no_memory),
    "a thread": (threading.Thread, "start", no_thread),
    "a thread's stack": (threading.Thread, "start", no_memory),
}


async def strike(kind: str, readiness: str, scene: Scene, fault: Fault, where: str) -> None:
    """Serve while it fails, and then look at what is left."""
    before = set(os.listdir("/proc/self/fd"))
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    engine = Engine(readiness=readiness, sweep_seconds=0.005)  # type: ignore[arg-type]
    service = Service("line")
    KINDS[kind](service)
    server = Server(service, deadlines=SOON, engine=engine, observer=lambda _: None, **scene.options)
    await server.start()
    try:
        fault.armed = True
        peers = await scene.peers(server.port)
        for peer in peers:
            peer.close()
        await turns(20)
        fault.armed = False
        # Behind a listener that rests there is its queue: all of these come in before the next one does.
        await soon(where, lambda: not server.listeners[0].paused)
        await turns(20)
        await soon(where, lambda: books(server) == NONE_LEFT)
        assert not engine.in_turn
        assert await asyncio.wait_for(scene.ask(server.port), 20) == b"again\n", where
        await soon(where, lambda: books(server) == NONE_LEFT)
    finally:
        fault.armed = False
        await server.abort()
        engine.close()
    gc.collect()
    assert set(os.listdir("/proc/self/fd")) - before == set(), where


def strikes(
    run_async: Any,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    readiness: str,
    scene: Scene,
    place: str,
    numbers: list[tuple[int, int]],
) -> None:
    holder, name, error = PLACES[place]
    fault = Fault(error)
    monkeypatch.setattr(holder, name, fault(getattr(holder, name)))

    async def main() -> None:
        for fault.at, fault.count in numbers:
            fault.calls = 0
            where = f"{kind} with {readiness}: {place} fails {fault.count} times from {fault.at} on"
            await strike(kind, readiness, scene, fault, where)
            if fault.calls <= fault.at:
                return  # it is not called so often

    run_async(main())


def those_who_meet(place: str) -> list[str]:
    """Of the kinds of handlers, two that come by there."""
    if place.startswith("a thread"):
        return ["blocking", "in_thread"]
    return ["awaited", "parked"] if place == "tell of a loss" else ["inline", "conversation"]


@pytest.mark.parametrize(("place", "kind"), [(place, kind) for place in PLACES for kind in those_who_meet(place)])
def test_a_call_that_fails_leaves_nothing_behind(
    run_async: Any, readiness: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str, kind: str
) -> None:
    numbers = [(0, 1), (1, 3)]
    strikes(run_async, monkeypatch, kind, readiness, Scene("plain", tmp_path), place, numbers)


#: What is swept at length: every kind of handlers, and everything that peers can meet.
WIDE = [("plain", kind) for kind in KINDS] + [(feature, "inline") for feature in FEATURES if feature != "plain"]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("feature", "kind"), WIDE)
@pytest.mark.parametrize("place", PLACES)
def test_no_call_that_fails_leaves_anything_behind(
    run_async: Any,
    readiness: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    place: str,
    kind: str,
    feature: str,
) -> None:
    numbers = [(at, count) for at in range(4) for count in (1, 3)]
    strikes(run_async, monkeypatch, kind, readiness, Scene(feature, tmp_path), place, numbers)
