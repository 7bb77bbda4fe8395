"""Errors of connecting: the error class for each errno of the kernel."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from contextlib import suppress

from fourtuple.address import Address, why_no_path
from fourtuple.errors import (
    ConnectError,
    ConnectForbidden,
    ConnectRefused,
    ConnectReset,
    ConnectTimeout,
    HostUnreachable,
    LocalAddressInUse,
    LocalAddressUnavailable,
    NameNotFound,
    NetworkUnreachable,
    NoLocalPort,
    NoSuchSocket,
)
from fourtuple.net.sockets import Sockaddr

_CONNECT_ERRORS: dict[int | None, type[ConnectError]] = {
    errno.ECONNREFUSED: ConnectRefused,
    errno.ETIMEDOUT: ConnectTimeout,
    errno.ECONNRESET: ConnectReset,
    errno.EPIPE: ConnectReset,  # the peer's FIN came before its RST
    errno.ENOTCONN: ConnectReset,  # the RST was read before: the socket has no peer any more
    errno.EHOSTUNREACH: HostUnreachable,
    errno.EHOSTDOWN: HostUnreachable,
    errno.ENETUNREACH: NetworkUnreachable,
    errno.ENETDOWN: NetworkUnreachable,
    errno.EAFNOSUPPORT: NetworkUnreachable,
    errno.EADDRINUSE: LocalAddressInUse,
    errno.EACCES: ConnectForbidden,
    errno.EPERM: ConnectForbidden,
    errno.ENOENT: NoSuchSocket,
    errno.ENOTDIR: NoSuchSocket,
}

_BIND_ERRORS: dict[int | None, type[ConnectError]] = {
    errno.EADDRINUSE: LocalAddressInUse,
    errno.EADDRNOTAVAIL: LocalAddressUnavailable,
    errno.EAFNOSUPPORT: LocalAddressUnavailable,
    errno.EACCES: ConnectForbidden,
    errno.EPERM: ConnectForbidden,
}

#: The most informative failure first: the further an attempt got, the more it tells about the peer.
_TELLING: tuple[type[ConnectError], ...] = (
    ConnectReset,
    ConnectRefused,
    ConnectTimeout,
    HostUnreachable,
    ConnectForbidden,
    LocalAddressInUse,
    LocalAddressUnavailable,
    NoLocalPort,
    NetworkUnreachable,
)


def connect_error(
    error: OSError, text: str, family: int, sockaddr: Sockaddr | None = None, local: Address | None = None
) -> ConnectError:
    """Return the error for the errno of connect(2), returned at once or later by SO_ERROR."""
    if error.errno == errno.EADDRNOTAVAIL and sockaddr is not None:
        return _no_local_port(error, text, family, sockaddr, local)
    kind = _CONNECT_ERRORS.get(error.errno, ConnectError)
    detail = ""
    if kind is ConnectError or error.errno in (errno.EPIPE, errno.ENOTCONN, errno.EHOSTDOWN, errno.ENETDOWN):
        detail = error.strerror or str(error)
    elif error.errno == errno.ETIMEDOUT:
        detail = "the kernel gave up"
    elif error.errno == errno.EADDRINUSE and local is not None:
        detail = f"from {local}"
    return kind(text, error.errno, detail)


def _no_local_port(error: OSError, text: str, family: int, sockaddr: Sockaddr, local: Address | None) -> ConnectError:
    """Return the error for EADDRNOTAVAIL of connect(2), which has three meanings."""
    if local is not None and local.port:
        return LocalAddressInUse(text, error.errno, f"a connection from {local} to {text} exists already")
    if not _has_route(family, sockaddr):
        return NetworkUnreachable(text, error.errno, "this machine has no local address of that family")
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range") as ports:
            detail = "ip_local_port_range is {} to {}".format(*ports.read().split())
    except OSError:
        detail = ""
    return NoLocalPort(text, error.errno, detail)


def _has_route(family: int, sockaddr: Sockaddr) -> bool:
    """Return whether there is a local address for the target: connecting a datagram socket tells, and sends nothing."""
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(sockaddr)
        return True
    return False


def no_socket(error: OSError, text: str) -> ConnectError:
    """Return the error for the errno of socket(2): no IPv6 in this kernel, or no descriptor left."""
    if error.errno == errno.EAFNOSUPPORT:
        return NetworkUnreachable(text, error.errno, "this machine does not support that address family")
    return ConnectError(text, error.errno, error.strerror or str(error))


def bind_error(error: OSError, text: str, local: Address) -> ConnectError:
    """Return the error for the errno of bind(2) of the local address."""
    kind = _BIND_ERRORS.get(error.errno, ConnectError)
    detail = f"from {local}"
    if kind is ConnectForbidden and not local.is_unix:
        detail += f": local port {local.port} needs root or CAP_NET_BIND_SERVICE"
    elif kind is ConnectError or error.errno == errno.EAFNOSUPPORT:
        detail += f": {error.strerror or error}"
    return kind(text, error.errno, detail)


def combined(address: Address, failures: Sequence[ConnectError]) -> ConnectError:
    """Return one error for all addresses that were tried: the most informative one, with all in ``attempts``.

    Its text and its attributes say all that the system's errors said, so it is raised without them (``from None``): a
    program that does not catch it prints one traceback.
    """
    if not failures:
        return NameNotFound(str(address), None, f"{address.host!r} has no IPv4 or IPv6 address")
    best = min(failures, key=_rank)
    if len(failures) == 1 and best.address == str(address):
        return best
    detail = best.detail
    if len(failures) == 1:
        detail = f"at {best.address}" + (f", {detail}" if detail else "")
    return type(best)(str(address), best.errno, detail, failures)


def _rank(error: ConnectError) -> int:
    return next((rank for rank, kind in enumerate(_TELLING) if isinstance(error, kind)), len(_TELLING))


def not_found(address: Address, error: Exception) -> ConnectError:
    """Return the error for an exception of getaddrinfo()."""
    if isinstance(error, socket.gaierror):
        return NameNotFound(str(address), error.errno, f"{address.host!r}: {error.strerror}")
    if isinstance(error, OSError):  # no descriptor to look it up: nothing is said of the name
        return ConnectError(str(address), error.errno, error.strerror or str(error))
    return NameNotFound(str(address), None, f"{address.host!r}: {error}")


def unix_error(error: OSError, address: Address) -> ConnectError:
    """Return the error for the errno of connect(2) to a path."""
    if error.errno == errno.ECONNREFUSED:
        detail = (
            "no socket listens at that name"
            if address.path.startswith("@")
            else "the path exists, but no socket listens at it"
        )
        return ConnectRefused(str(address), error.errno, detail)
    if error.errno == errno.EPROTOTYPE:
        return ConnectError(str(address), error.errno, "it is a datagram socket, not a stream socket")
    if error.errno is None:  # not of the kernel: Python refuses a path that does not fit
        return ConnectError(str(address), None, why_no_path(address.path) or str(error))
    return connect_error(error, str(address), socket.AF_UNIX)
