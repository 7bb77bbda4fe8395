"""Addresses that cannot all be bound by one program: its second socket would find the first one there."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from fourtuple.address import WILDCARDS, Address
from fourtuple.errors import OptionError
from fourtuple.options import Sockets


def check_beside(places: Iterable[tuple[object, Sockets]]) -> None:
    """Refuse an address that is given twice, or that another one includes; other places than addresses are left out.

    With port 0 the kernel chooses another one each time. With ``reuse_port``, several sockets share a port, and at one
    interface alone an address may be free that is taken at another one. Raises
    :class:`~fourtuple.errors.OptionError`.
    """
    found: list[Address] = []
    for place, sockets in places:
        if not isinstance(place, Address) or place.is_given or not (place.port or place.is_unix):
            continue
        if not place.is_unix and (sockets.reuse_port or sockets.interface is not None):
            continue
        for each in found:
            if each == place:
                raise OptionError(f"{place} is given twice")
            if is_taken_with(each, place):
                raise OptionError(f"{place} cannot be bound beside {each}")
        found.append(place)


def is_taken_with(one: Address, other: Address) -> bool:
    """Return whether one of two addresses is a wildcard that includes the other (ip(7): INADDR_ANY).

    A name is not resolved here, so only ``*``, which has both families, is known to include it.
    """
    if one.is_unix or other.is_unix or one.fd is not None or other.fd is not None or one.port != other.port:
        return False
    hosts = {one.host, other.host}
    if "*" in hosts:
        return True
    families = {_family_of(host) for host in hosts}
    return len(families) == 1 and None not in families and not hosts.isdisjoint(WILDCARDS)


def _family_of(host: str) -> int | None:
    """Return 4 or 6 for a literal address; None for a name."""
    try:
        return ip_address(host).version
    except ValueError:
        return None
