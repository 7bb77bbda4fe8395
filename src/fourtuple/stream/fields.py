"""The fields of a stream and a layer that C reads and writes (``stream/_fields/stream.h``), and their Python twins."""

from __future__ import annotations

from typing import Any

from fourtuple import fast_path


@fast_path.fields
class StreamFields:
    """The fields that the turn reads and writes; :class:`~fourtuple.stream.state.State` documents them."""

    __slots__ = (
        "_head",
        "_name",
        "_rare",
        "_requests",
        "closing",
        "decoder",
        "framing",
        "gap_at",
        "inbox",
        "last_activity",
        "layer",
        "limits",
        "message_since",
        "messages_in",
        "messages_out",
        "octets_in",
        "octets_out",
        "opened",
        "outbox",
        "outbox_size",
        "path",
        "pending",
        "reading",
        "reason",
        "writing",
    )

    _rare: dict[str, Any] | None


@fast_path.fields
class LayerFields:
    """The fields that the turn reads; :class:`~fourtuple.stream.layer.Layer` and ``TlsLayer`` document them."""

    __slots__ = ("_incoming", "_outgoing", "_session", "holding", "within")
