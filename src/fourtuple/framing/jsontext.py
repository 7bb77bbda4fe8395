r"""JSON values one after another: ``json``. For one value on each line, use ``json-lines``.

::

    {"a": [1, "}"]} [2]3 "four"\n
    |------------|  |-| | |----|        four messages
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from fourtuple.errors import EncodeError, IncompleteMessage, MalformedMessage, MessageError, MessageTooLong, OptionError
from fourtuple.framing.base import BufferedDecoder, Framing, Octets, check_bounds, check_size, octets_of, whole
from fourtuple.options import DEFAULT_MAX_MESSAGE

_SPACE = b" \t\r\n"
_NO_SPACE = re.compile(rb"[^ \t\r\n]")
_STRUCTURE = re.compile(rb'["\[\]{}]')
_IN_STRING = re.compile(rb'["\\]')
_SCALAR_END = re.compile(rb"[^-+.0-9A-Za-z]")
_SCALAR = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false|null")
_CLOSES = {ord("}"): ord("{"), ord("]"): ord("[")}


@dataclass(frozen=True)
class Json(Framing[bytes, Octets]):
    """A message is the text of one JSON value (RFC 8259), found by balanced scanning; white space between them.

    Only brackets and strings are followed; their contents are not checked. ``json+json`` also maps the text to a
    value. A number or name ends at the first octet that cannot be part of it, or at the end of file. The encoder
    writes an LF after each message.

    An octet that cannot begin a value, a wrong closing bracket, and more than ``max_depth`` nested brackets raise
    :class:`~fourtuple.errors.MalformedMessage`. More than ``max_message`` octets raise
    :class:`~fourtuple.errors.MessageTooLong`.
    """

    max_depth: int = 256
    max_message: int | None = DEFAULT_MAX_MESSAGE
    max_sent: int | None = field(default=None, kw_only=True)

    word: ClassVar[str] = "json"

    def __post_init__(self) -> None:
        if not whole(self.max_depth, 1):
            raise OptionError(f"json: max_depth is {self.max_depth!r}, it must be at least 1")
        check_bounds(self)

    @property
    def drops_between(self) -> bool:
        return True

    def decoder(self) -> BufferedDecoder[bytes]:
        return _JsonDecoder(self)

    def encode(self, message: Octets) -> bytes:
        octets = octets_of(self, message)
        check_size(self, len(octets))
        decoder = replace(self, max_message=None).decoder()
        try:
            messages = decoder.feed(octets)
            messages += decoder.finish()
        except MessageError as error:
            raise EncodeError(f"{self}: the message is not a JSON value: {error}") from error
        if messages != [octets]:
            raise EncodeError(f"{self}: the message is {len(messages)} JSON values or has white space around, not 1")
        return octets + b"\n"


class _JsonDecoder(BufferedDecoder):
    """``_stack`` holds the open brackets, with a quote on top inside a string; ``_at`` is how far it has scanned.

    ::

                   "          \\
        (value) ------> string ----> the octet after it is part of the string
           ^  ^---- " ----/  ^------------/
    """

    __slots__ = ("_at", "_ended", "_max", "_max_depth", "_stack")

    def __init__(self, framing: Json) -> None:
        self._max = framing.max_message
        self._max_depth = framing.max_depth
        super().__init__(framing)

    def _reset(self) -> None:
        super()._reset()
        self._ended = False
        self._begin()

    def _begin(self) -> None:
        self._at = 0
        self._stack = bytearray()

    def _see_end(self) -> None:
        self._ended = True
        self._need = min(self._need, max(1, self.buffered))

    def _split(self, limit: int | None) -> list[Any]:
        messages: list[Any] = []
        try:
            while limit is None or len(messages) < limit:
                if not self._at and not self._skip_space():
                    break
                end = self._end()
                size = (end if end >= 0 else len(self._buffer)) - self._start
                if self._max is not None and size > self._max:
                    raise MessageTooLong(self._max + 1, self._max, "value", announced=False)
                if end < 0:
                    break
                messages.append(self._buffer[self._start : end])
                self._start = end
                self._begin()
        except MessageError as error:
            self._error = error
        self._need = self._at + 1
        return messages

    def _skip_space(self) -> bool:
        found = self._search(_NO_SPACE, self._buffer, self._start)
        self._start = found.start() if found else len(self._buffer)
        return found is not None

    def _end(self) -> int:
        """Where the value ends; -1 while it is unfinished."""
        first = self._buffer[self._start]
        if first in b'{["':
            return self._bracketed()
        found = self._search(_SCALAR_END, self._buffer, self._start + self._at)
        if found is None and not self._ended:
            self._at = len(self._buffer) - self._start
            if self._max is None or self._at <= self._max:
                return -1
        end = found.start() if found else len(self._buffer)
        if self._max is not None and end - self._start > self._max:
            return end
        scalar = bytes(self._buffer[self._start : end])
        after = self._buffer[end] if found else 32
        if found is None and not _SCALAR.fullmatch(scalar):
            raise IncompleteMessage(len(scalar), None, "value")
        if not _SCALAR.fullmatch(scalar) or after not in b' \t\r\n{["':
            shown = bytes(self._buffer[self._start : min(end + 1, self._start + 40)])
            raise MalformedMessage(f"{shown!r} is not a JSON value")
        return end

    def _bracketed(self) -> int:
        buffer, start, stack = self._buffer, self._start, self._stack
        at = start + self._at
        held = len(buffer)
        while at < held:
            in_string = bool(stack) and stack[-1] == 34
            found = self._search(_IN_STRING if in_string else _STRUCTURE, buffer, at)
            if found is None:
                at = held
                break
            at = found.start()
            octet = buffer[at]
            if self._max is not None and at - start > self._max:
                break
            if octet == 92:
                if at + 1 == held:
                    # The escaped octet has not come yet: scan the backslash again later.
                    break
                at += 2
                continue
            at += 1
            if self._turn(octet, in_string):
                return at
        self._at = at - start
        return -1

    def _turn(self, octet: int, in_string: bool) -> bool:
        """Open or close a bracket or a string; return whether the value ends here."""
        stack = self._stack
        if in_string:
            stack.pop()
        elif octet in _CLOSES:
            if stack[-1] != _CLOSES[octet]:
                raise MalformedMessage(f"{chr(octet)!r} closes {chr(stack[-1])!r}")
            stack.pop()
        else:
            if octet != 34 and len(stack) >= self._max_depth:
                raise MalformedMessage(f"more than {self._max_depth} nested brackets")
            stack.append(octet)
        return not stack
