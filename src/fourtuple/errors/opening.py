"""A socket could not be opened: connect() failed, in each of its ways, or listen() did."""

from __future__ import annotations

from collections.abc import Sequence

from fourtuple.errors.base import FourTupleError


class ConnectError(FourTupleError, OSError):
    """``connect()`` failed.

    ``address`` is the address that was given, as text. ``explanation`` says what this failure means and what to check.
    ``attempts`` has the failures of the single addresses, if several were tried.
    """

    meaning = "the connection could not be made"
    explanation: str = ""
    #: The explanation of a failure at a Unix socket, where it is another one.
    _of_unix = ""

    def __init__(
        self,
        address: str,
        errno: int | None = None,
        detail: str = "",
        attempts: Sequence[ConnectError] = (),
    ) -> None:
        """``address`` is the address that was given, as text. ``errno`` is the number of the system's error.

        ``detail`` says more, and ``attempts`` are the failures of single addresses. Default: none of the three.
        """
        super().__init__(errno or 0, detail or self.meaning)
        self.address = address
        self.errno = errno
        self.detail = detail
        self.attempts: tuple[ConnectError, ...] = tuple(attempts)
        if self._of_unix and address.startswith("unix:"):
            self.explanation = self._of_unix

    def __str__(self) -> str:
        text = f"cannot connect to {self.address}: {self.meaning}"
        if self.detail:
            text += f" ({self.detail})"
        if len(self.attempts) > 1:
            text += "; tried " + ", ".join(f"{each.address}: {each.meaning}" for each in self.attempts)
        return text


class ConnectRefused(ConnectError, ConnectionRefusedError):
    """The host answered the SYN with RST (ECONNREFUSED): no socket listens there."""

    meaning = "refused"
    explanation = (
        "The host is up and answered at once, but no socket listens at this address and port: the server is "
        "not running, listens at another port, or only at another address of the host (127.0.0.1 is not the "
        "outside address). A firewall that rejects looks the same."
    )
    _of_unix = (
        "No socket listens at this path or name: the server is not running, or has ended without removing the file of "
        "its socket, or the file is something else."
    )


class ConnectTimeout(ConnectError, TimeoutError):
    """No answer came before the deadline (or ETIMEDOUT: the kernel gave up first)."""

    meaning = "no answer in time"
    explanation = (
        "Nothing answered the SYN: the host is down, a firewall drops packets without a word, the route back "
        "is broken, or the server's accept queue is full (then the kernel drops the SYN, and a later attempt "
        "may succeed)."
    )
    _of_unix = "The server's accept queue is full: it accepts too slowly or not at all. A later attempt may succeed."


class ConnectReset(ConnectError, ConnectionResetError):
    """The connection was made and reset at once."""

    meaning = "reset at once"
    explanation = (
        "The handshake succeeded and the peer then sent RST before anything was exchanged: a server that "
        "died or closed with its accept queue filled, a balancer without a live server behind it, or an "
        "address filter of the server's."
    )
    _of_unix = (
        "The connection was made, and the server then closed it before anything was exchanged: it died, or closed with "
        "its accept queue filled."
    )


class HostUnreachable(ConnectError):
    """EHOSTUNREACH: a router, or this machine's neighbour table, reports that the host cannot be reached."""

    meaning = "host unreachable"
    explanation = (
        "The network answered for the host: it did not reply on its own link (ARP or neighbour discovery "
        "failed: it is down or not there), or a router or firewall says that it may not be reached."
    )


class NetworkUnreachable(ConnectError):
    """ENETUNREACH: this machine has no route to the network."""

    meaning = "network unreachable"
    explanation = (
        "This machine has no route to that network, so nothing was sent: there is no default route, the "
        "interface is down, or the address is IPv6 and this machine has no IPv6."
    )


class NameNotFound(ConnectError):
    """The name could not be resolved to an address."""

    meaning = "name not found"
    explanation = (
        "No connection was tried: the name does not exist, has no address of the wanted family, or the name "
        "server did not answer."
    )


class NoLocalPort(ConnectError):
    """EADDRNOTAVAIL on connect: no free local port towards this address."""

    meaning = "no local port left"
    explanation = (
        "Every port of the local range (net.ipv4.ip_local_port_range) is in use towards this very address, "
        "most of them perhaps in TIME_WAIT. Keep connections instead of opening one per request, connect "
        "from several local addresses, or widen the range."
    )


class LocalAddressInUse(ConnectError):
    """EADDRINUSE: the requested local address is in use."""

    meaning = "local address in use"
    explanation = (
        "The local address and port that were asked for are in use by another socket, or this exact "
        "four-tuple still waits in TIME_WAIT. Let the kernel choose the port (port 0)."
    )


class LocalAddressUnavailable(ConnectError):
    """The requested local address does not belong to this machine."""

    meaning = "local address not available"
    explanation = "The local address that was asked for belongs to no interface of this machine."


class ConnectForbidden(ConnectError, PermissionError):
    """EPERM or EACCES: not allowed."""

    meaning = "not permitted"
    explanation = (
        "A local rule forbids it: a firewall on this machine, a broadcast address as the target, the "
        "permissions of a Unix socket's path, or a local port below 1024 without the privilege."
    )
    _of_unix = (
        "The permissions forbid it: connecting needs the right to write to the file of the socket, and to search the "
        "folders above it (unix(7))."
    )


class NoSuchSocket(ConnectError, FileNotFoundError):
    """A Unix socket path that does not exist."""

    meaning = "no such socket"
    explanation = "No file stands at this path: the server is not running, or it listens at another path."


class ListenError(FourTupleError, OSError):
    """A passive socket could not be opened; ``address`` is the address that was given, as text."""

    meaning = "the socket could not be opened"

    def __init__(self, address: str, errno: int | None = None, detail: str = "") -> None:
        """``address`` is the address that was given, as text. ``errno`` is the number of the system's error.

        ``detail`` says more. Default: neither.
        """
        super().__init__(errno or 0, detail or self.meaning)
        self.address = address
        self.errno = errno
        self.detail = detail

    def __str__(self) -> str:
        return f"cannot listen at {self.address}: {self.meaning}" + (f" ({self.detail})" if self.detail else "")


class ListenAddressInUse(ListenError):
    """EADDRINUSE: another socket listens there; ``detail`` names its process if it can be found."""

    meaning = "address already in use"


class ListenAddressUnavailable(ListenError):
    """EADDRNOTAVAIL: the address belongs to no interface of this machine."""

    meaning = "this machine does not have that address"


class ListenForbidden(ListenError, PermissionError):
    """EACCES: a port below net.ipv4.ip_unprivileged_port_start needs a privilege."""

    meaning = "not permitted"
