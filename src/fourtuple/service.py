"""What the user writes: a framing and a handler. A Service knows no sockets.

::

    service = Service(Fixed(16))

    @service.reply
    def farewell(message: bytes) -> bytes:
        return b"Farewell, client"

The kind of a handler (plain, generator, async, threaded) is decided once, when it is registered, and a
declaration that cannot work is refused there.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar, overload

from fourtuple.errors import ServiceError
from fourtuple.framing import Framing, parse_framing
from fourtuple.options import check_callable, check_flag, check_type, check_whole

F = TypeVar("F", bound=Callable[..., Any])


class ReplyKind(Enum):
    """How a reply handler is called."""

    INLINE = "def"
    INLINE_GENERATOR = "generator"
    ASYNC = "async def"
    ASYNC_GENERATOR = "async generator"
    THREAD = "def in a thread"
    THREAD_GENERATOR = "generator in a thread"


@dataclass(frozen=True, slots=True)
class ReplyHandler:
    """One message in, a reply, several, or none out."""

    function: Callable[..., Any]
    kind: ReplyKind
    wants_connection: bool
    concurrency: int
    cancel_on_lost: bool = True

    @property
    def name(self) -> str:
        """The handler's name, as events give it."""
        return function_name(self.function)


@dataclass(frozen=True, slots=True)
class ConversationHandler:
    """The function drives the connection."""

    function: Callable[..., Any]
    blocking: bool
    speaks_first: bool
    cancel_on_lost: bool = True

    @property
    def name(self) -> str:
        """The handler's name, as events give it."""
        return function_name(self.function)


@dataclass(frozen=True, slots=True)
class ProgramHandler:
    """A program gets the connected socket as its standard input and output."""

    command: tuple[str, ...]

    @property
    def name(self) -> str:
        """The command line, as events give it."""
        return " ".join(self.command)


Handler = ReplyHandler | ConversationHandler | ProgramHandler


class ReplyAndClose:
    """A last reply: it is sent, then the connection is closed."""

    __slots__ = ("message",)

    def __init__(self, message: Any) -> None:
        self.message = message

    def __repr__(self) -> str:
        return f"reply_and_close({self.message!r})"


def reply_and_close(message: Any = None) -> ReplyAndClose:
    """Return this from a reply handler (or yield it last) to say goodbye.

    ``message`` is sent behind all replies before it, then the connection is closed, lingering, so that the peer
    gets the last octet. ``None`` closes without a word.
    """
    return ReplyAndClose(message)


