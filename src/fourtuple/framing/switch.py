r"""A framing chosen for each message by its first octets: ``switch:$=line|\x01=u16,otherwise=fixed:4``.

::

    +-----+----------------------+----+-----+--------+------------+----
    |  $  | the rest of a line   | LF | x01 | length | octets     | ...
    +-----+----------------------+----+-----+--------+------------+----
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from fourtuple.errors import EncodeError, IncompleteMessage, MalformedMessage, MessageError, OptionError
from fourtuple.framing.base import BufferedDecoder, Framing, check_marker, whole
from fourtuple.framing.unmapped import Unmapped
from fourtuple.framing.usercode import told
from fourtuple.typevars import In, In_co, Out, Out_contra

Cases = tuple[tuple[bytes, Framing[In, Out]], ...]


@dataclass(frozen=True)
class Switch(Framing[In_co, Out_contra]):
    """The first octets of a message select its framing.

    ``cases`` are pairs of first octets and framing; the framing also decodes the first octets. ``otherwise`` is the
    framing of a message that does not begin with a case; without it, such a message raises
    :class:`~fourtuple.errors.MalformedMessage`. The other errors are those of the framings.

    The encoder uses the first framing whose encoded octets begin with its own case.

    Raises :class:`~fourtuple.errors.OptionError` if one case begins with another, and for framings whose octets do
    not tell where a message ends (``raw``, ``eof``, ``gap``, adapters).
    """

    cases: Cases[In_co, Out_contra]
    otherwise: Framing[In_co, Out_contra] | None = None

    word: ClassVar[str] = "switch"
    argument: ClassVar[str | None] = "cases"

    def __post_init__(self) -> None:
        pairs = [_pair(each) for each in _cases(self.cases)]
        object.__setattr__(self, "cases", tuple(pairs))
        for number, (octets, framing) in enumerate(pairs):
            check_marker(self, "a case", octets)
            _check_inner(framing)
            for other, _ in pairs[:number]:
                if octets.startswith(other) or other.startswith(octets):
                    raise OptionError(f"switch: of the cases {other!r} and {octets!r} one begins with the other")
        if self.otherwise is not None:
            _check_inner(self.otherwise)

    @property
    def max_message(self) -> int | None:
        """The largest bound of the framings, in octets; ``None`` if one of them has no bound."""
        return _largest([getattr(each, "max_message", None) for each in self._framings()])

    @property
    def max_buffered(self) -> int | None:
        return _largest([each.max_buffered for each in self._framings()])

    def _framings(self) -> list[Framing[In_co, Out_contra]]:
        return [each for _, each in self.cases] + ([] if self.otherwise is None else [self.otherwise])

    def decoder(self) -> BufferedDecoder[In_co | Unmapped]:
        return SwitchDecoder(self, self.cases, self.otherwise)

    def encode(self, message: Out_contra) -> bytes:
        refused: list[EncodeError] = []
        for octets, framing in (*self.cases, (b"", self.otherwise)):
            if framing is None:
                continue
            try:
                encoded = framing.encode(message)
            except EncodeError as error:
                refused.append(error)
                continue
            if octets and encoded.startswith(octets):
                return encoded
            if not octets and not self._may_be_a_case(encoded):
                return encoded
        if refused:
            raise refused[0]
        raise EncodeError(f"{self}: the message begins with none of the cases")

    def _may_be_a_case(self, encoded: bytes) -> bool:
        return any(encoded.startswith(octets) or octets.startswith(encoded) for octets, _ in self.cases)


def _cases(given: object) -> list[object]:
    if isinstance(given, Mapping):
        given = given.items()
    if isinstance(given, str | bytes) or not isinstance(given, Iterable) or not (cases := list(given)):
        raise OptionError(f"switch: cases are {told(given)}; wanted is at least one pair of octets and framing")
    return cases


def _pair(case: object) -> tuple[Any, Any]:
    if not isinstance(case, tuple | list) or len(case) != 2:
        raise OptionError(f"switch: a case is {told(case)}; wanted is a pair of octets and framing")
    return case[0], case[1]


def _check_inner(framing: object) -> None:
    if not isinstance(framing, Framing):
        raise OptionError(f"switch: {told(framing)} is no framing; parse_framing() makes one of a text")
    lendable = isinstance(framing.reference(), BufferedDecoder) and whole(getattr(framing, "max_message", 1) or 1, 1)
    if not lendable or framing.ends_stream or framing.gap_timeout is not None or framing.word == "raw":
        raise OptionError(f"switch: the messages of {framing} do not end in the stream itself")
    if getattr(framing, "swallow", False) or getattr(framing, "resync", False):
        raise OptionError(f"switch: {framing} skips octets behind its messages, where the next case is looked for")


def _largest(bounds: Sequence[int | None]) -> int | None:
    return None if None in bounds else max(each for each in bounds if each is not None)


class SwitchDecoder(BufferedDecoder[In_co]):
    """Lends its buffer to the decoder of the current case, without a copy."""

    __slots__ = ("_cases", "_current", "_delivered", "_longest", "_otherwise", "_passed")

    def __init__(self, framing: Framing, cases: Cases, otherwise: Framing | None) -> None:
        made: dict[Framing, BufferedDecoder[In_co]] = {}
        self._cases = [(octets, _made(each, made)) for octets, each in cases]
        self._otherwise = None if otherwise is None else _made(otherwise, made)
        self._longest = max(len(octets) for octets, _ in cases)
        super().__init__(framing)

    def _reset(self) -> None:
        super()._reset()
        #: The decoder of the unfinished message.
        self._current: BufferedDecoder[In_co] | None = None
        #: The charge of the values of the latest feed's messages.
        self._delivered = 0
        #: The number of octets of the stream before ``_start``.
        self._passed = 0
        for decoder in {decoder for _, decoder in self._cases} | {self._otherwise}:
            if decoder is not None:
                decoder._reset()

    @property
    def _values(self) -> int:
        unfinished = 0 if self._current is None else self._current._values
        return unfinished + (self._delivered if self._given else 0)

    def settle(self) -> None:
        self._delivered = 0
        super().settle()

    def _split(self, limit: int | None) -> list[Any]:
        messages: list[Any] = []
        self._delivered = 0
        while limit is None or len(messages) < limit:
            if self._start == len(self._buffer):
                self._need = 1
                break
            current = self._current or self._choose()
            if current is None:
                break
            skipped, start = current.skipped, self._start
            got = self._lend(current, start, self._passed)
            self.skipped += current.skipped - skipped
            self._start = current._start
            self._passed += self._start - start
            messages += got
            self._current = None if got else current
            if not got:
                self._need, self._error = current._need, current._error
                break
            self._delivered += current._values
        else:
            self._need = 1
        return messages

    def _stand_at(self, place: int) -> None:
        self._passed = place

    def _choose(self) -> BufferedDecoder[In_co] | None:
        """The decoder of the current message; ``None`` if its first octets do not select one yet, or after an error."""
        first = bytes(self._buffer[self._start : self._start + self._longest])
        for octets, decoder in self._cases:
            if first.startswith(octets):
                return decoder
        if len(first) < self._longest and any(octets.startswith(first) for octets, _ in self._cases):
            self._need = len(first) + 1
            return None
        if self._otherwise is None:
            self._error = MalformedMessage(f"message begins with {first[:1]!r}, which is none of the cases")
        return self._otherwise

    def _incomplete(self) -> MessageError:
        current = self._current
        if current is None:
            return IncompleteMessage(self.buffered, None)
        current._buffer, current._start = self._buffer, self._start
        return current._incomplete()


def _made(framing: Framing, made: dict[Framing, BufferedDecoder[In]]) -> BufferedDecoder[In]:
    if framing not in made:
        decoder = framing.reference()
        assert isinstance(decoder, BufferedDecoder)
        made[framing] = decoder
    return made[framing]
