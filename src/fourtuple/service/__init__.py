"""What the user writes: a framing and a handler, with what is checked when a function is registered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fourtuple._lazy import lazily

if TYPE_CHECKING:
    from fourtuple.options import function_name
    from fourtuple.service.handler import (
        AdaptedHandler,
        ConversationHandler,
        Handler,
        ProgramHandler,
        ReplyHandler,
    )
    from fourtuple.service.kinds import ReplyKind
    from fourtuple.service.replies import ReplyAndClose, reply_and_close
    from fourtuple.service.service import Service

__all__ = [
    "AdaptedHandler",
    "ConversationHandler",
    "Handler",
    "ProgramHandler",
    "ReplyAndClose",
    "ReplyHandler",
    "ReplyKind",
    "Service",
    "function_name",
    "reply_and_close",
]

if not TYPE_CHECKING:  # a checker would take __getattr__ for a promise that every name exists
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "fourtuple.service.handler": (
                *("AdaptedHandler", "ConversationHandler", "Handler", "ProgramHandler", "ReplyHandler"),
            ),
            "fourtuple.options": ("function_name",),
            "fourtuple.service.kinds": ("ReplyKind",),
            "fourtuple.service.replies": ("ReplyAndClose", "reply_and_close"),
            "fourtuple.service.service": ("Service",),
        },
    )
