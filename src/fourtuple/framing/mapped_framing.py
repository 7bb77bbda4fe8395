"""Messages as values: ``u32+json``, ``fixed:6+struct:>HI``, ``line+text``; ``mapped(framing, decode, encode)``.

::

    octets  --framing-->  message  --decode-->  value
    octets  <--framing--  message  <--encode--  value
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, overload

from fourtuple.errors import EncodeError, OptionError
from fourtuple.errors.base import interrupts
from fourtuple.framing.base import Decoder, Framing, Octets
from fourtuple.framing.checks import whole
from fourtuple.framing.checksums import own_checksum, read_checksum
from fourtuple.framing.fixed import Fixed
from fourtuple.framing.guarding import decoder_of
from fourtuple.framing.length import Length
from fourtuple.framing.mapping import JSON_MAPPING, TEXT_MAPPING, Mapping, checksum_mapping, struct_mapping
from fourtuple.framing.memory import check_max_message_memory, memory_bound
from fourtuple.framing.typed import msgspec_mapping
from fourtuple.framing.unmapped import Unmapped
from fourtuple.framing.usercode import name_of, raised, told
from fourtuple.options import DEFAULT_MAX_MESSAGE_MEMORY, by_keyword, seen
from fourtuple.printable import shortened, text_of
from fourtuple.typevars import In, In_co, Out, Out_contra

Message = TypeVar("Message")
Sent = TypeVar("Sent")

#: An estimate of the octets of memory that an octet of a message takes as values: JSON has more digits than brackets.
_PER_OCTET = 8


def mapping_named(text: str) -> Mapping[Any, Any] | None:
    """The mapping of a text form; ``None`` if the text is not a mapping."""
    word, colon, argument = text.partition(":")
    if word == "struct" and colon:
        return struct_mapping(argument.replace("\\", ""))
    if word == "check" and colon:
        return checksum_mapping(read_checksum(argument))
    if text == "msgspec-json":
        return msgspec_mapping(format="json")
    if text == "msgspec-msgpack":
        return msgspec_mapping(format="msgpack")
    named: dict[str, Mapping[Any, Any]] = {"json": JSON_MAPPING, "text": TEXT_MAPPING}
    return named.get(text)


@dataclass(frozen=True)
class Mapped(Framing[In_co, Out_contra]):
    """The messages of ``inner`` as values.

    A message that does not map becomes an :class:`~fourtuple.framing.Unmapped` in its place, with the mapping's
    error. A value that does not map back raises :class:`~fourtuple.errors.EncodeError`. The errors of the stream
    are those of ``inner``.

    The mappings of JSON and MessagePack estimate the memory of a message's values: one that would take more than
    ``max_message_memory`` octets does not map either.
    """

    inner: Framing[Any, Any]
    mapping: Mapping[In_co, Out_contra]
    max_message_memory: int | None = DEFAULT_MAX_MESSAGE_MEMORY

    word: ClassVar[str] = "mapped"

    if TYPE_CHECKING:  # the messages of ``inner`` are those that the mapping takes and makes

        def __init__(
            self,
            inner: Framing[Message, Sent],
            mapping: Mapping[In_co, Out_contra, Message, Sent],
            max_message_memory: int | None = DEFAULT_MAX_MESSAGE_MEMORY,
        ) -> None: ...

    def __post_init__(self) -> None:
        if not isinstance(self.inner, Framing):
            raise OptionError(f"mapped: {told(self.inner)} is not a framing; parse_framing() makes one from a text")
        if not isinstance(self.mapping, Mapping):
            raise OptionError(f"mapped: {told(self.mapping)} is not a Mapping; mapped() makes one of two functions")
        if self.mapping.of_octets and self.inner._makes_values:
            raise OptionError(
                f"{self}: the mapping {self.mapping.name} takes octets, messages of {self.inner} are values"
            )
        self._check_sizes()
        check_max_message_memory(self)

    def _check_sizes(self) -> None:
        """Reject a mapping whose messages have a fixed size that no message of ``inner`` can have."""
        inner, size = self.inner, self.mapping.size
        if size is None:
            return
        if isinstance(inner, Fixed) and inner.size != size:
            raise OptionError(
                f"{self}: messages of {inner.size} octets, {self.mapping.name} takes {size}; use fixed:{size}"
            )
        bounds = [self.max_message, inner.largest if isinstance(inner, Length) else None]
        largest = min((bound for bound in bounds if bound is not None), default=size)
        if size > largest:
            raise OptionError(f"{self}: messages of no more than {largest} octets, {self.mapping.name} takes {size}")

    @property
    def max_message(self) -> int | None:
        """The bound of ``inner``, in octets before mapping."""
        bound: int | None = getattr(self.inner, "max_message", None)
        return bound

    @property
    def max_buffered(self) -> int | None:
        return self.inner.max_buffered

    @property
    def gap_timeout(self) -> float | None:
        return self.inner.gap_timeout

    @property
    def ends_stream(self) -> bool:  # type: ignore[override]
        """The same as for ``inner``."""
        return self.inner.ends_stream

    @property
    def delimits_itself(self) -> bool:  # type: ignore[override]
        """The same as for ``inner``."""
        return self.inner.delimits_itself

    @property
    def drops_between(self) -> bool:
        return self.inner.drops_between

    @property
    def _makes_values(self) -> bool:
        return self.mapping.of_octets == "values"

    @property
    def stateful(self) -> bool:
        return self.inner.stateful

    @property
    def interleaves(self) -> bool:
        return self.inner.interleaves

    def mirror(self) -> Mapped[Any, Any]:
        return replace(self, inner=self.inner.mirror())

    def __str__(self) -> str:
        inner, mapping = str(self.inner), self.mapping
        # Two mappings without names would be no more than the same word twice.
        named = inner if not mapping.text and inner.endswith(f"+{mapping.name}") else f"{inner}+{mapping.name}"
        return self._text(named, {"inner", "mapping"})

    def decoder(self) -> Decoder[In_co | Unmapped]:
        return _MappedDecoder(decoder_of(self.inner), self)

    def reference(self) -> Decoder[In_co | Unmapped]:
        return _MappedDecoder(self.inner.reference(), self)

    def encode(self, message: Out_contra) -> bytes:
        try:
            mapped = self.mapping.encode(message)
        except EncodeError:
            raise
        except Exception as error:
            raise EncodeError(f"{self}: {type(message).__name__} does not map: {shortened(text_of(error))}") from error
        try:
            return self.inner.encode(mapped)
        except EncodeError as error:
            if isinstance(mapped, bytes | bytearray | memoryview):
                raise
            raise EncodeError(f"{self}: {name_of(self.mapping.encode)}() returned {told(mapped)}; {error}") from error


@overload
def mapped(
    framing: Framing[Message, Sent], decode: Callable[[Message], In], encode: Callable[[Out], Sent]
) -> Mapped[In, Out]: ...
@overload  # the parameter of a lambda has no type
def mapped(
    framing: Framing[Message, Sent], decode: Callable[[Message], In], encode: Callable[[Any], Sent]
) -> Mapped[In, Any]: ...
def mapped(framing: Framing, decode: Callable[[Any], Any], encode: Callable[[Any], Any]) -> Mapped:
    """The messages of ``framing`` as values: ``decode(message)`` makes a value, ``encode(value)`` a message.

    If ``decode`` raises, the message becomes an :class:`~fourtuple.framing.Unmapped`. If ``encode`` raises, sending
    raises :class:`~fourtuple.errors.EncodeError`.
    """
    return Mapped(framing, Mapping(decode, encode))


@by_keyword()
def checked(
    framing: Framing[bytes, bytes],
    checksum: str | Callable[[bytes], bytes],
    *,
    size: int | None = None,
    first: int = 0,
    end: int | None = None,
) -> Mapped[bytes, Octets]:
    """The messages of ``framing`` with a checksum at their end, which is checked, removed and written.

    A message with a wrong checksum becomes an :class:`~fourtuple.framing.Unmapped` in its place.

    ``checksum`` is a name, optionally with the form of the checksum and with the range that it checks, as in
    ``"crc16-modbus/be@2"``: ``/be``, ``/le`` or ``/hex`` (digits), and ``@FIRST`` or ``@FIRST:END``. Or it is a
    function of the octets that returns ``size`` octets. ``first`` and ``end`` are then the range. They count octets of
    the message without its checksum, as in a slice.

    Raises :class:`~fourtuple.errors.OptionError` for an unknown name, and for a function without ``size``.
    """
    if isinstance(checksum, str):
        if size is not None or first or end is not None:
            raise OptionError("checked: size, first and end are for a function; a name has them in its text")
        return Mapped(framing, checksum_mapping(read_checksum(checksum)))
    if not whole(size, 1):
        raise OptionError(f"checked: size is {seen(size)}, the function returns at least one octet")
    return Mapped(framing, checksum_mapping(own_checksum(checksum, size or 0, first, end)))


class _MappedDecoder(Decoder[In_co | Unmapped]):
    __slots__ = ("_allowed", "_decode", "_inner", "_look", "_octets")

    def __init__(self, inner: Decoder[Any], framing: Mapped[In_co, Any]) -> None:
        self._inner = inner
        self._decode = framing.mapping.decode
        self._look = framing.mapping.look
        self._allowed = memory_bound(framing)
        #: The number of octets of the latest feed's messages, which are now values.
        self._octets = 0

    @property
    def skipped(self) -> int:  # type: ignore[override]
        """The number of octets that the inner decoder skipped."""
        return self._inner.skipped

    @property
    def buffered(self) -> int:
        return self._inner.buffered

    @property
    def held(self) -> int:
        return self._inner.held + self.values

    @property
    def values(self) -> int:
        """An estimate of the octets of memory of the values of the latest feed."""
        return _PER_OCTET * self._octets

    @property
    def parser(self) -> Any:
        return self._inner.parser

    @property
    def mapped(self) -> Decoder[Any]:
        return self._inner

    def map(self, messages: list[Any]) -> list[In_co | Unmapped]:
        """Map messages of the inner decoder."""
        self._octets = 0
        return [self._mapped(each) for each in messages]

    def _mapped(self, message: Any) -> In_co | Unmapped:
        if isinstance(message, Unmapped):
            return message
        try:
            if self._look is not None:
                self._octets += len(message)
                self._look(message, self._allowed)
            return self._decode(message)
        except BaseException as error:
            if interrupts(error):
                raise
            return Unmapped(message, error if isinstance(error, Exception) else raised("mapping", self._decode, error))

    def feed(self, data: Octets, limit: int | None = None) -> list[In_co | Unmapped]:
        return self.map(self._inner.feed(data, limit))

    def finish(self) -> list[In_co | Unmapped]:
        return self.map(self._inner.finish())

    def gap(self) -> list[In_co | Unmapped]:
        return self.map(self._inner.gap())

    def take(self, undelivered: int = 0) -> bytes:
        self._octets = 0
        return self._inner.take(undelivered)

    def forget_error(self) -> None:
        self._inner.forget_error()

    def settle(self) -> None:
        self._octets = 0
        self._inner.settle()
