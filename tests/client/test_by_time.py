"""Pushes that only the time tells from replies: they came before the request was sent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from client.conftest import AT_ONCE, BRIEFLY, SECONDS, Clients, Peer, until
from conftest import RunAsync
from fourtuple import Client, Gap, Pushes
from fourtuple.blocking.link import BlockingLink
from fourtuple.client.link import AsyncLink
from fourtuple.errors import DeadlinePassed, Fate

#: More than the kernel gives in one read, and less than its buffer.
MANY = [b"%04d" % number + bytes(60) for number in range(2000)]


@pytest.fixture
def consumed() -> Iterator[list[Any]]:
    """The iterators over pushes, which are closed at the end."""
    iterators: list[Any] = []
    yield iterators
    for each in iterators:
        each.close()


def answer(clients: Clients, client: Any, line: Any, message: bytes) -> None:
    """A request reaches the peer, and its reply the program."""
    asked = clients.begin(client.request, message, SECONDS)
    assert line.hear() == message
    line.say(message.upper())
    assert asked.result(SECONDS) == message.upper()


def test_a_flood_of_pushes_does_not_hold_a_request_beyond_its_deadline(
    clients: Clients, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = clients(peer, pushes=Pushes(overflow="drop_oldest"))
    client.wait_ready(SECONDS)
    for link in (AsyncLink, BlockingLink):
        monkeypatch.setattr(link, "has_unread", lambda _, begun: True)
    with pytest.raises(
        DeadlinePassed, match=r"request deadline of 0.05 s .*: the server sent pushes without a gap,"
    ) as caught:
        client.request(b"asked", 0.05)
    assert caught.value.fate is Fate.NOT_SENT
    monkeypatch.undo()
    assert client.statistics.waiting == 0


def test_pushes_that_came_before_are_not_taken_for_the_reply(clients: Clients, peer: Peer) -> None:
    """More than one read has to take them."""
    client = clients(peer, pushes=Pushes())
    pushes = client.pushes()
    client.wait_ready(SECONDS)
    line = peer.accept()
    line.say(*MANY)
    answer(clients, client, line, b"asked")
    assert [pushes.receive(SECONDS) for _ in MANY] == MANY


@pytest.mark.parametrize("overflow", ["stop_reading", "drop_oldest"])
def test_pushes_for_which_the_inbox_has_no_room_are_not_taken_for_the_reply(
    clients: Clients, peer: Peer, consumed: list[Any], overflow: Any
) -> None:
    client = clients(peer, pushes=Pushes(max_inbox=1024, overflow=overflow))
    consumed.append(pushes := client.pushes())
    client.wait_ready(SECONDS)
    line = peer.accept()
    line.say(*MANY)
    asked = clients.begin(client.request, b"asked", SECONDS)
    if overflow == "stop_reading":
        assert [pushes.receive(SECONDS) for _ in MANY] == MANY
    assert line.hear() == b"asked"
    line.say(b"ASKED", b"after")
    assert asked.result(SECONDS) == b"ASKED"
    if overflow == "drop_oldest":
        assert client.statistics.pushes >= 2000
        assert isinstance(pushes.receive(SECONDS), Gap)
        while pushes.receive(SECONDS) != MANY[-1]:
            pass
    assert pushes.receive(SECONDS) == b"after"


def test_pushes_behind_a_reply_stay_pushes(clients: Clients, peer: Peer, consumed: list[Any]) -> None:
    """They come in one read with the reply, and the inbox has no room for all."""
    client = clients(peer, pushes=Pushes(max_inbox=128))
    consumed.append(pushes := client.pushes())
    for number in range(3):
        asked = clients.begin(client.request, b"%d" % number, SECONDS)
        if number == 0:
            line = peer.accept()
        else:
            assert [pushes.receive(SECONDS) for _ in range(9)] == MANY[:9]
        assert line.hear() == b"%d" % number
        line.say(b"reply %d" % number, *MANY[:9])
        assert asked.result(SECONDS) == b"reply %d" % number


def test_a_request_for_which_no_pushes_are_taken_says_so(clients: Clients, peer: Peer, consumed: list[Any]) -> None:
    """The program consumes them in the task that makes the request. Nothing is lost."""
    client = clients(peer, pushes=Pushes(max_inbox=1024))
    consumed.append(pushes := client.pushes())
    client.wait_ready(SECONDS)
    line = peer.accept()
    line.say(*MANY)
    text = (
        r"the server sent more pushes than are taken, from which only the time tells a reply: 20\d\d octets of them "
        r"wait, 1024 are allowed \(max_inbox, twice that beside a request\); give key= or is_push="
    )
    with pytest.raises(DeadlinePassed, match=text) as caught:
        client.request(b"asked", 0.1)
    assert caught.value.fate is Fate.NOT_SENT
    assert [pushes.receive(SECONDS) for _ in MANY] == MANY
    answer(clients, client, line, b"again")


def test_on_push_makes_room_before_a_request(clients: Clients, peer: Peer) -> None:
    taken: list[Any] = []
    client = clients(peer, pushes=Pushes(max_inbox=1024), on_push=taken.append)
    client.wait_ready(SECONDS)
    line = peer.accept()
    line.say(*MANY)
    answer(clients, client, line, b"asked")
    assert taken == MANY


@pytest.mark.parametrize("framing", ["line", "gap:0.05"])
def test_a_push_that_has_begun_is_not_taken_for_the_reply(
    clients: Clients, peer: Peer, consumed: list[Any], framing: str
) -> None:
    """A part of it came before the request. A gap ends it where no octet does."""
    client = clients(peer, framing, pushes=Pushes())
    consumed.append(pushes := client.pushes())
    client.wait_ready(SECONDS)
    line = peer.accept()
    line.socket.sendall(b"ne")
    asked = clients.begin(client.request, b"asked\n" if framing != "line" else b"asked", SECONDS)
    if framing == "line":
        until(lambda: client.statistics.waiting == 1)
        line.socket.sendall(b"ws\n")
    assert line.hear() == b"asked"
    line.socket.sendall(b"ASKED\n")
    assert asked.result(SECONDS).strip() == b"ASKED"
    assert pushes.receive(SECONDS) == (b"news" if framing == "line" else b"ne")


def test_a_push_behind_the_reply_before_it(run_async: RunAsync, peer: Peer) -> None:
    """Both wait in the kernel when another request is made: the push is not the reply to that one."""

    async def main() -> None:
        async with Client(peer.address, "line", retries=AT_ONCE, deadlines=BRIEFLY, pushes=Pushes()) as client:
            pushes = client.pushes()
            one = asyncio.ensure_future(client.request(b"one", SECONDS))
            line = await asyncio.to_thread(peer.accept)
            assert await asyncio.to_thread(line.hear) == b"one"
            line.say(b"ONE", b"news")
            two = asyncio.ensure_future(client.request(b"two", SECONDS))
            assert await asyncio.to_thread(line.hear) == b"two"
            line.say(b"TWO")
            assert (await one, await two) == (b"ONE", b"TWO")
            assert await pushes.receive(SECONDS) == b"news"
            pushes.close()

    run_async(main())


def test_what_comes_in_greet_and_behind_it(clients: Clients, peer: Peer, consumed: list[Any]) -> None:
    """The first request waits for the connection: it is sent when nothing is left to read there."""
    client = clients(peer, greet=lambda connection: connection.request(b"hello"), pushes=Pushes(max_inbox=1024))
    consumed.append(pushes := client.pushes())
    asked = clients.begin(client.request, b"asked", SECONDS)
    line = peer.accept()
    assert line.hear() == b"hello"
    line.say(b"HELLO", *MANY)
    assert [pushes.receive(SECONDS) for _ in MANY] == MANY
    assert line.hear() == b"asked"
    line.say(b"ASKED")
    assert asked.result(SECONDS) == b"ASKED"


def test_octets_of_pushes_are_those_that_came(clients: Clients, peer: Peer, consumed: list[Any]) -> None:
    """One read has more messages than one batch: those decoded later do not count for the messages behind them."""
    client = clients(peer, pushes=Pushes(overflow="drop_oldest", max_inbox=70 * 2000))
    consumed.append(pushes := client.pushes())
    client.wait_ready(SECONDS)
    line = peer.accept()
    for _ in range(2):
        line.say(*MANY[:1000])
        asked = clients.begin(client.request, b"asked", SECONDS)
        assert line.hear() == b"asked"
        line.say(b"ASKED", b"after")
        assert asked.result(SECONDS) == b"ASKED"
    assert [pushes.receive(SECONDS) for _ in range(2002)] == [*MANY[:1000], b"after"] * 2
