"""Framings whose fast path is in C, if the C was built: see :mod:`fourtuple.compiled`.

The decoder in Python is the reference: the tests feed both the same octets and expect the same messages. It also
makes every error, for both decoders.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from fourtuple.compiled import compiled
from fourtuple.framing.base import Decoder, Framing
from fourtuple.framing.buffered import BufferedDecoder
from fourtuple.framing.unmapped import Unmapped
from fourtuple.typevars import In_co, Out_contra

if TYPE_CHECKING:
    from types import ModuleType

    from fourtuple._fast_path import Splitter

#: The module that splits in C; ``None`` if Python does it. A framing reads it once, at its first decoder.
IN_C: ModuleType | None = compiled("splitting")
#: Larger bounds are left to Python, whose integers are unbounded.
LARGEST = 1 << 48

if IN_C is not None:
    Decoder.register(IN_C.Decoder)


class Split(Framing[In_co, Out_contra]):
    """A framing with two decoders that behave the same, one of them in C."""

    #: Whether a batch is encoded as a whole, not message by message.
    _joins: ClassVar[bool] = True

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "encode" in vars(cls) and "_in_c_options" not in vars(cls):
            cls._joins = False  # the encode() of a subclass is called for every message

    @abstractmethod
    def reference(self) -> BufferedDecoder[In_co | Unmapped]:
        """Return a new decoder in Python."""

    @abstractmethod
    def _in_c_options(self) -> dict[str, Any] | None:
        """The options of a splitter in C (see ``_split/split.h``); ``None`` for options that it does not support."""

    @cached_property
    def _in_c(self) -> Splitter | None:
        options = None if IN_C is None or (self.max_buffered or 0) > LARGEST else self._in_c_options()
        if IN_C is None or options is None:
            return None
        most, most_sent = (bound(getattr(self, name, None)) for name in ("max_message", "max_sent"))
        given = {"tail": b""} | {name: value for name, value in options.items() if value}  # the others are 0 or absent
        splitter: Splitter = IN_C.Splitter(framing=self, nothing=b"", max=most, max_sent=most_sent, **given)
        return splitter

    @property
    def _writes_in_c(self) -> bool:
        """Whether the splitter in C writes all that it reads."""
        return True

    @cached_property
    def _encoder(self) -> Splitter | None:
        """The splitter that encodes batches in C, here and in the turn in C."""
        return self._in_c if self._joins and self._writes_in_c else None

    def decoder(self) -> Decoder[In_co | Unmapped]:
        splitter = self._in_c
        return self.reference() if splitter is None else splitter.decoder()

    def encode_many(self, messages: Iterable[Out_contra]) -> bytes:
        messages = messages if type(messages) is list else list(messages)
        encoder = self._encoder
        encoded = None if encoder is None else encoder.encode_many(messages)
        if encoded is not None:
            return encoded
        # A message is rejected or is not bytes: Python encodes it, or raises the error.
        return self._encode_many(messages) if self._joins else super().encode_many(messages)

    def _encode_many(self, messages: list[Any]) -> bytes:
        """Encode a batch in Python, for :meth:`encode_many`."""
        return b"".join(map(self.encode, messages))

    # -- called by the decoder in C -----------------------------------------------------------------------

    def _leave(self, octets: bytes, position: tuple[Any, ...] | None) -> BufferedDecoder[Any]:
        """Return a reference decoder that goes on with these octets, which are a rare, invalid or unfinished message.

        ``position`` is where the C stands in a message of values.
        """
        decoder = self.reference()
        decoder._buffer = octets
        if position is not None:
            decoder._resume(*position)  # type: ignore[attr-defined]
        return decoder

    def _undelivered(self, octets: bytes, given: int, undelivered: int) -> bytes:
        """What ``take(undelivered)`` returns if ``octets`` begin with the latest batch, of ``given`` messages."""
        decoder = self.reference()
        decoder._buffer, decoder._given = octets, given
        return decoder.take(undelivered)

    def __getstate__(self) -> dict[str, Any]:
        # A copy in another process must look itself whether the C is built there.
        return {name: value for name, value in self.__dict__.items() if name not in ("_in_c", "_encoder")}


def bound(most: int | None) -> int:
    """A bound as the C represents it: -1 means no bound, as does one that no message in memory can exceed."""
    return -1 if most is None or most > LARGEST else most
