"""The contract of every framing, and the buffer that all buffered decoders share.

What a decoder promises, whatever the framing:

- **The cut does not matter.** However the stream is cut into pieces, the messages are the same and the same
  error comes at the same message.
- **An error never eats good messages.** :meth:`Decoder.feed` does not raise while it has messages to give: it
  returns them, and the next call raises.
- **Bounded.** No message that comes is larger than ``max_message``; it is checked on the announced length, before
  memory is taken. What is sent has a bound of its own, ``max_sent``, which is none by default: the program makes it,
  and not a peer; what waits to be sent is bounded by ``max_outbox``.
- **Linear.** No octet is searched twice, and each is copied a fixed number of times, however small the
  pieces.
- **A message that is framed well and means nothing** is an :class:`~fourtuple.framing.Unmapped` in its place,
  not an error: the stream can be cut further, and what to do is the service's decision.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, NoReturn, TypeAlias

from fourtuple.errors import (
    EncodeError,
    IncompleteMessage,
    MalformedMessage,
    MessageError,
    MessageTooLong,
    OptionError,
)
from fourtuple.framing.notation import written
from fourtuple.framing.unmapped import Unmapped
from fourtuple.framing.usercode import checked_encoder, mistake, raised
from fourtuple.options import DEFAULT_MAX_MESSAGE, nearest, seen
from fourtuple.typevars import Generic, In_co, Out_contra

Octets: TypeAlias = bytes | bytearray | memoryview


@dataclasses.dataclass(frozen=True)
class Framing(ABC, Generic[In_co, Out_contra]):
    """How a stream of octets is cut into messages: an immutable, comparable, printable value.

    A framing is a frozen dataclass. Its text form is made from its fields: ``word`` is its name there, and
    the field named by ``argument`` stands behind the colon (``fixed:16``); the others follow as
    ``,name=value`` where they differ from their default.

    ``Framing[In, Out]`` says the types of messages: ``In`` comes out of :meth:`decoder`, ``Out`` goes into
    :meth:`encode`. They are for type checkers; nothing is checked at run time.
    """

    #: The name of the framing in its text form.
    word: ClassVar[str]
    #: The field that stands behind the colon of the text form, where one does.
    argument: ClassVar[str | None] = None
    #: Whether the end of a message is the end of the stream, so that sending one half-closes.
    ends_stream: ClassVar[bool] = False

    #: Whether a message says itself where it ends. Where only the end of the stream, or of a read, does, an end of file
    #: that anybody could have sent (TLS without close_notify) may have cut it short unseen.
    delimits_itself: ClassVar[bool] = True

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if cls.__module__.startswith("fourtuple.framing."):
            return
        # Somebody's own encoder: what is no octets is named here, rather than found where octets are joined and sent.
        for name in ("encode", "encode_many"):
            function = vars(cls).get(name)
            if inspect.isfunction(function):
                setattr(cls, name, checked_encoder(function))

    @property
    def max_buffered(self) -> int | None:
        """The most octets that a decoder holds of one unfinished message; ``None`` without a bound.

        That is ``max_message`` and what frames it: headers, markers, stuffing.
        """
        bound: int | None = getattr(self, "max_message", None)
        return None if bound is None else bound + self._overhead()

    def _overhead(self) -> int:
        """The most octets that frame one message: what a decoder may hold beyond ``max_message``."""
        return 0

    @property
    def gap_timeout(self) -> float | None:
        """Seconds of silence that end a message (:meth:`Decoder.gap`); ``None`` where it means nothing."""
        return None

    @abstractmethod
    def decoder(self) -> Decoder[In_co | Unmapped]:
        """Make the decoder of one connection."""

    def reference(self) -> Decoder[In_co | Unmapped]:
        """Make the decoder in Python, where :meth:`decoder` may have one in C that does the same."""
        return self.decoder()

    @staticmethod
    def _undeliverable(given: int, undelivered: int) -> NoReturn:
        raise ValueError(f"the latest feed gave {given} messages, {undelivered} cannot be undelivered")

    @abstractmethod
    def encode(self, message: Out_contra) -> bytes:
        """Return the octets of one message.

        Raises :class:`~fourtuple.errors.EncodeError` for what the peer could not decode: a delimiter inside
        the message, a length that does not fit its field; and for more than ``max_sent`` octets, where the framing
        has that bound. ``max_message`` bounds what comes, and not what is sent.
        """

    def encode_many(self, messages: Iterable[Out_contra]) -> bytes:
        """Return the octets of several messages, one after the other; all of them or an error."""
        return b"".join(map(self.encode, messages))

    def __str__(self) -> str:
        return self._text(self.word, set())

    def _text(self, text: str, told: set[str]) -> str:
        """Continue the text form with the fields that are not ``told`` yet and differ from their default."""
        fields = {field.name: field for field in dataclasses.fields(self) if field.name not in told}
        values = {name: getattr(self, name) for name in fields}
        changed = {name: value for name, value in values.items() if value != fields[name].default}
        if self.argument in changed:
            text += ":" + written(changed.pop(self.argument))
        return text + "".join(f",{name}={written(value)}" for name, value in changed.items())


class Decoder(ABC, Generic[In_co]):
    """Octets in, messages out; one per connection, made by :meth:`Framing.decoder`."""

    __slots__ = ()

    #: Octets skipped so far because they belong to no message: garbage before a start marker, the rest of a
    #: message that was too long. Decoders that skip have a counter of their own.
    skipped: int = 0

    @abstractmethod
    def feed(self, data: Octets, limit: int | None = None) -> list[In_co]:
        """Take the octets of one read and return the whole messages they complete, at most ``limit``.

        What is beyond the limit stays; ``feed(b"")`` gives the next ones. Returns ``[]`` while a message is
        unfinished. Raises the :class:`~fourtuple.errors.MessageError` of the first broken message once no
        good message before it is left to give, and again at every later call.
        """

    @abstractmethod
    def finish(self) -> list[In_co]:
        """Take the end of file; return the messages that are left.

        Raises :class:`~fourtuple.errors.IncompleteMessage` when octets of an unfinished message are left over
        (after the messages before it were given, as :meth:`feed` does).
        """

    @property
    @abstractmethod
    def buffered(self) -> int:
        """The number of octets held that no message was made of yet."""

    @property
    def held(self) -> int:
        """About what the decoder holds in memory, in octets: the buffered ones, and the values made already.

        More than ``buffered`` where a decoder makes values of octets (:mod:`fourtuple.framing.memory`), those of an
        unfinished message and, until :meth:`settle`, those of the latest feed.
        """
        return self.buffered

    @abstractmethod
    def take(self, undelivered: int = 0) -> bytes:
        """Hand on the octets not decoded yet, and be as new.

        ``undelivered`` is how many of the latest feed's messages nobody has seen: their octets come first,
        exactly as the peer sent them. This is how a connection changes its framing in the middle of a batch.
        """

    @abstractmethod
    def settle(self) -> None:
        """The latest feed's messages are all delivered: their octets need not be kept for :meth:`take`."""

    def gap(self) -> list[In_co]:
        """The line was silent for the framing's gap; return the messages that this ends.

        Only the framings that end a message by silence have an answer. The clock is the driver's.
        """
        return []


