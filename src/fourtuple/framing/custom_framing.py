"""Your own framing, made of two functions: ``custom(decode, encode, max_message=...)``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Never, TypeVar, overload

from fourtuple.errors import EncodeError, FourTupleError, FramingMistake, MalformedMessage, MessageError, MessageTooLong
from fourtuple.errors.base import interrupts
from fourtuple.framing.base import Framing, Octets
from fourtuple.framing.buffered import BufferedDecoder
from fourtuple.framing.checks import check_bounds, check_size
from fourtuple.framing.unmapped import Unmapped
from fourtuple.framing.usercode import check_function, encoded, is_count, mistake, name_of
from fourtuple.options import DEFAULT_MAX_MESSAGE, by_keyword
from fourtuple.printable import class_of, error_text, shortened, text_of
from fourtuple.typevars import In_co, Out, Out_contra

V = TypeVar("V")
W = TypeVar("W")

#: ``decode(buffer, seen)`` returns ``(message, used)``, the number of octets it needs in all, or ``None``.
Decode = Callable[[bytearray, int], tuple[V | Unmapped, int] | int | None]

_WANTED = "(message, used), the number of octets needed in all, or None"


@dataclass(frozen=True)
class Custom(Framing[In_co, Out_contra]):
    """Two functions as a framing, made by :func:`custom`.

    ``max_message`` bounds the octets that ``decode`` uses for a message, ``max_sent`` those of an encoded message.

    If ``decode`` needs more than ``max_message`` octets, the error is
    :class:`~fourtuple.errors.MessageTooLong`. If it raises anything but a
    :class:`~fourtuple.errors.MessageError`, the error is :class:`~fourtuple.errors.MalformedMessage`. If it returns
    an invalid result, changes the buffer or keeps a view of it, the error is
    :class:`~fourtuple.errors.FramingMistake`, which says what it did.

    Raises :class:`~fourtuple.errors.OptionError` for a ``decode`` or ``encoder`` that is not a function, is async, or
    takes other arguments.

    ``name`` stands for the framing in texts: errors, logs and events.
    """

    decode: Callable[[bytearray, int], tuple[Any, int] | int | None]
    encoder: Callable[[Out_contra], Octets] | None
    name: str = "custom"
    max_message: int | None = DEFAULT_MAX_MESSAGE
    max_sent: int | None = field(default=None, kw_only=True)

    word: ClassVar[str] = "custom"

    def __post_init__(self) -> None:
        check_bounds(self)
        check_function("custom", "decode", self.decode, bytearray(), 0, called="decode(buffer, seen)")
        if self.encoder is not None:
            check_function("custom", "encode", self.encoder, b"", called="encode(message)")

    def __str__(self) -> str:
        return self.name

    def decoder(self) -> BufferedDecoder[In_co | Unmapped]:
        return _CustomDecoder(self)

    def encode(self, message: Out_contra) -> bytes:
        octets = encode_by(self, self.encoder, message)
        check_size(self, len(octets))
        return octets


def encode_by(framing: Framing[Any, Out], encoder: Callable[[Out], Octets] | None, message: Out) -> bytes:
    """Return the octets that a framing's function makes of a message. Raises EncodeError for every failure."""
    if encoder is None:
        raise EncodeError(f"{framing}: no encode function was given")
    try:
        octets = encoder(message)
    except FourTupleError:
        raise
    except Exception as error:
        text = f"{name_of(encoder)}() cannot encode {class_of(message)}: {shortened(text_of(error))}"
        raise EncodeError(f"{framing}: {text}") from error
    return encoded(framing, encoder, octets)


