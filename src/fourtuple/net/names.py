"""The names of connected sockets: what the kernel and the socket module call their two ends."""

from __future__ import annotations

import socket
import struct
import sys
from functools import lru_cache
from typing import Any

from fourtuple.address import from_sockaddr, unmapped
from fourtuple.four_tuple import FourTuple, Name, UnixName

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
    if scope.isascii() and scope.isdigit():
        return host, port, 0, int(scope)
    return host, port, 0, socket.if_nametoindex(scope) if scope else 0


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
