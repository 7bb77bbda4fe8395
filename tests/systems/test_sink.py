"""A stream sink, and a client that sends twice: received until end of file, and no tail is lost."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from fourtuple.blocking import connect
from systems.programs import EXAMPLES, serving


@pytest.mark.parametrize("size", [12, 3_000_000])
def test_two_sends_are_one_stream(size: int) -> None:
    """12 octets arrive as one; 3,000,000 are more than the kernel takes at once, so that send(2) takes a part."""
    with serving("sink") as server:
        command = [sys.executable, "-W", "error", str(EXAMPLES / "send_twice.py"), server.address, str(size)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
        said = server.line()
    assert (done.returncode, done.stdout, done.stderr) == (0, f"sent {2 * size} octets\n", "")
    name, _, counts = said.partition(": ")
    assert name.startswith(server.address)
    assert counts.startswith(f"{2 * size} octets in ")
    assert counts.endswith("then end of file")


def test_a_partial_write_keeps_its_tail() -> None:
    """The kernel's buffer is small and nobody reads: send() times out in the middle, and goes on where it was."""
    first, second = bytes(range(256)) * 8192, b"the end"
    with socket.create_server(("127.0.0.1", 0)) as passive:
        passive.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with connect(str(passive.getsockname()[1]), "raw,max_message=none") as client:
            active, _ = passive.accept()
            with active:
                active.settimeout(30)
                with pytest.raises(TimeoutError, match="octets wait in the outbox"):
                    client.send(first, timeout=0.05)
                statistics = client.statistics
                assert 0 < statistics.octets_out < len(first)
                assert statistics.octets_out + statistics.outbox == len(first)
                received = bytearray()
                while len(received) < len(first):
                    # The peer reads, and whatever is called next writes what was left.
                    received += active.recv(65536)
                    try:
                        client.receive_nowait()
                    except BlockingIOError:
                        pass
                client.send(second)
                client.send_eof()
                received += b"".join(iter(lambda: active.recv(65536), b""))
    assert received == first + second
