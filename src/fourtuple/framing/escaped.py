r"""Stuffing in general: ``stuffed:\xf8,escape=\xf7,table=\xf7\x00|\xf8\x0f``, and ``dle-stx``.

::

    stuffed   f8  a b f7 0f c  f8              f7 0f is f8 in the message, f7 00 is f7
    dle-stx   10 02  a b 10 10 c  10 03        10 10 is 10 in the message
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from fourtuple.errors import MalformedMessage, MessageTooLong, OptionError
from fourtuple.framing.base import Framing, Octets
from fourtuple.framing.buffered import BufferedDecoder
from fourtuple.framing.checks import check_bounds, check_size, normalise, octets_of
from fourtuple.framing.marked import marker_at
from fourtuple.framing.stuffed import Stuffed
from fourtuple.framing.unmapped import Unmapped
from fourtuple.options import DEFAULT_MAX_MESSAGE


@dataclass(frozen=True)
class Escaped(Stuffed):
    r"""A flag before and after a message, and an escape before what stands for other octets inside.

    ``table`` has two octets for each octet that is escaped: itself, and what is written behind ``escape`` in its place:
    ``(b"\xf7\x00", b"\xf8\x0f")``. It must have the flag and the escape. A message with an escape before anything else
    becomes an :class:`~fourtuple.framing.Unmapped`. Two flags in a row are an idle line: the encoder raises
    :class:`~fourtuple.errors.EncodeError` for an empty message.

    ``max_message`` bounds a received message, in octets; more raise :class:`~fourtuple.errors.MessageTooLong`. The
    default, 1 MiB, suffices for most protocols, and a peer cannot make this side hold more. ``max_sent`` bounds a sent
    message, in octets. By default there is no bound, because your own program makes these messages.
    """

    flag: bytes = b"\x7e"  # type: ignore[misc]
    escape: bytes = b"\x7d"
    table: tuple[bytes, ...] = (b"\x7d\x5d", b"\x7e\x5e")

    word: ClassVar[str] = "stuffed"
    argument: ClassVar[str | None] = "flag"

    if TYPE_CHECKING:  # the attribute is a tuple

        def __init__(
            self,
            max_message: int | None = DEFAULT_MAX_MESSAGE,
            flag: bytes = b"\x7e",
            escape: bytes = b"\x7d",
            table: Sequence[bytes] = (b"\x7d\x5d", b"\x7e\x5e"),
            *,
            max_sent: int | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        super().__post_init__()
        normalise(self, "table", "an octet and its code")
        if len(self.flag) != 1 or len(self.escape) != 1 or self.flag == self.escape:
            raise OptionError(f"stuffed: flag is {self.flag!r} and escape {self.escape!r}, they must be two octets")
        if not all(isinstance(each, bytes) and len(each) == 2 for each in self.table):
            raise OptionError(f"stuffed: table is {self.table!r}, each of it must be an octet and its code")
        octets, codes = {each[:1] for each in self.table}, {each[1:] for each in self.table}
        if not {self.flag, self.escape} <= octets or len(octets) != len(self.table) or len(codes) != len(self.table):
            raise OptionError(f"stuffed: table is {self.table!r}, which must have flag and escape, and each octet once")
        if self.flag in codes:
            raise OptionError(f"stuffed: table has the flag {self.flag!r} as a code, where it would end the message")

    @cached_property
    def _escaped(self) -> re.Pattern[bytes]:
        return re.compile(b"[%b]" % re.escape(b"".join(each[:1] for each in self.table)))

    @cached_property
    def _codes(self) -> dict[bytes, bytes]:
        return {each[:1]: self.escape + each[1:] for each in self.table}

    @cached_property
    def _octets(self) -> dict[bytes, bytes]:
        return {each[1:]: each[:1] for each in self.table}

    @cached_property
    def _escapes(self) -> re.Pattern[bytes]:
        return re.compile(re.escape(self.escape) + b"(.?)", re.DOTALL)

    def encode(self, message: Octets) -> bytes:
        octets = self._octets_in(message)
        codes = self._codes
        return self.flag + self._escaped.sub(lambda found: codes[found[0]], octets) + self.flag

    def _unstuff(self, octets: bytes) -> bytes:
        return self._escapes.sub(self._unescape, octets)

    def _unescape(self, found: re.Match[bytes]) -> bytes:
        octet = self._octets.get(found[1])
        if octet is None:
            raise MalformedMessage(f"the escape {self.escape!r} stands before {found[1]!r}, which is not a code")
        return octet


_DLE, _STX, _ETX = 0x10, 0x02, 0x03


@dataclass(frozen=True)
class DleStx(Framing[bytes, Octets]):
    """DLE STX (0x10 0x02), the message, DLE ETX (0x10 0x03); a DLE inside is doubled (ISO 2111, ANSI X3.28).

    Octets before DLE STX are skipped and counted, and so is a message that a new DLE STX interrupts. Octets with a DLE
    before anything else become an :class:`~fourtuple.framing.Unmapped`. More than ``max_message`` octets raise
    :class:`~fourtuple.errors.MessageTooLong`.

    ``max_sent`` bounds a sent message, in octets. By default there is no bound, because your own program makes these
    messages.
    """

    max_message: int | None = DEFAULT_MAX_MESSAGE
    max_sent: int | None = field(default=None, kw_only=True)

    word: ClassVar[str] = "dle-stx"

    def __post_init__(self) -> None:
        check_bounds(self)

    @property
    def max_buffered(self) -> int | None:
        return None if self.max_message is None else 2 * self.max_message + 4

    def decoder(self) -> BufferedDecoder[bytes | Unmapped]:
        return _DleDecoder(self)

    def encode(self, message: Octets) -> bytes:
        octets = octets_of(self, message)
        check_size(self, len(octets))
        return b"\x10\x02" + octets.replace(b"\x10", b"\x10\x10") + b"\x10\x03"


class _DleDecoder(BufferedDecoder):
    __slots__ = ("_doubled", "_max", "_seen")

    def __init__(self, framing: DleStx) -> None:
        self._max = framing.max_message
        super().__init__(framing)

    def _reset(self) -> None:
        super()._reset()
        self._begin()

    def _begin(self) -> None:
        #: The number of octets after ``_start`` already read, and the doubled DLEs among them.
        self._seen = 2
        self._doubled = 0

    def _split(self, limit: int | None) -> list[Any]:
        messages: list[Any] = []
        while (limit is None or len(messages) < limit) and self._at_start():
            at = self._dle()
            if at < 0:
                break
            octet = self._buffer[at + 1]
            if octet == _DLE:
                self._seen, self._doubled = at + 2 - self._start, self._doubled + 1
                continue
            if octet == _STX:
                self.skipped += at - self._start
                self._start = at
            else:
                messages.append(self._ended(at, octet))
                self._start = at + 2
            self._begin()
        else:
            if self._error is None and limit is not None and len(messages) == limit:
                self._need = 1
        return messages

    def _at_start(self) -> bool:
        """Move to the next DLE STX; False while it is incomplete."""
        if self._seen > 2 or self._doubled:
            return True
        at = marker_at(self._buffer, self._start, b"\x10\x02")
        self.skipped += at - self._start
        self._start = at
        if len(self._buffer) - at >= 2:
            return True
        self._need = len(self._buffer) - at + 1
        return False

    def _dle(self) -> int:
        """Where a DLE and the octet behind it stand; -1 if they have not come yet, or after an error."""
        start = self._start
        at = self._buffer.find(b"\x10", start + self._seen)
        end = at if at >= 0 else len(self._buffer)
        if self._max is not None and end - start - 2 - self._doubled > self._max:
            self._error = MessageTooLong(self._max + 1, self._max, announced=False)
            return -1
        self._seen = end - start
        if 0 <= at < len(self._buffer) - 1:
            return at
        self._need = len(self._buffer) - start + 1
        return -1

    def _ended(self, at: int, octet: int) -> bytes | Unmapped:
        octets = bytes(self._buffer[self._start + 2 : at])
        if octet == _ETX:
            return octets.replace(b"\x10\x10", b"\x10")
        found = bytes((octet,))
        return Unmapped(octets, MalformedMessage(f"DLE (0x10) stands before {found!r}, not before STX, ETX or DLE"))
