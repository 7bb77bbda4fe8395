"""The service: a framing and a handler, which the user writes. It does not use sockets.

::

    service = Service(Fixed(16))

    @service.reply
    def farewell(message: bytes) -> bytes:
        return b"Farewell, client"

The kind of a handler (plain, generator, async, threaded) is decided once, when it is registered. An invalid declaration
raises an error there.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Literal, Self, cast, overload

from fourtuple.errors import ServiceError
from fourtuple.framing import Framing, parse_framing
from fourtuple.framing.base import Octets
from fourtuple.options import by_keyword, check_callable, check_flag, check_type
from fourtuple.service.decorators import (
    AsyncBatchDecorator,
    AsyncConversation,
    AsyncReplyDecorator,
    BatchDecorator,
    BlockingConversation,
    ConcurrentReplyDecorator,
    ConcurrentThreadedReplyDecorator,
    ConversationDecorator,
    OctetBatch,
    OctetReplies,
    ReplyDecorator,
    ThreadedReplyDecorator,
)
from fourtuple.service.handler import (
    AdaptedHandler,
    Handler,
    ProgramHandler,
    batch_handler,
    conversation_handler,
    reply_handler,
)
from fourtuple.service.hooks import Hooks
from fourtuple.service.kinds import check_concurrency
from fourtuple.service.lifespan import Lifespan, RunningLifespan, begun_by, decorated_lifespan, given_lifespan
from fourtuple.service.registration import ONLY_OPTIONS, check_hook, check_sole
from fourtuple.service.replies import Batch, Replies
from fourtuple.typevars import Generic, In_co, L, NewIn, NewOut, Out_contra, S

if TYPE_CHECKING:
    from fourtuple.connection import Connection

__all__ = ["Service"]


class Service(Hooks[In_co, Out_contra, S, L], Generic[In_co, Out_contra, S, L]):
    """A framing and a handler, with optional hooks around them.

    ``Service[In, Out, S, L]`` gives the types of the messages received and sent, of ``connection.state`` and of
    ``connection.service_state``. Type checkers infer them from the arguments. A type is ``Any`` if its argument is left
    out, or is a framing's text form.

    Parameters
    ----------
    framing
        The rule that cuts the stream of octets into messages: a :class:`~fourtuple.framing.Framing` or its text form.
    name
        The name of the service in events and logs. Default: the name of its handler.
    silent_peers
        Whether a peer may stay silent without a bound, because it only listens, as for chargen or for news. Default:
        False. The peer's first message then has a deadline (``first_message_timeout``), even after a greeting, because
        a peer that connects and sends nothing counts against ``max_connections``.
    state
        Called without arguments for each new connection, before the hook ``opened``; what it returns is
        ``connection.state``. If it raises, the connection is closed, as with a hook. Default: the state is None.
    lifespan
        Set-up and tear-down around serving: a function without arguments that returns an async context manager, or an
        async generator function that yields once. What it yields is ``connection.service_state`` of every connection.
        The decorator :meth:`lifespan` does the same, but a type checker cannot infer the type from it.
    """

    @by_keyword()
    def __init__(
        self,
        framing: Framing[In_co, Out_contra] | str,
        *,
        name: str | None = None,
        silent_peers: bool = False,
        state: Callable[[], S] | None = None,
        lifespan: Callable[[], AbstractAsyncContextManager[L] | AsyncIterator[L]] | None = None,
    ) -> None:
        super().__init__()
        self.framing: Framing[In_co, Out_contra] = parse_framing(framing)
        check_type("name", name, str)
        check_flag("silent_peers", silent_peers)
        self.silent_peers = silent_peers
        self._name = name
        self.handler: Handler | None = None
        check_callable("state", state, kind=ServiceError)
        if state is not None:
            check_hook("state", state, ())
        #: Makes the state of a connection; None if there is no such function.
        self.make_state = state
        self._lifespan: Lifespan[L] | None = None if lifespan is None else given_lifespan(lifespan)

    @property
    def name(self) -> str:
        """The name of the service in events and logs."""
        return self._name or (self.handler.name if self.handler else "service")

    # -- handlers -----------------------------------------------------------------------------------------

    @overload
    def reply(  # type: ignore[overload-overlap]
        self: Service[bytes, Octets, S, L], function: Callable[[bytes], OctetReplies], /
    ) -> Callable[[bytes], OctetReplies]: ...
    @overload
    def reply(  # type: ignore[overload-overlap]
        self: Service[bytes, Octets, S, L],
        function: Callable[[bytes, Connection[bytes, Octets, S, L]], OctetReplies],
        /,
    ) -> Callable[[bytes, Connection[bytes, Octets, S, L]], OctetReplies]: ...
    @overload
    def reply(self, function: Callable[[In_co], Replies[Out_contra]], /) -> Callable[[In_co], Any]: ...
    @overload
    def reply(
        self, function: Callable[[In_co, Connection[In_co, Out_contra, S, L]], Replies[Out_contra]], /
    ) -> Callable[[In_co, Connection[In_co, Out_contra, S, L]], Any]: ...
    @overload
    def reply(  # type: ignore[overload-cannot-match]
        self, function: Callable[[In_co], Replies[Out_contra]], /
    ) -> Any: ...
    @overload
    def reply(  # type: ignore[overload-overlap]
        self, *, threads: Literal[True], concurrency: Literal[1] = 1, cancel_on_lost: Literal[True] = True
    ) -> ThreadedReplyDecorator[In_co, Out_contra, S, L]: ...
    @overload
    def reply(
        self, *, threads: Literal[True], concurrency: int, cancel_on_lost: Literal[True] = True
    ) -> ConcurrentThreadedReplyDecorator[In_co, Out_contra, S, L]: ...
    @overload
    def reply(  # type: ignore[overload-overlap]
        self, *, threads: Literal[False] = False, concurrency: Literal[1] = 1, cancel_on_lost: Literal[True] = True
    ) -> ReplyDecorator[In_co, Out_contra, S, L]: ...
    @overload
    def reply(  # type: ignore[overload-overlap]
        self, *, threads: Literal[False] = False, concurrency: Literal[1] = 1, cancel_on_lost: bool
    ) -> AsyncReplyDecorator[In_co, Out_contra, S, L]: ...
    @overload
    def reply(
        self, *, threads: Literal[False] = False, concurrency: int, cancel_on_lost: bool = True
    ) -> ConcurrentReplyDecorator[In_co, Out_contra, S, L]: ...
    @by_keyword(ServiceError)
    def reply(
        self, function: Any = ONLY_OPTIONS, *, threads: bool = False, concurrency: int = 1, cancel_on_lost: bool = True
    ) -> Any:
        """Register the reply handler: it takes one message and returns one reply, or ``None`` for no reply.

        It is ``def f(message)`` or ``def f(message, connection)``. A plain ``def`` runs inline on the loop, which is
        the fastest way. An ``async def`` may await. A generator function, plain or async, yields several replies, and
        is resumed only while the peer reads them.

        Parameters
        ----------
        threads
            Run a plain ``def`` in a thread of the pool, because it blocks. Default: False.
        concurrency
            How many messages of one connection may be handled at once (async and threads). Replies are sent in the
            order of their messages. Default: 1, because most protocols and most handlers expect one at a time. At most
            10,000: each is a task, and a stop has to cancel them all within its deadline.
        cancel_on_lost
            Whether an ``async def`` is cancelled when its connection is lost: reset, timed out or aborted. Default:
            True, because the peer cannot get its reply. With False it runs to its end, and messages that arrived before
            the loss are also handled; until then the connection counts against the limits. Other kinds are never
            cancelled.

        Raises :class:`~fourtuple.errors.ServiceError` for a combination that cannot work, and for an option that has no
        effect on this kind of function.
        """

        check_flag("threads", threads, ServiceError)
        check_flag("cancel_on_lost", cancel_on_lost, ServiceError)
        check_concurrency(concurrency)

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            self._take(reply_handler(function, threads, concurrency, cancel_on_lost))
            return function

        return register if function is ONLY_OPTIONS else register(function)

    @overload
    def replies(  # type: ignore[overload-overlap]
        self: Service[bytes, Octets, S, L], function: Callable[[list[bytes]], OctetBatch], /
    ) -> Callable[[list[bytes]], OctetBatch]: ...
    @overload
    def replies(  # type: ignore[overload-overlap]
        self: Service[bytes, Octets, S, L],
        function: Callable[[list[bytes], Connection[bytes, Octets, S, L]], OctetBatch],
        /,
    ) -> Callable[[list[bytes], Connection[bytes, Octets, S, L]], OctetBatch]: ...
    @overload
    def replies(self, function: Callable[[list[In_co]], Batch[Out_contra]], /) -> Callable[[list[In_co]], Any]: ...
    @overload
    def replies(
        self, function: Callable[[list[In_co], Connection[In_co, Out_contra, S, L]], Batch[Out_contra]], /
    ) -> Callable[[list[In_co], Connection[In_co, Out_contra, S, L]], Any]: ...
    @overload
    def replies(  # type: ignore[overload-cannot-match]
        self, function: Callable[[list[In_co]], Batch[Out_contra]], /
    ) -> Any: ...
    @overload
    def replies(  # type: ignore[overload-overlap]
        self, *, cancel_on_lost: Literal[True] = True
    ) -> BatchDecorator[In_co, Out_contra, S, L]: ...
    @overload
    def replies(self, *, cancel_on_lost: bool) -> AsyncBatchDecorator[In_co, Out_contra, S, L]: ...
    @by_keyword(ServiceError)
    def replies(self, function: Any = ONLY_OPTIONS, *, cancel_on_lost: bool = True) -> Any:
        """Register the reply handler for batches: it takes a list of messages, and returns the list of their replies.

        ``function`` is ``def f(messages)`` or ``def f(messages, connection)``, plain or async, for work that is cheaper
        for many messages at once: a computation with arrays, a query of a database. A batch has the messages of one
        connection that have arrived together, at least one and at most ``max_batch``. The list of replies (or a tuple)
        has one entry for each message, in the same order; ``None`` sends no reply. All replies of a batch are encoded
        and sent together. A plain ``def`` runs on the loop and must not block.

        With a list of another length, or another value, the connection ends as when the handler raises; the error is
        :class:`~fourtuple.errors.HandlerMistake`. After a :func:`reply_and_close` in the list, the rest of the list is
        dropped.

        Parameters
        ----------
        cancel_on_lost
            Whether an ``async def`` is cancelled when its connection is lost. Default: True. See :meth:`reply`.

        Raises :class:`~fourtuple.errors.ServiceError` for a generator, which cannot return a list, and for
        ``cancel_on_lost=False`` with a plain ``def``, which is never cancelled.
        """
        check_flag("cancel_on_lost", cancel_on_lost, ServiceError)

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            self._take(batch_handler(function, cancel_on_lost))
            return function

        return register if function is ONLY_OPTIONS else register(function)

    @overload
    def conversation(
        self, function: AsyncConversation[In_co, Out_contra, S, L], /
    ) -> AsyncConversation[In_co, Out_contra, S, L]: ...
    @overload
    def conversation(
        self, function: BlockingConversation[In_co, Out_contra, S, L], /
    ) -> BlockingConversation[In_co, Out_contra, S, L]: ...
    @overload
    def conversation(
        self, *, speaks_first: Literal[False] = False, cancel_on_lost: Literal[True] = True
    ) -> ConversationDecorator[In_co, Out_contra, S, L]: ...
    @overload
    def conversation(  # type: ignore[overload-overlap]
        self, *, speaks_first: bool, cancel_on_lost: Literal[True] = True
    ) -> Callable[[BlockingConversation[In_co, Out_contra, S, L]], BlockingConversation[In_co, Out_contra, S, L]]: ...
    @overload
    def conversation(
        self, *, speaks_first: Literal[False] = False, cancel_on_lost: bool
    ) -> Callable[[AsyncConversation[In_co, Out_contra, S, L]], AsyncConversation[In_co, Out_contra, S, L]]: ...
    @by_keyword(ServiceError)
    def conversation(
        self, function: Any = ONLY_OPTIONS, *, speaks_first: bool = False, cancel_on_lost: bool = True
    ) -> Any:
        """Register the conversation handler: ``function(connection)`` drives it, and it is closed when that returns.

        An ``async def`` gets a :class:`~fourtuple.Connection`. A plain ``def`` gets a
        :class:`~fourtuple.BlockingConnection` in a thread of the pool. It is lent at the peer's first octet, so that
        silent peers use no thread.

        Parameters
        ----------
        speaks_first
            The service sends the first message: a plain ``def`` gets its thread at once, not at the peer's first octet.
            Default: False. An ``async def`` begins at once in any case. The peer's first message keeps its deadline;
            use ``Service(silent_peers=True)`` for peers that need not send.
        cancel_on_lost
            Whether an ``async def`` is cancelled when its connection is lost. Default: True. See :meth:`reply`.

        Raises :class:`~fourtuple.errors.ServiceError` for a generator, and for an option that has no effect on this
        kind of function.
        """

        check_flag("speaks_first", speaks_first, ServiceError)
        check_flag("cancel_on_lost", cancel_on_lost, ServiceError)

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            self._take(conversation_handler(function, speaks_first, cancel_on_lost))
            return function

        return register if function is ONLY_OPTIONS else register(function)

    def program(self, *command: str) -> None:
        """Give every connected socket to the program ``command``, as its standard input and output, like tcpserver(1).

        The first word is the program, the others are its arguments. Raises :class:`~fourtuple.errors.ServiceError` if
        there are none.
        """
        if not command:
            raise ServiceError("program: a command is needed")
        for word in command:
            check_type("program", word, str, optional=False, kind=ServiceError)
        self._take(ProgramHandler(command))

    def _adapt(self, handler: AdaptedHandler) -> None:
        """Register existing code, ``handler``. The functions of :mod:`fourtuple.adapters` call this."""
        self._take(handler)

    def _take(self, handler: Handler) -> None:
        if self.handler is not None:
            raise ServiceError(
                f"a service has one handler: {self.handler.name} is registered already, {handler.name} cannot be added"
            )
        self.handler = handler
        self._check_hooks()

    # -- set-up and tear-down -------------------------------------------------------------------------------

    @overload
    def lifespan(self, function: Callable[[], AsyncIterator[L]], /) -> Callable[[], AsyncIterator[L]]: ...
    @overload
    def lifespan(
        self, function: Callable[[], AbstractAsyncContextManager[L]], /
    ) -> Callable[[], AbstractAsyncContextManager[L]]: ...
    def lifespan(self, function: Any, /) -> Any:
        """Register set-up and tear-down around serving: an async generator function that yields once.

        It may also be decorated with ``@asynccontextmanager``. What it yields is ``connection.service_state`` of every
        connection. ``Service(lifespan=...)`` does the same, and type checkers infer the type from it. Raises
        :class:`~fourtuple.errors.ServiceError` for any other function, and for a second one.
        """
        check_sole("lifespan", function, self._lifespan)
        self._lifespan = decorated_lifespan(function)
        return function

    def running(self) -> AbstractAsyncContextManager[L | None]:
        """Return an async context manager: set-up, which yields the service's state, and tear-down of the lifespan.

        Entering it raises :class:`~fourtuple.errors.ServiceError` if it does not yield once.
        """
        return nullcontext() if self._lifespan is None else RunningLifespan(self._lifespan)

    # -- for servers --------------------------------------------------------------------------------------

    @property
    def _hands_socket(self) -> bool:
        """Whether the handler uses a socket itself: a program, or a handler of socketserver."""
        handler = self.handler
        return isinstance(handler, ProgramHandler) or (isinstance(handler, AdaptedHandler) and handler.wants_socket)

    @property
    def _expects_message(self) -> bool:
        """Whether the peer must send a first message before a deadline. A program reads its peer itself."""
        return not self.silent_peers and not self._hands_socket

    def check(self) -> None:
        """Raise :class:`~fourtuple.errors.ServiceError` while there is no handler.

        Raises :class:`~fourtuple.errors.EncodeError` for a ``goodbye`` that the framing cannot carry.
        """
        if self.handler is None:
            raise ServiceError(
                "the service has no handler: decorate a function with @service.reply or @service.conversation"
            )
        self._check_goodbye()

    def with_framing(self, framing: Framing[NewIn, NewOut] | str) -> Service[NewIn, NewOut, S, L]:
        """Return a copy of the service with another framing."""
        other: Any = copy.copy(self)
        other.framing = parse_framing(framing)
        return cast("Service[NewIn, NewOut, S, L]", other)

    def _with_handler(self, handler: Handler) -> Self:
        """Return a copy of the service with another handler of the same kind."""
        other = copy.copy(self)
        other.handler = handler
        return other

    def with_name(self, name: str) -> Self:
        """Return a copy of the service with another name."""
        other = copy.copy(self)
        other._name = name
        return other

    def _with_first(self, call: Callable[[], object]) -> Self:
        """Return a copy of the service whose set-up begins with this call, before its lifespan."""
        other = copy.copy(self)
        other._lifespan = begun_by(call, self._lifespan)
        return other

    def __repr__(self) -> str:
        return f"<Service {self.name}, {self.framing}>"
