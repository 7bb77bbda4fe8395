"""Messages ended by silence: ``gap:0.05``, for Modbus RTU over TCP and instruments that send no terminator.

::

    +-----------------+                +-------------+
    | octets          |  (silence)     | octets      |  (silence)
    +-----------------+                +-------------+
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from fourtuple.errors import EncodeError, MessageTooLong, OptionError
from fourtuple.framing.base import Framing, Octets
from fourtuple.framing.buffered import BufferedDecoder
from fourtuple.framing.checks import check_bounds, check_size, octets_of
from fourtuple.options import DEFAULT_MAX_MESSAGE, seen


@dataclass(frozen=True)
class Gap(Framing[bytes, Octets]):
    """A message is the octets between two silences of ``gap_timeout`` seconds.

    The driver measures the time: it calls :meth:`~fourtuple.framing.Decoder.gap` when no octet came for that long.
    TCP does not preserve silences: a network that delays or joins segments cuts or joins messages. Choose a
    ``gap_timeout`` longer than the variation of the round trip and shorter than the peer's pause; the default of 0.05
    is for a local network.

    The end of file also ends a message. More than ``max_message`` octets raise
    :class:`~fourtuple.errors.MessageTooLong`. A message of 0 octets would be silence, and
    :meth:`encode` raises :class:`~fourtuple.errors.EncodeError` for it.

    ``max_sent`` bounds a sent message, in octets. By default there is no bound, because your own program makes these
    messages.
    """

    gap_timeout: float = 0.05
    max_message: int | None = DEFAULT_MAX_MESSAGE
    max_sent: int | None = field(default=None, kw_only=True)

    word: ClassVar[str] = "gap"
    argument: ClassVar[str | None] = "gap_timeout"

    def __post_init__(self) -> None:
        number = isinstance(self.gap_timeout, int | float) and not isinstance(self.gap_timeout, bool)
        if not number or not 0 < self.gap_timeout < 3600:
            raise OptionError(
                f"gap: gap_timeout is {seen(self.gap_timeout)} seconds, it must be above 0 and below 3600"
            )
        check_bounds(self)

    def decoder(self) -> BufferedDecoder[bytes]:
        return _GapDecoder(self)

    def encode(self, message: Octets) -> bytes:
        octets = octets_of(self, message)
        check_size(self, len(octets))
        if not octets:
            raise EncodeError(f"{self}: a message of 0 octets is silence")
        return octets


class _GapDecoder(BufferedDecoder):
    __slots__ = ("_max",)

    def __init__(self, framing: Gap) -> None:
        self._max = framing.max_message
        super().__init__(framing)

    def _split(self, limit: int | None) -> list[Any]:
        held = len(self._buffer) - self._start
        if self._max is not None and held > self._max:
            self._error = MessageTooLong(self._max + 1, self._max, announced=False)
        self._need = held + 1
        return []

    def gap(self) -> list[Any]:
        if self._error is not None:
            raise self._error
        self._base, self._given = self._start, 0
        if not self.buffered:
            return []
        message = bytes(self._buffer[self._start :])
        self._start, self._need, self._given = len(self._buffer), 1, 1
        return [message]

    def finish(self) -> list[Any]:
        return self.gap()

    def take(self, undelivered: int = 0) -> bytes:
        octets = bytes(self._buffer[self._base if undelivered else self._start :])
        self._reset()
        return octets
