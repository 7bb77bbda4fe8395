"""Errors of a framing, and of the messages in it."""

from __future__ import annotations

from fourtuple.errors.base import FourTupleError
from fourtuple.printable import shortened, text_of


class FramingError(FourTupleError, ValueError):
    """An error of a framing, or of a message in it."""


class FramingTextError(FramingError):
    """A framing's text form (``fixed:16``) that cannot be read; ``text`` is what was given, ``why`` what is wrong."""

    def __init__(self, text: str, why: str) -> None:
        """``text`` is what was given, ``why`` says what is wrong with it."""
        super().__init__(f"cannot read framing {text!r}: {why}")
        self.text = text
        self.why = why


class EncodeError(FramingError):
    """A message that the peer could not decode; no octet of it was sent."""


class UnmappedMessage(FramingError):
    """A message that is framed correctly but cannot be mapped to a value: invalid JSON, or a wrong checksum.

    Only this message is lost: the connection is as usable as before. ``octets`` are those of the message (the first
    ``max_message`` of one that is too long), ``__cause__`` is the error, and ``whom`` names the connection.
    """

    __cause__: BaseException | None

    def __init__(self, octets: bytes, error: Exception, whom: str) -> None:
        super().__init__(f"message of {len(octets)} octets does not map: {shortened(text_of(error))}")
        self.octets = octets
        self.whom = whom
        self.__cause__ = error

    def __str__(self) -> str:
        return f"{super().__str__()}, from {self.whom}"


class MessageError(FramingError):
    """The peer broke the framing: its stream cannot be cut into messages any further.

    ``whom`` names the connection. It is empty if a decoder is used without a connection.
    """

    whom = ""

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text}, from {self.whom}" if self.whom else text


class MessageTooLong(MessageError):
    """A message larger than allowed.

    ``size`` is the number of octets announced or, if the framing announces no size, held so far; ``allowed`` is
    ``max_message``. Or both are octets of memory, and ``allowed`` is ``max_message_memory``. If the announced number
    has more digits than are read, ``size`` is the number in the digits that were read, and ``cut`` is True.
    """

    def __init__(
        self,
        size: int,
        allowed: int,
        what: str = "message",
        *,
        announced: bool = True,
        cut: bool = False,
        unit: str = "octets",
        option: str = "",
    ) -> None:
        """``what`` is too large. ``unit`` is what ``size`` and ``allowed`` count, ``option`` what allows more.

        ``announced`` says whether ``size`` was announced, or is what has come so far. By default a message has
        announced its size, in octets.
        """
        verb = "announces" if announced else "has reached"
        dots, named = "..." if cut else "", f" ({option})" if option else ""
        super().__init__(f"{what} {verb} {size}{dots} {unit}, no more than {allowed} are allowed{named}")
        self.size = size
        self.allowed = allowed
        self.cut = cut


class MalformedMessage(MessageError):
    """Octets that no encoder of this framing writes.

    Also if a function that cuts messages raised: its exception is the ``__cause__``.
    """


class FramingMistake(MessageError):
    """A mistake in the framing's code, not of the peer: in a function or a decoder that its author wrote.

    The text names the function, what it returned or raised, and what is expected. An exception of ``decode`` of
    ``custom`` and of ``size`` of ``headed`` is a :class:`MalformedMessage` instead, because what the peer sent may be
    its reason.
    """


class IncompleteMessage(MessageError, EOFError):
    """End of file in the middle of a message.

    ``received`` counts the octets of the unfinished message. ``expected`` is its size, or ``None`` if the framing does
    not know it.
    """

    def __init__(self, received: int, expected: int | None, what: str = "message") -> None:
        """``what`` names the unit in which the end of file came, by default a message."""
        if expected is None:
            text = f"end of file inside a {what}: received {received} octets and no end of it"
        else:
            text = f"end of file inside a {what}: expected {expected} octets, received {received}"
        super().__init__(text)
        self.received = received
        self.expected = expected


#: The exceptions that tell of a mistake in a function. No octets of a peer are the reason, if the function is right.
MISTAKES = (NameError, AttributeError, TypeError, ImportError, NotImplementedError, AssertionError)


def is_mistake(error: BaseException) -> bool:
    """Whether the error of a message is a mistake in the framing's code, and not what the peer sent.

    It is if it is a :class:`FramingMistake`, or if a function of the framing raised one of :data:`MISTAKES`.
    """
    if isinstance(error, FramingMistake):
        return True
    cause = error.__cause__
    return isinstance(error, FramingError) and isinstance(cause, (FramingMistake, *MISTAKES))
