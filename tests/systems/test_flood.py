"""The two-sided flood. A client writes 100 MB and reads only when its writing has stalled: memory stays bounded."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Callable
from pathlib import Path

from systems.programs import serving

MB = 1_000_000


def resident(pid: int) -> int:
    """Resident octets of a process: proc(5), statm."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_server_alone_stays_small() -> None:
    """The server in a process of its own, the client with plain sockets: what grows is the server's alone."""
    message = bytes(range(256)) * 64  # 16 KiB
    count = 100 * MB // len(message)
    with serving("echo") as server, socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"hello")
        assert client.recv(5, socket.MSG_WAITALL) == b"hello"
        before = resident(server.process.pid)
        client.settimeout(0.5)
        written = 0
        try:
            while True:
                written += client.send(message[written % len(message) :])
                assert written < 40 * MB, "somebody stores what nobody reads"
        except TimeoutError:
            pass  # stalled
        assert resident(server.process.pid) - before < 8 * MB

        read = peak = 0
        client.setblocking(False)
        poll = select.poll()
        while read < count * len(message):
            poll.register(client, select.POLLIN | (select.POLLOUT if written < count * len(message) else 0))
            ((_, happened),) = poll.poll(30_000)
            if happened & select.POLLOUT:
                written += client.send(message[written % len(message) :])
            if happened & select.POLLIN:
                piece = client.recv(65536)
                assert piece == (message * 6)[read % len(message) :][: len(piece)]
                read += len(piece)
                peak = max(peak, resident(server.process.pid))
        assert peak - before < 16 * MB


def test_the_example_floods_with_100_mb(run_example: Callable[..., list[str]]) -> None:
    stalled, arrived, grown = run_example("flood", 100)
    assert float(stalled.split()[3]) < 40, "the kernel's buffers of four sockets and our outbox, no more"
    assert float(stalled.split()[-2]) < 8, stalled
    assert arrived == "100007936 octets came back of 100007936, in order"
    assert float(grown.split()[-2]) < 16, grown
