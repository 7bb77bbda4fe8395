r"""A framing chosen for each message by its first octets: ``switch:$=line|\x01=u16,otherwise=fixed:4``.

::

    +-----+----------------------+----+-----+--------+------------+----
    |  $  | the rest of a line   | LF | x01 | length | octets     | ...
    +-----+----------------------+----+-----+--------+------------+----
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from fourtuple.errors import EncodeError, IncompleteMessage, MalformedMessage, MessageError, OptionError
from fourtuple.framing.base import Framing
from fourtuple.framing.buffered import BufferedDecoder
from fourtuple.framing.checks import check_kinds, check_marker
from fourtuple.framing.lending import Cutter, Swallowing, check_lendable, cutter
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

    ``swallow`` are octets that are dropped before a message, in any number and order: the CR and LF that devices
    send after every message, the LF that ``json`` writes.

    The encoder uses the first framing whose encoded octets begin with its own case.

    Raises :class:`~fourtuple.errors.OptionError` if one case begins with another or with an octet of ``swallow``, and
    for framings whose octets do not tell where a message ends (``raw``, ``eof``, ``gap``, adapters).
    """

    cases: Cases[In_co, Out_contra]
    otherwise: Framing[In_co, Out_contra] | None = None
    swallow: bytes = b""

    word: ClassVar[str] = "switch"
    argument: ClassVar[str | None] = "cases"

    if TYPE_CHECKING:  # a mapping or pairs; the attribute is a tuple of pairs

        def __init__(
            self,
            cases: Mapping[bytes, Framing[In_co, Out_contra]] | Sequence[tuple[bytes, Framing[In_co, Out_contra]]],
            otherwise: Framing[In_co, Out_contra] | None = None,
            swallow: bytes = b"",
        ) -> None: ...

    def __post_init__(self) -> None:
        check_kinds(self)
        pairs = [_pair(each) for each in _cases(self.cases)]
        object.__setattr__(self, "cases", tuple(pairs))
        for number, (octets, framing) in enumerate(pairs):
            check_marker(self, "a case", octets)
            _check_inner(framing)
            if octets[0] in self.swallow:
                raise OptionError(f"switch: the case {octets!r} begins with an octet that swallow drops")
            for other, _ in pairs[:number]:
                if octets.startswith(other) or other.startswith(octets):
                    raise OptionError(f"switch: one of the cases {other!r} and {octets!r} begins with the other")
        if self.otherwise is not None:
            _check_inner(self.otherwise)

    @property
    def _makes_values(self) -> bool:
        return any(each._makes_values for each in self._framings())

    @property
    def max_message(self) -> int | None:
        """The largest bound of the framings, in octets; ``None`` if one of them has no bound."""
        return _largest([getattr(each, "max_message", None) for each in self._framings()])

    @property
    def max_buffered(self) -> int | None:
        return _largest([each.max_buffered for each in self._framings()])

    @property
    def drops_between(self) -> bool:
        return bool(self.swallow) or any(each.drops_between for each in self._framings())

    def mirror(self) -> Switch[Any, Any]:
        cases = tuple((octets, each.mirror()) for octets, each in self.cases)
        return replace(self, cases=cases, otherwise=None if self.otherwise is None else self.otherwise.mirror())

    def _framings(self) -> list[Framing[In_co, Out_contra]]:
        return [each for _, each in self.cases] + ([] if self.otherwise is None else [self.otherwise])

    def decoder(self) -> BufferedDecoder[In_co | Unmapped]:
        return SwitchDecoder(self, self.cases, self.otherwise, self.swallow)

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
        return encoded[:1] in self.swallow or any(
            encoded.startswith(octets) or octets.startswith(encoded) for octets, _ in self.cases
        )


def _cases(given: object) -> list[object]:
    if isinstance(given, Mapping):
        given = tuple(given.items())
    if isinstance(given, str | bytes | Set) or not isinstance(given, Iterable) or not (cases := list(given)):
        raise OptionError(f"switch: cases are {told(given)}; expected at least one pair of octets and framing")
    return cases


def _pair(case: object) -> tuple[Any, Any]:
    if not isinstance(case, tuple | list) or len(case) != 2:
        raise OptionError(f"switch: a case is {told(case)}; expected a pair of octets and framing")
    return case[0], case[1]