class BufferedDecoder(Decoder[In_co]):
    """The buffer that decoders of contiguous octets share; a framing adds :meth:`_split`.

    ``_buffer[_base:]`` are the octets of the latest batch, ``_buffer[_start:]`` those not decoded yet::

        0          _base                 _start          len(_buffer)
        | delivered | the latest batch    | not decoded   |

    - A read that finds nothing left over *is* the buffer: nothing is copied until a message is cut out.
    - A read at least as large as what is left over is joined with it: each octet is copied at most twice.
    - A smaller one is added to a bytearray, from whose front CPython removes without moving the rest.

    Whatever a decoder remembers of an unfinished message it remembers relative to ``_start``: the buffer
    moves between two calls of :meth:`_split`, and a framing made of framings lends its own to another
    (:meth:`_lend`).
    """

    __slots__ = ("_base", "_buffer", "_error", "_framing", "_given", "_need", "_start", "skipped")

    # How octets are gathered and searched where no method of the buffer does it: the test kit counts here.
    _grown = bytearray
    _join = b"".join

    @staticmethod
    def _search(pattern: re.Pattern[bytes], buffer: Octets, at: int) -> re.Match[bytes] | None:
        return pattern.search(buffer, at)

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self.skipped = 0
        self._reset()

    def _reset(self) -> None:
        """Be as new. A decoder with more state extends this."""
        self._buffer: bytes | bytearray = b""
        self._base = 0
        self._start = 0
        self._given = 0
        #: With fewer octets than this from ``_start`` on there is no whole message: no need to look.
        self._need = 1
        self._error: MessageError | None = None

    @abstractmethod
    def _split(self, limit: int | None) -> list[Any]:
        """Cut messages from ``_buffer[_start:]``, at most ``limit`` (at least 1).

        Moves ``_start`` behind the last one, sets ``_need`` for what is left, and leaves the error of a
        broken message, should there be one behind the good ones, in ``_error``, with ``_start`` at its first
        octet.
        Slices of the buffer may be returned as they are; octets inside of a larger value must be bytes.
        """

    def feed(self, data: Octets, limit: int | None = None) -> list[In_co]:
        if self._error is not None:
            self._base, self._given = self._start, 0
            raise self._error
        if data:
            if self._start == len(self._buffer):
                self._buffer = data if isinstance(data, bytes) else bytes(data)
                self._start = 0
            else:
                self._append(data)
        self._base = self._start
        if len(self._buffer) - self._start < self._need:
            self._given = 0
            return []
        # Most buffers are bytes, of which every slice is a message as it is.
        messages = self._split(limit) if self._buffer.__class__ is bytes else self._cut(limit)
        self._given = len(messages)
        if not messages and self._error is not None:
            raise self._error
        return messages

    def _append(self, data: Octets) -> None:
        """Add a read to what is left over, at the price of a fixed number of copies an octet."""
        left = len(self._buffer) - self._start
        if len(data) >= left:
            self._buffer = self._join((memoryview(self._buffer)[self._start :], data))
        else:
            if isinstance(self._buffer, bytearray):
                del self._buffer[: self._start]
            else:
                self._buffer = self._grown(memoryview(self._buffer)[self._start :])
            self._buffer += data
        self._start = 0

    def _cut(self, limit: int | None) -> list[Any]:
        """:meth:`_split`, and messages are bytes: a slice of a bytearray is a bytearray."""
        messages = self._split(limit)
        if messages and isinstance(self._buffer, bytearray):
            return [bytes(each) if isinstance(each, bytearray) else each for each in messages]
        return messages

    def _lend(self, inner: BufferedDecoder, start: int, place: int) -> list[Any]:
        """Let another framing's decoder cut a message from this buffer at ``start``, without a copy.

        That is ``place`` octets behind the beginning of the stream. ``inner._start``, ``_need`` and ``_error`` say then
        what this decoder's ought to.
        """
        inner._buffer, inner._start = self._buffer, start
        inner._base = start
        try:
            inner._stand_at(place)
            messages = inner._cut(1)
        except MessageError as error:
            inner._error = error
            return []
        except Exception as error:
            inner._error = raised(inner._framing, f"{type(inner).__qualname__}._split", error)
            return []
        finally:
            inner._buffer = b""
        if type(messages) is not list or len(messages) > 1:
            inner._error = mistake(
                inner._framing, f"{type(inner).__qualname__}._split", messages, "a list of one or none"
            )
            return []
        inner._given = len(messages)
        return messages

    def _stand_at(self, place: int) -> None:
        """The octet at ``_start`` of a buffer that was lent is so many octets behind the beginning of the stream.

        For decoders that keep more of the stream than the buffer: others cut messages from it in between.
        """

    def finish(self) -> list[In_co]:
        messages = self.feed(b"")
        if not messages and self.buffered:
            self._error = self._incomplete()
            raise self._error
        return messages

    def _incomplete(self) -> MessageError:
        """The error of an end of file now, with octets left over."""
        return IncompleteMessage(self.buffered, None)

    @property
    def buffered(self) -> int:
        return len(self._buffer) - self._start

    @property
    def held(self) -> int:
        return self.buffered + self._values

    @property
    def _values(self) -> int:
        """What the values held are charged, for decoders that make values."""
        return 0

    def take(self, undelivered: int = 0) -> bytes:
        if undelivered > self._given:
            self._framing._undeliverable(self._given, undelivered)
        if not undelivered:
            octets = bytes(self._buffer[self._start :])
            self._reset()
            return octets
        # Re-derive rather than remember: the usual batch pays nothing for what is rarely asked.
        octets = bytes(self._buffer[self._base :])
        again = self._framing.reference()
        assert isinstance(again, BufferedDecoder)
        delivered = self._given - undelivered
        if delivered:
            again.feed(octets, delivered)
            octets = again.take()
        self._reset()
        self._inherit(again)
        return octets

    def _inherit(self, other: BufferedDecoder) -> None:
        """Stand where ``other`` stands, with nothing buffered. For decoders that remember the end of a message."""

    def settle(self) -> None:
        if self._start == len(self._buffer):
            self._buffer = b""
            self._start = self._base = self._given = 0
            return
        if isinstance(self._buffer, bytearray):
            del self._buffer[: self._start]
            self._start = 0
        elif self._start > len(self._buffer) // 2:
            # Not sooner: whoever takes a batch in small portions would pay for all of the rest at each.
            self._buffer = self._join((memoryview(self._buffer)[self._start :],))
            self._start = 0
        self._base = self._start
        self._given = 0


