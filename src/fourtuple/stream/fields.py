"""The fields of a stream that C works on (``stream/_fields/stream.h``), and their twin."""

from __future__ import annotations

from fourtuple import fast_path


@fast_path.fields
class StreamFields:
    """What the turn looks at; :class:`~fourtuple.stream.state.State` says what it is."""

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