class Service:
    """A framing and a handler, with optional hooks around them.

    Parameters
    ----------
    framing
        How the stream of octets is cut into messages: a :class:`~fourtuple.framing.Framing` or its text form.
    name
        What events and logs call the service; by default the name of its handler.
    silent_peers
        Whether a peer may stay silent for ever: it comes to listen, as to chargen or to news. By default its first
        message has a deadline (``first_message_timeout``), behind a greeting too: a peer that connects and says
        nothing holds a place.
    """

    def __init__(self, framing: Framing | str, *, name: str | None = None, silent_peers: bool = False) -> None:
        self.framing = parse_framing(framing)
        check_type("name", name, str)
        check_flag("silent_peers", silent_peers)
        self.silent_peers = silent_peers
        self._name = name
        self.handler: Handler | None = None
        self.on_opened: Callable[..., Any] | None = None
        self.on_closed: Callable[..., Any] | None = None
        self.on_failed: Callable[..., Any] | None = None
        self.on_unmapped: Callable[..., Any] | None = None
        self._lifespan: Callable[[], AbstractAsyncContextManager[Any]] | None = None

    @property
    def name(self) -> str:
        """What events and logs call the service."""
        return self._name or (self.handler.name if self.handler else "service")

    # -- handlers -----------------------------------------------------------------------------------------

    @overload
    def reply(self, function: F, /) -> F: ...
    @overload
    def reply(
        self, *, threads: bool = False, concurrency: int = 1, cancel_on_lost: bool = True
    ) -> Callable[[F], F]: ...
    def reply(
        self, function: Any = None, *, threads: bool = False, concurrency: int = 1, cancel_on_lost: bool = True
    ) -> Any:
        """Register the reply handler: one message in, the returned value is one reply, ``None`` is none.

        ``def f(message)`` or ``def f(message, connection)``. A plain ``def`` runs inline on the loop, the fastest
        path there is; an ``async def`` may await; a generator function (plain or async) yields several replies
        and is pulled only while the peer reads them.

        Parameters
        ----------
        threads
            Run a plain ``def`` in a thread of the pool, because it blocks.
        concurrency
            How many messages of one connection may be worked on at once (async and threads); replies leave in
            the order of their messages. Default 1: most protocols and most handlers expect one at a time.
        cancel_on_lost
            Whether an ``async def`` is cancelled when its connection is lost: reset, timed out or aborted. Default
            True: nobody would get its reply. With False it runs to its end, and the messages that came before are
            handled, too; until then the connection counts against the limits.

        Raises :class:`~fourtuple.errors.ServiceError` for a combination that cannot work.
        """

        check_flag("threads", threads, ServiceError)
        check_flag("cancel_on_lost", cancel_on_lost, ServiceError)
        check_whole("concurrency", concurrency, 1, "messages", ServiceError)

        def register(function: F) -> F:
            check_callable("reply", function, optional=False, kind=ServiceError)
            kind = _kind(function, threads)
            if concurrency > 1 and kind not in (ReplyKind.ASYNC, ReplyKind.THREAD):
                raise ServiceError(
                    f"concurrency={concurrency} needs an async def or threads=True; "
                    f"{function_name(function)} is a {kind.value}"
                )
            self._take(ReplyHandler(function, kind, _wants_connection(function), concurrency, cancel_on_lost))
            return function

        return register if function is None else register(function)

    @overload
    def conversation(self, function: F, /) -> F: ...
    @overload
    def conversation(self, *, speaks_first: bool = False, cancel_on_lost: bool = True) -> Callable[[F], F]: ...
    def conversation(self, function: Any = None, *, speaks_first: bool = False, cancel_on_lost: bool = True) -> Any:
        """Register the conversation handler: ``f(connection)`` drives the connection; it is closed when f returns.

        An ``async def`` gets a :class:`~fourtuple.Connection`. A plain ``def`` gets a
        :class:`~fourtuple.BlockingConnection` in a thread of the pool, lent at the first octet, so that silent
        peers hold no thread.

        Parameters
        ----------
        speaks_first
            The service speaks before the peer does: a plain ``def`` gets its thread at once, not at the peer's first
            octet. The peer's first message keeps its deadline; ``Service(silent_peers=True)`` is for peers that
            need not speak.
        """

        check_flag("speaks_first", speaks_first, ServiceError)
        check_flag("cancel_on_lost", cancel_on_lost, ServiceError)

        def register(function: F) -> F:
            check_callable("conversation", function, optional=False, kind=ServiceError)
            if inspect.isgeneratorfunction(_code_of(function)) or inspect.isasyncgenfunction(_code_of(function)):
                raise ServiceError(
                    f"{function_name(function)} is a generator; a conversation sends through its connection"
                )
            blocking = not inspect.iscoroutinefunction(_code_of(function))
            self._take(ConversationHandler(function, blocking, speaks_first, cancel_on_lost))
            return function

        return register if function is None else register(function)

    def program(self, *command: str) -> None:
        """Hand every connected socket to a program, as its standard input and output (as tcpserver(1) does)."""
        if not command:
            raise ServiceError("program: a command is needed")
        for word in command:
            check_type("program", word, str, optional=False, kind=ServiceError)
        self._take(ProgramHandler(command))

    def _take(self, handler: Handler) -> None:
        if self.handler is not None:
            raise ServiceError(
                f"a service has one handler: {self.handler.name} is registered, {handler.name} comes too late"
            )
        self.handler = handler
        self._check_unmapped()

    # -- hooks --------------------------------------------------------------------------------------------

    def opened(self, function: F) -> F:
        """Register ``f(connection)``, called inline when a connection is made; what it returns is the greeting."""
        self.on_opened = _plain(function, "opened")
        return function

    def closed(self, function: F) -> F:
        """Register ``f(connection)``, called inline when a connection has ended, for whatever reason."""
        self.on_closed = _plain(function, "closed")
        return function

    def failed(self, function: F) -> F:
        """Register ``f(error, connection)``: last words for a broken message, a handler that raised or a deadline.

        What it returns is sent before the connection is closed; ``None`` says nothing.
        """
        self.on_failed = _plain(function, "failed")
        return function

    def unmapped(self, function: F) -> F:
        """Register ``f(message, connection)``: the decision about a message that does not map.

        ``message`` is the :class:`~fourtuple.framing.Unmapped` in its place: JSON that is none, a checksum that does
        not fit. What the function returns is the reply, in the order of the messages; ``None`` is none. Without a
        decision it ends the connection as a broken message does, with the last words of ``failed``.

        For reply handlers. A conversation decides itself: its ``receive`` raises
        :class:`~fourtuple.errors.UnmappedMessage`, and the next one goes on behind it.
        """
        self.on_unmapped = _plain(function, "unmapped")
        self._check_unmapped()
        return function

    def _check_unmapped(self) -> None:
        if self.on_unmapped is not None and not isinstance(self.handler, ReplyHandler | None):
            raise ServiceError(
                f"unmapped: {function_name(self.on_unmapped)} is never asked by {self.handler.name}; "
                "a conversation gets UnmappedMessage from receive()"
            )

    def lifespan(self, function: F) -> F:
        """Register set-up and tear-down around serving: an async generator function that yields once.

        What it yields is ``connection.service_state`` of every connection.
        """
        if not inspect.isasyncgenfunction(function):
            raise ServiceError(f"lifespan: {function_name(function)} must be an async def with one yield")
        self._lifespan = asynccontextmanager(function)
        return function

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Any]:
        """Set up, yield the service's state, tear down."""
        if self._lifespan is None:
            yield None
            return
        async with self._lifespan() as state:
            yield state

    # -- for servers --------------------------------------------------------------------------------------

    @property
    def expects_message(self) -> bool:
        """Whether the peer has to speak, so that its first message has a deadline; a program's peer is not read."""
        return not self.silent_peers and not isinstance(self.handler, ProgramHandler)

    def check(self) -> None:
        """Raise :class:`~fourtuple.errors.ServiceError` while there is no handler."""
        if self.handler is None:
            raise ServiceError(
                "the service has no handler: decorate a function with @service.reply or @service.conversation"
            )

    def with_framing(self, framing: Framing | str) -> Service:
        """The same service over another framing."""
        other = copy.copy(self)
        other.framing = parse_framing(framing)
        return other

    def __repr__(self) -> str:
        return f"<Service {self.name}, {self.framing}>"


