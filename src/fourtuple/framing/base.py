"""The contract of every framing.

The decoder of every framing keeps these promises:

- **The cut does not matter.** However the stream is cut into pieces, the messages are the same, and the same
  error is raised at the same message.
- **An error never loses good messages.** :meth:`Decoder.feed` does not raise while it has messages to return: it
  returns them, and the next call raises.
- **Bounded.** No received message is larger than ``max_message`` (an event of a third-party parser with state: than
  an eighth more). The announced length is checked before memory is
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
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeAlias, overload

from fourtuple.framing.notation import written
from fourtuple.framing.unmapped import Unmapped
from fourtuple.framing.usercode import checked_encoder
from fourtuple.options.keywords import check_keywords
from fourtuple.typevars import Generic, In_co, Out, Out_contra

#: What encoders of octets take and decoders are fed, for type checkers.
Octets: TypeAlias = bytes | bytearray | memoryview


class _Anything:
    """A type of which there is no value: a framing that sends it sends any object."""


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
    def _makes_values(self) -> bool:
        """Whether its messages are values, not octets. False if that is not known: functions of a program make them."""
        return False

    @property
    def stateful(self) -> bool:
        """Whether the decoder keeps state between messages: then a ``switch`` cannot choose it for single messages."""
        return False

    if not TYPE_CHECKING:  # checkers take the parameters from the class itself

        def __new__(cls, *_arguments: Any, **options: Any) -> Framing[Any, Any]:
            """Raise :class:`~fourtuple.errors.OptionError` for a misspelled keyword, which suggests the nearest one."""
            if options:
                check_keywords(cls.__name__, cls.__init__, options)
            return super().__new__(cls)

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

    @property
    def interleaves(self) -> bool:
        """Whether a message may be inside another one, which is then delivered after it: a telnet command in a line."""
        return False

    def mirror(self) -> Framing[Any, Any]:
        """The framing of the other end. Only a framing whose directions differ (:func:`duplex`) has another one."""
        return self

    @abstractmethod
    def decoder(self) -> Decoder[In_co | Unmapped]:
        """Return a new decoder, for one connection."""

    def reference(self) -> Decoder[In_co | Unmapped]:
        """Return a new decoder in Python. :meth:`decoder` may return one in C, which behaves the same."""
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
        """Return the octets of several messages in order.

        If one of ``messages`` cannot be encoded, raise :class:`~fourtuple.errors.EncodeError` and return nothing.
        """
        return b"".join(map(self.encode, messages))

    if TYPE_CHECKING:  # what FramingOfClient asks; neither is called

        def _itself(self) -> Framing[In_co, Out_contra]: ...

        # What a program writes where octets are sent is bytes; where anything is sent, it may write anything.
        @overload
        def _written(self: Framing[Any, _Anything]) -> Any: ...
        @overload
        def _written(self: Framing[Any, Octets]) -> bytes: ...
        @overload
        def _written(self: Framing[Any, Out]) -> Out: ...
        def _written(self) -> Any: ...

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

    #: If every message has the same number of octets, that number; else 0. A read of exactly so many octets, while
    #: nothing is held, is one message. A caller that delivers it at once need not feed it.
    whole: int = 0

    @abstractmethod
    def feed(self, data: Octets, limit: int | None = None) -> list[In_co]:
        """Take ``data``, the octets of one read, and return the messages they complete, at most ``limit``.

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

        ``undelivered`` is the number of the latest feed's messages that were not delivered, by default none. Their
        octets come first, exactly as the peer sent them. If the framing :attr:`~Framing.interleaves`, delivered
        messages inside them are left out. A connection uses this to change its framing in the middle of a batch.
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
