"""The contract of every framing, and the buffer that all buffered decoders share.

The decoder of every framing keeps these promises:

- **The cut does not matter.** However the stream is cut into pieces, the messages are the same, and the same
  error is raised at the same message.
- **An error never loses good messages.** :meth:`Decoder.feed` does not raise while it has messages to return: it
  returns them, and the next call raises.
- **Bounded.** No received message is larger than ``max_message``. The announced length is checked before memory is
  allocated. Sent messages have a separate bound, ``max_sent``. It is ``None`` by default, because the program makes
  these messages and not a peer. ``max_outbox`` bounds the octets that wait to be sent.
- **Linear.** No octet is searched twice, and each octet is copied a fixed number of times, however small the
  pieces are.
- **A message that is framed correctly but cannot be mapped** becomes an :class:`~fourtuple.framing.Unmapped` in its
  place, not an error: the stream can still be cut, and the service decides what to do.
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
from fourtuple.framing.usercode import checked_encoder, interrupts, mistake, raised
from fourtuple.options import DEFAULT_MAX_MESSAGE, nearest, seen
from fourtuple.typevars import Generic, In_co, Out_contra

Octets: TypeAlias = bytes | bytearray | memoryview


@dataclasses.dataclass(frozen=True)
class Framing(ABC, Generic[In_co, Out_contra]):
    """How a stream of octets is cut into messages: an immutable, comparable, printable value.

    A framing is a frozen dataclass. Its text form is made from its fields: ``word`` is its name there, and
    the field named by ``argument`` follows a colon (``fixed:16``). The other fields follow as
    ``,name=value`` if they differ from their default.

    ``Framing[In, Out]`` gives the types of messages: the decoder returns ``In``, and :meth:`encode` takes ``Out``.
    They are for type checkers; they are not checked at run time.
    """

    #: The name of the framing in its text form.
    word: ClassVar[str]
    #: The field whose value follows the colon of the text form, or ``None``.
    argument: ClassVar[str | None] = None
    #: Whether a message ends with the stream, so that sending one half-closes the connection.
    ends_stream: ClassVar[bool] = False

    #: Whether the octets of a message tell where it ends. If only the end of the stream or of a read tells, an end of
    #: file without close_notify, which an attacker of a TLS connection can forge, may truncate a message undetected.
    delimits_itself: ClassVar[bool] = True

    @property
    def stateful(self) -> bool:
        """Whether the decoder keeps state between messages: then a ``switch`` cannot choose it for single messages."""
        return False

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if cls.__module__.startswith("fourtuple.framing."):
            return
        # A third-party encoder: a result that is not octets fails here, with its name, not later in the sending code.
        for name in ("encode", "encode_many"):
            function = vars(cls).get(name)
            if inspect.isfunction(function):
                setattr(cls, name, checked_encoder(function))

    @property
    def max_buffered(self) -> int | None:
        """The most octets that a decoder holds of one unfinished message; ``None`` means no bound.

        It is ``max_message`` plus the octets around a message: headers, markers, stuffing.
        """
        bound: int | None = getattr(self, "max_message", None)
        return None if bound is None else bound + self._overhead()

    def _overhead(self) -> int:
        """The most octets around one message, which a decoder may hold beyond ``max_message``."""
        return 0

    @property
    def gap_timeout(self) -> float | None:
        """Seconds of silence that end a message (:meth:`Decoder.gap`); ``None`` if silence ends no message."""
        return None

    @property
    def drops_between(self) -> bool:
        """Whether the decoder drops octets between messages without counting them, so that nothing can follow there."""
        return False

    def mirror(self) -> Framing[Any, Any]:
        """The framing of the other end. Only a framing whose directions differ (:func:`duplex`) has another one."""
        return self

    @abstractmethod
    def decoder(self) -> Decoder[In_co | Unmapped]:
        """Make the decoder of one connection."""

    def reference(self) -> Decoder[In_co | Unmapped]:
        """Make the decoder in Python. :meth:`decoder` may return one in C, which behaves the same."""
        return self.decoder()

    @staticmethod
    def _undeliverable(given: int, undelivered: int) -> NoReturn:
        raise ValueError(f"the latest feed gave {given} messages, {undelivered} cannot be undelivered")

    @abstractmethod
    def encode(self, message: Out_contra) -> bytes:
        """Return the octets of one message.

        Raises :class:`~fourtuple.errors.EncodeError` for a message that the peer could not decode, such as one with
        a delimiter inside or with a length that does not fit its field. It also raises this error for more than
        ``max_sent`` octets, if the framing has that bound. ``max_message`` bounds received messages only.
        """

    def encode_many(self, messages: Iterable[Out_contra]) -> bytes:
        """Return the octets of several messages in order. If one cannot be encoded, raise and return nothing."""
        return b"".join(map(self.encode, messages))

    def __str__(self) -> str:
        return self._text(self.word, set())

    def _text(self, text: str, told: set[str]) -> str:
        """Append to the text form the fields that are not in ``told`` and differ from their default."""
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
    #: message that was too long. Decoders that skip octets override this with their own counter.
    skipped: int = 0

    @abstractmethod
    def feed(self, data: Octets, limit: int | None = None) -> list[In_co]:
        """Take the octets of one read and return the messages they complete, at most ``limit``.

        Messages beyond the limit stay in the decoder; ``feed(b"")`` returns the next ones. Returns ``[]`` while a
        message is unfinished. Raises the :class:`~fourtuple.errors.MessageError` of the first broken message when
        all good messages before it have been returned, and raises it again at every later call.
        """

    @abstractmethod
    def finish(self) -> list[In_co]:
        """Take the end of file; return the remaining messages.

        Raises :class:`~fourtuple.errors.IncompleteMessage` if octets of an unfinished message are left. As in
        :meth:`feed`, the messages before it are returned first.
        """

    @property
    @abstractmethod
    def buffered(self) -> int:
        """The number of octets held that are not decoded yet."""

    @property
    def held(self) -> int:
        """An estimate of the octets of memory that the decoder holds: buffered octets and decoded values.

        It is larger than ``buffered`` for a decoder that makes values of octets (:mod:`fourtuple.framing.memory`).
        It then includes the values of an unfinished message and, until :meth:`settle`, those of the latest feed.
        """
        return self.buffered

    @abstractmethod
    def take(self, undelivered: int = 0) -> bytes:
        """Return the octets that are not decoded yet, and reset the decoder.

        ``undelivered`` is the number of the latest feed's messages that were not delivered. Their octets come first,
        exactly as the peer sent them. A connection uses this to change its framing in the middle of a batch.
        """

    @abstractmethod
    def settle(self) -> None:
        """Note that all messages of the latest feed are delivered: :meth:`take` no longer needs their octets."""

    def forget_error(self) -> None:
        """Forget the error that later calls would raise again: the connection has ended, and there are none.

        The traceback of an error, or of its cause, may refer to the decoder, which refers to the error.
        """

    @property
    def parser(self) -> Any:
        """The third-party parser that cuts the messages, or ``None``."""
        return None

    @property
    def mapped(self) -> Decoder[Any] | None:
        """The decoder whose messages this one maps to values; ``None`` if it maps none."""
        return None

    def gap(self) -> list[In_co]:
        """Tell the decoder that no octet came for ``gap_timeout`` seconds; return the messages that this ends.

        Only framings that end a message by silence return any. The driver measures the time.
        """
        return []


class BufferedDecoder(Decoder[In_co]):
    """The buffer that decoders of contiguous octets share; a framing adds :meth:`_split`.

    ``_buffer[_base:]`` begins with the octets of the latest batch, ``_buffer[_start:]`` is not decoded yet::

        0          _base                 _start          len(_buffer)
        | delivered | the latest batch    | not decoded   |

    - If nothing is left over, the next read *becomes* the buffer: nothing is copied until a message is cut out.
    - A read at least as large as the left-over octets is joined with them: each octet is copied at most twice.
    - A smaller read is appended to a bytearray. CPython removes octets from its front without moving the rest.

    A decoder stores all positions in an unfinished message relative to ``_start``: the buffer moves between two
    calls of :meth:`_split`, and a framing made of framings lends its buffer to another decoder (:meth:`_lend`).
    """

    __slots__ = ("_base", "_buffer", "_error", "_framing", "_given", "_need", "_start", "skipped")

    # The functions that gather and search octets, besides the methods of the buffer. The test kit counts their work.
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
        """Return to the initial state. A decoder with more state extends this."""
        self._buffer: bytes | bytearray = b""
        self._base = 0
        self._start = 0
        self._given = 0
        #: With fewer octets than this after ``_start``, no message is complete and ``_split`` is not called.
        self._need = 1
        self._error: MessageError | None = None

    def forget_error(self) -> None:
        self._error = None

    @abstractmethod
    def _split(self, limit: int | None) -> list[Any]:
        """Cut messages from ``_buffer[_start:]``, at most ``limit`` (at least 1).

        Moves ``_start`` to the end of the last one and sets ``_need`` for the rest. If a broken message follows the
        good ones, stores its error in ``_error`` and leaves ``_start`` at the first octet of that message.
        Slices of the buffer may be returned as they are; octets inside a larger value must be bytes.
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
        # Most buffers are bytes. A slice of bytes is already a message.
        messages = self._split(limit) if self._buffer.__class__ is bytes else self._cut(limit)
        self._given = len(messages)
        if not messages and self._error is not None:
            raise self._error
        return messages

    def _append(self, data: Octets) -> None:
        """Append a read to the left-over octets. Each octet is copied a fixed number of times."""
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
        """Call :meth:`_split` and return messages as bytes: a slice of a bytearray is a bytearray."""
        messages = self._split(limit)
        if messages and isinstance(self._buffer, bytearray):
            return [bytes(each) if isinstance(each, bytearray) else each for each in messages]
        return messages

    def _lend(self, inner: BufferedDecoder, start: int, place: int) -> list[Any]:
        """Let another framing's decoder cut a message from this buffer at ``start``, without a copy.

        ``place`` is the position of ``start`` in the stream, in octets. Afterwards ``inner`` has the values of
        ``_start``, ``_need`` and ``_error`` that the caller must take over.
        """
        inner._buffer, inner._start = self._buffer, start
        inner._base = start
        try:
            inner._stand_at(place)
            messages = inner._cut(1)
        except MessageError as error:
            inner._error = error
            return []
        except BaseException as error:
            if interrupts(error):
                raise
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
        """Tell a decoder with a lent buffer the position in the stream, in octets, of the octet at ``_start``.

        For decoders that keep octets besides the buffer: other decoders may have cut messages since the last call.
        """

    def finish(self) -> list[In_co]:
        self._see_end()
        messages = self.feed(b"")
        if not messages and self.buffered:
            self._error = self._incomplete()
            raise self._error
        return messages

    def _see_end(self) -> None:
        """Note the end of file. For decoders that end a message with it."""

    def _incomplete(self) -> MessageError:
        """The error for an end of file now, with octets left over."""
        return IncompleteMessage(self.buffered, None)

    @property
    def buffered(self) -> int:
        return len(self._buffer) - self._start

    @property
    def held(self) -> int:
        return self.buffered + self._values

    @property
    def _values(self) -> int:
        """The memory charge of the values held, in octets, for decoders that make values."""
        return 0

    def take(self, undelivered: int = 0) -> bytes:
        if undelivered > self._given:
            self._framing._undeliverable(self._given, undelivered)
        if not undelivered:
            octets = bytes(self._buffer[self._start :])
            self._reset()
            return octets
        # Decode again instead of storing positions: this is rarely needed, and other batches pay nothing for it.
        octets = bytes(self._buffer[self._base :])
        again = self._framing.reference()
        assert isinstance(again, BufferedDecoder)
        self._seed(again)
        delivered = self._given - undelivered
        if delivered:
            again.feed(octets, delivered)
            octets = again.take()
        self._reset()
        self._inherit(again)
        return octets

    def _seed(self, other: BufferedDecoder) -> None:
        """Give ``other`` the state of this decoder at ``_base``. For decoders that keep state between messages."""

    def _inherit(self, other: BufferedDecoder) -> None:
        """Take over the state of ``other``, with nothing buffered. For decoders that keep state between messages."""

    def settle(self) -> None:
        if self._start == len(self._buffer):
            self._buffer = b""
            self._start = self._base = self._given = 0
            return
        if isinstance(self._buffer, bytearray):
            del self._buffer[: self._start]
            self._start = 0
        elif self._start > len(self._buffer) // 2:
            # Not sooner: with a batch taken in small portions, each portion would copy all of the rest.
            self._buffer = self._join((memoryview(self._buffer)[self._start :],))
            self._start = 0
        self._base = self._start
        self._given = 0


