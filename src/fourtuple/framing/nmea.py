r"""Sentences of NMEA 0183: ``nmea``.

::

    $GPGLL,5057.970,N,00146.110,E,142451,A*27\r\n
    !AIVDM,1,1,,B,177KQJ5000G?tO`K>RA1wUbN0TKH,0*5C\r\n
    |<-- message ------------------------>|
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import reduce
from operator import xor
from typing import Any, ClassVar, Literal

from fourtuple.errors import EncodeError, MalformedMessage, MessageTooLong
from fourtuple.framing.base import Framing, Octets
from fourtuple.framing.buffered import BufferedDecoder
from fourtuple.framing.checks import check_bounds, check_choice, check_size, octets_of
from fourtuple.framing.unmapped import Unmapped

_EVENT = re.compile(rb"[$!\n]")
# The octets that a sentence must not contain. If no checksum follows it, an asterisk is allowed.
_FORBIDDEN = re.compile(rb"[$!\r\n*]")
_FORBIDDEN_WITHOUT = re.compile(rb"[$!\r\n]")
LF = 10


@dataclass(frozen=True)
class Nmea(Framing[bytes, Octets]):
    """A sentence from its ``$`` or ``!`` up to its ``*``; the checksum after the ``*`` is checked and written.

    ``checksum`` is ``"optional"`` (checked if there is one), ``"required"`` or ``"none"`` (part of the
    message, not checked). If a checksum is wrong or missing, an :class:`~fourtuple.framing.Unmapped` takes
    the sentence's place. Octets before a ``$`` or ``!`` are skipped and counted; a sentence that another one
    interrupts is among them.

    ``max_message`` counts octets from the ``$`` up to the line ending. The standard allows 82 including the line
    ending, but real receivers send more; hence the default of 1024. More raise
    :class:`~fourtuple.errors.MessageTooLong`.

    ``max_sent`` bounds a sent message, in octets. By default there is no bound, because your own program makes these
    messages.
    """

    checksum: Literal["optional", "required", "none"] = "optional"
    max_message: int | None = 1024
    max_sent: int | None = field(default=None, kw_only=True)

    word: ClassVar[str] = "nmea"
    argument: ClassVar[str | None] = "checksum"

    def __post_init__(self) -> None:
        check_choice(self, "checksum", ("optional", "required", "none"))
        check_bounds(self)

    def _overhead(self) -> int:
        return 2

    def decoder(self) -> BufferedDecoder[bytes | Unmapped]:
        return _NmeaDecoder(self)

    def encode(self, message: Octets) -> bytes:
        octets = octets_of(self, message)
        if octets[:1] not in (b"$", b"!"):
            raise EncodeError(f"{self}: a sentence begins with $ or !, this one with {octets[:1]!r}")
        forbidden = (_FORBIDDEN_WITHOUT if self.checksum == "none" else _FORBIDDEN).search(octets, 1)
        if forbidden:
            raise EncodeError(f"{self}: the sentence has {forbidden[0]!r} inside, at octet {forbidden.start()}")
        sentence = octets if self.checksum == "none" else octets + b"*" + checksum(octets)
        check_size(self, len(sentence))
        return sentence + b"\r\n"


def checksum(sentence: bytes) -> bytes:
    """Two hexadecimal digits: the exclusive or of the octets after the ``$``."""
    return b"%02X" % reduce(xor, sentence[1:], 0)


class _NmeaDecoder(BufferedDecoder):
    __slots__ = ("_checksum", "_max", "_seen")

    def __init__(self, framing: Nmea) -> None:
        self._checksum = framing.checksum
        self._max = framing.max_message
        super().__init__(framing)

    def _reset(self) -> None:
        super()._reset()
        #: The number of octets after ``_start`` already searched; 0 means that no sentence has begun.
        self._seen = 0

    def _split(self, limit: int | None) -> list[Any]:
        messages: list[Any] = []
        while (limit is None or len(messages) < limit) and self._error is None:
            found = self._search(_EVENT, self._buffer, self._start + self._seen)
            at = found.start() if found else len(self._buffer)
            if not self._seen:
                # No sentence has begun: a line ending is garbage like the rest.
                begin = at + (found is not None and self._buffer[at] == LF)
                self.skipped += begin - self._start
                self._start = begin
                self._seen = int(found is not None and begin == at)
            elif self._too_long(at):
                break
            elif found and self._buffer[at] == LF:
                messages.append(self._sentence(at))
                self._start, self._seen = at + 1, 0
            elif found:
                self.skipped += at - self._start
                self._start, self._seen = at, 1
            else:
                self._seen = at - self._start
            if not found:
                break
        self._need = self._seen + 1
        return messages

    def _too_long(self, at: int) -> bool:
        size = at - self._start
        if self._max is None or size <= self._max or (size == self._max + 1 and self._buffer[at - 1] == 13):
            return False
        self._error = MessageTooLong(self._max + 1, self._max, "sentence", announced=False)
        return True

    def _sentence(self, at: int) -> Any:
        line = bytes(self._buffer[self._start : at]).removesuffix(b"\r")
        if self._checksum == "none":
            return line
        sentence, star, found = line.partition(b"*")
        if not star and self._checksum == "optional":
            return sentence
        right = checksum(sentence)
        if found.upper() == right:
            return sentence
        told = repr(found) if star else "wanting"
        return Unmapped(line, MalformedMessage(f"the checksum is {told}, {right!r} is right"))
