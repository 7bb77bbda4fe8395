"""Cuts a stream into messages beside its octets: a relay passes on the octets that came, not what a framing writes.

A framing may read what it does not write (a line that ends in CR LF, spaces in JSON). So each message is kept with the
octets that were its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fourtuple.errors import MessageError
from fourtuple.framing import Framing


@dataclass(frozen=True, slots=True)
class Cut:
    """The octets of one message, with what the framing made of them.

    ``message`` is None for octets that are no message: what was skipped between messages is part of the next one, and
    what cannot be cut has no message.
    """

    octets: bytes
    message: Any = None
    is_message: bool = True


class Cutter:
    """Cuts the octets of one direction.

    When the framing is broken, :attr:`error` says why, and from there on the octets are returned as they come.
    """

    def __init__(self, framing: Framing) -> None:
        self._decoder = framing.decoder()
        self._held = bytearray()
        #: What broke the framing; None while it is whole.
        self.error: MessageError | None = None
        #: Seconds of silence that end a message; None if silence ends none.
        self.gap_timeout: float | None = framing.gap_timeout

    @property
    def held(self) -> int:
        """The number of octets of an unfinished message."""
        return len(self._held)

    def feed(self, octets: bytes) -> list[Cut]:
        """Take the octets of one read; return the messages that are whole now."""
        return list(self.cut(octets))

    def cut(self, octets: bytes) -> Iterator[Cut]:
        """Do the same, one message at a time. Read it to its end before the next call."""
        if self.error is not None:
            yield Cut(octets, is_message=False)
            return
        self._held += octets
        data = octets
        while (message := self._next(data)) is not None:
            yield message
            data = b""

    def _next(self, data: bytes) -> Cut | None:
        """Feed octets; return the next message, or what is left if the framing is broken, None if there is neither."""
        if self.error is not None:
            return None
        try:
            # One message at a time: only then does ``buffered`` tell which octets are its own.
            messages = self._decoder.feed(data, 1)
        except MessageError as error:
            return next(iter(self._broken(error)), None)
        return self._cut(messages[0]) if messages else None

    def gap(self) -> list[Cut]:
        """Note that no octet came for ``gap_timeout`` seconds."""
        return [] if self.error is not None else self._last(self._decoder.gap)

    def finish(self) -> list[Cut]:
        """Take the end of file. What is left and makes no message is also returned."""
        if self.error is not None:
            return []
        cuts = self._last(self._decoder.finish)
        if self._held:  # octets that the framing skips at the end, such as a line ending
            cuts += [Cut(bytes(self._held), is_message=False)]
            self._held.clear()
        return cuts

    def _last(self, call: Any) -> list[Cut]:
        try:
            messages = call()
        except MessageError as error:
            return self._broken(error)
        # One at most: all that were whole before are cut already. The octets are those that are left.
        return [self._cut(message) for message in messages]

    def _cut(self, message: Any) -> Cut:
        used = len(self._held) - self._decoder.buffered
        octets = bytes(self._held[:used])
        del self._held[:used]
        return Cut(octets, message)

    def _broken(self, error: MessageError) -> list[Cut]:
        self.error = error
        rest = bytes(self._held)
        self._held.clear()
        return [Cut(rest, is_message=False)] if rest else []
