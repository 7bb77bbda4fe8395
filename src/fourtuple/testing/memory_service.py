"""A whole service without a socket: handler, hooks, limits and deadlines, on connections in memory."""

from __future__ import annotations

import ssl
from types import TracebackType
from typing import Any, Self, overload

from fourtuple import events
from fourtuple.connection import Connection
from fourtuple.errors import ServiceError
from fourtuple.framing import Framing, parse_framing
from fourtuple.options import Deadlines, Limits, Proxy, Tls, by_keyword, check_type
from fourtuple.server import Server, lifecycle_of
from fourtuple.service import ConversationHandler, ProgramHandler, Service
from fourtuple.stream import Stream
from fourtuple.testing.clock import Clock
from fourtuple.testing.memory import UnlikePair, new_name
from fourtuple.testing.memory_engine import client_of, engine_of
from fourtuple.testing.wire import CAPACITY, Cut, Link, socket_pair
from fourtuple.testing.witness import Witness, note_all, raise_all
from fourtuple.typevars import Generic, In_co, L, NewIn, NewOut, Out_contra, S


class MemoryService(Generic[In_co, Out_contra, S, L]):
    """Serves a service in memory, on the running loop::

        async with MemoryService(service) as served:
            client, _ = served.connect()
            assert await client.request(b"hello") == b"HELLO"

    Everything above the socket is that of a real server: limits, deadlines, hooks, the lifespan, the drain, TLS and
    PROXY headers. All deadlines, and the timers of connections, are measured with :attr:`clock`, which only
    ``served.clock.advance(seconds)`` moves. At the end of the block the server aborts. If handlers raised exceptions or
    the code of the framing has a mistake, the block raises an :class:`ExceptionGroup` of these errors.

    Parameters
    ----------
    service
        The service. A conversation in a thread (a plain ``def``) and a program need a socket: they are refused with
        :class:`~fourtuple.errors.ServiceError`.
    limits, deadlines, tls, proxy, observer
        As of :class:`fourtuple.Server`. The clients have the defaults of :func:`fourtuple.connect`.
    may_raise
        The exceptions that handlers may raise: one class, or a tuple of them. Default: none.

    Raises :class:`~fourtuple.errors.OptionError` for an argument of another type.
    """

    @by_keyword()
    def __init__(
        self,
        service: Service[In_co, Out_contra, S, L],
        *,
        limits: Limits | None = None,
        deadlines: Deadlines | None = None,
        tls: Tls | ssl.SSLContext | None = None,
        proxy: Proxy | None = None,
        observer: events.Observer | None = None,
        may_raise: type[BaseException] | tuple[type[BaseException], ...] = (),
    ) -> None:
        check_type("service", service, Service, optional=False)
        handler = service.handler
        if isinstance(handler, ProgramHandler) or (isinstance(handler, ConversationHandler) and handler.blocking):
            what = "a program" if isinstance(handler, ProgramHandler) else "a conversation in a thread"
            raise ServiceError(f"{handler.name}: {what} needs a socket; test it with the fixture tcp_server")
        self._witness = Witness(observer, may_raise)
        #: The clock of the server and of all connections.
        self.clock: Clock = Clock()
        self._link = Link(self.clock)
        self._engine = engine_of(self._link, self.clock)
        #: The server: ``statistics``, ``connections``, ``broadcast()``, ``drain()``. It has no address.
        self.server: Server[In_co, Out_contra, S, L] = Server(
            service,
            listen=False,
            engine=self._engine,
            limits=limits,
            deadlines=deadlines,
            tls=tls,
            proxy=proxy,
            observer=self._witness,
        )

    async def __aenter__(self) -> Self:
        await self.server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.server.abort()
        finally:
            self._engine.close()
        if error is None:
            raise_all(self._witness.errors)
        else:
            note_all(error, self._witness.errors)

    @overload
    def connect(
        self, framing: None = None, *, cut: Cut = None, capacity: int = CAPACITY
    ) -> UnlikePair[Connection[In_co, Out_contra], Connection[In_co, Out_contra, S, L]]: ...
    @overload
    def connect(
        self, framing: Framing[NewIn, NewOut] | str, *, cut: Cut = None, capacity: int = CAPACITY
    ) -> UnlikePair[Connection[NewIn, NewOut], Connection[In_co, Out_contra, S, L]]: ...
    @by_keyword()
    def connect(
        self, framing: Framing | str | None = None, *, cut: Cut = None, capacity: int = CAPACITY
    ) -> UnlikePair[Any, Any]:
        """Make a connection; return both of its ends: ``near`` is the client's, ``far`` the service's.

        ``pair.there`` and ``pair.back`` are the wires between them, and ``pair.reset()`` breaks both. If the server
        refuses the connection, ``far`` is None.

        Parameters
        ----------
        framing
            The client's framing. Default: that of the other end of the service's.
        cut, capacity
            As of :func:`memory_pair`.
        """
        cuts = self.server.service.framing.mirror() if framing is None else parse_framing(framing)
        sockets = socket_pair(self._link, cut=cut, capacity=capacity)
        stream = Stream(cuts, new_name(), Limits(), self.clock())
        sockets[1].setblocking(False)
        near: Connection[Any, Any] = client_of(self._engine, sockets[0], stream, None)
        sock: Any = sockets[1]
        runner = lifecycle_of(self.server).acceptor.adopt(sock, stream.name.reversed)  # type: ignore[union-attr]
        far: Any = None if runner is None else runner.connection
        return UnlikePair(near, far, sockets, self.clock)

    def __repr__(self) -> str:
        return f"<MemoryService {self.server!r}, {self.clock!r}>"
