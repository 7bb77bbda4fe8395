"""The stream itself, whole: what can be seen of a conversation, upon everything below it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from fourtuple.events import Statistics
from fourtuple.stream.deadlines import Timed
from fourtuple.stream.values import Half

#: ``tap(stream, inward, octets)``.
Tap: TypeAlias = "Callable[[Stream, bool, bytes], None]"


class Stream(Timed):
    """One conversation: decoder and inbox, outbox, the states of both directions, counters, deadlines as data."""

    __slots__ = ()

    @property
    def wants_read(self) -> bool:
        """Whether another read is welcome: nothing undelivered, no end seen, and no crowded outbox unless duplex.

        While closing, everything is welcome until the end of file: it is discarded.
        """
        if self.reading is not Half.OPEN:
            return False
        if self.closing:
            return True
        if self._rare is not None and self.ends_at_boundary and not self.decoder.buffered and not self._raw:
            return False
        throttle = self.throttle  # once: where a thread has the socket, the loop's may lift the rate meanwhile
        if throttle is not None and (self.held_back or throttle.thirsty):
            return False
        if self.inbox or self.read_error is not None or self.uncut:
            return False
        if self.outbox_size >= self.limits.high_water and not self.duplex:
            return False
        if self._raw:
            return len(self._raw) < max(self._raw_need, self.limits.read_size)
        return True

    @property
    def uncut(self) -> bool:
        """Whether what is held may be whole messages, behind a full batch: they come before another read."""
        return self.message_since is None and self.decoder.buffered > 0 and not self.closing

    @property
    def read_size(self) -> int:
        """How many octets one read may bring now; 0 where a rate has to be waited for."""
        size, throttle = self.limits.read_size, self.throttle
        return size if throttle is None or self.closing else throttle.octets(size)

    @property
    def buffered(self) -> int:
        """Octets held for this connection: not decoded yet, in decoded values, or not taken by the kernel yet."""
        held = self.outbox_size + self.decoder.held + (len(self._raw) if self._raw else 0)
        return held if self.layer is None else held + self.layer.holding

    @property
    def peer_finished(self) -> bool:
        """Whether the peer has finished, or never can: nothing comes behind what is here."""
        return self.finishing or self.reading is not Half.OPEN

    @property
    def at_boundary(self) -> bool:
        """Whether the peer is between two messages, with none of them waiting."""
        return not self.inbox and not self.decoder.buffered and not self._raw and self.ready

    @property
    def spoken(self) -> bool:
        """Whether the peer has sent an octet of the conversation itself."""
        return self.octets_in > self.preamble

    @property
    def silent(self) -> bool:
        """Whether neither side has sent an octet of the conversation itself: a header, a handshake are none of it."""
        if not self.octets_in or self.layer is None:
            return not self.spoken and not self.octets_out
        return self.ready and not self.spoken and not self.messages_out

    @property
    def statistics(self) -> Statistics:
        """An immutable snapshot of the counters."""
        return Statistics(
            self.octets_in,
            self.octets_out,
            self.messages_in,
            self.messages_out,
            self.late_replies,
            len(self.inbox),
            self.outbox_size,
            self.discarded,
        )

    def __repr__(self) -> str:
        return (
            f"<Stream {self.name} {self.framing}, reading {self.reading.value}, writing {self.writing.value}, "
            f"inbox {len(self.inbox)}, outbox {self.outbox_size}>"
        )
