"""Sockets of the kernel: their options, and sockets that a program gives. passive.py opens those that listen.

This module uses no loop and no stream: the engine, the clients and the supervisor share it.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress

from fourtuple.errors import (
    OptionError,
)
from fourtuple.options import Sockets, check_type

# Constants that older Python versions lack; values from include/uapi/linux/{in,tcp}.h.
IP_FREEBIND = 15
TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25)
#: SO_LINGER: on, with zero seconds.
_NO_SECONDS = struct.pack("ii", 1, 0)
#: The errors of setsockopt(2) for an option that this kind of socket does not have.
_NO_SUCH_OPTION = frozenset({errno.ENOPROTOOPT, errno.EOPNOTSUPP})
_DEFAULTS = Sockets()

Sockaddr = tuple[str, int] | tuple[str, int, int, int] | str


def apply_options(sock: socket.socket, options: Sockets, *, passive: bool = False) -> None:
    """Set the options of a socket before it is bound or connected.

    On Linux an accepted socket inherits all of these from its listener (tcp(7) and net/ipv4/inet_connection_sock.c),
    so they cost nothing per connection. An option that has its default is left out if this kind of socket does not have
    it: Linux knows no TCP_USER_TIMEOUT for MPTCP. Raises :class:`~fourtuple.errors.OptionError`, with the name and the
    value, for any other option that the kernel refuses.
    """
    for name, level, number, value in _settings(sock.family, options, passive):
        try:
            sock.setsockopt(level, number, value)
        # A default was not asked for, so its lack is no error.
        except OSError as error:
            if error.errno in _NO_SUCH_OPTION and getattr(options, name) == getattr(_DEFAULTS, name):
                continue
            raise _refused(name, value, error.strerror) from None
        # For an int that is too large, setsockopt() raises TypeError up to Python 3.14, and OverflowError after that.
        except (TypeError, OverflowError):
            raise _refused(name, value, "it takes 32 bits") from None


def _refused(name: str, value: int | bytes, why: str | None) -> OptionError:
    shown = value if isinstance(value, int) else value.decode(errors="replace")
    return OptionError(f"{name}: the kernel refuses {shown!r} ({why})")


def _settings(family: int, options: Sockets, passive: bool) -> Iterator[tuple[str, int, int, int | bytes]]:
    if options.send_buffer is not None:
        yield "send_buffer", socket.SOL_SOCKET, socket.SO_SNDBUF, options.send_buffer
    if options.receive_buffer is not None:
        yield "receive_buffer", socket.SOL_SOCKET, socket.SO_RCVBUF, options.receive_buffer
    # What follows are options of TCP and of IP: a Unix socket refuses them (unix(7)).
    if family == socket.AF_UNIX:
        return
    if passive and options.reuse_address:
        # Otherwise bind(2) fails for a minute after a restart, while connections of the old process are in TIME-WAIT
        # (tcp(7)).
        yield "reuse_address", socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
    if passive and options.reuse_port:
        yield "reuse_port", socket.SOL_SOCKET, socket.SO_REUSEPORT, 1
    if passive and options.defer_accept is not None:
        yield "defer_accept", socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, options.defer_accept
    if options.freebind:
        yield "freebind", socket.IPPROTO_IP, IP_FREEBIND, 1
    if options.interface is not None:
        yield "interface", socket.SOL_SOCKET, socket.SO_BINDTODEVICE, os.fsencode(options.interface)
    if options.congestion is not None:
        yield "congestion", socket.IPPROTO_TCP, socket.TCP_CONGESTION, os.fsencode(options.congestion)
    if options.nodelay:
        # Nagle's algorithm (RFC 9293, 3.7.4) and delayed ACKs (RFC 1122, 4.2.3.2) together delay a small message by 40
        # ms and more.
        yield "nodelay", socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
    if options.notsent_lowat is not None:
        yield "notsent_lowat", socket.IPPROTO_TCP, TCP_NOTSENT_LOWAT, options.notsent_lowat
    if options.keepalive:
        yield "keepalive", socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1
        yield "keepalive_idle", socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, options.keepalive_idle
        yield "keepalive_interval", socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, options.keepalive_interval
        yield "keepalive_count", socket.IPPROTO_TCP, socket.TCP_KEEPCNT, options.keepalive_count
    if options.user_timeout is not None:
        yield (
            "user_timeout",
            socket.IPPROTO_TCP,
            socket.TCP_USER_TIMEOUT,
            max(1, int(options.user_timeout * 1000)),
        )


# -- sockets of a program ---------------------------------------------------------------------------------


def taken_over(given: socket.socket, options: Sockets) -> socket.socket:
    """Return a new object that owns a program's connected stream socket, non-blocking, with these options.

    The given object is closed in every case. Raises :class:`~fourtuple.errors.OptionError` for anything but a connected
    stream socket of TCP or Unix, and for an option that the kernel refuses; then the socket is closed.
    """
    check_type("socket", given, socket.socket, optional=False)
    shown = repr(given)
    ssl = sys.modules.get("ssl")  # if it is not imported, there is no such socket
    wrapped = ssl is not None and isinstance(given, ssl.SSLSocket)
    number = given.detach()
    if number < 0:
        raise OptionError(f"socket: expected an open socket, got {shown}, which is closed")
    try:
        sock = socket.socket(fileno=number)
    except BaseException:
        os.close(number)
        raise
    try:
        why = "its TLS has begun elsewhere" if wrapped else _unfit(sock)
        if why:
            raise OptionError(f"socket: expected a connected stream socket of TCP or Unix, got {shown}: {why}")
        sock.setblocking(False)
        apply_options(sock, options)
    except BaseException:
        sock.close()
        raise
    return sock


def _unfit(sock: socket.socket) -> str:
    """Return why a socket cannot be a connection; empty if it can."""
    return why_no_stream(sock) or ("it listens" if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) else "")


def why_no_stream(sock: socket.socket) -> str:
    """Return why this is not a stream socket of TCP or Unix; empty if it is one. It has to be :func:`labelled`."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        return "it is of another family"
    if sock.type != socket.SOCK_STREAM:
        return "it sends datagrams" if sock.type == socket.SOCK_DGRAM else "it is not a stream"
    return ""


def labelled(sock: socket.socket) -> socket.socket:
    """Return an object with the family and type that the kernel has for an open socket: this one if it has them.

    Those of an object are what its maker said: ``socket.fromfd(fd, AF_UNIX, SOCK_STREAM)`` may be TCP (uvicorn makes
    such an object of any descriptor), and the socket module takes them for the format and length of addresses. A new
    object has the same descriptor: its caller has to detach one of the two.
    """
    asked = socket.socket(fileno=sock.fileno())  # without a family, Python asks the kernel
    if (asked.family, asked.type) != (sock.family, sock.type):
        return asked
    asked.detach()
    return sock


def adopted(fd: int) -> socket.socket:
    """Return a socket object that owns the descriptor of a non-blocking socket."""
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    return sock


def reset_on_close(sock: socket.socket) -> None:
    """Make close() send RST: SO_LINGER with zero seconds, socket(7)."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_SECONDS)
