"""Half-close: the two directions of a conversation end independently, each by a FIN (RFC 9293, 3.6).

::

    reading                                     writing
    OPEN --- FIN received ----> ENDED           OPEN --- end_writing() --> ENDING --- outbox empty, FIN --> ENDED
      \\--- RST, broken framing -> BROKEN          \\--- RST, abort ----------> BROKEN

``received_eof()`` and ``end_writing()`` begin a transition: they pass it through the layers, and what was pending goes
out before. ``broken()`` and ``write_broken()`` are the ways to BROKEN. The conversation is over when each direction is
ENDED or BROKEN; until then, the other direction is used as before.
"""

from __future__ import annotations

from fourtuple.stream.state import State
from fourtuple.stream.values import Half, Path

_OPEN, _SPECIAL = Half.OPEN, Path.SPECIAL


class HalfClose(State):
    """The end of each direction by a FIN."""

    __slots__ = ()

    # Fields of State that this part writes.
    last_activity: float
    message_since: float | None
    path: Path
    reading: Half
    writing: Half

    # -- the peer's FIN -------------------------------------------------------------------------------------

    def fin_arrived(self) -> bool:
        """Note that the peer's FIN has come after octets not read yet; return whether this is new."""
        news = not self.finishing
        self.finishing = True
        return news

    def _take_fin(self, now: float) -> None:
        """End reading: the FIN was read, after all octets before it."""
        self.reading = Half.ENDED
        self.path = _SPECIAL
        self.last_activity = now
        self.message_since = None

    @property
    def peer_finished(self) -> bool:
        """Whether nothing comes after the octets already here: the peer has finished, or the direction is broken."""
        return self.finishing or self.reading is not _OPEN

    # -- our FIN --------------------------------------------------------------------------------------------

    def _begin_fin(self) -> bool:
        """Let FIN follow the last octet of the outbox (RFC 9293, 3.6.1); return whether writing was open."""
        if self.writing is not _OPEN:
            return False
        self.writing = Half.ENDING
        self.path = _SPECIAL
        return True

    @property
    def fin_due(self) -> bool:
        """Whether everything is written and FIN has to be sent now."""
        return self.writing is Half.ENDING and not self.outbox_size and (self.layer is None or self.layer.finished)

    def fin_sent(self, now: float) -> None:
        """Note that FIN was sent."""
        self.writing = Half.ENDED
        self.fin_at = now

    # -- both -----------------------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether nothing is left to do: both directions have ended or are broken, and nothing waits for a rate."""
        writing, reading = self.writing, self.reading
        if (writing is not Half.ENDED and writing is not Half.BROKEN) or reading is Half.OPEN:
            return False
        return not (self.held_back and writing is reading is Half.ENDED)
