"""Finds JSON values by balanced scanning: brackets and strings are followed, what is in them is not read."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from fourtuple.errors import IncompleteMessage, MalformedMessage, MessageError, MessageTooLong
from fourtuple.framing.base import Framing
from fourtuple.framing.buffered import BufferedDecoder

_SPACE = b" \t\r\n"
_NO_SPACE = re.compile(rb"[^ \t\r\n]")
_STRUCTURE = re.compile(rb'["\[\]{}]')
_IN_STRING = re.compile(rb'["\\]')
_SCALAR_END = re.compile(rb"[^-+.0-9A-Za-z]")
_SCALAR = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false|null")
_CLOSES = {ord("}"): ord("{"), ord("]"): ord("[")}


class JsonDecoder(BufferedDecoder):
    """``_stack`` holds the open brackets, with a quote on top inside a string; ``_at`` is how far it has scanned.

    ::

                   "          \\
        (value) ------> string ----> the octet after it is part of the string
           ^  ^---- " ----/  ^------------/
    """

    __slots__ = ("_at", "_ended", "_max", "_max_depth", "_stack")

    #: What may follow a number or a name.
    _AFTER_SCALAR: ClassVar[bytes] = b' \t\r\n{["'

    def __init__(self, framing: Framing[bytes, Any], max_message: int | None, max_depth: int) -> None:
        self._max = max_message
        self._max_depth = max_depth
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
                if not self._at and not self._to_value():
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
                self._have_taken()
        except MessageError as error:
            self._error = error
        self._need = self._at + 1
        return messages

    def _have_taken(self) -> None:
        """Note that a message was cut. For decoders to which it matters what comes behind one."""

    def _to_value(self) -> bool:
        """Move to where a value begins; return whether there is one."""
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
        if found is None and not self._may_end_with(scalar):
            raise IncompleteMessage(len(scalar), None, "value")
        if not _SCALAR.fullmatch(scalar) or (found and self._buffer[end] not in self._AFTER_SCALAR):
            shown = bytes(self._buffer[self._start : min(end + 1, self._start + 40)])
            raise MalformedMessage(f"{shown!r} is not a JSON value")
        return end

    def _may_end_with(self, scalar: bytes) -> bool:
        """Whether a number or a name is whole at the end of file, which ends it."""
        return _SCALAR.fullmatch(scalar) is not None

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
