"""The fields of the engine's classes that C works on (``engine/_turn/turn.h``), and their twins."""

from __future__ import annotations

from fourtuple import fast_path


@fast_path.fields
class ChannelFields:
    """Of :class:`~fourtuple.engine.Channel`."""

    __slots__ = (
        "_crowded",
        "_dirty",
        "_socket",
        "consumer",
        "detached",
        "due",
        "engine",
        "fd",
        "id",
        "mask",
        "on_end",
        "opened",
        "stream",
    )


@fast_path.fields
class EngineFields:
    """Of :class:`~fourtuple.engine.Engine`."""

    __slots__ = ("share", "thread")


@fast_path.fields
class ConsumerFields:
    """Of whoever consumes a stream: a plain function of a message, or what another handler holds."""

    __slots__ = ("_connection", "_handle", "channel", "service", "stream")


@fast_path.fields
class ConnectionFields:
    """Of what a handler holds."""

    __slots__ = ("_channel", "_receiver", "_stream")
