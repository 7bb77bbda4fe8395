"""Third-party incremental parsers as framings: ``feed_parser`` (as hiredis) and ``event_parser`` (as h11).

::

    feeding   parser.feed(octets)          parser.gets()        -> a message, or `incomplete`
    events    parser.receive_data(octets)  parser.next_event()  -> an event, or one of `need_data`
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from fourtuple.errors import OptionError
from fourtuple.framing.base import Octets
from fourtuple.framing.parser_framing import NOT_YET, Parser
from fourtuple.framing.usercode import check_function, mistake, told
from fourtuple.options import DEFAULT_MAX_MESSAGE, DEFAULT_MAX_MESSAGE_MEMORY, by_keyword
from fourtuple.typevars import Out


class FedParser(Protocol):
    """The interface of the parsers for :func:`feed_parser`."""

    def feed(self, octets: bytes, /) -> object:
        """Take octets."""

    def gets(self) -> Any:
        """Return a message, or the value that means "not yet"."""


class EventParser(Protocol):
    """The interface of the parsers for :func:`event_parser`."""

    def receive_data(self, octets: bytes, /) -> object:
        """Take octets."""

    def next_event(self) -> Any:
        """Return an event, or one that means "not yet"."""


P = TypeVar("P", bound=EventParser)
Made = TypeVar("Made")


@by_keyword()
def feed_parser(
    make: Callable[[], FedParser],
    encode: Callable[[Out], Octets] | None = None,
    *,
    incomplete: object = False,
    max_message: int | None = DEFAULT_MAX_MESSAGE,
    max_message_memory: int | None = DEFAULT_MAX_MESSAGE_MEMORY,
    max_sent: int | None = None,
    name: str = "parser",
) -> Parser[Any, Out]:
    """Make a framing of parsers with ``feed(octets)`` and ``gets()``, which returns ``incomplete`` for "not yet".

    With hiredis: ``feed_parser(lambda: hiredis.Reader(notEnoughData=NotYet), pack, incomplete=NotYet)``.

    ``make()`` returns a new parser for each connection. ``encode(message)`` returns the octets of a sent message;
    without it, the default, the framing only receives. ``max_message`` bounds all octets of a message
    (default: 1 MiB), ``max_message_memory`` the memory of one message, in octets (default: 16 MiB, because a value
    takes more memory than its octets); more raise :class:`~fourtuple.errors.MessageTooLong`. The parser must be as new
    after each message; if it is not, make a :class:`Parser` with ``stateful=True``. ``max_sent`` bounds the
    octets of a sent message; by default there is no bound, because your own program makes these messages. ``name``
    stands for the framing in texts: errors, logs and events. Raises :class:`~fourtuple.errors.OptionError` for an
    argument that cannot work.
    """

    def put(parser: FedParser, octets: bytes) -> None:
        parser.feed(octets)

    def get(parser: FedParser) -> Any:
        message = parser.gets()
        return NOT_YET if message is incomplete else message

    hint = "where that means not yet, pass incomplete={}"
    make = _making(name, make, "feed", "gets")
    return Parser(make, put, get, encode, name, max_message, max_message_memory, "gets", hint, max_sent=max_sent)


@by_keyword()
def event_parser(
    make: Callable[[], P],
    encode: Callable[[Out], Octets] | None = None,
    *,
    need_data: tuple[object, ...],
    paused: object = None,
    resume: Callable[[P], object] | None = None,
    outgoing: Callable[[P], Octets] | None = None,
    max_message: int | None = DEFAULT_MAX_MESSAGE,
    max_message_memory: int | None = DEFAULT_MAX_MESSAGE_MEMORY,
    max_sent: int | None = None,
    name: str = "parser",
) -> Parser[Any, Out]:
    """Make a framing of parsers with ``receive_data(octets)`` and ``next_event()``; every event is a message.

    ``need_data`` are the events that mean "not yet". After the event ``paused``, ``resume(parser)`` is called if it is
    given, so that the parser can continue.
    With h11: ``event_parser(lambda: h11.Connection(h11.SERVER), need_data=(h11.NEED_DATA,), paused=h11.PAUSED)``.
    Some parsers cut events where the reads were cut: for example h11, for bodies.

    If the parser makes octets that are to be sent, ``outgoing(parser)`` returns them, each time only the new ones. They
    come to the handler as a :class:`ParserOutput` after the events, and the handler returns it. A handler that tells
    the parser something has it as ``connection.parser``.

    ``make()`` returns a new parser for each connection. ``encode(message)`` returns the octets of a sent message;
    without it, the default, the framing only receives. ``max_message`` bounds the octets of an event
    (default: 1 MiB), ``max_message_memory`` the memory of one event, in octets (default: 16 MiB, because a value
    takes more memory than its octets); more raise :class:`~fourtuple.errors.MessageTooLong`. Such a parser keeps state
    between events, so that where one ends cannot be known: up to an eighth more than ``max_message`` may be accepted,
    depending on where the event lies in the stream. ``max_sent`` bounds the
    octets of a sent message; by default there is no bound, because your own program makes these messages. ``name``
    stands for the framing in texts: errors, logs and events. Raises :class:`~fourtuple.errors.OptionError` for an
    argument that cannot work.
    """
    if not isinstance(need_data, tuple | list | set | frozenset):
        raise OptionError(f"{name}: need_data is {told(need_data)}; expected a tuple of events, as in need_data=(...,)")
    if resume is not None:
        check_function(name, "resume", resume, None, called="resume(parser)")

    def put(parser: P, octets: bytes) -> None:
        parser.receive_data(octets)

    def get(parser: P) -> Any:
        event = parser.next_event()
        if paused is not None and event is paused and resume is not None:
            resume(parser)
            event = parser.next_event()
        return NOT_YET if event in need_data or (paused is not None and event is paused) else event

    hint = "where that means not yet, add it to need_data=; where it waits for an answer, pass paused={} and resume="
    make = _making(name, make, "receive_data", "next_event")
    return Parser(
        make,
        put,
        get,
        encode,
        name,
        max_message,
        max_message_memory,
        "next_event",
        hint,
        max_sent=max_sent,
        outgoing=outgoing,
        stateful=True,
    )


def _making(name: str, make: Callable[[], Made], *methods: str) -> Callable[[], Made]:
    """Wrap ``make`` to check that its parsers have these methods."""
    check_function(name, "make", make, called="make()")

    @functools.wraps(make, updated=())
    def made() -> Made:
        parser = make()
        if not all(callable(getattr(parser, each, None)) for each in methods):
            raise mistake(name, make, parser, "a parser with " + " and ".join(f"{each}()" for each in methods))
        return parser

    return made
