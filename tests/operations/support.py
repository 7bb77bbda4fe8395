"""A served service with its control socket and its HTTP server, in the process of the test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fourtuple import Limits, Server, Service, events
from fourtuple.observe.combine import each_of
from fourtuple.observe.metrics import Meter
from fourtuple.operations.control import ControlServer
from fourtuple.operations.http import HttpServer
from fourtuple.operations.measuring import LoopMeter, measured
from fourtuple.operations.pages import Pages
from fourtuple.operations.servers import Servers
from rig import PATIENT, Peer, Seen


def upper(name: str = "upper") -> Service[Any, Any, Any, Any]:
    service = Service("line", name=name)

    @service.reply
    def shout(message: bytes) -> bytes:
        if message == b"raise":
            raise LookupError("by request")
        return message.upper()

    return service


@dataclass
class World:
    """What a test acts on."""

    server: Server
    subject: Servers
    meter: Meter
    seen: Seen
    control: str
    http: HttpServer
    held: list[Peer] = field(default_factory=list)

    async def get(self, path: str, *lines: str, method: str = "GET", host: str = "localhost") -> tuple[str, bytes]:
        """Do one HTTP request; return the head and the body of the response."""
        head = "".join(f"{line}\r\n" for line in (f"{method} {path} HTTP/1.1", f"Host: {host}", *lines))
        whole = await self.exchange(f"{head}Connection: close\r\n\r\n".encode())
        head, _, body = whole.partition(b"\r\n\r\n")
        return head.decode(), body

    async def exchange(self, octets: bytes) -> bytes:
        """Send octets to the HTTP server; return all that comes until the end of file."""
        with await Peer.connect(self.http.server) as peer:
            await peer.send(octets)
            return await peer.receive_all()

    async def op(self, op: str, **arguments: Any) -> Any:
        """Do one operation at the control socket; return the reply."""
        with await Peer.connect(self.control_address) as peer:
            return await ask(peer, {"op": op, **arguments})

    @property
    def control_address(self) -> Any:
        return self._control.server.address

    _control: ControlServer = field(init=False)


async def ask(peer: Peer, request: Any) -> Any:
    await peer.send(json.dumps(request).encode() + b"\n")
    line = b""
    while not line.endswith(b"\n"):
        octet = await peer.receive(1)
        assert octet, "the control socket was closed"
        line += octet
    return json.loads(line)


@asynccontextmanager
async def operated(
    path: Path,
    service: Service[Any, Any, Any, Any] | None = None,
    *,
    dashboard: bool = True,
    limits: Limits | None = None,
    addresses: tuple[str, ...] = ("127.0.0.1:0",),
    **options: Any,
) -> AsyncIterator[World]:
    """Serve, with everything that operates it. ``path`` is a folder for the socket file."""
    service = service or upper()
    meter, seen = Meter(service.name), Seen()
    server: Server = Server(
        measured(service, meter),
        *addresses,
        limits=limits,
        deadlines=options.pop("deadlines", PATIENT),
        observer=each_of(seen, meter),
        **options,
    )
    loop_meter = LoopMeter(asyncio.get_running_loop())
    subject = Servers([server], meters={server: meter}, loop_meter=loop_meter)
    control = ControlServer(subject, str(path / "control.sock"))
    http = HttpServer(Pages(subject, dashboard=dashboard), _loopback(), ["known.example"])
    loop_meter.start()
    async with AsyncExitStack() as stack:
        stack.callback(loop_meter.stop)
        for each in (server, control.server, http.server):
            await each.start()
            stack.push_async_callback(each.abort)
        world = World(server, subject, meter, seen, control.path, http)
        world._control = control
        yield world


def _loopback() -> Any:
    from fourtuple import Address

    return Address("127.0.0.1", 0)


async def conversation(server: Server, *messages: bytes) -> list[bytes]:
    """Send messages one after the other on one connection, and half-close; return the replies."""
    with await Peer.connect(server) as peer:
        return (await peer.talk(b"".join(message + b"\n" for message in messages))).splitlines()


async def ended(world: World, count: int) -> list[events.Closed]:
    return await world.seen.wait(events.Closed, count)
