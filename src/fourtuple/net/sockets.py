"""Sockets of the kernel: set options, open passive sockets, read names, translate errno.

This module uses no loop and no stream: the engine, the clients and the supervisor share it.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any

from fourtuple.address import Address, FourTuple, Name, UnixName, from_sockaddr, unmapped
from fourtuple.errors import (
    ListenAddressInUse,
    ListenAddressUnavailable,
    ListenError,
    ListenForbidden,
    OptionError,
)
from fourtuple.forking import ours
from fourtuple.net.acceptqueue import AcceptQueue
from fourtuple.net.users import ids_of
from fourtuple.options import Sockets, check_type

# Constants that older Python versions lack; values from include/uapi/linux/{in,tcp}.h.
IP_FREEBIND = 15
TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25)
#: SO_LINGER: on, with zero seconds.
_NO_SECONDS = struct.pack("ii", 1, 0)
#: The largest int that listen(2) takes; the kernel reduces the backlog much further.
INT_MAX = 2**31 - 1

Sockaddr = tuple[str, int] | tuple[str, int, int, int] | str


def apply_options(sock: socket.socket, options: Sockets, *, passive: bool = False) -> None:
    """Set the options of a socket before it is bound or connected.

    On Linux an accepted socket inherits all of these from its listener (tcp(7) and net/ipv4/inet_connection_sock.c),
    so they cost nothing per connection. Raises :class:`~fourtuple.errors.OptionError`, with the name and the value, for
    an option that the kernel refuses.
    """
    for name, level, number, value in _settings(sock.family, options, passive):
        try:
            sock.setsockopt(level, number, value)
        # For an int that is too large, setsockopt() raises TypeError up to Python 3.14, and OverflowError after that.
        except (OSError, TypeError, OverflowError) as error:
            shown = value if isinstance(value, int) else value.decode(errors="replace")
            why = error.strerror if isinstance(error, OSError) else "it takes 32 bits"
            raise OptionError(f"{name}: the kernel refuses {shown!r} ({why})") from error


def _settings(family: int, options: Sockets, passive: bool) -> Iterator[tuple[str, int, int, int | bytes]]:
    if options.send_buffer is not None:
        yield "send_buffer", socket.SOL_SOCKET, socket.SO_SNDBUF, options.send_buffer
    if options.receive_buffer is not None:
        yield "receive_buffer", socket.SOL_SOCKET, socket.SO_RCVBUF, options.receive_buffer
    if family == socket.AF_UNIX:
        return
    if passive and options.reuse_address:
        yield "reuse_address", socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
    if passive and options.reuse_port:
        yield "reuse_port", socket.SOL_SOCKET, socket.SO_REUSEPORT, 1
    if passive and options.defer_accept is not None:
        yield "defer_accept", socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, options.defer_accept
    if options.freebind:
        yield "freebind", socket.IPPROTO_IP, IP_FREEBIND, 1
    if options.interface is not None:
        yield "interface", socket.SOL_SOCKET, socket.SO_BINDTODEVICE, options.interface.encode()
    if options.congestion is not None:
        yield "congestion", socket.IPPROTO_TCP, socket.TCP_CONGESTION, options.congestion.encode()
    if options.nodelay:
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
        raise OptionError(f"socket: {shown} given, it is closed; an open one needed")
    try:
        sock = socket.socket(fileno=number)
    except BaseException:
        os.close(number)
        raise
    try:
        why = "its TLS has begun elsewhere" if wrapped else _unfit(sock)
        if why:
            raise OptionError(f"socket: {shown} given, {why}; a connected stream socket of TCP or Unix needed")
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
    """Return why this is not a stream socket of TCP or Unix; empty if it is one."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        return "it is of another family"
    if sock.type != socket.SOCK_STREAM:
        return "it sends datagrams" if sock.type == socket.SOCK_DGRAM else "it is no stream"
    return ""


# -- passive sockets --------------------------------------------------------------------------------------


def open_listeners(address: Address, options: Sockets) -> list[socket.socket]:
    """Open the passive sockets of one address: bound, listening, non-blocking.

    There is one for a literal address or a path, one per family for ``*``, and one per resolved address for a name.
    ``[::]`` is IPv6 only, so that it and ``0.0.0.0`` can be used together (RFC 3493, 5.3). With port 0, all families
    get the same port if possible. Raises a :class:`~fourtuple.errors.ListenError`; then no socket stays open.
    """
    if address.is_unix:
        return [_open_unix(address, options)]
    opened: list[socket.socket] = []
    try:
        port = address.port
        for family, sockaddr in _resolve_passive(address):
            if port and not address.port:
                sockaddr = (sockaddr[0], port, *sockaddr[2:])
            try:
                opened.append(_open_inet(family, sockaddr, address, options))
            except ListenError as error:
                if (
                    address.host == "*"
                    and family == socket.AF_INET6
                    and error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
                ):
                    continue  # A machine without IPv6 listens at its IPv4 addresses.
                raise
            port = opened[-1].getsockname()[1]
    except BaseException:
        for sock in opened:
            sock.close()
        raise
    return opened


