"""A guard around third-party decoders: each mistake becomes one error of its connection, which names the method."""

from __future__ import annotations

from typing import Any, TypeVar

from fourtuple.errors import FramingMistake, MessageError
from fourtuple.errors.base import interrupts
from fourtuple.framing.base import Decoder, Framing, Octets
from fourtuple.framing.unmapped import Unmapped
from fourtuple.framing.usercode import mistake, raised
from fourtuple.typevars import In, In_co

Kind = TypeVar("Kind")

_OURS = ("fourtuple.framing.", "fourtuple._fast_path")


def decoder_of(framing: Framing[In, Any]) -> Decoder[In | Unmapped]:
    """Make the decoder of one connection. A decoder of this package is returned as it is, any other is guarded.

    Raises only MemoryError, which is not a mistake of the framing.
    """
    try:
        decoder = framing.decoder()
    except MemoryError:
        raise
    except BaseException as error:
        if interrupts(error):
            raise
        return Guarded(framing, None, raised(framing, f"{type(framing).__qualname__}.decoder", error))
    if type(decoder).__module__.startswith(_OURS):
        return decoder
    return Guarded(framing, decoder)


class Guarded(Decoder[In_co | Unmapped]):
    """Calls the decoder ``inner``. If that raises anything but a MessageError or returns a wrong result, this raises a
    :class:`~fourtuple.errors.FramingMistake`, and raises it again at every later call."""

    __slots__ = ("_error", "_framing", "_inner")

    def __init__(self, framing: Framing[In_co, Any], inner: Any, error: FramingMistake | None = None) -> None:
        self._framing = framing
        self._inner = inner
        self._error = error
        if error is None and not isinstance(inner, Decoder):
            self._error = mistake(framing, f"{type(framing).__qualname__}.decoder", inner, "a Decoder")

    def _named(self, name: str) -> str:
        return f"{type(self._inner).__qualname__}.{name}"

    def _ask(self, name: str, kind: type[Kind], *arguments: Any) -> Kind:
        """Call a method of the decoder; return its result, which must have this type."""
        if self._error is not None:
            raise self._error
        try:
            got = getattr(self._inner, name)(*arguments)
        except (MessageError, MemoryError):
            raise
        except BaseException as error:
            if interrupts(error):
                raise
            self._error = raised(self._framing, self._named(name), error)
            raise self._error from error
        if type(got) is not kind:
            self._error = mistake(self._framing, self._named(name), got, f"a {kind.__name__}")
            raise self._error
        return got

    def _number(self, name: str) -> int:
        """An attribute of the decoder; 0 if it is missing or wrong, and then :meth:`feed` raises."""
        if self._error is not None:
            return 0
        try:
            value = getattr(self._inner, name)
        except MemoryError:
            raise
        except BaseException as error:
            if interrupts(error):
                raise
            self._error = raised(self._framing, self._named(name), error)
            return 0
        if type(value) is int:
            return value
        self._error = mistake(self._framing, self._named(name), value, "a number of octets")
        return 0

    def feed(self, data: Octets, limit: int | None = None) -> list[In_co | Unmapped]:
        return self._ask("feed", list, data, limit)

    def finish(self) -> list[In_co | Unmapped]:
        return self._ask("finish", list)

    def gap(self) -> list[In_co | Unmapped]:
        return self._ask("gap", list)

    def take(self, undelivered: int = 0) -> bytes:
        return self._ask("take", bytes, undelivered)

    def forget_error(self) -> None:
        self._error = None

    def settle(self) -> None:
        if self._error is None:
            try:
                self._inner.settle()
            except MemoryError:
                raise
            except BaseException as error:
                if interrupts(error):
                    raise
                self._error = raised(self._framing, self._named("settle"), error)

    @property
    def skipped(self) -> int:  # type: ignore[override]
        """The number that the decoder gives."""
        return self._number("skipped")

    @property
    def buffered(self) -> int:
        return self._number("buffered")

    @property
    def held(self) -> int:
        return self._number("held")
