"""Messages of one fixed size: ``fixed:16``.

::

    +----------------+----------------+----
    | size octets    | size octets    | ...
    +----------------+----------------+----
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

from fourtuple.errors import EncodeError, IncompleteMessage, MessageError, OptionError
from fourtuple.framing.base import Decoder, Octets
from fourtuple.framing.buffered import BufferedDecoder
from fourtuple.framing.checks import at_least, octets_of, whole
from fourtuple.framing.splitting import Split
from fourtuple.options import seen


@dataclass(frozen=True)
class Fixed(Split[bytes, Octets]):
    """Every message has exactly ``size`` octets.

    The size is also the bound: there is no ``max_message`` option. Raises
    :class:`~fourtuple.errors.OptionError` for a size below 1.
    """

    size: int

    word: ClassVar[str] = "fixed"
    argument: ClassVar[str | None] = "size"

    def __post_init__(self) -> None:
        if not whole(self.size, 1):
            raise OptionError(
                f"fixed: the size is {seen(self.size)}, it must be a whole number of {at_least(self.size, 1)}"
            )

    @property
    def max_message(self) -> int:
        """The size: every message has exactly this many octets."""
        return self.size

    if TYPE_CHECKING:  # no message of this framing is ever Unmapped

        def decoder(self) -> Decoder[bytes]: ...

    def reference(self) -> BufferedDecoder[bytes]:
        return _FixedDecoder(self)

    def _in_c_options(self) -> dict[str, Any] | None:
        return {"plus": self.size}  # a length of no octets

    def encode(self, message: Octets) -> bytes:
        octets = message if message.__class__ is bytes else octets_of(self, message)
        if len(octets) != self.size:
            raise EncodeError(f"{self} takes messages of {self.size} octets, this one has {len(octets)}")
        return octets

    def _encode_many(self, messages: list[Any]) -> bytes:
        if set(map(type, messages)) == {bytes} and set(map(len, messages)) == {self.size}:
            return b"".join(messages)
        return super()._encode_many(messages)  # its error names the message


class _FixedDecoder(BufferedDecoder):
    __slots__ = ("_messages", "_size")

    def __init__(self, framing: Fixed) -> None:
        self._size = framing.size
        self._messages = struct.Struct(f"{framing.size}s").iter_unpack
        super().__init__(framing)
        self.whole = framing.size

    def _reset(self) -> None:
        super()._reset()
        self._need = self._size

    def feed(self, data: Octets, limit: int | None = None) -> list[Any]:
        # A peer that waits for each reply sends one message a read: return the read itself, without a slice.
        if len(data) == self._size and data.__class__ is bytes and self._start == len(self._buffer):
            # Not one assignment of four values: that would make a tuple of them.
            self._buffer, self._base = data, 0
            self._start, self._given = self._size, 1
            return [data]
        return super().feed(data, limit)

    def _split(self, limit: int | None) -> list[Any]:
        buffer, start, size = self._buffer, self._start, self._size
        count = (len(buffer) - start) // size
        if limit is not None and limit < count:
            count = limit
        self._start = end = start + count * size
        if count == 1:
            return [buffer[start:end]]
        return list(chain.from_iterable(self._messages(memoryview(buffer)[start:end])))

    def _incomplete(self) -> MessageError:
        return IncompleteMessage(self.buffered, self._size)
