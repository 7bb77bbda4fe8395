"""The route to an address, asked of the kernel: RTM_GETROUTE of rtnetlink(7). Encoding and decoding are PURE."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from fourtuple.inspector.messages import attribute, attributes
from fourtuple.inspector.netlink import NETLINK_ROUTE, Netlink
from fourtuple.inspector.places import interface_name

_RTM_GETROUTE = 26
_RTMSG = struct.Struct("=BBBBBBBBI")  # family, lengths of destination and source, tos, table, protocol, scope, type
_DESTINATION, _INTERFACE, _GATEWAY, _PREFERRED = 1, 4, 5, 7
_LOCAL = 2  # RTN_LOCAL
_INDEX = struct.Struct("=I")


@dataclass(frozen=True, slots=True)
class Route:
    """How segments leave: ``interface``, ``gateway`` (None: the address is on the link), and the local address."""

    interface: str | None
    gateway: str | None
    source: str | None
    #: Whether the address is this machine's own.
    here: bool


def route_to(ip: str) -> Route | None:
    """Return the route to an address; None if the kernel does not say, or has none."""
    try:
        with Netlink(NETLINK_ROUTE) as netlink:
            message = netlink.ask(_RTM_GETROUTE, question(ip))
    except (OSError, ValueError):
        return None
    return None if message is None else decode(message.body)


def question(ip: str) -> bytes:
    """Return the request for the route to an address. Raises :class:`OSError` for an invalid address."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    octets = socket.inet_pton(family, ip.partition("%")[0])
    return _RTMSG.pack(family, len(octets) * 8, 0, 0, 0, 0, 0, 0, 0) + attribute(_DESTINATION, octets)


def decode(body: memoryview) -> Route | None:
    """Decode an answer; None for one that is cut short."""
    if len(body) < _RTMSG.size:
        return None
    kind = body[7]
    found = dict(attributes(body, _RTMSG.size))
    index = found.get(_INTERFACE)
    return Route(
        interface=interface_name(_INDEX.unpack_from(index)[0]) if index else None,
        gateway=_address(found.get(_GATEWAY)),
        source=_address(found.get(_PREFERRED)),
        here=kind == _LOCAL,
    )


def _address(octets: memoryview | None) -> str | None:
    if octets is None or len(octets) not in (4, 16):
        return None
    return socket.inet_ntop(socket.AF_INET if len(octets) == 4 else socket.AF_INET6, bytes(octets))
