"""A share of the loop for code that was written for asyncio's streams.

A callback whose reader always holds octets, or whose peer reads all that is written, never waits:
``await reader.readline()`` and ``await writer.drain()`` return at once. On asyncio, it blocks the loop for all other
connections. Here it has the share that every handler has, and then others go first.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fourtuple.connection.waiters import behind_others, had_its_share
from fourtuple.engine import Channel


class FairReader(asyncio.StreamReader):
    """A StreamReader whose task lets others go first once its share is used. No octet is taken before that wait."""

    #: The channel for whose connection the task works.
    fourtuple_channel: Channel

    async def _take_turn(self) -> None:
        if had_its_share(self.fourtuple_channel):
            await behind_others(self.fourtuple_channel)

    async def read(self, n: int = -1) -> bytes:
        await self._take_turn()
        return await super().read(n)

    async def readexactly(self, n: int) -> bytes:
        await self._take_turn()
        return await super().readexactly(n)

    async def readuntil(self, separator: Any = b"\n") -> bytes:
        await self._take_turn()
        return await super().readuntil(separator)


def let_take_turns(protocol: asyncio.BaseProtocol, channel: Channel) -> None:
    """Let the reader of a streams protocol keep to its share.

    :func:`asyncio.start_server` makes the reader itself, so its class is replaced. A reader of another class stays.
    """
    reader = getattr(protocol, "_stream_reader", None)
    if type(reader) is asyncio.StreamReader:
        fair: Any = reader
        fair.__class__ = FairReader
        fair.fourtuple_channel = channel
