"""What happens in a relay, as events for the observer of its server, beside those of every server.

``id`` and ``name`` are those of the client's connection.
"""

from __future__ import annotations

from fourtuple.events.base import Event, event
from fourtuple.four_tuple import Name


@event
class TargetConnected(Event):
    """The target is connected; ``toxics`` are those that act on this conversation."""

    id: int
    name: Name
    target: str
    toxics: tuple[str, ...]


@event
class TargetFailed(Event):
    """The target cannot be reached: the client's connection is reset."""

    id: int
    name: Name
    target: str
    error: Exception


@event
class MessageRelayed(Event):
    """A message (with the framing ``raw``: the octets of one read) in one direction, ``upstream`` or ``downstream``.

    ``what`` is ``passed`` for one that goes on as it came, ``edited``, ``dropped`` or ``injected``. ``offset`` counts
    the octets of this direction before it, and ``octets`` is what goes on.
    """

    id: int
    name: Name
    direction: str
    what: str
    offset: int
    octets: bytes


@event
class EndRelayed(Event):
    """The sender of one direction, ``upstream`` or ``downstream``, has sent its end of file."""

    id: int
    name: Name
    direction: str


@event
class StreamUncut(Event):
    """The octets of one direction break the framing. ``passed``: they go on uncut; otherwise the conversation is ended.

    With a function that edits, or with toxics on messages, octets that cannot be cut must not pass.
    """

    id: int
    name: Name
    direction: str
    error: Exception
    passed: bool


@event
class RelayEnded(Event):
    """A relayed conversation has ended, with the octets that were sent each way, and why."""

    id: int
    name: Name
    target: str
    octets_up: int
    octets_down: int
    why: str


@event
class ToxicsRead(Event):
    """The file of toxics was read again; they also act on open conversations."""

    toxics: tuple[str, ...]


@event
class ToxicsFailed(Event):
    """The file of toxics cannot be used; those read before stay in force."""

    error: Exception


@event
class ReplayDiffers(Event):
    """A peer of a replayed conversation said something else than in the recording, at octet ``offset`` of its side."""

    conversation: int
    offset: int
    recorded: bytes
    came: bytes
