"""The four-tuple. A thousand connections at one local name, each named by its own, found and listed by it."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack

from fourtuple import FourTuple, serve_in_thread
from fourtuple.blocking import connect
from fourtuple.services.echo import service

COUNT = 1000


def test_a_thousand_connections_by_name() -> None:
    with ExitStack() as stack:
        server = stack.enter_context(serve_in_thread(service))
        # Plain sockets: what getsockname(2) and getpeername(2) say is the witness.
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(COUNT)]
        for client in clients:
            client.sendall(b"x")
        for client in clients:
            assert client.recv(1) == b"x"

        listed = {connection.name for connection in server.connections.values()}
        witnessed = {FourTuple(*client.getpeername(), *client.getsockname()) for client in clients}
        assert listed == witnessed
        assert len(listed) == COUNT
        assert {name.local for name in listed} == {server.address}
        assert len({connection.id for connection in server.connections.values()}) == COUNT

        for name in witnessed:
            found = server.find(name)
            assert found is not None
            assert found.name == name
            assert server.find(str(name)) is found

    assert server.find(next(iter(witnessed))) is None


def test_another_thread_may_look_while_connections_come_and_go() -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with serve_in_thread(service) as server, connect(server.address, service.framing) as client:
            client.request(b"x")
            for _ in range(200):
                with socket.create_connection(("127.0.0.1", server.port)):
                    assert server.find(client.name.reversed) is not None
                    assert server.statistics.active >= 1
                    assert server.connections
    finally:
        sys.setswitchinterval(interval)


def test_the_example(run_example: Callable[..., list[str]]) -> None:
    lines = run_example("four_tuples", COUNT)
    assert lines[0] == "1000 connections, 1 local name, 1000 four-tuples:"
    assert lines[-1] == "each of the 1000 was found by its four-tuple"
