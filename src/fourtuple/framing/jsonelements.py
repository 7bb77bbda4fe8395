"""The elements of JSON arrays, each a message: ``json,elements=on``."""

from __future__ import annotations

from typing import Any, ClassVar

from fourtuple.errors import MalformedMessage
from fourtuple.framing.base import Framing
from fourtuple.framing.buffered import BufferedDecoder
from fourtuple.framing.jsonscan import JsonDecoder

#: What may come next: an array, its first element or its end, a comma or its end, an element.
_ARRAY, _FIRST, _NEXT, _ELEMENT = range(4)
_COMMA, _OPENS, _CLOSES = b",[]"


class JsonElements(JsonDecoder):
    """``_where`` is what may come next at ``_start``, and ``_was`` what might come at ``_base``.

    ::

        _ARRAY --- [ ---> _FIRST --- element ---> _NEXT --- , ---> _ELEMENT
          ^                 | ]                    ^ | ]              |
          +-----------------+----------------------|-+                |
                                                   +---- element -----+
    """

    __slots__ = ("_was", "_where")

    _AFTER_SCALAR: ClassVar[bytes] = b" \t\r\n,]"

    def __init__(self, framing: Framing[bytes, Any], max_message: int | None, max_depth: int) -> None:
        self._where = self._was = _ARRAY
        super().__init__(framing, max_message, max_depth)

    def _split(self, limit: int | None) -> list[Any]:
        self._was = self._where
        return super()._split(limit)

    def _to_value(self) -> bool:
        """Pass over white space, brackets and commas between elements; return whether an element begins."""
        while super()._to_value():
            octet = self._buffer[self._start]
            if octet == _CLOSES and self._where in (_FIRST, _NEXT):
                self._where = _ARRAY
            elif octet == _OPENS and self._where == _ARRAY:
                self._where = _FIRST
            elif octet == _COMMA and self._where == _NEXT:
                self._where = _ELEMENT
            elif self._where in (_FIRST, _ELEMENT) and octet not in b",]":
                return True
            else:
                wanted = {_ARRAY: "'['", _NEXT: "',' or ']'"}.get(self._where, "an element")
                raise MalformedMessage(f"{chr(octet)!r} where {wanted} is expected")
            self._start += 1
        return False

    def _may_end_with(self, scalar: bytes) -> bool:
        return False  # a comma or a bracket comes behind it: this may be half of a number

    def _have_taken(self) -> None:
        self._where = _NEXT

    def _seed(self, other: BufferedDecoder) -> None:
        assert isinstance(other, JsonElements)
        other._where = self._was

    def _inherit(self, other: BufferedDecoder) -> None:
        assert isinstance(other, JsonElements)
        self._where = other._where
