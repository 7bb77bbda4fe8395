"""Whether a relay's target is the relay itself: then each connection would make the next, until a limit is reached."""

from __future__ import annotations

import os
import socket
from contextlib import closing, suppress
from ipaddress import ip_address

from fourtuple.address import WILDCARDS, Address, from_sockaddr, unmapped

#: connect(2) to a wildcard reaches this machine.
_LOOPBACKS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def is_itself(listen: Address, target: Address) -> bool:
    """Return whether a connection to ``target`` arrives at ``listen``, on this machine, as names resolve now.

    A name that cannot be resolved is no match: opening the socket, or connecting, will say why.
    """
    for each in _listening(listen):
        if each.is_unix or target.is_unix:
            if each.is_unix and target.is_unix and _same_path(each.path, target.path):
                return True
        elif each.port and each.port == target.port:
            heard = _ips(each.host)
            reached = {_LOOPBACKS.get(ip, ip) for ip in _ips(target.host)}
            if reached & heard or any(_covers(wildcard, ip) for wildcard in heard for ip in reached):
                return True
    return False


def _listening(listen: Address) -> list[Address]:
    """Return the addresses of a descriptor that was handed in; any other address as it is."""
    if listen.fd is None:
        return [] if listen.is_given else [listen]
    with suppress(OSError), closing(socket.socket(fileno=os.dup(listen.fd))) as sock:
        return [from_sockaddr(sock.getsockname())]
    return []


def _same_path(one: str, other: str) -> bool:
    if one.startswith("@") or other.startswith("@"):
        return one == other
    return os.path.realpath(one) == os.path.realpath(other)


def _ips(host: str) -> set[str]:
    if host == "*":
        return set(WILDCARDS)
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return set()
    return {unmapped(str(sockaddr[0])) for _, _, _, _, sockaddr in found}


def _covers(wildcard: str, ip: str) -> bool:
    """Return whether a socket at this wildcard takes connections to an address: one of its family, of this machine."""
    if wildcard not in WILDCARDS:
        return False
    version = ip_address(ip.partition("%")[0]).version
    if (version == 6) != (wildcard == "::"):
        return False
    # bind(2) takes only addresses of this machine; nothing is sent by it.
    try:
        with socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((ip, 0))
    except OSError:
        return False
    return True
