"""The async clients: one connection (:func:`connect`), and a client that stays connected (:class:`Client`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fourtuple._lazy import lazily

if TYPE_CHECKING:
    from fourtuple.client.client import Client
    from fourtuple.client.opening import Opening, Waker, connect, connection_over, take
    from fourtuple.client.pushes import PushStream

__all__ = ["Client", "Opening", "PushStream", "Waker", "connect", "connection_over", "take"]

if not TYPE_CHECKING:  # a checker would take __getattr__ for a promise that every name exists
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "fourtuple.client.client": ("Client",),
            "fourtuple.client.opening": ("Opening", "Waker", "connect", "connection_over", "take"),
            "fourtuple.client.pushes": ("PushStream",),
        },
    )
