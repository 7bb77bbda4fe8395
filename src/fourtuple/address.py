"""Addresses: parse, print, compare. This module resolves no names and opens no sockets.

An :class:`Address` is one end as a user writes it (``127.0.0.1:9999``, ``[::1]:9999``, ``*:9999``,
``unix:/run/app.sock``). Both ends together name a connection: ``four_tuple.py``.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from fourtuple.errors import AddressError
from fourtuple.printable import escaped

#: The addresses at which a passive socket takes connections to all addresses of the machine.
WILDCARDS: tuple[str, str] = ("0.0.0.0", "::")

_MAPPED = "::ffff:"

IpNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_networks(text: str) -> tuple[IpNetwork, ...]:
    """Parse networks separated by commas: ``10.0.0.0/8, 192.0.2.7, 2001:db8::/32``.

    Raises :class:`AddressError` for the first invalid one: a word, a network with host bits set, or one with a zone
    (``fe80::1%eth0``), which comparisons would ignore.
    """
    networks = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        if "%" in part:
            raise AddressError(part, f"a network has no zone, write {part.partition('%')[0]}")
        try:
            networks.append(ipaddress.ip_network(part))
        except ValueError as error:
            raise AddressError(part, f"not a network: {error}") from None
    return tuple(networks)


def network_of(ip: str, prefix_v4: int, prefix_v6: int) -> IpNetwork:
    """Return the network of an address, with the prefix length of its family. A zone (``fe80::1%eth0``) is left out."""
    address = ipaddress.ip_address(ip.partition("%")[0])
    return ipaddress.ip_network((address, prefix_v4 if address.version == 4 else prefix_v6), strict=False)


@dataclass(frozen=True, slots=True)
class Address:
    """One end: a host and port, or the path of a Unix socket.

    ``host`` is a name or a literal as given, without brackets; ``"*"`` means every address of both families.
    ``port`` 0 lets the kernel choose. ``path`` is set for a Unix socket and empty otherwise; a leading ``@``
    stands for Linux's abstract namespace (unix(7)). ``fd`` is the descriptor of a passive socket that exists already,
    such as one of socket activation; None for any other address. ``fd_name`` is its name there (LISTEN_FDNAMES,
    sd_listen_fds(3)). Only a server can use both.
    """

    host: str = ""
    port: int = 0
    path: str = ""
    fd: int | None = None
    fd_name: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.port, int) or not 0 <= self.port <= 65535:
            raise AddressError(f"{self.host}:{self.port}", f"{self.port!r} is not a port number, 0 to 65535")

    @classmethod
    def parse(cls, text: str | Address, *, default_host: str = "127.0.0.1", default_port: int | None = None) -> Address:
        """Return the address that ``text`` says.

        Accepted are ``host:port``, ``[v6]:port``, ``:port`` (at ``default_host``), ``port`` alone, ``*:port``,
        ``unix:PATH``, any text with a slash, as a Unix path, ``fd:3`` for a descriptor, and ``fd:NAME`` for one that
        socket activation has named. A host without a port gets ``default_port``.
        An :class:`Address` is returned as it is. Raises :class:`AddressError`, with the reason.
        """
        if isinstance(text, Address):
            return text
        if is_pair(text):
            pair = cast("tuple[str, int]", text)
            why = "an address is a text, not a pair as for Python's sockets"
            raise AddressError(repr(text), f"{why}; write '{cls(pair[0] or '*', pair[1])}'")
        if not isinstance(text, str):
            raise AddressError(repr(text), "an address is a text, as in '127.0.0.1:9999', or an Address")
        given = text.strip()
        if given.startswith("unix:") or "/" in given:
            path = given.removeprefix("unix:")
            _check_path(text, path)
            return cls(path=path)
        if not given:
            raise AddressError(text, "it is empty")
        if given.startswith("fd:"):
            return _descriptor(text, given[3:])
        if given.isdigit():
            return cls(default_host, _port(text, given))
        if given.startswith("["):
            host, bracket, rest = given[1:].partition("]")
            if not bracket:
                raise AddressError(text, "the bracket is not closed")
            if rest and not rest.startswith(":"):
                raise AddressError(text, "a colon and a port are expected after the bracket")
            port = rest[1:]
            _check_v6(text, host)
        elif given.count(":") > 1:
            raise AddressError(text, f"an IPv6 address needs brackets, as in [{given}]:9999")
        else:
            host, _, port = given.partition(":")
        if not port:
            if default_port is None:
                raise AddressError(text, f"the port is missing, as in {given.rstrip(':')}:9999")
            return cls(host or default_host, default_port)
        if not host.isprintable() or any(letter.isspace() or letter in "[]" for letter in host):
            raise AddressError(text, f"{host!r} is not a host name")
        return cls(host or default_host, _port(text, port))

    @property
    def is_given(self) -> bool:
        """Whether this names a passive socket that another program has opened."""
        return self.fd is not None or bool(self.fd_name)

    @property
    def is_unix(self) -> bool:
        """Whether this names a Unix socket."""
        return bool(self.path)

    def __str__(self) -> str:
        """Return the text that :meth:`parse` accepts; unprintable characters in a path are escaped."""
        if self.path:
            return f"unix:{escaped(self.path)}"
        if self.is_given:
            return f"fd:{self.fd_name or self.fd}"
        host = escaped(self.host)
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


def is_pair(address: Any) -> bool:
    """Whether this is a host and a port, as Python's sockets take them: of IPv6, with two numbers behind them."""
    return isinstance(address, tuple) and len(address) >= 2 and isinstance(address[0], str) and type(address[1]) is int


