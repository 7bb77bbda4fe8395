"""Framings whose usual work is done in C, where it was built: see :mod:`fourtuple.compiled`.

The decoder in Python is the reference: the tests feed both the same and expect the same. It also is what makes
every error, for either of the two.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from fourtuple.compiled import compiled
from fourtuple.framing.base import BufferedDecoder, Decoder, Framing
from fourtuple.framing.unmapped import Unmapped
from fourtuple.typevars import In_co, Out_contra

if TYPE_CHECKING:
    from types import ModuleType

    from fourtuple.framing._split import Splitter

#: The number of the interface between this file and ``_split/module.c``.
STAMP = 5
#: The module that splits in C; ``None`` where Python does it. Framings ask it once, at their first decoder.
IN_C: ModuleType | None = compiled("splitting", STAMP)
#: Bounds beyond this are left to Python, whose numbers have no end.
LARGEST = 1 << 48

if IN_C is not None:
    Decoder.register(IN_C.Decoder)


class Split(Framing[In_co, Out_contra]):
    """A framing with two decoders that do the same, one in C."""

    #: Whether batches are encoded otherwise than message by message.
    _joins: ClassVar[bool] = True

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "encode" in vars(cls) and "_splitter" not in vars(cls):
            cls._joins = False  # somebody's own encode() is asked for every message

    @abstractmethod
    def reference(self) -> BufferedDecoder[In_co | Unmapped]:
        """Make the decoder in Python."""

    @abstractmethod
    def _splitter(self, in_c: Any) -> Splitter | None:
        """What ``in_c``, the module, makes of the options; ``None`` for options that it does not know."""

    @cached_property
    def _in_c(self) -> Splitter | None:
        if IN_C is None or (self.max_buffered or 0) > LARGEST:
            return None
        return self._splitter(IN_C)

    @cached_property
    def _encoder(self) -> Splitter | None:
        """What encodes batches in C, here and for the turn in C."""
        return self._in_c if self._joins else None

    def decoder(self) -> Decoder[In_co | Unmapped]:
        splitter = self._in_c
        return self.reference() if splitter is None else splitter.decoder()

    def encode_many(self, messages: Iterable[Out_contra]) -> bytes:
        messages = messages if type(messages) is list else list(messages)
        encoder = self._encoder
        encoded = None if encoder is None else encoder.encode_many(messages)
        if encoded is not None:
            return encoded
        # Something is refused, or no bytes, and Python knows the words.
        return self._encode_many(messages) if self._joins else super().encode_many(messages)

    def _encode_many(self, messages: list[Any]) -> bytes:
        """:meth:`encode_many` in Python."""
        return b"".join(map(self.encode, messages))

    def __getstate__(self) -> dict[str, Any]:
        # A copy in another process finds out for itself what is built there.
        return {name: value for name, value in self.__dict__.items() if name not in ("_in_c", "_encoder")}


def bound(max_message: int | None) -> int:
    """``max_message`` as the C has it."""
    return -1 if max_message is None else max_message
