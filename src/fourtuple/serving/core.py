"""What the parts of a server share: its engine, options, registry and observer. It is not part of the public API."""

from __future__ import annotations

import asyncio
import contextvars
import copy
from collections.abc import Callable
from typing import Any

from fourtuple import events
from fourtuple.connection import Connection
from fourtuple.connection.server_handle import ServerHandle
from fourtuple.engine import Channel, Engine, Listener
from fourtuple.handlers import HandlerTimeouts, Runner, Spares, Threads
from fourtuple.net.descriptors import connection_limit
from fourtuple.options import Deadlines, Limits
from fourtuple.service import Service
from fourtuple.serving.admission import Admission
from fourtuple.serving.preamble import Preamble
from fourtuple.serving.registry import Registry
from fourtuple.serving.throttling import Throttling
from fourtuple.stream import Tap
from fourtuple.tls import TlsInfo
from fourtuple.tls.certificates import Certificates


class ServerCore:
    """The internals of one :class:`~fourtuple.Server`: the :class:`~fourtuple.handlers.Host` of its runners, and more.

    Parameters
    ----------
    handle
        The server as its connections show it.
    observer
        The observer as it was given, unguarded.
    guarded
        The same observer, guarded: an exception that it raises ends no connection.
    leave
        Called when a connection and its handler have ended.
    """

    engine: Engine
    loop: asyncio.AbstractEventLoop
    threads: Threads
    handler_timeouts: HandlerTimeouts
    spares: Spares

    def __init__(
        self,
        handle: ServerHandle[Any],
        service: Service[Any, Any, Any, Any],
        limits: Limits,
        deadlines: Deadlines,
        preamble: Preamble,
        *,
        observer: events.Observer,
        guarded: events.Observer,
        tap: Tap | None,
        leave: Callable[[Channel], None],
    ) -> None:
        self._handle = handle
        self._service_state: Any = None
        self.service = service
        self.limits: Limits = limits
        self.deadlines = deadlines
        self.given_observer = observer
        self.observer = guarded
        self.tap = tap
        #: What comes before the first message: a PROXY header, TLS.
        self.preamble = preamble
        #: Admits or refuses connections, and counts the refused ones.
        self.admission: Admission = Admission(limits, deadlines, service.framing, guarded)
        #: The open connections, and the counters.
        self.registry: Registry = Registry()
        self.throttling: Throttling = Throttling()
        #: The number of threads that run functions of in_thread(), or will, by the runner of the connection.
        self.in_threads: dict[Runner, int] = {}
        #: The tasks of running handlers.
        self.tasks: dict[asyncio.Task[Any], Runner] = {}
        #: The context of which each handler gets a copy.
        self.context: contextvars.Context = contextvars.Context()
        #: The limit in force: the option, or less if the limit on descriptors is lower.
        self.max_connections: int = 0
        self.leave = leave

    def branch(self, preamble: Preamble, limits: Limits | None, leave: Callable[[Channel], None]) -> ServerCore:
        """Return the internals for an endpoint with a preamble of its own, and limits of its own unless they are None.

        It shares everything else: without limits of its own also the registry and the counts.
        """
        other = copy.copy(self)
        other.preamble, other.leave = preamble, leave
        if limits is not None:
            other.limits = limits
            other.admission = Admission(limits, self.deadlines, self.service.framing, self.observer)
            other.registry, other.throttling = Registry(), Throttling()
        return other

    def open(
        self, loop: asyncio.AbstractEventLoop, engine: Engine, context: contextvars.Context, spares: Spares
    ) -> None:
        """Start, on this loop and engine; each handler gets a copy of the context, and may run in a spare task."""
        self.loop, self.engine, self.context, self.spares = loop, engine, context, spares
        self.max_connections = connection_limit(self.limits.max_connections)
        self.throttling.change(self.limits, self.max_connections, (), ())

    def open_rooms(self, timeouts: HandlerTimeouts, threads: Threads) -> None:
        """Use these handler timeouts and threads, which all endpoints share."""
        self.handler_timeouts, self.threads = timeouts, threads

    def set_up(self, service_state: Any) -> None:
        """Keep the service state that the service's lifespan has yielded."""
        self._service_state = service_state

    def change_limits(self, limits: Limits, *, started: bool) -> None:
        """Put other limits in force. Raises OptionError and EncodeError; then nothing has changed."""
        self.admission.change(limits)
        self.take_limits(limits, started=started)
        if not started:
            return
        for runner in self.registry.living():
            runner.stream.keep_to(limits)
        named, unnamed = self.registry.channels()
        self.throttling.change(limits, self.max_connections, named, unnamed)

    def take_limits(self, limits: Limits, *, started: bool) -> None:
        """Note limits that are in force: the admission has them already, and another core may share it."""
        self.limits = limits
        if started:
            self.max_connections = connection_limit(limits.max_connections)

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """The listeners."""
        return tuple(self.admission.listeners)

    @property
    def certificates(self) -> Certificates | None:
        """The certificates in force; None without TLS."""
        return self.preamble.certificates

    def connection_of(self, channel: Channel) -> Connection:
        """Make the connection object for the handler of this channel's messages."""
        return Connection(channel, server=self._handle, service_state=self._service_state)

    def secured(self, connection: Connection, tls: TlsInfo) -> None:
        """Count a TLS handshake that is done, and report it to the observer."""
        self.registry.handshakes += 1
        agreed = tls.version, tls.cipher, tls.alpn or "", tls.sni or "", tls.subject or ""
        self.observer(events.TlsStarted(connection.id, connection.name, *agreed))
