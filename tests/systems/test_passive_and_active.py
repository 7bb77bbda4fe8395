"""Passive and active sockets. A Listener has no send and no receive, a Connection no accept; both know names."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fourtuple import BlockingConnection, Connection, Listener, serve_in_thread
from fourtuple.blocking import connect
from fourtuple.services.echo import service

TALKING = (
    "send",
    "send_many",
    "send_eof",
    "request",
    "receive",
    "receive_nowait",
    "receive_exactly",
    "recv",
    "sendall",
)
AWAITING = ("accept", "accept_one", "listen", "backlog", "accept_queue")


@pytest.mark.parametrize("name", TALKING)
def test_a_listener_does_not_talk(name: str) -> None:
    assert not hasattr(Listener, name)


@pytest.mark.parametrize("name", AWAITING)
@pytest.mark.parametrize("kind", [Connection, BlockingConnection])
def test_a_connection_does_not_await_connections(kind: type, name: str) -> None:
    assert not hasattr(kind, name)


def test_both_know_their_names() -> None:
    with serve_in_thread(service) as server, connect(server.address, service.framing) as client:
        client.request(b"now it is accepted")
        listener = server.listeners[0]
        accepted = server.find(client.name.reversed)
        assert accepted is not None
        assert listener.name == server.address == accepted.name.local == client.name.remote
        assert accepted.name.remote == client.name.local
        assert listener.name.port > 0


def test_the_example(run_example: Callable[..., list[str]]) -> None:
    lines = run_example("passive_and_active")
    assert lines[1].split() == ["send", "no,", "receive", "no,", "accept_one", "yes"]
    assert lines[3].split() == lines[5].split() == ["send", "yes,", "receive", "yes,", "accept_one", "no"]
