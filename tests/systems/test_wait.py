"""select() over several sockets: fourtuple.blocking.wait, buffered messages counted as ready."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from contextlib import ExitStack

from fourtuple.blocking import connect, wait


def test_buffered_messages_are_ready() -> None:
    with socket.create_server(("127.0.0.1", 0)) as passive, ExitStack() as stack:
        port = str(passive.getsockname()[1])
        clients = [stack.enter_context(connect(port, "line")) for _ in range(3)]
        peers = [stack.enter_context(passive.accept()[0]) for _ in clients]
        by_port = {peer.getpeername()[1]: peer for peer in peers}
        first, second, third = clients
        assert wait(clients, timeout=0) == []

        by_port[second.name.local_port].sendall(b"one\ntwo\nthree")
        assert wait(clients, timeout=100) == [second]
        assert second.receive() == b"one"
        # select(2) sees an empty socket: the octets of the second message are in the connection.
        assert select.select([second], [], [], 0) == ([], [], [])
        assert wait(clients, timeout=0) == [second]
        assert second.receive() == b"two"
        # Part of a message is none.
        assert wait(clients, timeout=0) == []

        by_port[third.name.local_port].close()
        assert wait(clients, timeout=100) == [third]  # the end of file is something to receive
        by_port[second.name.local_port].sendall(b"\n")
        assert wait([first, second], timeout=100) == [second]
        assert second.receive() == b"three"


def test_the_example(run_example: Callable[..., list[str]]) -> None:
    first, *heard = run_example("several")
    assert first == "ready before anything was sent: 0"
    assert sorted(line.partition("heard ")[2] for line in heard) == [
        f"{colour} {number}" for colour in ("blue", "green", "red") for number in (1, 2, 3)
    ]
