"""What a handler holds: the async connection, and what both connections, async and blocking, tell of themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fourtuple._lazy import lazily

if TYPE_CHECKING:
    from fourtuple.connection.connection import Connection
    from fourtuple.connection.server_handle import ServerHandle
    from fourtuple.connection.timers import Timer

__all__ = ["Connection", "ServerHandle", "Timer"]

if not TYPE_CHECKING:  # a checker would take __getattr__ for a promise that every name exists
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "fourtuple.connection.connection": ("Connection",),
            "fourtuple.connection.server_handle": ("ServerHandle",),
            "fourtuple.connection.timers": ("Timer",),
        },
    )