def _resolve_passive(address: Address) -> list[tuple[int, tuple[str, int] | tuple[str, int, int, int]]]:
    if address.host == "*":
        found: list[tuple[int, tuple[str, int] | tuple[str, int, int, int]]] = [
            (socket.AF_INET, ("0.0.0.0", address.port))
        ]
        if socket.has_ipv6:
            found.append((socket.AF_INET6, ("::", address.port, 0, 0)))
        return found
    try:
        infos = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ListenError(str(address), None, f"the name {address.host!r} cannot be resolved: {error}") from error
    return list(dict.fromkeys((int(family), sockaddr) for family, _, _, _, sockaddr in infos))  # type: ignore[misc]


def _open_inet(
    family: int, sockaddr: tuple[str, int] | tuple[str, int, int, int], address: Address, options: Sockets
) -> socket.socket:
    try:
        if options.reuse_port and address.port:
            _probe(family, sockaddr, options)
        sock = ours(socket.socket(family, socket.SOCK_STREAM))
    except OSError as error:
        raise listen_error(error, from_sockaddr(sockaddr)) from error
    return _bound(sock, sockaddr, options)


def _bound(
    sock: socket.socket, sockaddr: tuple[str, int] | tuple[str, int, int, int], options: Sockets
) -> socket.socket:
    """Bind and listen. If that fails, the socket is closed."""
    try:
        apply_options(sock, options, passive=True)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(sockaddr)
        sock.listen(min(options.backlog, INT_MAX))
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise listen_error(error, from_sockaddr(sockaddr)) from error
    except BaseException:
        sock.close()
        raise
    return sock


def _probe(family: int, sockaddr: tuple[str, int] | tuple[str, int, int, int], options: Sockets) -> None:
    """Bind exclusively for a moment: SO_REUSEPORT alone would silently share the traffic of a running server."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        apply_options(probe, options.replace(reuse_port=False, defer_accept=None), passive=True)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind(sockaddr)


def open_beside(sock: socket.socket, options: Sockets) -> socket.socket:
    """Open another passive socket at the address of one that was opened with ``reuse_port``: the kernel has a group.

    Raises a :class:`~fourtuple.errors.ListenError`.
    """
    sockaddr = sock.getsockname()
    try:
        beside = ours(socket.socket(sock.family, socket.SOCK_STREAM))
    except OSError as error:
        raise listen_error(error, from_sockaddr(sockaddr)) from error
    return _bound(beside, sockaddr, options.replace(reuse_port=True))


def _open_unix(address: Address, options: Sockets) -> socket.socket:
    path = address.path
    name = "\0" + path[1:] if path.startswith("@") else path
    sock = ours(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    try:
        apply_options(sock, options, passive=True)
        try:
            _bind_unix(sock, name, options)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not _is_stale(path):
                raise
            # The socket file is left from a server that has died: nothing listens there, so its name can be reused.
            os.unlink(path)
            _bind_unix(sock, name, options)
        sock.listen(min(options.backlog, INT_MAX))
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise listen_error(error, address) from error
    except BaseException:
        sock.close()
        raise
    return sock


def _bind_unix(sock: socket.socket, name: str, options: Sockets) -> None:
    """Bind, and give the file its owner and permissions. It never has more permissions than in the end."""
    if name.startswith("\0") or (options.unix_mode is None and options.unix_owner is None):
        sock.bind(name)  # a name in the abstract namespace is no file
        return
    mode = None if options.unix_mode is None else int(options.unix_mode, 8)
    # The umask belongs to the process: a file that another thread makes in this moment gets fewer permissions.
    before = os.umask(0o777)
    try:
        sock.bind(name)
    finally:
        os.umask(before)
    try:
        if options.unix_owner is not None:
            os.chown(name, *ids_of(options.unix_owner), follow_symlinks=False)
        os.chmod(name, 0o777 & ~before if mode is None else mode)
    except BaseException:
        os.unlink(name)
        raise


def _is_stale(path: str) -> bool:
    """Return whether ``path`` is a socket file at which no socket listens."""
    try:
        if path.startswith("@") or not stat.S_ISSOCK(os.stat(path).st_mode):
            return False
    except OSError:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) == errno.ECONNREFUSED


def listen_error(error: OSError, address: Address) -> ListenError:
    """Return the error class for an errno of socket(), bind() or listen(), with details."""
    kinds: dict[int | None, type[ListenError]] = {
        errno.EADDRINUSE: ListenAddressInUse,
        errno.EADDRNOTAVAIL: ListenAddressUnavailable,
        errno.EACCES: ListenForbidden,
        errno.EPERM: ListenForbidden,
    }
    kind = kinds.get(error.errno, ListenError)
    detail = os.strerror(error.errno) if kind is ListenError and error.errno else ""
    if kind is ListenAddressInUse:
        detail = _holder_of(address)
    elif kind is ListenForbidden and not address.is_unix and address.port < 1024:
        detail = f"port {address.port} needs root or CAP_NET_BIND_SERVICE"
    return kind(str(address), error.errno, detail)


def _holder_of(address: Address) -> str:
    """Return which process listens at an address, as far as /proc shows it: ``by pid 4242, nginx``."""
    if address.is_unix:
        return (
            ""
            if os.path.exists(address.path) and stat.S_ISSOCK(os.stat(address.path).st_mode)
            else "a file that is not a socket exists there"
        )
    inodes = set(_listening_inodes(address.port))
    if not inodes:
        return ""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    target = os.readlink(f"/proc/{pid}/fd/{fd}")
                    if target.startswith("socket:[") and target[8:-1] in inodes:
                        with open(f"/proc/{pid}/comm") as comm:
                            return f"by pid {pid}, {comm.read().strip()}"
    return "by a process of another user"


def _listening_inodes(port: int) -> Iterator[str]:
    """Yield the inodes of passive TCP sockets at a port: proc(5), /proc/net/tcp; state 0A is LISTEN."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with suppress(OSError), open(table) as rows:
            next(rows, None)
            for row in rows:
                fields = row.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    yield fields[9]


