"""Peers whose machine has gone without a word, in front of a real kernel."""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import Any

import pytest

from fourtuple import Sockets, events
from fourtuple.stream import Reason
from rig import until
from serving.support import serving


@pytest.mark.parametrize("in_flight", [False, True])
def test_a_dead_peer_is_found(run_async: Any, readiness: Any, in_flight: bool) -> None:
    """Keepalive finds one that is silent, TCP_USER_TIMEOUT one that owes us an ACK, each without the other."""

    async def main() -> None:
        found_by = (
            {"keepalive": False, "user_timeout": 1.0}
            if in_flight
            else {"keepalive_idle": 1, "keepalive_interval": 1, "keepalive_count": 1, "user_timeout": None}
        )
        async with serving(readiness=readiness, sockets=Sockets(**found_by)) as (server, heard):
            with socket.create_connection(("127.0.0.1", server.port)) as peer:
                await until(lambda: heard.of(events.Accepted))
                die(peer)
                if in_flight:
                    assert server.broadcast(b"are you there?").sent == 1
                await until(lambda: heard.of(events.Closed))
            (closed,) = heard.of(events.Closed)
            assert closed.reason is Reason.LOST
            assert closed.statistics.outbox == 0

    run_async(main())


def die(sock: socket.socket) -> None:
    """Hear nothing more, and so answer nothing more, not even by RST: a filter that drops what comes (socket(7))."""
    drop = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF_RET | BPF_K: keep 0 octets
    program = struct.pack("HP", 1, ctypes.addressof(drop))
    sock.setsockopt(socket.SOL_SOCKET, 26, program)  # SO_ATTACH_FILTER
