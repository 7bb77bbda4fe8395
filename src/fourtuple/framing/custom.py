"""A framing of your own from two functions: ``custom(decode, encode, max_message=...)``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fourtuple.errors import EncodeError, FourTupleError, MalformedMessage, MessageError, MessageTooLong
from fourtuple.framing.base import BufferedDecoder, Framing, check_bounds, check_size
from fourtuple.options import DEFAULT_MAX_MESSAGE

#: ``decode(buffer, seen)`` returns ``(message, used)``, the octets it needs in all, or ``None``.
Decode = Callable[[bytearray, int], tuple[Any, int] | int | None]


@dataclass(frozen=True)
class Custom(Framing):
    """Two functions as a framing; :func:`custom` makes it. ``max_message`` bounds what a message uses,
    ``max_sent`` what an encoded one takes.

    A ``decode`` that goes on for more than ``max_message`` octets is
    :class:`~fourtuple.errors.MessageTooLong`; whatever it raises that is no
    :class:`~fourtuple.errors.MessageError` becomes a :class:`~fourtuple.errors.MalformedMessage`.
    """

    decode: Decode
    encoder: Callable[[Any], bytes] | None
    name: str = "custom"
    max_message: int | None = DEFAULT_MAX_MESSAGE
    max_sent: int | None = field(default=None, kw_only=True)

    word: ClassVar[str] = "custom"

    def __post_init__(self) -> None:
        check_bounds(self)

    def __str__(self) -> str:
        return self.name

    def decoder(self) -> BufferedDecoder:
        return _CustomDecoder(self)

    def encode(self, message: Any) -> bytes:
        if self.encoder is None:
            raise EncodeError(f"{self}: no encode function was given")
        try:
            octets = bytes(self.encoder(message))
        except FourTupleError:
            raise
        except Exception as error:
            raise EncodeError(f"{self}: {type(message).__name__} cannot be encoded: {error}") from error
        check_size(self, len(octets))
        return octets


def custom(
    decode: Decode,
    encode: Callable[[Any], bytes] | None = None,
    *,
    max_message: int | None = DEFAULT_MAX_MESSAGE,
    max_sent: int | None = None,
    name: str = "",
) -> Custom:
    """Make a framing of two functions.

    ``decode(buffer, seen)`` gets a bytearray that begins with an unfinished message, and how many of its octets
    it was shown before without making a message (so that it searches no octet twice). It returns

    - ``(message, used)``: the message, and how many octets it used (at least 1);
    - a number: so many octets are needed in all before it is worth asking again;
    - ``None``: more are needed, who knows how many.

    It must not keep the buffer or a view of it, return slices of it as ``bytes``, and decide by the octets
    alone. ``max_message`` bounds the octets of a message that comes, with all that frames it; the decoder enforces
    it. ``max_sent`` bounds what ``encode`` returns; none by default.
    """
    return Custom(decode, encode, name or getattr(decode, "__name__", "custom"), max_message, max_sent=max_sent)


class _CustomDecoder(BufferedDecoder):
    """``_window`` is what ``decode`` sees: a copy of ``_buffer[_start:]``, so that the base can still re-derive."""

    __slots__ = ("_decode", "_max", "_seen", "_window")

    def __init__(self, framing: Custom) -> None:
        self._decode = framing.decode
        self._max = framing.max_message
        super().__init__(framing)

    def _reset(self) -> None:
        super()._reset()
        self._window = bytearray()
        self._seen = 0

    def _split(self, limit: int | None) -> list[Any]:
        window = self._window
        window += memoryview(self._buffer)[self._start + len(window) :]
        messages: list[Any] = []
        while window and (limit is None or len(messages) < limit):
            try:
                got = self._ask(window)
            except MessageError as error:
                self._error = error
                break
            if got is None:
                break
            message, used = got
            del window[:used]
            self._start += used
            self._seen = 0
            messages.append(message)
        else:
            self._need = 1
        return messages

    def _ask(self, window: bytearray) -> tuple[Any, int] | None:
        try:
            got = self._decode(window, self._seen)
        except MessageError:
            raise
        except Exception as error:
            raise MalformedMessage(f"{self._framing} cannot decode: {error}") from error
        held = len(window)
        needed = held + 1
        if isinstance(got, tuple):
            if not 0 < got[1] <= held:
                raise MalformedMessage(f"{self._framing} used {got[1]} octets of {held}")
            needed = got[1]
        elif got is not None:
            needed = max(needed, got)
        if self._max is not None and (needed > self._max if got is not None else held > self._max):
            raise MessageTooLong(self._max + 1, self._max, announced=False)
        if isinstance(got, tuple):
            message, used = got
            return (bytes(message), used) if isinstance(message, bytearray | memoryview) else (message, used)
        self._seen = held
        self._need = needed
        return None