def accept_queue_of(sock: socket.socket) -> AcceptQueue | None:
    """Return the accept queue of a passive TCP socket, from the kernel; None for other sockets."""
    if sock.family == socket.AF_UNIX:
        return None
    try:
        return AcceptQueue.of(sock)
    except OSError:
        return None


def waiting_at(sock: socket.socket) -> int:
    """Return how many connections wait for accept(); if the kernel does not tell it, 1 for any number."""
    queue = accept_queue_of(sock)
    if queue is not None:
        return queue.waiting
    look = select.poll()
    look.register(sock, select.POLLIN)
    return len(look.poll(0))


def somaxconn() -> int | None:
    """Return the kernel's upper limit of every backlog (listen(2)), or None if it cannot be read."""
    with suppress(OSError, ValueError), open("/proc/sys/net/core/somaxconn") as value:
        return int(value.read())
    return None


# -- names ------------------------------------------------------------------------------------------------

_UCRED = struct.Struct("iII")  # pid_t, uid_t, gid_t: the ids are unsigned


def connection_name(sock: socket.socket, peer: object = None) -> Name:
    """Return the name of a connected socket. It is read once, early: after the peer's RST the kernel has none.

    ``peer`` is the address that accept() returned, if any. Raises :class:`OSError` for a socket without a peer.
    """
    if isinstance(peer, tuple):
        return FourTuple(*_accepted_at(sock.getsockname()), unmapped(peer[0]), peer[1])
    if sock.family == socket.AF_UNIX:
        return _unix_name(sock)
    local, remote = sock.getsockname(), sock.getpeername()
    return FourTuple(unmapped(local[0]), local[1], unmapped(remote[0]), remote[1])


def sockaddr_of(name: Name, *, local: bool = False) -> Any:
    """Return the peer's end of a connection, or this one, as the socket module has it; "" for the peer's Unix end.

    The scope of an IPv6 address (``fe80::1%eth0``) becomes a number.
    """
    if not isinstance(name, FourTuple):
        return name.path if local else ""
    ip, port = (name.local_ip, name.local_port) if local else (name.remote_ip, name.remote_port)
    host, _, scope = ip.partition("%")
    if ":" not in host:
        return host, port
    return host, port, 0, int(scope) if scope.isdigit() else socket.if_nametoindex(scope) if scope else 0


@lru_cache(maxsize=256)
def _accepted_at(local: tuple[Any, ...]) -> tuple[str, int]:
    """Return the local half of an accepted connection's name. It is cached: thousands of connections share it."""
    return unmapped(local[0]), local[1]


def _unix_name(sock: socket.socket) -> UnixName:
    path = from_sockaddr(sock.getsockname()).path
    if path == "@":
        path = from_sockaddr(sock.getpeername()).path
    if sys.platform != "linux":
        return UnixName(path, 0, 0)
    pid, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    return UnixName(path, pid, uid)


def adopted(fd: int) -> socket.socket:
    """Return a socket object that owns the descriptor of a non-blocking socket."""
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    return sock


def reset_on_close(sock: socket.socket) -> None:
    """Make close() send RST: SO_LINGER with zero seconds, socket(7)."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_SECONDS)
