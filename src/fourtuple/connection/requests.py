"""A request of an async connection: a message goes out, and its reply is awaited. The stream matches them in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fourtuple.engine import Channel
from fourtuple.errors import ConnectionBusy, DeadlinePassed
from fourtuple.stream import Half

#: The most reads before a request, to find a message that no request asked for. A peer that sends octets without end
#: that belong to no message, as the flags of HDLC between frames, must not keep the request from being sent.
_MOST_LOOKS = 16


async def request(channel: Channel, message: Any, timeout: float | None, is_receiving: Callable[[], bool]) -> Any:
    """Send a message and return the reply to it. ``is_receiving`` tells whether a task waits in a receive."""
    stream, name = channel.stream, channel.stream.name
    for _ in range(_MOST_LOOKS):
        if stream.requested or stream.unasked or not channel.has_unread:
            break
        await asyncio.sleep(0)  # the engine reads it in the loop's next turn
    arrived: asyncio.Future[None] = channel.engine.loop.create_future()

    def wake() -> None:
        if not arrived.done():
            arrived.set_result(None)

    if is_receiving() and stream.writing is Half.OPEN:  # else it has ended, and the next call raises
        raise ConnectionBusy(f"{name}: another task is receiving")
    sent = stream.request(message, wake)
    channel.flush_soon()
    try:
        async with asyncio.timeout(timeout):
            await arrived
    except TimeoutError:
        sent.abandoned = True
        if timeout is None:
            raise
        raise DeadlinePassed("request", timeout, str(name), "its late reply will be dropped") from None
    except BaseException:
        sent.abandoned = True
        raise
    return sent.result()
