"""The four-tuple: the name of a connection, which is both of its ends. Parse, print, compare.

A :class:`FourTuple` is the name of a TCP connection, a :class:`UnixName` the name of a connection over a Unix socket,
where one end has no address. ``net/names.py`` reads them from a socket.
"""

from __future__ import annotations

import socket
from typing import NamedTuple, TypeAlias

from fourtuple.address import Address, unmapped
from fourtuple.errors import AddressError
from fourtuple.printable import escaped


class FourTuple(NamedTuple):
    """The name of a TCP connection: ``(local_ip, local_port, remote_ip, remote_port)``.

    Thousands of connections share one local address; no two open connections share all four values. IPv4-mapped IPv6
    addresses are written as IPv4 addresses, so that limits, lists and logs have one address for one peer.
    """

    local_ip: str
    local_port: int
    remote_ip: str
    remote_port: int

    @classmethod
    def unpacked(cls, octets: bytes) -> FourTuple:
        """Return the name that ``octets`` store in a connection: address and port of this end, then of the peer.

        It is in network order, 12 octets for IPv4 and 36 for IPv6. This saves two small objects for each idle
        connection; the name is unpacked when it is first asked for.
        """
        half = len(octets) // 2
        local, remote = octets[:half], octets[half:]
        return cls(_ip(local[:-2]), _number(local[-2:]), _ip(remote[:-2]), _number(remote[-2:]))

    def packed(self) -> bytes | None:
        """Return the octets of which :meth:`unpacked` makes this name; None if an address has a scope."""
        ips = (self.local_ip, self.remote_ip)
        if any("%" in ip for ip in ips) or len({":" in ip for ip in ips}) > 1:
            return None
        local, remote = (socket.inet_pton(socket.AF_INET6 if ":" in ip else socket.AF_INET, ip) for ip in ips)
        return local + self.local_port.to_bytes(2, "big") + remote + self.remote_port.to_bytes(2, "big")

    @property
    def local(self) -> Address:
        """The address of this end."""
        return Address(self.local_ip, self.local_port)

    @property
    def remote(self) -> Address:
        """The address of the peer's end."""
        return Address(self.remote_ip, self.remote_port)

    @property
    def reversed(self) -> FourTuple:
        """The same connection as its peer names it."""
        return FourTuple(self.remote_ip, self.remote_port, self.local_ip, self.local_port)

    @classmethod
    def parse(cls, text: str) -> FourTuple:
        """Return the four-tuple of ``text``: ``LOCAL <- REMOTE`` (as :meth:`__str__` writes it) or ``LOCAL REMOTE``.

        Raises :class:`~fourtuple.errors.AddressError` for any other text.
        """
        halves = text.replace("<-", " ").split()
        if len(halves) != 2:
            raise AddressError(text, "a four-tuple is two addresses, as in '127.0.0.1:9999 <- 127.0.0.1:40000'")
        local, remote = (Address.parse(half) for half in halves)
        if local.is_unix or remote.is_unix:
            raise AddressError(text, "a Unix connection has no four-tuple")
        return cls(unmapped(local.host), local.port, unmapped(remote.host), remote.port)

    def __str__(self) -> str:
        return f"{self.local} <- {self.remote}"


class UnixName(NamedTuple):
    """The name of a connection over a Unix socket: its path and the peer's process and user.

    ``pid`` and ``uid`` are the peer's at the moment when it connected (SO_PEERCRED, unix(7)).
    """

    path: str
    pid: int
    uid: int

    @property
    def local(self) -> Address:
        """The path to which the client connected."""
        return Address(path=self.path or "@")

    def __str__(self) -> str:
        return f"unix:{escaped(self.path)} <- pid {self.pid} uid {self.uid}"


Name: TypeAlias = FourTuple | UnixName


def _ip(octets: bytes) -> str:
    # As the socket module writes it: ipaddress has another text for addresses that begin with 96 zero bits.
    return unmapped(socket.inet_ntop(socket.AF_INET if len(octets) == 4 else socket.AF_INET6, octets))


def _number(octets: bytes) -> int:
    return int.from_bytes(octets, "big")