@overload
def custom(
    decode: Decode[Octets],
    encode: Callable[[W], Octets],
    *,
    max_message: int | None = DEFAULT_MAX_MESSAGE,
    max_sent: int | None = None,
    name: str = "",
) -> Custom[bytes, W]: ...
@overload
def custom(
    decode: Decode[V],
    encode: Callable[[W], Octets],
    *,
    max_message: int | None = DEFAULT_MAX_MESSAGE,
    max_sent: int | None = None,
    name: str = "",
) -> Custom[V, W]: ...
@overload
def custom(
    decode: Decode[Octets],
    encode: None = None,
    *,
    max_message: int | None = DEFAULT_MAX_MESSAGE,
    max_sent: int | None = None,
    name: str = "",
) -> Custom[bytes, Never]: ...
@overload
def custom(
    decode: Decode[V],
    encode: None = None,
    *,
    max_message: int | None = DEFAULT_MAX_MESSAGE,
    max_sent: int | None = None,
    name: str = "",
) -> Custom[V, Never]: ...
@by_keyword()
def custom(
    decode: Decode[Any],
    encode: Callable[[Any], Octets] | None = None,
    *,
    max_message: int | None = DEFAULT_MAX_MESSAGE,
    max_sent: int | None = None,
    name: str = "",
) -> Custom[Any, Any]:
    """Make a framing of two functions.

    ``decode(buffer, seen)`` gets a bytearray that begins with an unfinished message, and the number of its octets
    that an earlier call has seen without finding a message (so that it searches no octet twice). It returns one of

    - ``(message, used)``: the message and the number of octets it used (at least 1). If the message is ``None``, the
      octets are skipped and counted in ``decoder.skipped``. It may be an :class:`~fourtuple.framing.Unmapped`, for a
      broken message after which the stream can be cut further;
    - a number: the octets needed in all, more than there are. ``decode`` is called again when they have come;
    - ``None``: more octets are needed, and their number is not known.

    It must not change the buffer, and must not keep it or a view of it. It must return slices of it as ``bytes``, and
    its result must depend on the octets alone. ``max_message`` bounds the octets of a received message, including its
    framing; the decoder enforces it. ``max_sent`` bounds the octets that ``encode`` returns. Its default is ``None``,
    no bound, because your program makes these messages.

    For octets after which it cannot be cut further, ``decode`` raises :class:`~fourtuple.errors.MalformedMessage`, or
    ValueError, which becomes one. Every exception that is not a :class:`~fourtuple.errors.MessageError` becomes the
    ``__cause__`` of a :class:`~fourtuple.errors.MalformedMessage`. What ``encode`` raises becomes an
    :class:`~fourtuple.errors.EncodeError` in the same way.

    ``name`` stands for the framing in texts: errors, logs and events; by default it is that of ``decode``. Raises
    :class:`~fourtuple.errors.OptionError` for an invalid argument.
    """
    return Custom(decode, encode, name or getattr(decode, "__name__", "custom"), max_message, max_sent=max_sent)


