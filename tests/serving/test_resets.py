"""A peer that resets just as its replies are written must not leave its connection behind."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import pytest
import uvloop

from fourtuple import Service, events
from fourtuple.engine import ReadinessChoice
from fourtuple.framing import Line
from fourtuple.stream import Reason
from rig import until
from serving.support import serving


@pytest.mark.parametrize("kind", ["inline", "generator", "async"])
def test_a_reset_between_two_writes_of_one_turn(run_async: Any, readiness: ReadinessChoice, kind: str) -> None:
    """The first write fills the kernel's buffer, the reset comes, the second write fails: no rest is waited for."""

    async def main() -> None:
        service, handled = Service(Line()), []
        large = b"x" * 1_000_000

        if kind == "inline":

            @service.reply
            def inline(message: bytes) -> bytes:
                handled.append(message)
                return large

        elif kind == "generator":

            @service.reply
            def generator(message: bytes) -> Any:
                handled.append(message)
                yield large

        else:

            @service.reply
            async def waiting(message: bytes) -> bytes:
                handled.append(message)
                return large

        peer = socket.socket()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        def tap(_stream: Any, inward: bool, _octets: bytes) -> None:
            if not inward:
                peer.close()

        with peer:
            async with serving(service, tap=tap, readiness=readiness) as (server, heard):
                peer.setblocking(False)
                await asyncio.get_running_loop().sock_connect(peer, ("127.0.0.1", server.port))
                peer.send(b"question\n" * 10)
                await until(lambda: heard.of(events.Closed))
                assert heard.of(events.Closed)[0].reason is Reason.RESET
                assert handled

    run_async(main())


@pytest.mark.parametrize("host", [asyncio.SelectorEventLoop, uvloop.new_event_loop])
def test_a_reset_right_behind_octets(host: Any, readiness: ReadinessChoice) -> None:
    """Both are there when the server looks: it reads the octets, and hears of the reset all the same."""

    async def main() -> None:
        async with serving(readiness=readiness) as (server, heard):
            with socket.create_connection(("127.0.0.1", server.port)) as peer:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                await until(lambda: server.connections)
                peer.send(b"half a message")
            await until(lambda: heard.of(events.Closed))
            closed = heard.of(events.Closed)[0]
            assert (closed.reason, closed.statistics.octets_in) == (Reason.RESET, 14)

    with asyncio.Runner(loop_factory=host) as runner:
        runner.run(main())
