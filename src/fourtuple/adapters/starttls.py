"""``loop.start_tls()`` for our transports, on loops that refuse transports which are not their own."""

from __future__ import annotations

import asyncio
from asyncio.base_events import BaseEventLoop
from typing import Any

from fourtuple.adapters.transport import ChannelTransport


def allow_start_tls(loop: asyncio.AbstractEventLoop) -> None:
    """Let ``loop.start_tls()`` take our transports: those of uvloop refuse them. Idempotent.

    asyncio's own loops ask the transport, so nothing is changed there. On another loop the method is replaced, for this
    loop object: our transports get asyncio's ``sslproto``, and all others what the loop had.
    """
    if isinstance(loop, BaseEventLoop) or "start_tls" in vars(loop):
        return
    own = loop.start_tls

    async def start_tls(transport: Any, protocol: Any, sslcontext: Any, **options: Any) -> Any:
        if isinstance(transport, ChannelTransport):
            return await BaseEventLoop.start_tls(loop, transport, protocol, sslcontext, **options)  # type: ignore[arg-type]
        return await own(transport, protocol, sslcontext, **options)

    loop.start_tls = start_tls  # type: ignore[method-assign]
