"""A transport of asyncio on a channel: what a Protocol or a StreamWriter holds instead of asyncio's own.

It behaves as asyncio's socket transport: what is written after ``close()`` is dropped, ``close()`` sends what was
written before, ``abort()`` drops it. In addition the connection keeps to the server's limits and deadlines, and ends
with linger.
"""

from __future__ import annotations

import asyncio
from asyncio import constants, transports, trsock
from typing import TYPE_CHECKING, Any, Protocol

from fourtuple.errors import FourTupleError, OutboxFull
from fourtuple.net.names import sockaddr_of
from fourtuple.stream import Half
from fourtuple.tls import TlsLayer

if TYPE_CHECKING:
    from fourtuple.connection import Connection
    from fourtuple.engine import Channel
    from fourtuple.stream import Stream

_KINDS = (bytes, bytearray, memoryview)


class Caller(Protocol):
    """What a transport asks of the runner, which calls the protocol."""

    channel: Channel
    stream: Stream
    #: Whether the protocol has asked for no octets.
    paused: bool
    #: Whether the protocol gets no more octets.
    gone: bool
    is_buffered: bool

    @property
    def connection(self) -> Connection:
        """The connection object of fourtuple."""

    def closes(self) -> None:
        """Close after what was written."""

    def aborts(self, error: BaseException | None) -> None:
        """Close at once."""

    def overflows(self, error: OutboxFull) -> None:
        """End the connection: its outbox is full."""


