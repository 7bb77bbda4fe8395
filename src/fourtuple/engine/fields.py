"""The fields of the engine's classes that C reads and writes (``engine/_turn/turn.h``), and their twins in Python."""

from __future__ import annotations

from fourtuple import fast_path


@fast_path.fields
class ChannelFields:
    """The fields of :class:`~fourtuple.engine.Channel`."""

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
    """The fields of :class:`~fourtuple.engine.Engine`."""

    __slots__ = ("now", "share", "thread")


@fast_path.fields
class ConsumerFields:
    """The fields of a consumer. ``_handle`` is the function of a reply service, None while it is under way."""

    __slots__ = ("_connection", "_handle", "channel", "host", "service", "stream")


@fast_path.fields
class ConnectionFields:
    """The fields of the connection that a handler gets."""

    __slots__ = ("_channel", "_receiver", "_stream")


@fast_path.fields
class EagerFutureFields:
    """The fields of :class:`~fourtuple.engine.eager_future.EagerFuture`."""

    __slots__ = ("_asyncio_future_blocking", "_callback", "_cancelled", "_context", "_loop", "waiting")


@fast_path.fields
class SparesFields:
    """The fields of :class:`~fourtuple.handlers.spares.Spares`: the task that stands in, and where."""

    __slots__ = ("context", "loop", "parked", "task")
