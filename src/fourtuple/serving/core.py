"""What the parts of a server share: its engine, options, registry and observer. It is not part of the public API."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

from fourtuple import events
from fourtuple.connection import Connection
from fourtuple.engine import Channel, Engine, Listener
from fourtuple.handlers import HandlerTimeouts, Runner, Spares, Threads
from fourtuple.net.descriptors import connection_limit
from fourtuple.options import Deadlines, Limits
from fourtuple.server_handle import ServerHandle
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
        The observer as it was given, unguarded: the C guards its calls itself.
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
        self.limits = limits
        self.deadlines = deadlines
        self.given_observer = observer
        self.observer = guarded
        self.tap = tap
        #: What comes before the first message: a PROXY header, TLS.
        self.preamble = preamble
        #: Admits or refuses connections, and counts the refused ones.
        self.admission = Admission(limits, deadlines, service.framing, guarded)
        self.admission.secure = preamble.secure if preamble.expects_tls else None
        #: The open connections, and the counters.
        self.registry = Registry()
        self.throttling = Throttling()
        #: The number of threads that run functions of in_thread(), or will, by the runner of the connection.
        self.in_threads: dict[Runner, int] = {}
        #: The tasks of running handlers.
        self.tasks: dict[asyncio.Task[Any], Runner] = {}
        #: The context of which each handler gets a copy.
        self.context = contextvars.Context()
        #: The limit in force: the option, or less if the limit on descriptors is lower.
        self.max_connections = 0
        self.leave = leave

    def open(self, loop: asyncio.AbstractEventLoop, engine: Engine) -> None:
        """Start, on this loop and engine."""
        self.loop, self.engine = loop, engine
        self.context = contextvars.copy_context()
        self.spares = Spares(loop, self.context)
        self.max_connections = connection_limit(self.limits.max_connections)
        self.throttling.change(self.limits, self.max_connections, (), ())

    def open_rooms(self, full: Callable[[], None], free: Callable[[], None]) -> None:
        """Make the handler timeouts and the threads.

        ``full`` is called when all threads are busy, ``free`` when one is free again.
        """
        self.handler_timeouts = HandlerTimeouts(self.engine)
        self.threads = Threads(self.loop, self.limits.max_threads, full, free)

    def set_up(self, service_state: Any) -> None:
        """Keep the service state that the service's lifespan has yielded."""
        self._service_state = service_state

    def change_limits(self, limits: Limits, *, started: bool) -> None:
        """Put other limits in force. Raises OptionError and EncodeError; then nothing has changed."""
        self.admission.change(limits)
        self.limits = limits
        if not started:
            return
        self.max_connections = connection_limit(limits.max_connections)
        self.threads.change_limit(limits.max_threads)
        for runner in self.registry.living():
            runner.stream.keep_to(limits)
        named, unnamed = self.registry.channels()
        self.throttling.change(limits, self.max_connections, named, unnamed)

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
