"""Backpressure: when reading from the peer stops and resumes, and when senders have to wait.

::

    the peer  --->  the inbox     nothing is read while a message waits there, or while the outbox is crowded
    the peer  <---  the outbox    crowded from high_water on, relieved at low_water: senders wait in between

A peer that does not read its replies is not read from either, so that its next requests wait in its own kernel. The
engine asks here what to watch (``engine/watching.py``), and handlers whether to go on.
"""

from __future__ import annotations

from fourtuple.stream.state import State
from fourtuple.stream.values import Half, Path

# Looked up once: a member of an enum costs two look-ups at each use.
_SPECIAL, _OPEN = Path.SPECIAL, Half.OPEN


class Backpressure(State):
    """The answers of a stream, for both directions."""

    __slots__ = ()

    @property
    def wants_read(self) -> bool:
        """Whether to read more: nothing is undelivered, no end was seen, and the outbox is not crowded (unless duplex).

        While closing, reading continues until the end of file; the octets are discarded.
        """
        if self.path is not _SPECIAL:
            return not self.inbox and (self.outbox_size < self.limits.high_water or self.duplex)
        if self.reading is not _OPEN:
            return False
        if self.closing:
            return True
        if self._rare is not None and self.ends_at_boundary and not self.decoder.buffered and not self._raw:
            return False
        throttle = self.throttle  # read once: while a thread has the socket, the loop's thread may remove the rate
        if throttle is not None and (self.held_back or throttle.thirsty):
            return False
        if self.inbox or self.read_error is not None or self.uncut:
            return False
        if self.outbox_size >= self.limits.high_water and not self.duplex:
            return False
        raw = self._raw
        # For receive_until() and its relatives: read what the receive needs, or one read ahead. The rest stays in the
        # kernel.
        return raw is None or not raw.octets or len(raw.octets) < max(raw.need, self.limits.read_size)

    @property
    def crowded(self) -> bool:
        """Whether senders have to wait: the outbox has reached ``high_water``."""
        if self.layer is not None:
            return self.outbox_size + self.layer.holding >= self.limits.high_water
        return self.outbox_size >= self.limits.high_water

    @property
    def relieved(self) -> bool:
        """Whether senders may continue: the outbox is down to ``low_water``."""
        if self.layer is not None:
            return self.outbox_size + self.layer.holding <= self.limits.low_water
        return self.outbox_size <= self.limits.low_water