def octets_of(framing: Framing, message: Any) -> bytes:
    """The octets of a message; :class:`~fourtuple.errors.EncodeError` for what is none, ``str`` above all."""
    if type(message) is bytes:
        return message
    if isinstance(message, bytes | bytearray | memoryview):
        return bytes(message)
    hint = "; encode it first, as in text.encode()" if isinstance(message, str) else ""
    raise EncodeError(f"{framing} takes octets (bytes, bytearray, memoryview), not {type(message).__name__}{hint}")


def whole(value: Any, least: int, most: int | None = None) -> bool:
    """Whether an option's value is a whole number in its range; ``True`` is not one."""
    return type(value) is int and value >= least and (most is None or value <= most)


#: Digits of an announced length that are read: all that 64 bits can say. Of more, these are told, and marked as cut.
MOST_DIGITS = 20


def announced_size(digits: bytes, allowed: int | None) -> int:
    """The length that decimal digits announce.

    Raises :class:`~fourtuple.errors.MessageTooLong` for more than ``allowed``, with all digits that were announced or
    the first of too many, and without a bound :class:`~fourtuple.errors.MalformedMessage` for too many.
    """
    digits = digits.lstrip(b"0") or b"0"
    cut = len(digits) > MOST_DIGITS
    size = int(digits[:MOST_DIGITS])
    if allowed is not None and (cut or size > allowed):
        raise MessageTooLong(size, allowed, cut=cut)
    if cut:
        raise MalformedMessage(f"a length of more than {MOST_DIGITS} digits: {size}...")
    return size


