"""The local end of connections, and their targets."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from fourtuple.address import Address, from_sockaddr
from fourtuple.errors import AddressError, ConnectError, LocalAddressUnavailable
from fourtuple.forking import ours
from fourtuple.net.connecting.failures import bind_error, no_socket
from fourtuple.net.connecting.names import literal
from fourtuple.net.sockets import Sockaddr, apply_options
from fourtuple.options import Sockets

#: ip(7), since Linux 4.2; socket.IP_BIND_ADDRESS_NO_PORT since Python 3.12.
_IP_BIND_ADDRESS_NO_PORT = 24


@dataclass(frozen=True, slots=True)
class Target:
    """One socket address to try, from ``source``."""

    family: int
    sockaddr: Sockaddr
    source: Source

    @property
    def text(self) -> str:
        """The address as text, for errors."""
        return str(from_sockaddr(self.sockaddr))


@dataclass(frozen=True, slots=True)
class Source:
    """The local end: its socket options, and its address if one was given."""

    address: Address | None
    options: Sockets

    def __post_init__(self) -> None:
        if self.address is not None and not self.address.is_unix and literal(self.address) is None:
            # Port 0 is the default: it was not typed.
            given = str(self.address) if self.address.port else self.address.host
            raise AddressError(given, "a local address is a literal, as in 192.0.2.1 or [2001:db8::1]")

    def matching(self, address: Address, targets: Sequence[tuple[int, Sockaddr]]) -> list[Target]:
        """Return the targets that can be reached from the local address: IPv4 reaches only IPv4."""
        own = None if self.address is None else self._bindable()[0]
        matching = [Target(family, sockaddr, self) for family, sockaddr in targets if own in (None, family)]
        if targets and not matching:
            raise LocalAddressUnavailable(
                str(address), errno.EAFNOSUPPORT, f"{self.address} and {address} are of different families"
            )
        return matching

    def reaches(self, address: Address) -> bool:
        """Whether the local address is of the family of this one; True as long as only a name server knows."""
        if self.address is None:
            return True
        if self.address.is_unix or address.is_unix:
            return self.address.is_unix and address.is_unix
        found = literal(address)
        return found is None or self._bindable()[0] in {family for family, *_ in found}

    def open(self, family: int, text: str) -> socket.socket:
        """Return a non-blocking socket with its options set, bound if a local address was given."""
        try:
            sock = ours(socket.socket(family, socket.SOCK_STREAM))
        except OSError as error:
            raise no_socket(error, text) from None
        try:
            sock.setblocking(False)
            apply_options(sock, self.options)
            if self.address is not None:
                self._bind(sock, family, text)
        except BaseException:
            sock.close()
            raise
        return sock

    def _bind(self, sock: socket.socket, family: int, text: str) -> None:
        assert self.address is not None
        own, sockaddr = self._bindable()
        try:
            if own != family:
                raise OSError(errno.EAFNOSUPPORT, "of another family than the target")
            if own != socket.AF_UNIX:
                if self.address.port:
                    # One port can be used for connections to several peers, even while one is in TIME_WAIT.
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                else:
                    # connect(2) chooses the port, and knows the peer: all local ports are available to each (ip(7)).
                    with suppress(OSError):
                        sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind(sockaddr)
        except OSError as error:
            raise bind_error(error, text, self.address) from None

    def _bindable(self) -> tuple[int, Sockaddr]:
        assert self.address is not None
        if self.address.is_unix:
            return socket.AF_UNIX, unix_name(self.address)
        family, _, _, _, sockaddr = (literal(self.address) or ())[0]
        return family, sockaddr  # type: ignore[return-value]  # (int, bytes) is another family's


def unix_name(address: Address) -> str:
    """Return the path in the kernel's form."""
    return "\0" + address.path[1:] if address.path.startswith("@") else address.path


@contextmanager
def closed_and_named(sock: socket.socket, named: Callable[[OSError], ConnectError]) -> Iterator[None]:
    """Close the socket if the block raises, and replace an OSError by the error that ``named`` makes."""
    try:
        yield
    except BaseException as error:
        sock.close()
        if isinstance(error, OSError) and not isinstance(error, ConnectError):
            raise named(error) from None
        raise
