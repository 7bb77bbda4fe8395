"""Programs as handlers, in the library: what is told of their end, and what others can do meanwhile."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from typing import Any

import pytest

from fourtuple import Deadlines, Service, events, serve_in_thread
from fourtuple.blocking import connect
from fourtuple.errors import ConnectionEnded, EndOfFile
from fourtuple.stream import Reason

SOON = 20.0


def program(*command: str) -> Service:
    service = Service("raw")
    service.program(*command)
    return service


@pytest.mark.parametrize(
    ("command", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", -signal.SIGKILL), ("kill -63 $$", -63)]
)
def test_the_exit_status(command: str, status: int) -> None:
    seen: list[events.Event] = []
    with (
        serve_in_thread(program("sh", "-c", command), observer=seen.append) as server,
        connect(server.address, "raw") as client,
        pytest.raises(EndOfFile),
    ):
        client.receive(SOON)
    told = [each for each in seen if isinstance(each, events.ProgramEnded | events.HandlerRaised | events.Closed)]
    ended, *raised, closed = told
    assert isinstance(ended, events.ProgramEnded)
    assert (ended.status, ended.program) == (status, f"sh -c {command}")
    assert len(raised) == bool(status)
    assert isinstance(closed, events.Closed)
    assert (closed.id, closed.name, closed.reason) == (ended.id, ended.name, Reason.HANDED_ON)


def test_nothing_else_is_sent_in_the_middle_of_its_output() -> None:
    refused: list[Exception] = []

    def send(connection: Any) -> None:
        try:
            connection.send(b"from somebody else")
        except ConnectionEnded as error:
            refused.append(error)

    with serve_in_thread(program("cat")) as server, connect(server.address, "raw") as client:
        assert client.request(b"hello", timeout=SOON) == b"hello"
        (theirs,) = server.connections.values()
        server.call_soon(send, theirs)
        assert client.request(b"and on", timeout=SOON) == b"and on"
        while not refused:
            pass
        assert "a program has the connection, nobody else sends" in str(refused[0])
        client.send_eof()
        with pytest.raises(EndOfFile):
            client.receive(SOON)


@pytest.mark.parametrize("how", ["abort", "close"])
def test_ending_the_connection_ends_the_program(how: str) -> None:
    seen: list[events.Event] = []
    with (
        serve_in_thread(program("sh", "-c", "echo $$; exec cat"), observer=seen.append) as server,
        connect(server.address, "line") as client,
    ):
        number = int(client.receive(SOON))
        (theirs,) = server.connections.values()
        server.call_soon(getattr(theirs, how))
        with pytest.raises((ConnectionError, EOFError)):
            client.receive(SOON)
        while not any(isinstance(each, events.Closed) for each in seen):
            pass
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)


def test_what_the_peer_sends_behind_the_end_is_drained() -> None:
    with serve_in_thread(program("echo", "goodbye"), deadlines=Deadlines(linger_timeout=60.0)) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as peer:
            while not server.statistics.active:
                pass
            assert read(peer.recv) == b"goodbye\n"
            for _ in range(10):
                peer.sendall(bytes(1 << 16))  # no RST answers it
            assert server.statistics.active == 1
        while server.statistics.active:
            pass


def read(recv: Callable[[int], bytes]) -> bytes:
    return b"".join(iter(lambda: recv(1 << 16), b""))
