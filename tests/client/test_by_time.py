"""Pushes that only the time tells from replies: they came before the request was sent."""

from __future__ import annotations

import time
from typing import Any

import pytest

from client.conftest import Clients, Peer
from fourtuple import Pushes
from fourtuple.blocking.receiving import Receiving
from fourtuple.client.link import Reader
from fourtuple.errors import DeadlinePassed, Fate

#: More than the kernel gives in one read, and less than its buffer.
MANY = [b"%04d" % number + bytes(60) for number in range(2000)]


def test_a_flood_of_pushes_does_not_hold_a_request_beyond_its_deadline(
    clients: Clients, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = clients(peer, pushes=Pushes(overflow="drop_oldest"))
    client.wait_ready(10)
    monkeypatch.setattr(Reader, "has_unread", property(lambda _: True))
    monkeypatch.setattr(Receiving, "has_unread", lambda _: True)
    with pytest.raises(DeadlinePassed, match=r"request deadline of 0.05 s .* without a gap") as caught:
        client.request(b"asked", 0.05)
    assert caught.value.fate is Fate.NOT_SENT
    monkeypatch.undo()
    assert client.statistics.requests == 0


def test_the_wait_for_a_gap_counts_as_time_of_the_request(
    clients: Clients, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = clients(peer, pushes=Pushes(overflow="drop_oldest"))
    client.wait_ready(10)
    line = peer.accept()
    looks: list[float] = []
    deadlines: list[float | None] = []
    ask = client.pool.ask

    def has_unread(_: Any) -> bool:
        looks.append(time.monotonic())
        return len(looks) < 3

    def asks(call: Any, now: float) -> None:
        ask(call, now)
        deadlines.append(call.deadline)

    monkeypatch.setattr(Reader, "has_unread", property(has_unread))
    monkeypatch.setattr(Receiving, "has_unread", has_unread)
    monkeypatch.setattr(client.pool, "ask", asks)
    asked = clients.begin(client.request, b"asked", 10)
    assert line.hear() == b"asked"
    line.say(b"ASKED")
    assert asked.result(10) == b"ASKED"
    assert deadlines[0] is not None
    assert deadlines[0] <= looks[0] + 10


def test_pushes_that_came_before_are_not_taken_for_the_reply(clients: Clients, peer: Peer) -> None:
    """More than one read has to take them."""
    client = clients(peer, pushes=Pushes())
    pushes = client.pushes()
    client.wait_ready(10)
    line = peer.accept()
    line.say(*MANY)
    asked = clients.begin(client.request, b"asked", 10)
    assert line.hear() == b"asked"
    line.say(b"ASKED")
    assert asked.result(10) == b"ASKED"
    assert [pushes.receive(10) for _ in MANY] == MANY