class ChannelTransport(transports._FlowControlMixin):
    """The transport of one connection. ``runner`` calls the protocol."""

    #: What loop.start_tls() and loop.sendfile() of asyncio ask.
    _start_tls_compatible = True
    _sendfile_compatible = constants._SendfileMode.FALLBACK

    if TYPE_CHECKING:  # what asyncio's base class has, and its stubs do not
        _loop: asyncio.AbstractEventLoop
        _protocol_paused: bool

        def _set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
        def _maybe_pause_protocol(self) -> None: ...
        def _maybe_resume_protocol(self) -> None: ...

    def __init__(self, runner: Caller, loop: asyncio.AbstractEventLoop) -> None:
        limits = runner.stream.limits
        super().__init__(None, loop)
        # Not set_write_buffer_limits(): these are the server's, and the connection has changed nothing for itself.
        self._high_water, self._low_water = limits.high_water, limits.low_water
        self._runner = runner
        self._protocol: Any = None
        #: Whether the protocol is that of streams, whose drain() waits while it is paused.
        self._is_streams = False
        #: Whether the protocol is paused until the engine's next turn, because its task has used its share.
        self._behind = False
        self._eof = False
        self._sock: Any = None

    # -- what it is ---------------------------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what asyncio's transports have under this name, and ``connection``: the connection of fourtuple."""
        make = _INFO.get(name)
        value = None if make is None else make(self)
        return default if value is None else value

    @property
    def _channel(self) -> Channel:
        return self._runner.channel

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Call another protocol from now on."""
        if self._behind:  # the one that was paused is resumed
            self._behind = False
            self._maybe_resume_protocol()
        self._protocol = protocol
        self._runner.is_buffered = isinstance(protocol, asyncio.BufferedProtocol)
        self._is_streams = isinstance(protocol, asyncio.StreamReaderProtocol)

    def get_protocol(self) -> Any:
        """Return the protocol that is called."""
        return self._protocol

    def is_closing(self) -> bool:
        """Return whether the transport is closed or closing, or cannot send any more.

        A write finds the loss before the protocol is told of it. If this said so only then, a loop of ``write()`` and
        ``drain()`` would not let the event loop turn, which has to tell it.
        """
        stream = self._runner.stream
        return self._runner.gone or stream.write_error is not None or stream.writing is Half.BROKEN

    # -- in -----------------------------------------------------------------------------------------------

    def is_reading(self) -> bool:
        """Return whether the protocol gets new octets."""
        return not (self._runner.gone or self._runner.paused)

    def pause_reading(self) -> None:
        """Give the protocol no octets until :meth:`resume_reading`. What one more read brings waits here.

        If the connection is lost, this does nothing: the last octets are delivered, and then ``connection_lost()``.
        """
        self._runner.paused = not self.is_closing()

    def resume_reading(self) -> None:
        """Give the protocol octets again, those that wait here first, in the next turn of the loop."""
        if self._runner.paused:
            self._runner.paused = False
            self._channel.look_again()

    # -- out ----------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send octets, at the end of this turn of the loop. It never waits; see :class:`asyncio.Transport`."""
        if not isinstance(data, _KINDS):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if self._eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        runner = self._runner
        if runner.gone or not data:
            return
        try:
            runner.stream.send(bytes(data))
        except OutboxFull as error:
            runner.overflows(error)
            return
        except FourTupleError:
            return  # the connection is lost; connection_lost() tells it
        channel = runner.channel
        if runner.stream.outbox_size > self._high_water:
            channel.flush()
            self._look_at_water()
        channel.flush_soon()
        if self._is_streams and not self._protocol_paused and channel.engine.share.spend():
            self._let_others_go_first()

    def _let_others_go_first(self) -> None:
        """Pause the protocol until the engine's next turn: the task that writes has used its share of the loop.

        Without this, ``drain()`` would never wait while the peer reads all that is written.
        """
        self._protocol_paused = self._behind = True
        self._protocol.pause_writing()
        self._channel.engine.go_behind(self._channel, self)

    def wake(self, *, at_once: bool = False) -> None:
        """Let the protocol write again, unless its outbox is full meanwhile. The engine calls this."""
        if self._behind and not self._channel.ended:
            self.relieved()
        self._behind = False

    def writelines(self, list_of_data: Any) -> None:
        """Send the octets of an iterable."""
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        """Half-close: send FIN after what was written. The peer may go on sending."""
        if self._runner.stream.layer is not None:
            raise NotImplementedError("write_eof() is not possible with TLS: see can_write_eof()")
        if self._runner.gone or self._eof:
            return
        self._eof = True
        self._runner.stream.end_writing()
        self._channel.flush_soon()

    def can_write_eof(self) -> bool:
        """Return whether :meth:`write_eof` is possible. As with asyncio's transports it is not with TLS."""
        return self._runner.stream.layer is None

    def get_write_buffer_size(self) -> int:
        """Return the number of octets that the kernel has not taken yet."""
        stream = self._runner.stream
        return stream.outbox_size + (0 if stream.layer is None else stream.layer.holding)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the numbers of octets at which the protocol is told to pause and to resume writing."""
        self._set_write_buffer_limits(high=high, low=low)
        self._apply_water()
        self._look_at_water()

    def _apply_water(self) -> None:
        """Let the stream report at the marks of this transport; it counts from one octet less than asyncio."""
        stream, high = self._runner.stream, max(self._high_water + 1, self._low_water + 1)
        most = max(high, stream.limits.max_outbox)
        stream.change_limits({"high_water": high, "low_water": self._low_water, "max_outbox": most})

    def _look_at_water(self) -> None:
        self._maybe_pause_protocol()
        if self._protocol_paused:
            self._channel.expect_relief()

    def relieved(self) -> None:
        """Let the protocol write again: the outbox is down to the low mark."""
        self._maybe_resume_protocol()
        if self._protocol_paused:
            self._channel.expect_relief()

    def resumes(self) -> bool:
        """While it closes: return whether the protocol is paused, and resume it if the outbox is down to the low mark.

        asyncio does so, too, before ``connection_lost()``. It is called soon, not in a ``close()`` of the protocol.
        """
        if self._protocol_paused and self.get_write_buffer_size() <= self._low_water:
            self._loop.call_soon(self._maybe_resume_protocol)
            return False
        return self._protocol_paused

    # -- the end ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Send what was written, then close. The protocol gets nothing more but ``connection_lost(None)``."""
        if not self._runner.gone:
            self._runner.closes()

    def abort(self) -> None:
        """Close at once, and drop what the kernel has not taken yet."""
        self._force_close(None)

    def _force_close(self, error: BaseException | None) -> None:
        """What asyncio's own sslproto calls: abort, and give the protocol this error."""
        self._runner.aborts(error)

    def __repr__(self) -> str:
        stream = self._runner.stream
        state = "closing" if self._runner.gone else "paused" if self._runner.paused else "open"
        return f"<ChannelTransport {stream.name} {state}, outbox {stream.outbox_size}>"


# -- get_extra_info() ---------------------------------------------------------------------------------------


def _socket(transport: ChannelTransport) -> Any:
    if transport._sock is None and (sock := transport._channel.socket) is not None:
        transport._sock = trsock.TransportSocket(sock)
    return transport._sock


def _peername(transport: ChannelTransport) -> Any:
    return sockaddr_of(transport._runner.stream.name)


def _sockname(transport: ChannelTransport) -> Any:
    return sockaddr_of(transport._runner.stream.name, local=True)


def _ssl_object(transport: ChannelTransport) -> Any:
    layer = transport._runner.stream.layer
    return layer.ssl_object if isinstance(layer, TlsLayer) else None


def _of_ssl(name: str) -> Any:
    def ask(transport: ChannelTransport) -> Any:
        found = _ssl_object(transport)
        return None if found is None else getattr(found, name)()

    return ask


_INFO: dict[str, Any] = {
    "socket": _socket,
    "peername": _peername,
    "sockname": _sockname,
    "ssl_object": _ssl_object,
    "sslcontext": lambda transport: getattr(_ssl_object(transport), "context", None),
    "peercert": _of_ssl("getpeercert"),
    "cipher": _of_ssl("cipher"),
    "compression": _of_ssl("compression"),
    "connection": lambda transport: transport._runner.connection,
}
