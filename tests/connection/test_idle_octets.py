"""Octets that belong to no message, and come without end: a request is sent all the same."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import fourtuple
import fourtuple.blocking
from fourtuple import Service, serve_in_thread
from fourtuple.blocking.polling import IN
from fourtuple.blocking.receiving import Receiving
from fourtuple.blocking.shared_socket import SharedSocket
from fourtuple.engine import Channel

service = Service("line")


@service.reply
def echo(message: bytes) -> bytes:
    return message


def test_an_async_request(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(address: str) -> None:
        async with fourtuple.connect(address, "line") as connection:
            monkeypatch.setattr(Channel, "has_unread", property(lambda _: True))
            async with asyncio.timeout(30):
                assert await connection.request(b"asked") == b"asked"

    with serve_in_thread(service, "127.0.0.1:0") as server:
        asyncio.run(main(str(server.address)))


def test_a_blocking_request(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    poll, move = SharedSocket.poll, Receiving.move

    def polls(self: SharedSocket, until: float | None, *arguments: Any, **options: Any) -> int:
        if self.stream.requested:
            return poll(self, until, *arguments, **options)
        looks.append(1)
        assert len(looks) < 100, "it looks without end"
        return IN

    def moves(self: Receiving, events: int) -> None:
        if self._stream.requested:
            move(self, events)

    with (
        serve_in_thread(service, "127.0.0.1:0") as server,
        fourtuple.blocking.connect(str(server.address), "line") as connection,
    ):
        monkeypatch.setattr(SharedSocket, "poll", polls)
        monkeypatch.setattr(Receiving, "move", moves)
        monkeypatch.setattr(Receiving, "has_unread", lambda _: True)
        assert connection.request(b"asked", 30) == b"asked"
        assert looks
        monkeypatch.undo()
