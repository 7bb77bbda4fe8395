"""Lines of text: ``line``, ``line:lf``, ``line:crlf``, ``line:cr``, ``line:net``.

::

    +-----------+----+-----------+---------+----
    | octets    | \\n | octets    | \\r \\n   | ...
    +-----------+----+-----------+---------+----
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

from fourtuple.errors import EncodeError
from fourtuple.framing.base import Octets
from fourtuple.framing.buffered import BufferedDecoder
from fourtuple.framing.checks import check_bounds, check_choice, check_outside, check_size, octets_of
from fourtuple.framing.delimited import DelimiterDecoder
from fourtuple.framing.splitting import Split
from fourtuple.framing.unmapped import Unmapped
from fourtuple.options import DEFAULT_MAX_MESSAGE

#: What ends a line that is written.
_WRITTEN = {"any": b"\n", "lf": b"\n", "crlf": b"\r\n", "cr": b"\r", "net": b"\r\n"}


@dataclass(frozen=True)
class Line(Split[bytes, Octets]):
    """A message ends with a line ending, which is part of it only if ``keep`` is on.

    ``ending`` is ``"any"``, ``"net"``, ``"lf"``, ``"crlf"`` or ``"cr"``. With ``"any"``, the default because it accepts
    what people type and devices send, LF ends a line and a CR before it is stripped; the encoder writes LF. ``"net"``
    reads the same and writes CRLF, as servers of the Internet's text protocols do. With ``"lf"``, a CR belongs to the
    message. With ``"crlf"``, a lone LF belongs to the message: protocols need this to prevent smuggling (RFC 5321,
    2.3.8). With ``"cr"``, CR ends a line and an LF belongs to the message.

    ``max_message`` counts octets without the ending. A longer line raises :class:`~fourtuple.errors.MessageTooLong`;
    with ``resync`` it is skipped to its end, and an :class:`~fourtuple.framing.Unmapped` takes its place.

    With ``last``, octets without an ending before the end of file are the last line; otherwise they raise
    :class:`~fourtuple.errors.IncompleteMessage`.

    ``max_sent`` bounds a sent message, in octets. By default there is no bound, because your own program makes these
    messages.
    """

    ending: Literal["any", "lf", "crlf", "cr", "net"] = "any"
    keep: bool = False
    resync: bool = False
    max_message: int | None = DEFAULT_MAX_MESSAGE
    max_sent: int | None = field(default=None, kw_only=True)
    last: bool = field(default=False, kw_only=True)

    word: ClassVar[str] = "line"
    argument: ClassVar[str | None] = "ending"

    def __post_init__(self) -> None:
        check_choice(self, "ending", _WRITTEN)
        check_bounds(self)

    @property
    def _delimiter(self) -> bytes:
        """What ends a line that is read."""
        return b"\n" if self.ending == "net" else _WRITTEN[self.ending]

    @property
    def _strips_cr(self) -> bool:
        return self.ending in ("any", "net")

    @cached_property
    def _encoder(self) -> Any:
        return None if self.ending == "net" else super()._encoder

    @property
    def drops_between(self) -> bool:
        return self.resync

    def _overhead(self) -> int:
        return 2

    def reference(self) -> BufferedDecoder[bytes | Unmapped]:
        strip_cr = self._strips_cr
        return DelimiterDecoder(self, (self._delimiter,), strip_cr=strip_cr, what="line")

    def _in_c_options(self) -> dict[str, Any] | None:
        if self.last or self.resync:
            return None
        strip_cr = self._strips_cr and not self.keep
        return {"delimiter": self._delimiter, "tail": self._delimiter, "keep": self.keep, "strip_cr": strip_cr}

    @property
    def _writes_in_c(self) -> bool:
        return not self.keep

    def encode(self, message: Octets) -> bytes:
        line = message if message.__class__ is bytes else octets_of(self, message)
        written = _WRITTEN[self.ending]
        if self.keep:
            if not line.endswith(written):
                raise EncodeError(f"{self}: with keep, a message ends with {written!r}, and this one does not")
            line = line[: -len(written)]
        check_outside(self, line, self._delimiter, "a line ending")
        check_size(self, len(line))
        if self._strips_cr and written == b"\n" and not self.keep and line.endswith(b"\r"):
            raise EncodeError(f"{self}: the message ends with a CR, which the peer would strip; use line:lf")
        return line + written

    def _encode_many(self, messages: list[Any]) -> bytes:
        if not self.keep and set(map(type, messages)) == {bytes}:
            # All in one step: if there are as many line feeds and carriage returns as endings, no message contains one.
            written, count = _WRITTEN[self.ending], len(messages)
            lines = written.join([*messages, b""])
            feeds, returns = (count if each in written else 0 for each in (b"\n", b"\r"))
            fits = self.max_sent is None or max(map(len, messages)) <= self.max_sent
            if fits and lines.count(b"\n") == feeds and lines.count(b"\r") == returns:
                return lines
        return super()._encode_many(messages)  # its error names the message
