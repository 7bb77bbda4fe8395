r"""Messages after headers with a Content-Length: ``content-length``, used by the Language Server Protocol.

::

    Content-Length: 17\r\n
    Content-Type: application/vscode-jsonrpc\r\n        (other headers are checked and dropped)
    \r\n
    {"jsonrpc":"2.0"}
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from fourtuple.errors import IncompleteMessage, MalformedMessage, MessageError, MessageTooLong, OptionError
from fourtuple.framing.base import Framing, Octets
from fourtuple.framing.buffered import BufferedDecoder
from fourtuple.framing.checks import (
    announced_size,
    at_least,
    check_bounds,
    check_marker,
    check_size,
    normalise,
    octets_of,
    whole,
)
from fourtuple.framing.notation import excerpt
from fourtuple.framing.unmapped import Unmapped
from fourtuple.options import DEFAULT_MAX_MESSAGE, seen

_END = b"\r\n\r\n"
# RFC 9110, 5.1 and 5.5: a token before the colon, no control octets after it. These are two patterns and a strip, not
# one pattern: with white space before, in and after the value, one pattern would try every division into three parts.
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True)
class ContentLength(Framing[bytes, Octets]):
    """Headers, one of them ``Content-Length``, an empty line, and that many octets: the message.

    Every line of the headers is checked before it is dropped. A line that is not a header, a missing
    ``Content-Length`` and a second one raise :class:`~fourtuple.errors.MalformedMessage`. An announced length above
    ``max_message`` and more than ``max_header`` octets of headers raise :class:`~fourtuple.errors.MessageTooLong`.
    If there are ``content_types``, a message with a ``Content-Type`` of another media type becomes an
    :class:`~fourtuple.framing.Unmapped`; parameters such as ``charset`` do not matter, and neither does upper case.

    ``max_sent`` bounds a sent message, in octets. By default there is no bound, because your own program makes these
    messages.
    """

    max_message: int | None = DEFAULT_MAX_MESSAGE
    max_sent: int | None = field(default=None, kw_only=True)
    max_header: int = 8192
    content_types: tuple[bytes, ...] = ()

    word: ClassVar[str] = "content-length"

    if TYPE_CHECKING:  # one type or several; the attribute is a tuple

        def __init__(
            self,
            max_message: int | None = DEFAULT_MAX_MESSAGE,
            max_header: int = 8192,
            content_types: bytes | Sequence[bytes] = (),
            *,
            max_sent: int | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        check_bounds(self)
        normalise(self, "content_types", "a media type")
        for each in self.content_types:
            check_marker(self, "a media type of content_types", each)
        if not whole(self.max_header, 32):
            given = seen(self.max_header)
            raise OptionError(
                f"content-length: max_header is {given} octets, it must be {at_least(self.max_header, 32)}"
            )

    def _overhead(self) -> int:
        return self.max_header

    def decoder(self) -> BufferedDecoder[bytes | Unmapped]:
        return _HeaderDecoder(self)

    def encode(self, message: Octets) -> bytes:
        octets = octets_of(self, message)
        check_size(self, len(octets))
        return b"Content-Length: %d\r\n\r\n%b" % (len(octets), octets)


class _HeaderDecoder(BufferedDecoder):
    __slots__ = ("_body", "_max", "_max_header", "_seen", "_type", "_types")

    def __init__(self, framing: ContentLength) -> None:
        self._max = framing.max_message
        self._max_header = framing.max_header
        self._types = frozenset(each.lower() for each in framing.content_types)
        super().__init__(framing)

    def _reset(self) -> None:
        super()._reset()
        #: The number of octets after ``_start`` in which the headers do not end.
        self._seen = 0
        #: Where the body begins and ends, relative to ``_start``; ``None`` until the headers are read.
        self._body: tuple[int, int] | None = None
        #: The media type of the message, if it is one that is not wanted.
        self._type = b""

    def _split(self, limit: int | None) -> list[Any]:
        messages: list[Any] = []
        while limit is None or len(messages) < limit:
            start = self._start
            if self._body is None:
                self._body = self._headers(start)
            if self._body is None:
                self._need = self._seen + 1
                return messages
            body, end = self._body
            if start + end > len(self._buffer):
                self._need = end
                return messages
            octets = self._buffer[start + body : start + end]
            messages.append(octets if not self._type else self._unwanted(bytes(octets)))
            self._start, self._seen, self._body = start + end, 0, None
        self._need = 1
        return messages

    def _headers(self, start: int) -> tuple[int, int] | None:
        """Where the body begins and ends; ``None`` if that is not known yet, or after an error."""
        at = self._buffer.find(_END, start + self._seen)
        size = (at if at >= 0 else len(self._buffer)) + len(_END) - start
        if size > self._max_header + (0 if at >= 0 else len(_END)):
            self._error = MessageTooLong(self._max_header + 1, self._max_header, "header", announced=False)
            return None
        if at < 0:
            self._seen = max(0, len(self._buffer) - start - len(_END) + 1)
            return None
        try:
            length, kind = _length_and_type(bytes(self._buffer[start:at]))
            self._type = kind if self._types and kind and kind not in self._types else b""
            return size, size + announced_size(length, self._max)
        except MessageError as error:
            self._error = error
            return None

    def _unwanted(self, octets: bytes) -> Unmapped:
        return Unmapped(octets, MalformedMessage(f"the Content-Type is {excerpt(self._type)}, which is not wanted"))

    def _incomplete(self) -> MessageError:
        return IncompleteMessage(self.buffered, None if self._body is None else self._body[1])


def _length_and_type(block: bytes) -> tuple[bytes, bytes]:
    """Check every header; return the digits of the Content-Length, and the media type of the Content-Type."""
    lengths, kind = [], b""
    for line in block.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name) or _CONTROL.search(value):
            raise MalformedMessage(f"{excerpt(line, 80)} is not a header")
        if name.lower() == b"content-length":
            lengths.append(value.strip(b" \t"))
        elif name.lower() == b"content-type":
            kind = value.partition(b";")[0].strip(b" \t").lower()
    if len(lengths) != 1:
        raise MalformedMessage(f"expected one Content-Length header, got {len(lengths)}")
    if not lengths[0].isdigit():
        raise MalformedMessage(f"the Content-Length is {excerpt(lengths[0])}, not a number of octets")
    return lengths[0], kind