def _port(text: str, digits: str) -> int:
    if not (digits.isascii() and digits.isdigit()):
        raise AddressError(text, f"{digits!r} is not a port number")
    # Length first: int() raises another error for thousands of digits.
    if len(digits) > 9 or int(digits) > 65535:
        cut = "..." if len(digits) > 20 else ""
        raise AddressError(text, f"port {digits[:20]}{cut} is larger than 65535")
    return int(digits)


def _descriptor(text: str, which: str) -> Address:
    if which.isascii() and which.isdigit() and len(which) < 10:
        return Address(fd=int(which))
    # systemd.socket(5), FileDescriptorName=; a first letter tells a name from a mistyped number
    if which.isascii() and which.isprintable() and ":" not in which and len(which) <= 255 and which[:1].isalpha():
        return Address(fd_name=which)
    raise AddressError(
        text, f"{which[:20]!r} is not a descriptor; it is a number, as in fd:3, or a name of socket activation"
    )


def _check_path(text: str, path: str) -> None:
    if not path:
        raise AddressError(text, "the path after 'unix:' is missing")
    if "\0" in path:
        raise AddressError(text, "a path cannot contain NUL; write @ for the abstract namespace")
    try:
        # As os.fsencode() does: octets that are not UTF-8 are surrogates in the text (PEP 383).
        size = len(path.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        raise AddressError(text, "it cannot be encoded in UTF-8") from None
    if size > _LONGEST_PATH:
        raise AddressError(text, _too_long(size))


#: sun_path has 108 octets with its terminator: unix(7).
_LONGEST_PATH = 107


def _too_long(size: int) -> str:
    return f"the path has {size} octets, no more than {_LONGEST_PATH} are allowed"


def why_no_path(path: str) -> str:
    """Return why a Unix socket cannot have this path; empty if it can. :meth:`Address.parse` raises the same."""
    size = len(path.encode("utf-8", "surrogateescape"))
    return _too_long(size) if size > _LONGEST_PATH else ""


def _check_v6(text: str, host: str) -> None:
    try:
        if not host.isprintable():
            raise ValueError  # ipaddress accepts any text as a zone
        ipaddress.IPv6Address(host)
    except ValueError:
        raise AddressError(text, f"{host!r} is not an IPv6 address") from None


def unmapped(ip: str) -> str:
    """Return ``::ffff:192.0.2.1`` (RFC 4291, 2.5.5.2) as ``192.0.2.1``; any other address unchanged."""
    return ip[7:] if ip.startswith(_MAPPED) and "." in ip else ip


def from_sockaddr(sockaddr: Any) -> Address:
    """Return what getsockname() or getpeername() returned as an :class:`Address`.

    It takes the pair of IPv4, the quadruple of IPv6 (a scope is kept as ``%name`` in the host, if the kernel's text has
    it), and the ``str`` or ``bytes`` of a Unix socket.
    """
    if isinstance(sockaddr, tuple):
        return Address(unmapped(sockaddr[0]), sockaddr[1])
    if isinstance(sockaddr, bytes):
        sockaddr = "@" + sockaddr[1:].decode("utf-8", "surrogateescape") if sockaddr[:1] == b"\0" else sockaddr.decode()
    return Address(path=sockaddr or "@")
