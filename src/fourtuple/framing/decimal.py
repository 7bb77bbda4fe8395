"""Messages after a length in decimal digits: ``netstring``, ``octet-counting``, ``syslog``.

::

    netstring        1 2 : h e l l o   w o r l d ! ,
    octet-counting   1 2 _ < 3 4 > 1   h e l l o !        (_ is a space)
    syslog           as octet-counting, or <34>1 hello! \\n
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from fourtuple.errors import EncodeError, IncompleteMessage, MalformedMessage, MessageError, MessageTooLong, OptionError
from fourtuple.framing.base import Decoder, Framing, Octets
from fourtuple.framing.buffered import BufferedDecoder
from fourtuple.framing.checks import (
    MOST_DIGITS,
    announced_size,
    check_bounds,
    check_choice,
    check_marker,
    check_outside,
    check_size,
    normalise,
    octets_of,
)
from fourtuple.framing.delimited import Delimited
from fourtuple.framing.splitting import Split
from fourtuple.framing.switch import SwitchDecoder
from fourtuple.framing.syslog_resync import ResyncingSyslog
from fourtuple.framing.unmapped import Unmapped
from fourtuple.options import DEFAULT_MAX_MESSAGE


@dataclass(frozen=True)
class Netstring(Split[bytes, Octets]):
    """Digits, a colon, that many octets, a comma: https://cr.yp.to/proto/netstrings.txt.

    Other octets in their places, or a leading zero, raise :class:`~fourtuple.errors.MalformedMessage`. An announced
    length above ``max_message`` raises :class:`~fourtuple.errors.MessageTooLong`, when the last digit or the
    twenty-first has come.

    ``max_sent`` bounds a sent message, in octets. By default there is no bound, because your own program makes these
    messages.
    """

    max_message: int | None = DEFAULT_MAX_MESSAGE
    max_sent: int | None = field(default=None, kw_only=True)

    word: ClassVar[str] = "netstring"

    def __post_init__(self) -> None:
        check_bounds(self)

    def _overhead(self) -> int:
        return MOST_DIGITS + 2

    if TYPE_CHECKING:  # no message of this framing is ever Unmapped

        def decoder(self) -> Decoder[bytes]: ...

    def reference(self) -> BufferedDecoder[bytes]:
        return _DecimalDecoder(self, self.max_message, b":", b",")

    def _in_c_options(self) -> dict[str, Any] | None:
        return {"colon": ord(":"), "tail": b","}

    def encode(self, message: Octets) -> bytes:
        octets = octets_of(self, message)
        check_size(self, len(octets))
        return b"%d:%b," % (len(octets), octets)


@dataclass(frozen=True)
class OctetCounting(Split[bytes, Octets]):
    """Digits, a space, that many octets: RFC 6587, 3.4.1, which RFC 5425 uses over TLS.

    The first digit must not be zero, so a message cannot have zero octets. The decoder raises
    :class:`~fourtuple.errors.MalformedMessage` for one, the encoder :class:`~fourtuple.errors.EncodeError`.

    ``max_message`` bounds a received message, in octets; more raise :class:`~fourtuple.errors.MessageTooLong`. The
    default, 1 MiB, suffices for most protocols, and a peer cannot make this side hold more. ``max_sent`` bounds a sent
    message, in octets. By default there is no bound, because your own program makes these messages.
    """

    max_message: int | None = DEFAULT_MAX_MESSAGE
    max_sent: int | None = field(default=None, kw_only=True)

    word: ClassVar[str] = "octet-counting"

    def __post_init__(self) -> None:
        check_bounds(self)

    def _overhead(self) -> int:
        return MOST_DIGITS + 1

    if TYPE_CHECKING:  # no message of this framing is ever Unmapped

        def decoder(self) -> Decoder[bytes]: ...

    def reference(self) -> BufferedDecoder[bytes]:
        return _DecimalDecoder(self, self.max_message, b" ", b"")

    def _in_c_options(self) -> dict[str, Any] | None:
        return {"colon": ord(" ")}

    def encode(self, message: Octets) -> bytes:
        octets = octets_of(self, message)
        check_size(self, len(octets))
        if not octets:
            raise EncodeError(f"{self}: a message of 0 octets has no count (RFC 6587, 3.4.1)")
        return b"%d %b" % (len(octets), octets)


@dataclass(frozen=True)
class Syslog(Split[bytes, Octets]):
    r"""Both methods of RFC 6587, distinguished for each message by its first octet.

    A digit from 1 to 9 begins a count (3.4.1). Any other octet, normally ``<``, begins a message that ends with
    ``trailer`` (3.4.2; an LF by default, because most senders use it; some send ``\0``, as Python's SysLogHandler does
    over TCP, or CR LF). ``write`` selects the method that the encoder uses; it writes the first trailer, if there are
    several. With ``drop_empty``, octets of trailers before a message are dropped: empty messages, and the LF that some
    senders add to a counted message.

    ``max_message`` bounds a received message, in octets; more raise :class:`~fourtuple.errors.MessageTooLong`. The
    default, 1 MiB, suffices for most protocols, and a peer cannot make this side hold more. ``max_sent`` bounds a sent
    message, in octets. By default there is no bound, because your own program makes these messages.

    With ``resync``, a broken message does not end the stream: an :class:`~fourtuple.framing.Unmapped` takes its place.
    One that is too long is skipped, by its count or up to its trailer. Digits without a space behind them begin a
    message that ends with a trailer.
    """

    write: Literal["counting", "trailer"] = "counting"
    trailer: tuple[bytes, ...] = (b"\n",)
    max_message: int | None = DEFAULT_MAX_MESSAGE
    max_sent: int | None = field(default=None, kw_only=True)

    drop_empty: bool = field(default=False, kw_only=True)
    resync: bool = field(default=False, kw_only=True)

    word: ClassVar[str] = "syslog"

    if TYPE_CHECKING:  # one trailer or several; the attribute is a tuple

        def __init__(
            self,
            write: Literal["counting", "trailer"] = "counting",
            trailer: bytes | Sequence[bytes] = (b"\n",),
            max_message: int | None = DEFAULT_MAX_MESSAGE,
            *,
            max_sent: int | None = None,
            drop_empty: bool = False,
            resync: bool = False,
        ) -> None: ...

    def __post_init__(self) -> None:
        check_choice(self, "write", ("counting", "trailer"))
        normalise(self, "trailer", "a trailer")
        for each in self.trailer or (b"",):
            check_marker(self, "trailer", each)
            if each[:1] in b"123456789":
                raise OptionError(f"syslog: trailer is {each!r}, which begins as a count does")
        check_bounds(self)
        self._trailed()  # raises for trailers that cannot be told apart

    def _trailed(self) -> Delimited:
        return Delimited(self.trailer, max_message=self.max_message)

    @property
    def drops_between(self) -> bool:
        return self.drop_empty or self.resync

    def _overhead(self) -> int:
        return MOST_DIGITS + 1 + max(map(len, self.trailer))

    def reference(self) -> BufferedDecoder[bytes | Unmapped]:
        drops = b"".join(self.trailer) if self.drop_empty else b""
        if self.resync:
            return ResyncingSyslog(self, self.trailer, drops)
        counted = OctetCounting(self.max_message)
        digits = tuple((b"%d" % digit, counted) for digit in range(1, 10))
        return SwitchDecoder(self, digits, self._trailed(), drops)

    def _in_c_options(self) -> dict[str, Any] | None:
        if self.drop_empty or self.resync or len(self.trailer) > 1:
            return None
        return {"delimiter": self.trailer[0], "colon": ord(" ")}

    @property
    def _writes_in_c(self) -> bool:
        return self.write == "counting"

    def encode(self, message: Octets) -> bytes:
        octets = octets_of(self, message)
        if self.write == "counting":
            return OctetCounting(self.max_message, max_sent=self.max_sent).encode(octets)
        check_size(self, len(octets))
        for each in self.trailer:
            check_outside(self, octets, each, "the trailer")
        if self.drop_empty and (not octets or octets[:1] in b"".join(self.trailer)):
            raise EncodeError(f"{self}: the message begins with {octets[:1]!r}, which the peer would drop")
        if octets[:1].isdigit() and octets[0] != 0x30:
            raise EncodeError(f"{self}: the message begins with {octets[:1]!r}, which the peer would take for a count")
        return octets + self.trailer[0]


class _DecimalDecoder(BufferedDecoder):
    """Digits, ``colon``, octets, ``comma``. A message may have zero octets only if there is a ``comma``."""

    __slots__ = ("_colon", "_comma", "_max", "_pattern")

    def __init__(self, framing: Framing, max_message: int | None, colon: bytes, comma: bytes) -> None:
        self._max = max_message
        self._colon = colon
        self._comma = comma
        zero = b"0|" if comma else b""
        self._pattern = re.compile(b"(%b[1-9][0-9]{0,%d})%b" % (zero, MOST_DIGITS - 1, colon))
        super().__init__(framing)

    def _split(self, limit: int | None) -> list[Any]:
        buffer, start, held = self._buffer, self._start, len(self._buffer)
        match_length, tail = self._pattern.match, len(self._comma)
        messages: list[Any] = []
        need = 1
        for _ in range(held if limit is None else min(limit, held)):
            head = match_length(buffer, start)
            if head is None:
                need = self._unfinished(bytes(buffer[start : start + MOST_DIGITS + 1]))
                break
            size = int(head[1])
            if self._max is not None and size > self._max:
                self._error = MessageTooLong(size, self._max)
                break
            body = head.end()
            end = body + size
            if end + tail > held:
                need = end + tail - start
                break
            if tail and buffer[end : end + tail] != self._comma:
                found = bytes(buffer[end : end + tail])
                self._error = MalformedMessage(f"message of {size} octets ends with {found!r}, not {self._comma!r}")
                break
            messages.append(buffer[body:end])
            start = end + tail
        self._start = start
        self._need = need
        return messages

    def _unfinished(self, head: bytes) -> int:
        """Return how many octets are needed to read on in an unfinished length; set ``_error`` if it is invalid."""
        digits = len(head) - len(head.lstrip(b"0123456789"))
        if head[:1] == b"0" and (digits > 1 or not self._comma):
            self._error = MalformedMessage("a length begins with 0")
        elif digits < len(head):
            self._error = MalformedMessage(
                f"a length and {self._colon!r} were expected, the octets are {head[: digits + 1]!r}"
            )
        elif digits > MOST_DIGITS:
            try:
                announced_size(head, self._max)  # too many digits, whatever follows
            except MessageError as error:
                self._error = error
        return len(head) + 1

    def _incomplete(self) -> MessageError:
        known = self._pattern.match(self._buffer, self._start) is not None
        return IncompleteMessage(self.buffered, self._need if known else None)