class _CustomDecoder(BufferedDecoder[In_co | Unmapped]):
    """``_window`` is what ``decode`` gets: a copy of ``_buffer[_start:]``, so that ``take`` can decode that again.

    ``_place`` is its position in the stream. If the buffer is lent, other decoders may cut messages from it between two
    messages of this one; then the window must follow.
    """

    __slots__ = ("_decode", "_max", "_place", "_seen", "_window")

    def __init__(self, framing: Custom[In_co, Any]) -> None:
        self._decode = framing.decode
        self._max = framing.max_message
        super().__init__(framing)

    def _reset(self) -> None:
        super()._reset()
        self._window = bytearray()
        self._place = 0
        self._seen = 0

    def _stand_at(self, place: int) -> None:
        gone = place - self._place
        if gone:
            self._drop(gone)

    def _split(self, limit: int | None) -> list[Any]:
        messages: list[Any] = []
        self._need = 1
        try:
            self._window = self._grow()
            while self._window and (limit is None or len(messages) < limit):
                got = self._ask(self._window)
                if got is None:
                    break
                message, used = got
                self._drop(used)
                self._start += used
                if message is None:
                    self.skipped += used
                else:
                    messages.append(message)
        except MessageError as error:
            self._error = error
        return messages

    def _grow(self) -> bytearray:
        """The window with all octets received so far."""
        window = self._window
        more = memoryview(self._buffer)[self._start + len(window) :]
        if more:
            try:
                window += more
            except BufferError as error:
                raise self._kept() from error
        return window

    def _drop(self, count: int) -> None:
        """Remove octets from the front of the window that are decoded, here or by another decoder."""
        self._place += count
        self._seen = 0
        try:
            del self._window[:count]
        except BufferError as error:
            raise self._kept() from error

    def _kept(self) -> FramingMistake:
        name = name_of(self._decode)
        return FramingMistake(f"{self._framing}: {name}() keeps a view of the buffer; return slices of it as bytes")

    def _ask(self, window: bytearray) -> tuple[Any, int] | None:
        """What ``decode`` makes of the window: a message (``None`` to skip octets) and the number of octets it used."""
        held = len(window)
        try:
            got = self._decode(window, self._seen)
        except MessageError:
            raise
        except BaseException as error:
            if interrupts(error):
                raise
            text = f"{name_of(self._decode)}() cannot decode: {error_text(error)}"
            raise MalformedMessage(f"{self._framing}: {text}") from error
        if len(window) != held:
            did = (
                f"{name_of(self._decode)}() left {len(window)} octets of {held} in the buffer, which it may not change"
            )
            raise FramingMistake(f"{self._framing}: {did}; expected (message, used), and the octets used are removed")
        if got is None or is_count(got):
            self._more(window, got)
            return None
        message, used = self._pair(got, window)
        self._check_bound(used, window)
        return message, used

    def _more(self, window: bytearray, needed: int | None) -> None:
        """Note that more octets are needed than are held."""
        held = len(window)
        if needed is not None and needed <= held:
            wanted = f"{_WANTED}; {held} octets are there, and no more than that are needed"
            raise mistake(self._framing, self._decode, needed, wanted)
        self._check_bound(held if needed is None else needed, window)
        self._seen = held
        self._need = held + 1 if needed is None else needed

    def _check_bound(self, size: int, window: bytearray) -> None:
        if self._max is None or size <= self._max:
            return
        announced = self._announced(window, self._max)
        if announced is not None:
            raise MessageTooLong(announced, self._max)
        raise MessageTooLong(self._max + 1, self._max, announced=False)

    def _announced(self, window: bytearray, most: int) -> int | None:
        """The number of octets, too many, that ``decode`` needed as soon as it could tell; None if it cannot tell.

        It is asked again about the message's first octets, so that the error is the same in every cut of the stream.
        The beginnings double in size: the octets copied are at most twice those held, if none announces a size.
        """
        last = min(len(window), most + 1)
        low, high = 0, 1
        while self._needed(window, high, most) is None:
            if high == last:
                return None
            low, high = high, min(2 * high, last)
        while high - low > 1:
            middle = (low + high) // 2
            if self._needed(window, middle, most) is None:
                low = middle
            else:
                high = middle
        return self._needed(window, high, most)

    def _needed(self, window: bytearray, size: int, most: int) -> int | None:
        """The number of octets that ``decode`` needs for a message that begins like this, if that is more than most."""
        try:
            got = self._decode(window[:size], 0)
        except BaseException as error:
            if interrupts(error):
                raise
            return None
        return got if is_count(got) and got > most else None

    def _pair(self, got: Any, window: bytearray) -> tuple[Any, int]:
        """The message, with its octets copied, and the number of octets it used."""
        if not isinstance(got, tuple) or len(got) != 2:
            raise mistake(self._framing, self._decode, got, _WANTED)
        message, used = got
        if not is_count(used):
            order = ", in this order" if is_count(message) else ", of which used is a number of octets"
            raise mistake(self._framing, self._decode, got, f"(message, used){order}")
        if message is window:
            raise mistake(self._framing, self._decode, got, "(message, used), whose message is not the buffer itself")
        if not 0 < used <= len(window):
            raise mistake(self._framing, self._decode, got, f"(message, used), with 1 to {len(window)} octets used")
        if isinstance(message, memoryview):
            octets = bytes(message)
            message.release()
            return octets, used
        return (bytes(message) if isinstance(message, bytearray) else message), used