def check_bounds(framing: Any, announced: int | None = None) -> None:
    """Refuse a ``max_message`` or ``max_sent`` that no message could meet, and one typed that no length could announce.

    For the ``__post_init__`` of framings. ``announced`` is the largest message that the length field can
    announce: the default may be larger, it is right for every width. A framing need not have a ``max_sent``.
    Switches that are not True or False, and octets that are no bytes, are refused with them.
    """
    check_kinds(framing)
    for name in ("max_message", "max_sent"):
        bound = getattr(framing, name, None)
        if bound is None:
            continue
        if not whole(bound, 1):
            raise OptionError(f"{framing.word}: {name} is {bound!r}, it must be None or at least 1")
        if announced is not None and bound > announced and (name, bound) != ("max_message", DEFAULT_MAX_MESSAGE):
            raise OptionError(
                f"{framing.word}: {name} is {bound}, the length field cannot announce more than {announced}"
            )


#: The kinds of fields whose values could be taken for something else without a word: "off" is true.
_KINDS: dict[str, tuple[type, str]] = {"bool": (bool, "True or False"), "bytes": (bytes, "bytes"), "str": (str, "text")}


def check_kinds(framing: Any) -> None:
    """Refuse a switch that is not True or False, octets that are no bytes, and a name that is no text."""
    for field in dataclasses.fields(framing):
        kind, needed = _KINDS.get(str(field.type), (object, ""))
        value = getattr(framing, field.name)
        if not isinstance(value, kind):
            raise OptionError(f"{framing.word}: {field.name} is {seen(value)}, it must be {needed}")


def check_choice(framing: Any, name: str, choices: Iterable[str]) -> None:
    """Refuse an option's value that is none of its choices."""
    value, known = getattr(framing, name), list(choices)
    if not isinstance(value, str) or value not in known:
        hint = nearest(value, known) if isinstance(value, str) else ""
        raise OptionError(f"{framing.word}: {name} is {seen(value)}, it must be one of {', '.join(known)}{hint}")


def check_marker(framing: Any, name: str, value: Any) -> None:
    """Refuse a delimiter or marker that is not at least one octet."""
    if not isinstance(value, bytes) or not value:
        raise OptionError(f"{framing.word}: {name} is {value!r}, it must be at least one octet")


def check_outside(framing: Framing, message: bytes, marker: bytes, what: str) -> None:
    """Refuse to encode a message in which the peer would see its end too early."""
    at = (message + marker).find(marker)
    if at < len(message):
        raise EncodeError(
            f"{framing}: the message has {what} ({marker!r}) inside, at octet {at}; the peer would see two"
        )


def check_size(framing: Any, size: int) -> None:
    """Refuse to encode more octets than ``max_sent``. What may come, ``max_message``, is another matter."""
    bound = framing.max_sent
    if bound is not None and size > bound:
        raise EncodeError(f"{framing}: the message has {size} octets, no more than {bound} are allowed (max_sent)")
