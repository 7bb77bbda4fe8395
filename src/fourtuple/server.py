"""The server: it serves a service at listeners in one process, with limits and statistics."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack, get_args

from fourtuple import events
from fourtuple.address import Address
from fourtuple.connection import Connection
from fourtuple.engine import Engine, Listener, ReadinessChoice
from fourtuple.engine.listener import BY_REQUEST
from fourtuple.errors import OptionError, ServiceError
from fourtuple.net.beside import check_beside
from fourtuple.net.given import check_given, named
from fourtuple.observe.log import log_failures
from fourtuple.options import (
    Deadlines,
    Limits,
    Proxy,
    Sockets,
    Tls,
    by_keyword,
    check_choice,
    check_flag,
    check_function,
    check_timeout,
    check_type,
)
from fourtuple.options.endpoint import Endpoint, endpoint_of
from fourtuple.service import Service
from fourtuple.serving.alarms import Alarm
from fourtuple.serving.broadcast import broadcast
from fourtuple.serving.core import ServerCore
from fourtuple.serving.guarding import guarded
from fourtuple.serving.lifecycle import Lifecycle, Site
from fourtuple.serving.on_loop import OnLoop
from fourtuple.serving.preamble import Preamble
from fourtuple.serving.values import Broadcast, Slow
from fourtuple.stream import Tap
from fourtuple.tls.certificates import TlsChoice
from fourtuple.typevars import Generic, In_co, L, Out_contra, S

if TYPE_CHECKING:
    from fourtuple.options.changes import LimitsChanges
    from fourtuple.serving.dialing import Dial


class Server(OnLoop[In_co, Out_contra, S, L], Generic[In_co, Out_contra, S, L]):
    """Serves a service at one or more addresses, on the running loop.

    ::

        async with Server(service, "127.0.0.1:9999") as server:
            await server.serve_forever()

    ``Server[In, Out, S, L]`` has the types of its :class:`~fourtuple.Service`.

    Parameters
    ----------
    service
        The framing and the handler.
    addresses
        Where to listen: texts (``host:port``, ``*:port``, ``unix:PATH``, ``fd:3``, ``fd:NAME``),
        :class:`~fourtuple.Address`, bound sockets, or :class:`~fourtuple.Endpoint`, which has TLS, PROXY headers or
        limits of its own. With port 0 the kernel chooses a port, which :attr:`addresses` has then. Default:
        ``127.0.0.1:0``. A socket that is given belongs to the server from :meth:`start` on, which closes it when it
        stops, but not the file of a Unix socket; to keep one, give its ``dup()``.
    limits, deadlines, sockets
        See :mod:`fourtuple.options`.
    tls
        :class:`~fourtuple.Tls` options, or an :class:`ssl.SSLContext`, with which every connection begins. Default: no
        TLS.
    proxy
        :class:`~fourtuple.Proxy` options, for the PROXY protocol behind balancers.
    observer
        Called with every :class:`~fourtuple.events.Event`; it must not block. Default:
        :func:`~fourtuple.observe.log.log_failures`, which logs only handlers that raise.
    tap
        Called as ``tap(stream, inward, octets)`` with the octets that are received and sent.
    readiness
        ``"nested"``, ``"portable"`` or ``"auto"``: see :class:`~fourtuple.engine.Engine`.
    engine
        For the packages of fourtuple: an engine of the running loop to share, whose class is not public. Default: the
        server makes a separate one.
    alarms
        What to call when a number reaches a threshold: :class:`~fourtuple.Alarm`.
    listen
        False for a server without addresses, whose connections come by :meth:`adopt` and :meth:`dial`. Default: True.

    Raises :class:`~fourtuple.errors.OptionError` for options that cannot work, before a socket is opened.
    """

    @by_keyword()
    def __init__(
        self,
        service: Service[In_co, Out_contra, S, L],
        *addresses: str | Address | socket.socket | Endpoint,
        limits: Limits | None = None,
        deadlines: Deadlines | None = None,
        sockets: Sockets | None = None,
        tls: Tls | ssl.SSLContext | None = None,
        proxy: Proxy | None = None,
        observer: events.Observer | None = None,
        tap: Tap | None = None,
        readiness: ReadinessChoice = "auto",
        engine: Engine | None = None,
        alarms: Iterable[Alarm] = (),
        listen: bool = True,
    ) -> None:
        check_type("service", service, Service, optional=False)
        service.check()
        check_type("limits", limits, Limits)
        check_type("deadlines", deadlines, Deadlines)
        check_type("sockets", sockets, Sockets)
        check_type("tls", tls, Tls, ssl.SSLContext, hint="Tls(certificate='server.pem')")
        check_type("proxy", proxy, Proxy)
        check_function("observer", observer, "event")
        check_function("tap", tap, "stream", "inward", "octets")
        check_choice("readiness", readiness, get_args(ReadinessChoice))
        check_type("engine", engine, Engine)
        check_type("alarms", alarms, Iterable, optional=False, hint="[Alarm(1000, callback=call)]")
        check_flag("listen", listen)
        if addresses and not listen:
            raise OptionError(f"listen: expected no address with listen=False, got {addresses[0]}")
        alarms = tuple(alarms)
        for alarm in alarms:
            check_type("alarms", alarm, Alarm, optional=False)
        self.service = service
        self.deadlines: Deadlines = deadlines or Deadlines()
        self.sockets: Sockets = sockets or Sockets()
        # Not "observer or": a callable observer may be false, such as an empty subclass of list.
        observer = log_failures if observer is None else observer
        self.observer: events.Observer = guarded(observer)
        # This reads and checks the certificates.
        preamble = Preamble(tls, proxy, self.observer)
        self._core = core = ServerCore(
            self,
            service,
            limits or Limits(),
            self.deadlines,
            preamble,
            observer=observer,
            guarded=self.observer,
            tap=tap,
            leave=lambda channel: self._life.acceptor.leave(channel),
        )
        endpoints = [endpoint_of(each) for each in addresses or ("127.0.0.1:0",) * listen]
        sites = [site for number, each in enumerate(endpoints) for site in self._sites(number, each)]
        check_given([site.place for site in sites])
        check_beside([(site.place, site.sockets) for site in sites])
        self._life: Lifecycle = Lifecycle(core, sites, self.sockets, readiness, engine, alarms)
        #: Set when the server begins to stop; ``connection.draining`` is this event.
        self.draining: asyncio.Event = self._life.draining

    def _sites(self, number: int, endpoint: Endpoint) -> list[Site]:
        core, sockets = self._core_for(endpoint), endpoint.sockets or self.sockets
        places = [each for place in endpoint.places for each in named(place)]
        return [Site(place, sockets, core, number) for place in places]

    def _core_for(self, endpoint: Endpoint) -> ServerCore:
        """Return the core of an endpoint: the server's, unless the endpoint has options of its own."""
        core, preamble = self._core, self._core.preamble
        endpoint.check_limits(core.limits)
        if endpoint.tls is not None:  # this reads and checks the certificates
            preamble = Preamble(endpoint.tls, endpoint.proxy or preamble.proxy, self.observer)
        elif endpoint.proxy is not None:
            preamble = preamble.with_proxy(endpoint.proxy)
        if preamble is core.preamble and endpoint.limits is None:
            return core
        branch = core.branch(preamble, endpoint.limits, lambda channel: self._life.acceptors[branch].leave(channel))
        return branch

    # -- life ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Set the service up and listen; return when connections are accepted.

        Raises a :class:`~fourtuple.errors.ListenError` if it cannot listen at an address; then no socket is open. Also
        what the lifespan raises, but :class:`~fourtuple.errors.HandlerFailed` for a CancelledError although nothing has
        cancelled this task. A server can be started only once.
        """
        await self._life.start(repr(self))

    async def serve_forever(self) -> None:
        """Return when the server has stopped: by :meth:`drain`, by :meth:`abort`, or because its last listener failed.

        Raises what the service's tear-down raised, and :class:`~fourtuple.errors.ServiceError` if the start has failed,
        or in a forked child.
        """
        self._check_awaited("serve_forever")
        if (self._life.given_up and not self.draining.is_set()) or (self._life.started and self.engine.inert):
            raise ServiceError(f"serve_forever: {self!r} does not serve")
        await self._life.drain.wait()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:  # perhaps Ctrl-C, which comes again if this takes its time
            self._life.drain.hide_handlers()
        try:
            await (self.drain() if kind is None else self.abort())
        except asyncio.CancelledError:
            self._life.drain.hide_handlers()
            await self._life.drain.abort_for_certain()
            raise

    # -- connections --------------------------------------------------------------------------------------

    def reload_certificates(self) -> None:
        """Read the certificate files again: new connections use them, and open connections go on.

        Changed files are also read when a client connects; ``run`` calls this on SIGHUP. Raises
        :class:`~fourtuple.errors.OptionError` for files that cannot be used; then those read before stay in force.
        """
        self._check_thread("reload_certificates")
        self._life.reload_certificates()

    def pause(self) -> None:
        """Stop accepting until :meth:`resume`; new connections wait in the kernel's accept queue.

        Called before :meth:`start`, it lets the server listen without accepting.
        """
        self._check_thread("pause")
        for group in self._life.groups:
            group.admission.pause(BY_REQUEST, BY_REQUEST)

    def resume(self) -> None:
        """Accept again after :meth:`pause`."""
        self._check_thread("resume")
        for group in self._life.groups:
            group.admission.resume(BY_REQUEST)

    def adopt(self, sock: socket.socket) -> Connection[In_co, Out_contra, S, L] | None:
        """Serve a connected socket that you made or were given; return its connection, or None if it is refused.

        ``sock`` is a stream socket of TCP or Unix: from socket activation, from another process, from socketpair().
        The server owns it at once: your object is closed. The connection is served as an accepted one, with TLS and
        PROXY headers if the server expects them, and counts in all limits. As it cannot wait in an accept queue, it is
        refused at ``max_connections``, and while the server stops. A refused socket is closed, and the observer gets
        the event ``Refused``. Before the handshake of TLS is done, the connection is not in :attr:`connections`.

        Call it on the server's loop, and from other threads by ``server.call_soon(server.adopt, sock)``. Raises
        :class:`~fourtuple.errors.OptionError` for another kind of socket, or a closed one, and
        :class:`~fourtuple.errors.ServiceError` if the server is not started; the socket is also closed in these cases.
        """
        self._check_caller("adopt")
        runner = self._life.adopt(sock)
        return None if runner is None else runner.connection

    @by_keyword()
    def dial(
        self,
        address: Address | str,
        *,
        timeout: float | None = 10.0,
        local_address: Address | str | None = None,
        tls: TlsChoice | None = None,
        server_hostname: str | None = None,
    ) -> Dial[In_co, Out_contra, S, L]:
        """Connect to an address, serve the connection, and call again when it has ended: a reverse connection.

        For a device behind a NAT or a firewall, which calls its controller and is asked by it. The connection has the
        service's handler and hooks, and counts in all limits; at ``max_connections`` the call waits for a place. Calls
        are repeated until :meth:`Dial.cancel`, or until the server begins to stop; a drain then ends the connection.

        The pause after a call grows from 0.1 s by a factor of 1.6 to 30 s, with 20 % of jitter, and counts from the
        beginning of that call. A connection that was held for 10 s has worked: the next call follows after a random
        time of at most a second. Names are looked up again for each call. The observer gets
        :class:`~fourtuple.events.DialFailed` for each call that makes no connection.

        Parameters
        ----------
        address
            Where to: ``host:port``, ``unix:PATH`` or an :class:`~fourtuple.Address`.
        timeout
            Seconds for each call, with the look-up of the name and all its addresses. Default: 10. None waits for the
            kernel, which takes minutes.
        local_address
            Where to connect from. Default: the kernel chooses.
        tls, server_hostname
            As of :func:`fourtuple.connect`: this side is the client of TLS. ``handshake_timeout`` bounds the handshake.
            Default: no TLS, even if the server expects TLS of those that come.

        Raises :class:`~fourtuple.errors.AddressError` and :class:`~fourtuple.errors.OptionError` for arguments that
        cannot work, and :class:`~fourtuple.errors.ServiceError` for a server that is not started or that stops. Call it
        on the server's loop.
        """
        self._check_thread("dial")
        from fourtuple.serving.dialing import Dial  # imported here: a server that only listens needs no client

        if not self._life.started or self.draining.is_set() or self.engine.inert:
            raise ServiceError(f"dial: {self!r} does not serve")
        dial: Dial[In_co, Out_contra, S, L] = Dial(
            self._core,
            self._life.acceptor,
            address,
            timeout=timeout,
            local_address=local_address,
            sockets=self.sockets,
            tls=tls,
            server_hostname=server_hostname,
        )
        self._life.keep(dial.task)
        return dial

    @by_keyword()
    def broadcast(
        self,
        message: Out_contra,
        *,
        slow: Slow = "skip",
        to: Callable[[Connection[In_co, Out_contra, S, L]], bool]
        | Iterable[Connection[In_co, Out_contra, S, L]]
        | None = None,
    ) -> Broadcast:
        """Send one message to all connections, or to those that you choose; return at once how many got it.

        The message is encoded once for each framing, and sent after what each connection was sent before. The call does
        not wait for any connection. Call it on the server's loop; from other threads use :meth:`call_soon`:
        ``server.call_soon(server.broadcast, b"news")``.

        Parameters
        ----------
        slow
            What to do with a connection whose outbox is above ``high_water``: ``"skip"`` it (the default; it misses
            this message), ``"close"`` it after what is in its outbox, or ``"abort"`` it. The last two are reported to
            the observer.
        to
            The connections that get the message, as a set or any other iterable: the cost is that of these alone. Each
            gets it once; those that have ended are counted as ``out_of_reach``. Or a function that is called for every
            connection, and returns whether it gets the message. Default: None, all connections.

        Raises :class:`~fourtuple.errors.EncodeError` for a message that the framing cannot carry, and
        :class:`~fourtuple.errors.OptionError` for an invalid ``slow`` or ``to``; then no connection got the message. If
        connections have different framings and only some can carry it, the others are counted as ``unfit``.
        """
        self._check_thread("broadcast")
        return broadcast(self._life.registries, message, slow, to, self.observer)

    # -- changing -----------------------------------------------------------------------------------------

    def change_limits(self, **changes: Unpack[LimitsChanges]) -> Limits:
        """Put other limits in force while serving, ``changes``; return all limits.

        ``server.change_limits(max_connections=500, deny="203.0.113.0/24")``. They apply to new connections; rates,
        water marks and sizes also to open connections, none of which is ended by the change. From other threads use
        :meth:`call_soon`. Raises :class:`~fourtuple.errors.OptionError`, and :class:`~fourtuple.errors.EncodeError` for
        a refusal message that the framing cannot carry; then nothing has changed. Endpoints with limits of their own
        keep them.
        """
        self._check_thread("change_limits")
        limits = self.limits.replace(**changes)
        self._life.change_limits(limits)
        return limits

    # -- stopping -----------------------------------------------------------------------------------------

    async def drain(self, timeout: float | None = None) -> int:
        """Stop gracefully, in bounded time; return how many connections were aborted.

        The server accepts connections already queued, and closes a listener when its queue is empty. Conversations see
        :attr:`draining`. Connections end like this:

        - One that has sent no message yet gets its first reply. If it stays silent, it is half-closed after
          ``drain_first_message_timeout``.
        - One inside a message finishes it. An idle one is half-closed after ``drain_idle_timeout``.
        - One that is never idle is half-closed after its last reply, ``linger_timeout`` before the remaining
          connections are aborted.
        - One that does not answer the half-close with its FIN is closed after ``linger_timeout``.

        After ``timeout`` seconds (default: ``drain_timeout``) the server has stopped. A quarter of that time before,
        but at most 2 seconds, the remaining connections are aborted and counted, and their handlers cancelled. Handlers
        that have not ended at the end are abandoned.

        The kernel resets a connection that is established between the last accept and the close of the listener. Under
        a supervisor, one socket per worker closes that gap. Idempotent: a second call waits for the first.

        While :meth:`start` sets the service up, this cancels the set-up, and :meth:`start` raises
        :class:`~fourtuple.errors.ServiceError`.
        """
        check_timeout(timeout)
        self._check_awaited("drain")
        if self._to_stop:
            # A server that starts has no conversations: its set-up is cancelled.
            await (self._life.drain.abort() if self._life.starting else self._life.drain.drain(timeout))
        return sum(registry.aborted for registry in self._life.registries)

    @property
    def _to_stop(self) -> bool:
        """Whether there is anything to stop: not before the start, nor in a forked child, whose server is the parent's.

        In its own loop, one that has stopped tells how, and a start that has failed may still be ending.
        """
        if not self._life.started or self.engine.inert:
            return False
        return not self._has_ended or asyncio.get_running_loop() is self.loop

    async def abort(self) -> None:
        """Stop now: close the listeners, abort every connection, run the service's tear-down. Idempotent.

        While :meth:`start` sets the service up, it does what :meth:`drain` does then.
        """
        self._check_awaited("abort")
        if self._to_stop:
            await self._life.drain.abort()


def core_of(server: Server[Any, Any, Any, Any]) -> ServerCore:
    """Return the internals of a server, for the packages that run it."""
    return server._core


def lifecycle_of(server: Server[Any, Any, Any, Any]) -> Lifecycle:
    """Return the life of a server, for what starts several servers together."""
    return server._life


def listen_at(server: Server[Any, Any, Any, Any], sock: socket.socket, backlog: int, *, keeps_file: bool) -> Listener:
    """Serve a started server at one more bound socket, which it owns from now on. For the adapters.

    With ``keeps_file``, closing leaves the file of a Unix socket.
    """
    server._check_thread("listen_at")
    return server._life.listen_at(sock, backlog, keeps_file=keeps_file)


def change_endpoint_limits(
    server: Server[Any, Any, Any, Any], endpoint: int, **changes: Unpack[LimitsChanges]
) -> Limits:
    """Put other limits in force at an endpoint that has limits of its own, as :meth:`Server.change_limits`."""
    server._check_thread("change_endpoint_limits")
    limits = server._life.endpoint_limits(endpoint).replace(**changes)
    server._life.change_endpoint_limits(endpoint, limits)
    return limits