def _check_inner(framing: object) -> None:
    check_lendable("switch", framing)
    if getattr(framing, "swallow", False) is True or getattr(framing, "resync", False):
        raise OptionError(
            f"switch: {framing} skips octets after its messages, where the next case begins; the switch has a "
            "swallow of its own"
        )


def _largest(bounds: Sequence[int | None]) -> int | None:
    return None if None in bounds else max(each for each in bounds if each is not None)


class SwitchDecoder(BufferedDecoder[In_co]):
    """Lends its buffer to the decoder of the current case, without a copy."""

    __slots__ = ("_cases", "_current", "_delivered", "_longest", "_otherwise", "_passed", "_swallowing")

    skipped: int

    def __init__(self, framing: Framing, cases: Cases, otherwise: Framing | None, swallow: bytes = b"") -> None:
        made: dict[Framing, Cutter] = {}
        self._cases = [(octets, _made(each, made)) for octets, each in cases]
        self._otherwise = None if otherwise is None else _made(otherwise, made)
        self._longest = max(len(octets) for octets, _ in cases)
        self._swallowing = Swallowing(swallow)
        super().__init__(framing)

    def forget_error(self) -> None:
        super().forget_error()
        for each in {each for _, each in self._cases} | {self._otherwise}:
            if each is not None:
                each.decoder.forget_error()

    def _reset(self) -> None:
        super()._reset()
        #: The decoder of the unfinished message.
        self._current: Cutter | None = None
        #: The charge of the values of the latest feed's messages.
        self._delivered = 0
        #: The number of octets of the stream before ``_start``.
        self._passed = 0
        for each in {each for _, each in self._cases} | {self._otherwise}:
            if each is not None:
                each.reset()

    @property
    def _values(self) -> int:
        unfinished = 0 if self._current is None else self._current.values
        return unfinished + (self._delivered if self._given else 0)

    def settle(self) -> None:
        self._delivered = 0
        super().settle()

    def _see_end(self) -> None:
        if self._current is not None:
            self._current.decoder._see_end()
            self._need = min(self._need, max(1, self.buffered))

    def _split(self, limit: int | None) -> list[Any]:
        messages: list[Any] = []
        self._delivered = 0
        while limit is None or len(messages) < limit:
            current = self._current or self._choose()
            if current is None:
                break
            got = self._cut_one(current)
            messages += got
            self._current = None if got else current
            if not got:
                self._need, self._error = current.decoder._need, current.decoder._error
                break
            self._delivered += current.values
        else:
            self._need = 1
        return messages

    def _cut_one(self, current: Cutter) -> list[Any]:
        """The message that this decoder cuts, or none, with ``_start`` behind what it used."""
        decoder = current.decoder
        skipped, start = decoder.skipped, self._start
        got = self._lend(decoder, start, self._passed)
        self.skipped += decoder.skipped - skipped
        self._start = decoder._start
        self._passed += self._start - start
        return current.map(got) if got else got

    def _stand_at(self, place: int) -> None:
        self._passed = place

    def _choose(self) -> Cutter | None:
        """The decoder of the current message; ``None`` if its first octets do not select one yet, or after an error."""
        start = self._swallowing.after(self._buffer, self._start)
        self._passed += start - self._start
        self._start = start
        first = bytes(self._buffer[start : start + self._longest])
        for octets, each in self._cases:
            if first.startswith(octets):
                return each
        if not first or (len(first) < self._longest and any(octets.startswith(first) for octets, _ in self._cases)):
            self._need = len(first) + 1
            return None
        if self._otherwise is None:
            self._error = MalformedMessage(f"message begins with {first[:1]!r}, with which no case begins")
        return self._otherwise

    def _incomplete(self) -> MessageError:
        if self._current is None:
            return IncompleteMessage(self.buffered, None)
        current = self._current.decoder
        current._buffer, current._start = self._buffer, self._start
        return current._incomplete()


def _made(framing: Framing, made: dict[Framing, Cutter]) -> Cutter:
    if framing not in made:
        each = cutter(framing)
        assert each is not None
        made[framing] = each
    return made[framing]