def octets_of(framing: object, message: Any) -> bytes:
    """Return a message as ``bytes``. Raises :class:`~fourtuple.errors.EncodeError` for other types, such as ``str``."""
    if type(message) is bytes:
        return message
    if isinstance(message, bytes | bytearray | memoryview):
        return bytes(message)
    hint = "; encode it first, as in text.encode()" if isinstance(message, str) else ""
    raise EncodeError(f"{framing} takes octets (bytes, bytearray, memoryview), not {type(message).__name__}{hint}")


def whole(value: Any, least: int, most: int | None = None) -> bool:
    """Whether an option's value is a whole number in its range. ``True`` is not a number."""
    return type(value) is int and value >= least and (most is None or value <= most)


#: The most digits that are read of an announced length: enough for 64 bits. An error shows only these, marked as cut.
MOST_DIGITS = 20


def announced_size(digits: bytes, allowed: int | None) -> int:
    """Return the length that decimal digits announce, in octets.

    Raises :class:`~fourtuple.errors.MessageTooLong` for more than ``allowed``; its number has at most
    :data:`MOST_DIGITS` digits. With no bound, too many digits are :class:`~fourtuple.errors.MalformedMessage`.
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
    """Reject a ``max_message`` or ``max_sent`` below 1, or one that is larger than the length field can announce.

    For the ``__post_init__`` of framings. ``announced`` is the largest message that the length field can
    announce. The default of ``max_message`` may be larger, so that it is valid for every width. A framing may lack
    ``max_sent``. Values of the wrong type are rejected too: see :func:`check_kinds`.
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


