"""Hooks: functions around a handler, for the beginning and the end of a connection, and for what it cannot handle."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, overload

from fourtuple.errors import FourTupleError, ServiceError
from fourtuple.framing import Framing, Unmapped
from fourtuple.ignored import Ignored
from fourtuple.options import function_name
from fourtuple.service.handler import Handler, ReplyHandler
from fourtuple.service.registration import check_hook, check_sole
from fourtuple.service.replies import Reply
from fourtuple.typevars import Generic, In_co, L, Out_contra, S

if TYPE_CHECKING:
    from fourtuple.connection import Connection


class Hooks(Generic[In_co, Out_contra, S, L]):
    """The hooks of a service, one function each. A second one is an error: the first would never be called again."""

    framing: Framing[In_co, Out_contra]
    handler: Handler | None

    def __init__(self) -> None:
        self.on_opened: Callable[..., Any] | None = None
        self.on_closed: Callable[..., Any] | None = None
        self.on_failed: Callable[..., Any] | None = None
        self.on_unmapped: Callable[..., Any] | None = None
        self.on_goodbye: Callable[..., Any] | None = None
        self._goodbye: Any = None

    def opened(
        self, function: Callable[[Connection[In_co, Out_contra, S, L]], Reply[Out_contra]], /
    ) -> Callable[[Connection[In_co, Out_contra, S, L]], Any]:
        """Register ``function(connection)``, called inline when a connection is opened; it may return a greeting."""
        self.on_opened = check_hook("opened", function, ("connection",), self.on_opened)
        return function

    def closed(
        self, function: Callable[[Connection[In_co, Out_contra, S, L]], Ignored], /
    ) -> Callable[[Connection[In_co, Out_contra, S, L]], Any]:
        """Register ``function(connection)``, called inline when a connection has ended, for any reason."""
        self.on_closed = check_hook("closed", function, ("connection",), self.on_closed)
        return function

    def failed(
        self, function: Callable[[FourTupleError, Connection[In_co, Out_contra, S, L]], Out_contra | None], /
    ) -> Callable[[FourTupleError, Connection[In_co, Out_contra, S, L]], Any]:
        """Register ``function(error, connection)``: last words before an error ends a connection.

        It is called after a broken message, a handler that raised, and a deadline.
        What it returns is sent before the connection is closed; ``None`` sends nothing.
        """
        self.on_failed = check_hook("failed", function, ("error", "connection"), self.on_failed)
        return function

    def unmapped(
        self, function: Callable[[Unmapped, Connection[In_co, Out_contra, S, L]], Reply[Out_contra]], /
    ) -> Callable[[Unmapped, Connection[In_co, Out_contra, S, L]], Any]:
        """Register ``f(message, connection)``, which decides about a message that does not map.

        ``message`` is the :class:`~fourtuple.framing.Unmapped` in its place: invalid JSON, or a wrong checksum. What
        the function returns is the reply, in the order of the messages; ``None`` sends no reply. Without this hook, the
        message ends the connection like a broken message, with the last words of ``failed``.

        The hook is for reply handlers. A conversation decides itself: its ``receive`` raises
        :class:`~fourtuple.errors.UnmappedMessage`, and the next ``receive`` returns the message after it.
        """
        self.on_unmapped = check_hook("unmapped", function, ("message", "connection"), self.on_unmapped)
        self._check_hooks()
        return function

    @overload
    def goodbye(  # type: ignore[overload-overlap]
        self, function: Callable[[Connection[In_co, Out_contra, S, L]], Reply[Out_contra]], /
    ) -> Callable[[Connection[In_co, Out_contra, S, L]], Any]: ...
    @overload
    def goodbye(self, message: Out_contra, /) -> None: ...
    def goodbye(self, message: Any, /) -> Any:
        """Register the last message of a reply service when it drains: a message, or ``f(connection)`` that returns it.

        ``service.goodbye(b"421 closing")``, or a plain function, called inline; ``None`` sends nothing. It is sent to
        each connection that the drain closes at a message boundary, after all replies, before the FIN. Connections
        that end otherwise (the peer has finished, an abort at the deadline) do not get it.

        The hook is for reply handlers. A conversation sees ``connection.draining`` and says goodbye itself. Raises
        :class:`~fourtuple.errors.EncodeError` for a message that the service's framing cannot carry, and
        :class:`~fourtuple.errors.ServiceError` for None.
        """
        if message is None:
            raise ServiceError("goodbye: expected a message or a function of (connection), got None")
        before = self.on_goodbye if self._goodbye is None else self._goodbye
        if callable(message):
            self.on_goodbye = check_hook("goodbye", message, ("connection",), before)
        else:
            check_sole("goodbye", message, before)
            self.framing.encode(message)
            self.on_goodbye, self._goodbye = lambda _connection: message, message
        self._check_hooks()
        return message if callable(message) else None

    def _check_hooks(self) -> None:
        """Raise ServiceError for a hook that the handler never calls."""
        if isinstance(self.handler, ReplyHandler | None):
            return
        if self.on_unmapped is not None:
            raise ServiceError(
                f"unmapped: {function_name(self.on_unmapped)} is never called beside {self.handler.name}: "
                "in a conversation receive() raises UnmappedMessage"
            )
        if self.on_goodbye is not None:
            raise ServiceError(
                f"goodbye: never sent beside {self.handler.name}: "
                "a conversation awaits connection.draining and sends the message itself"
            )

    def _check_goodbye(self) -> None:
        """Raise EncodeError for a ``goodbye`` that the framing cannot carry: with_framing() may have changed it."""
        if self._goodbye is not None:
            self.framing.encode(self._goodbye)
