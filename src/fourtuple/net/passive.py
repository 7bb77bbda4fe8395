"""Passive sockets: open, bind and listen, with honest errors; and what waits in their accept queues."""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress

from fourtuple.address import Address, from_sockaddr, why_no_path
from fourtuple.errors import (
    ListenAddressInUse,
    ListenAddressUnavailable,
    ListenError,
    ListenForbidden,
)
from fourtuple.forking import ours
from fourtuple.net.backlog import AcceptQueue, listen
from fourtuple.net.sockets import apply_options
from fourtuple.net.users import ids_of
from fourtuple.options import Sockets


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
                # The other families get the port that the kernel chose for the first: the server has one port then.
                sockaddr = (sockaddr[0], port, *sockaddr[2:])
            try:
                opened.append(_open_inet(family, sockaddr, address, options))
            except ListenError as error:
                if _is_without_ipv6(address, family, error):
                    continue
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
        if isinstance(error, OSError) and not isinstance(error, socket.gaierror):  # no descriptor to look it up
            raise listen_error(error, address) from None
        why = error.strerror if isinstance(error, OSError) else error  # without the number of the resolver's errors
        raise ListenError(str(address), None, f"the name {address.host!r} cannot be resolved: {why}") from None
    return list(dict.fromkeys((int(family), sockaddr) for family, _, _, _, sockaddr in infos))  # type: ignore[misc]


def _open_inet(
    family: int, sockaddr: tuple[str, int] | tuple[str, int, int, int], address: Address, options: Sockets
) -> socket.socket:
    try:
        if options.reuse_port and address.port:
            # With port 0 there is nothing to probe: the kernel chooses a port that no other socket has.
            _probe(family, sockaddr, options)
        sock = ours(socket.socket(family, socket.SOCK_STREAM))
    except OSError as error:
        raise listen_error(error, from_sockaddr(sockaddr)) from None
    return _bound(sock, sockaddr, options)


def _bound(
    sock: socket.socket, sockaddr: tuple[str, int] | tuple[str, int, int, int], options: Sockets
) -> socket.socket:
    """Bind and listen. If that fails, the socket is closed."""
    try:
        apply_options(sock, options, passive=True)
        if sock.family == socket.AF_INET6:
            # Before bind(2), which checks for conflicts: without it, ``::`` would also take the port of IPv4 (ipv6(7)).
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(sockaddr)
        listen(sock, options.backlog)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise listen_error(error, from_sockaddr(sockaddr)) from None
    except BaseException:
        sock.close()
        raise
    return sock


def _probe(family: int, sockaddr: tuple[str, int] | tuple[str, int, int, int], options: Sockets) -> None:
    """Bind exclusively for a moment: SO_REUSEPORT alone would silently share the traffic of a running server."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # With SO_REUSEADDR as the server has it: a connection in TIME-WAIT is no conflict, a listener is (socket(7)).
        apply_options(probe, options.replace(reuse_port=False, defer_accept=None), passive=True)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind(sockaddr)


def check_listening(address: Address) -> None:
    """Raise the :class:`~fourtuple.errors.ListenError` with which another process's socket would refuse an address now.

    Nothing is left open. A socket file that a dead process has left is not an error.
    """
    if address.is_unix:
        if os.path.lexists(address.path) and not _is_stale(address.path):
            raise listen_error(OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)), address)
        return
    for family, sockaddr in _resolve_passive(address):
        try:
            _probe(family, sockaddr, Sockets())
        except OSError as error:
            if not _is_without_ipv6(address, family, error):
                raise listen_error(error, from_sockaddr(sockaddr)) from error


def _is_without_ipv6(address: Address, family: int, error: OSError | ListenError) -> bool:
    """Whether this only says that a machine without IPv6 listens at its IPv4 addresses."""
    return (
        address.host == "*" and family == socket.AF_INET6 and error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
    )


def open_beside(sock: socket.socket, options: Sockets) -> socket.socket:
    """Open another passive socket at the address of one that was opened with ``reuse_port``: the kernel has a group.

    Raises a :class:`~fourtuple.errors.ListenError`.
    """
    sockaddr = sock.getsockname()
    try:
        beside = ours(socket.socket(sock.family, socket.SOCK_STREAM))
    except OSError as error:
        raise listen_error(error, from_sockaddr(sockaddr)) from None
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
        listen(sock, options.backlog)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise listen_error(error, address) from None
    except BaseException:
        sock.close()
        raise
    return sock


def _bind_unix(sock: socket.socket, name: str, options: Sockets) -> None:
    """Bind, and give the file its owner and permissions. It never has more permissions than in the end."""
    if name.startswith("\0") or (options.unix_mode is None and options.unix_owner is None):
        sock.bind(name)  # a name in the abstract namespace is not a file
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
        # Closing the socket does not remove the file, and one with the wrong owner must not stay.
        os.unlink(name)
        raise


def inode_of(name: Address) -> tuple[int, int] | None:
    """Return the device and inode of the file at a Unix socket's path; None for other addresses."""
    if not name.is_unix or name.path.startswith("@"):
        return None
    try:
        status = os.stat(name.path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def remove_file(name: Address, inode: tuple[int, int] | None) -> None:
    """Remove the file of a Unix socket that is closed, unless another server's is at its path now."""
    if inode is not None and inode == inode_of(name):
        with suppress(OSError):
            os.unlink(name.path)


def _is_stale(path: str) -> bool:
    """Return whether ``path`` is a socket file at which no socket listens."""
    try:
        if path.startswith("@") or not stat.S_ISSOCK(os.stat(path).st_mode):
            return False
    except OSError:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        # unix(7): ECONNREFUSED says that no socket listens there. A full backlog says EAGAIN, and the server lives.
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
    detail = ""
    if kind is ListenError:
        detail = os.strerror(error.errno) if error.errno else why_no_path(address.path) or str(error)
    if kind is ListenAddressInUse:
        detail = _holder_of(address)
    elif kind is ListenForbidden and not address.is_unix and address.port < 1024:
        detail = f"port {address.port} needs root or CAP_NET_BIND_SERVICE"
    return kind(str(address), error.errno, detail)


def _holder_of(address: Address) -> str:
    """Return which process listens at an address, as far as /proc shows it: ``by pid 4242, nginx``."""
    if address.is_unix and _is_other_file(address.path):
        return "a file that is not a socket exists there"
    inodes = set(_listening_unix(address.path) if address.is_unix else _listening_inodes(address.port))
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
    # The inode is known, and /proc shows no descriptor of it: those of other users can only be read by root (proc(5)).
    return "by a process of another user"


def _is_other_file(path: str) -> bool:
    """Return whether ``path`` is a file, and not a socket. A name in the abstract namespace is none."""
    return not path.startswith("@") and not (os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode))


def _listening_unix(path: str) -> Iterator[str]:
    """Yield the inodes of passive Unix sockets at a path, as it was bound: /proc/net/unix; flag 10000 is ACCEPTCON."""
    with suppress(OSError), open("/proc/net/unix", errors="surrogateescape") as rows:
        next(rows, None)
        for row in rows:
            fields = row.rstrip("\n").split(None, 7)
            if len(fields) == 8 and fields[7] == path and int(fields[3], 16) & 0x10000:
                yield fields[6]


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
    # A passive socket is readable while a connection waits for accept(2) (accept(2), poll(2)).
    return len(look.poll(0))


def somaxconn() -> int | None:
    """Return the kernel's upper limit of every backlog (listen(2)), or None if it cannot be read."""
    with suppress(OSError, ValueError), open("/proc/sys/net/core/somaxconn") as value:
        return int(value.read())
    return None