#: The field types for which Python would silently accept a wrong value: the text "off" is true.
_KINDS: dict[str, tuple[type, str]] = {"bool": (bool, "True or False"), "bytes": (bytes, "bytes"), "str": (str, "text")}


def check_kinds(framing: Any) -> None:
    """Reject a switch that is not True or False, octets that are not bytes, and text that is not a str."""
    for field in dataclasses.fields(framing):
        kind, needed = _KINDS.get(str(field.type), (object, ""))
        value = getattr(framing, field.name)
        if not isinstance(value, kind):
            raise OptionError(f"{framing.word}: {field.name} is {seen(value)}, it must be {needed}")


def check_choice(framing: Any, name: str, choices: Iterable[str]) -> None:
    """Reject an option's value that is not one of its choices."""
    value, known = getattr(framing, name), list(choices)
    if not isinstance(value, str) or value not in known:
        hint = nearest(value, known) if isinstance(value, str) else ""
        raise OptionError(f"{framing.word}: {name} is {seen(value)}, it must be one of {', '.join(known)}{hint}")


def check_marker(framing: Any, name: str, value: Any) -> None:
    """Reject a delimiter or marker that is not bytes or is empty."""
    if not isinstance(value, bytes) or not value:
        raise OptionError(f"{framing.word}: {name} is {value!r}, it must be at least one octet")


def check_outside(framing: Framing, message: bytes, marker: bytes, what: str) -> None:
    """Refuse to encode a message that contains ``marker``: the peer would see its end too early."""
    at = (message + marker).find(marker)
    if at < len(message):
        raise EncodeError(
            f"{framing}: the message has {what} ({marker!r}) inside, at octet {at}; the peer would read two messages"
        )


def check_size(framing: Any, size: int) -> None:
    """Refuse to encode more octets than ``max_sent``. ``max_message`` bounds received messages only."""
    bound = framing.max_sent
    if bound is not None and size > bound:
        raise EncodeError(f"{framing}: the message has {size} octets, no more than {bound} are allowed (max_sent)")


def forget_error(decoder: Decoder[Any]) -> None:
    """Let a decoder forget its error. Those in C keep none that refers to them, and lack the method."""
    forget = getattr(decoder, "forget_error", None)
    if forget is not None:
        forget()