def function_name(function: Callable[..., Any]) -> str:
    """A callable's name with its module, for people."""
    name = getattr(function, "__qualname__", None) or type(function).__name__
    return f"{getattr(function, '__module__', '')}.{name}".lstrip(".")


def _code_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """What runs when ``function`` is called: an object's own ``__call__`` may be an async def."""
    if inspect.isroutine(function) or isinstance(function, functools.partial):
        return function
    called: Callable[..., Any] = type(function).__call__
    return called


def _kind(given: Callable[..., Any], threads: bool) -> ReplyKind:
    function = _code_of(given)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        if threads:
            raise ServiceError(
                f"threads=True is for code that blocks; {function_name(given)} is async, it runs on the loop"
            )
        return ReplyKind.ASYNC if inspect.iscoroutinefunction(function) else ReplyKind.ASYNC_GENERATOR
    generator = inspect.isgeneratorfunction(function)
    if threads:
        return ReplyKind.THREAD_GENERATOR if generator else ReplyKind.THREAD
    return ReplyKind.INLINE_GENERATOR if generator else ReplyKind.INLINE


def _wants_connection(function: Callable[..., Any]) -> bool:
    """Whether the second positional argument is there to be given."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False  # Some builtins have no signature; they take one message.
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty]
    variadic = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if len(places) > 2 or (not places and not variadic and not _optional_places(function)):
        raise ServiceError(
            f"{function_name(function)} takes {len(places)} arguments; "
            "a reply handler takes (message) or (message, connection)"
        )
    return len(places) == 2


def _optional_places(function: Callable[..., Any]) -> int:
    parameters = inspect.signature(function).parameters.values()
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def _plain(function: Callable[..., Any], what: str) -> Callable[..., Any]:
    check_callable(what, function, optional=False, kind=ServiceError)
    code = _code_of(function)
    if inspect.iscoroutinefunction(code) or inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code):
        raise ServiceError(
            f"{what}: {function_name(function)} must be a plain def, it runs inline; "
            "a conversation can await before its first message"
        )
    return function
