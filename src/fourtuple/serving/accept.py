"""How a server takes in accepted connections, and what it does when they have ended.

For connections on the fast path the C does the same (``_accept/begin.c``, ``_accept/end.c``). It copies the template
that is filled here.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from fourtuple import events
from fourtuple.connection import Connection
from fourtuple.engine import Channel
from fourtuple.engine.readiness import Nested
from fourtuple.errors import DeadlinePassed, ProxyHeaderError, TlsError
from fourtuple.four_tuple import FourTuple, Name
from fourtuple.handlers import InlineReplies, PreambleHandler, Runner, runner_for
from fourtuple.net.names import connection_name
from fourtuple.printable import error_text
from fourtuple.service import ReplyHandler
from fourtuple.serving.admission import Admission
from fourtuple.serving.connection_template import ConnectionTemplate
from fourtuple.serving.core import ServerCore
from fourtuple.serving.policy import Refusal
from fourtuple.serving.preamble import Preamble, refused
from fourtuple.serving.registry import Registry
from fourtuple.serving.throttling import Throttling
from fourtuple.stream import Layer, Reason, Stream

if TYPE_CHECKING:
    from fourtuple.proxy import ProxyHeader

#: ``begin(stream, now)`` makes the layer with which a connection begins; None if it begins without one.
Begin: TypeAlias = Callable[[Stream, float], Layer | None]


class Acceptor:
    """Takes in the new connections of one server, and removes those that have ended.

    Parameters
    ----------
    server
        The server's core. Its admission and preamble decide, and its registry is kept up to date.
    on_ended
        Called when a connection has ended and has left the registry.
    """

    def __init__(self, server: ServerCore, on_ended: Callable[[], None]) -> None:
        self._server = server
        self._on_ended = on_ended
        self.preamble: Preamble = server.preamble
        self.admission: Admission = server.admission
        self.registry: Registry = server.registry
        self.throttling: Throttling = server.throttling
        #: Makes the TLS layer with which a refused connection also begins; None without TLS.
        self._secure = self.preamble.secure if self.preamble.expects_tls else None
        #: The template that the C copies for connections on the fast path; None without the C.
        self.template: ConnectionTemplate | None = None
        #: One bound method for all channels. Otherwise each channel would hold a bound method object.
        self._on_end: Callable[[Channel], None] = self.ended

    def accept_many(self) -> Callable[..., tuple[int, int]] | None:
        """Return the function that accepts fast-path connections for a listener; None without the C."""
        return None if self.template is None else self.template.accept_many

    def accept(self, sock: socket.socket, peer: object) -> None:
        """Take an accepted socket: name it, admit it, and start to serve it."""
        try:
            runner = self._let_in(sock, peer)
        except BaseException:
            sock.close()
            raise
        if runner is not None:
            self._begin(runner)

    def adopt(self, sock: socket.socket, name: Name, begin: Begin | None = None) -> Runner | None:
        """Take a connected socket that was not accepted here; return None if it is refused, and closed.

        ``begin`` makes the first layer of a connection that this side has made; it replaces the server's preamble.
        """
        try:
            runner = self._adopted(sock, name, begin)
        except BaseException:
            sock.close()
            raise
        if runner is not None:
            self._begin(runner)
        return runner

    def _adopted(self, sock: socket.socket, name: Name, begin: Begin | None) -> Runner | None:
        refusal = self._full()
        if begin is None:
            refusal = refusal or self.preamble.refuses(name)
            if refusal is None:
                return self._admitted(sock, name)
            self.admission.turn_away(sock, name, refusal, self._secure)
            return None
        # The refusal message is for clients that came here.
        if refusal is not None:
            self.admission.told(name, refusal)
        else:
            self.admission.comes()
            refusal = self.admission.introduced(name)
        if refusal is not None:
            sock.close()
            return None
        return self._taken_in(sock, name, begin)

    def _full(self) -> Refusal | None:
        """Return the refusal of a connection that cannot wait in an accept queue; None if there is a place for it."""
        count, most = len(self.registry), self._server.max_connections
        if count < most:
            return None
        return Refusal("max_connections", f"{count} connections are here, no more than {most} are allowed")

    def _begin(self, runner: Runner) -> None:
        """Register a new connection, tell the observer, and start to serve it."""
        channel = runner.channel
        try:
            self.registry.enter(runner)
            if channel.id in self.registry.unnamed:
                self.throttling.begin(channel)
            else:
                self.throttling.join(channel)
            self.make_room()
            if channel.id not in self.registry.unnamed:
                self.registry.accepted += 1
                self._server.observer(events.Accepted(channel.id, channel.name))
            runner.start()
            if self.template is not None:  # only the C serves a connection without its name
                channel.stream.pack_name()
        except BaseException as error:
            channel.on_failure(error)
            raise

    def _let_in(self, sock: socket.socket, peer: object) -> Runner | None:
        """Make a connection of a socket that is admitted. Otherwise turn the socket away and return None."""
        try:
            name = connection_name(sock, peer)
        # Reset before accept(2): the socket has no peer any more (getpeername(2), ENOTCONN).
        except OSError:
            self.admission.vanished(sock)
            return None
        unbelieved = self.preamble.refuses(name)
        if unbelieved is not None:
            self.admission.turn_away(sock, name, unbelieved, self._secure)
            return None
        stale = self.admission.waited(sock)
        if stale is not None:
            self.admission.turn_away(sock, name, stale, self._secure)
            return None
        return self._admitted(sock, name)

    def _admitted(self, sock: socket.socket, name: Name) -> Runner | None:
        """Make a connection of a socket if the limits of its peer admit it. Otherwise turn it away and return None."""
        nameless = self.preamble.header_first(name)
        if nameless:
            self.admission.comes()
        elif not self.admission.passes(sock, name, self._secure):
            return None
        return self._taken_in(sock, name, None, counted=not nameless)

    def _taken_in(self, sock: socket.socket, name: Name, begin: Begin | None, *, counted: bool = True) -> Runner:
        try:
            return self._take_in(sock, name, begin)
        except BaseException as error:
            # No memory, or the framing failed to make a decoder. Only this connection is lost.
            if counted:
                self.admission.leaves(name)
            self.admission.told(name, Refusal("failed", error_text(error)))
            raise

    def _take_in(self, sock: socket.socket | int, name: Name, begin: Begin | None = None) -> Runner:
        """Make the objects of a connection: stream, channel and runner."""
        server = self._server
        stream = Stream(
            server.service.framing,
            name,
            server.limits,
            server.engine.time(),
            first_message=server.service._expects_message,
        )
        if server.tap is not None:
            stream.be_watched(server.tap)
        channel = Channel(server.engine, sock, stream, server.deadlines, self._on_end)
        if begin is not None:
            stream.begin_with(begin(stream, server.engine.time()))
        elif self.preamble.expects_header or self.preamble.expects_tls:
            stream.begin_with(self._preamble_layer(channel))
        if stream.ready:
            return runner_for(server, server.service, None, channel)
        return PreambleHandler(server, server.service, None, channel, self._enter)

    def make_template(self) -> None:
        """Make the template, if the C serves an epoll set: it then also begins and ends connections."""
        engine = self._server.engine
        if engine.fast_path and isinstance(engine.readiness, Nested):
            self.template = self._on_end = ConnectionTemplate(
                self._server,
                self.admission,
                self.registry,
                on_ended=self.ended,
                on_failed=self._failed,
                on_capacity_freed=self.capacity_freed,
            )
            self.fill_template()

    def fill_template(self) -> None:
        """Fill the template for the limits in force, or leave it empty if they rule out the fast path."""
        template, service, handler = self.template, self._server.service, self._server.service.handler
        if template is None:
            return
        template.empty()
        template.max_connections = self._server.max_connections
        if (
            isinstance(handler, ReplyHandler)
            and not handler.wants_connection
            and service.on_opened is None
            and service.make_state is None
            and not (self.preamble.expects_header or self.preamble.expects_tls or self.throttling.on)
            and self.admission.policy.open
        ):
            # Made as for a connection, with no descriptor: the C copies its fields.
            runner = self._take_in(-1, FourTuple("", 0, "", 0))
            if type(runner) is InlineReplies:
                template.fill(runner, service.framing)

    def _failed(self, whom: Channel | FourTuple | None, error: BaseException) -> None:
        """End an accepted connection that could not begin, or report one that could not be made."""
        if isinstance(whom, Channel):
            whom.on_failure(error)
        else:  # no memory, or the framing failed to make a decoder
            self.admission.told(whom, Refusal("failed", error_text(error)))

    def _preamble_layer(self, channel: Channel) -> Layer | None:
        """Return the first layer of a new connection's preamble; None if it has no preamble."""
        stream = channel.stream
        if not self.preamble.header_first(stream.name):
            return self.preamble.secure(stream, self._server.engine.time())
        self.registry.unnamed.add(channel.id)

        def introduced(header: ProxyHeader | None) -> None:
            if header is not None:
                stream.introduced(header, header.name)
            refusal = self.admission.introduced(stream.name)
            if refusal is not None:
                stream.because(Reason.REFUSED)
                if self.preamble.expects_tls and self.admission.shakes_hands(channel):
                    return  # the refusal message follows the handshake: see _enter()
                if not self.preamble.expects_tls:
                    stream.write(self.admission.words)
                raise refused(refusal)
            self.throttling.join(channel)
            self.registry.unnamed.discard(channel.id)
            self.registry.accepted += 1
            transport = stream.transport_name if stream.transport_name != stream.name else None
            self._server.observer(events.Accepted(channel.id, stream.name, transport))

        hands_socket = self._server.service._hands_socket
        return self.preamble.reader(stream, self._server.engine.time(), introduced, hands_socket=hands_socket)

    def _enter(self, connection: Connection, channel: Channel) -> Runner | None:
        """Replace the preamble handler by the service's runner: the preamble is complete.

        Returns None for a refused connection, which completed the handshake only to get the refusal message.
        """
        if channel.id in self.registry.unnamed:
            channel.stream.write(self.admission.words)
            channel.close(Reason.REFUSED)
            return None
        if connection.tls is not None:
            self._server.secured(connection, connection.tls)
        runner = runner_for(self._server, self._server.service, connection, channel)
        self.registry.enter(runner)
        return runner

    def ended(self, channel: Channel) -> None:
        """Report a connection whose socket is closed, and remove it from the registry unless its handler still runs."""
        runner = self.registry.runners.get(channel.id)
        if runner is None:
            return
        self.throttling.leave(channel)
        self.admission.forget(channel)
        # These may run out of memory. They come before everything that must not be done twice.
        refusal, told, probe = self._refusal_of(channel), self._last_events(channel), _is_probe(channel.stream)
        if not runner.at_work:
            self._out(channel)
        self.registry.tls_without_close_notify += channel.stream.unannounced is not None
        self.registry.tls_failures += any(isinstance(event, events.TlsFailed) for event in told)
        self.registry.probes += probe
        if refusal is not None:
            self.admission.told(channel.name, refusal)
        for event in told:
            self._server.observer(event)
        self.capacity_freed()

    def _refusal_of(self, channel: Channel) -> Refusal | None:
        """Return why an ended connection was never admitted; None if it was admitted, and for a probe."""
        stream, error = channel.stream, channel.stream.read_error
        if channel.id not in self.registry.unnamed:
            return None
        if isinstance(error, ProxyHeaderError) and stream.reason is Reason.PROXY_ERROR:
            return Refusal("proxy_protocol", str(error))
        if isinstance(error, DeadlinePassed) and stream.octets_in and stream.reason is not Reason.REFUSED:
            return Refusal("proxy_header_timeout", str(error))
        return None

    def _last_events(self, channel: Channel) -> list[events.Event]:
        """Return the events that report the end of a connection."""
        stream, told = channel.stream, list[events.Event]()
        if channel.id not in self.registry.unnamed:
            if isinstance(stream.read_error, TlsError):
                told.append(events.TlsFailed(channel.id, stream.name, stream.read_error))
            assert stream.reason is not None
            probe, seconds = _is_probe(stream), self._server.engine.time() - channel.opened
            told.append(events.Closed(channel.id, stream.name, stream.reason, stream.statistics, seconds, probe))
        return told

    def leave(self, channel: Channel) -> None:
        """Remove a connection from the registry: it and its handler have ended. Idempotent."""
        if self._out(channel):
            self.capacity_freed()

    def _out(self, channel: Channel) -> bool:
        name, statistics = channel.stream.name, channel.stream.statistics
        unnamed = channel.id in self.registry.unnamed
        if self.registry.leave(channel.id, None if unnamed else statistics) is None:
            return False
        if unnamed:
            self.registry.unnamed.discard(channel.id)
        else:
            self.admission.leaves(name)
        self._on_ended()
        return True

    def look(self) -> None:
        """Repair the registry and the counts after a failure such as a lack of memory."""
        engine = self._server.engine
        if not engine.recovering:
            return
        for runner in self.registry.living():
            if not engine.knows(runner.channel):  # its start or its end was interrupted by the failure
                engine.add(runner.channel)
                engine.guard(runner.channel, runner.channel.on_failure, MemoryError())
        self.admission.recount(
            runner.stream.name for runner in self.registry.living() if runner.channel.id not in self.registry.unnamed
        )
        self.make_room()

    def capacity_freed(self) -> None:
        """Resume accepting what waited for a place or for a descriptor: a connection has ended."""
        try:
            self.make_room()
            self.admission.capacity_freed()
        except (OSError, MemoryError):
            self._server.engine.sweep_on()

    def make_room(self) -> None:
        """Pause accept while the number of connections is at ``max_connections``; resume it below."""
        if len(self.registry) >= self._server.max_connections:
            self.admission.pause("max_connections", f"max_connections reached: {len(self.registry)} connections")
        else:
            self.admission.resume("max_connections")


def _is_probe(stream: Stream) -> bool:
    """Return whether a connection ended without an octet of the conversation, from either side."""
    not_silent = stream.reason in (Reason.HANDED_ON, Reason.REFUSED) or isinstance(stream.read_error, TlsError)
    return stream.silent and not not_silent
