"""Resolving a name to addresses."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from contextlib import suppress
from itertools import zip_longest

from fourtuple.address import Address
from fourtuple.errors import ConnectTimeout
from fourtuple.net.connecting.failures import not_found
from fourtuple.net.connecting.steps import Found, Resolve, Steps
from fourtuple.net.sockets import Sockaddr


def resolve(address: Address, until: float | None, waited: str) -> Steps[list[tuple[int, Sockaddr]]]:
    """Yield the step that resolves a name; return families and socket addresses, in the order in which to try them."""
    answer = literal(address) or (yield Resolve(address.host, address.port, until))
    if answer is None:
        raise ConnectTimeout(str(address), errno.ETIMEDOUT, f"{waited} for the name {address.host!r} to be resolved")
    if isinstance(answer, Exception):
        raise not_found(address, answer)
    found = [(family, sockaddr) for family, _, _, _, sockaddr in answer if family in (socket.AF_INET, socket.AF_INET6)]
    return interleaved(list(dict.fromkeys(found)))  # type: ignore[arg-type]  # (int, bytes) is another family's


def literal(address: Address) -> Sequence[Found] | None:
    """Return the answer for a literal address, without a name server; None for a name."""
    with suppress(OSError, UnicodeError):
        return socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        )
    return None


def interleaved(found: Sequence[tuple[int, Sockaddr]]) -> list[tuple[int, Sockaddr]]:
    """Alternate between the families, beginning with the resolver's first choice (RFC 8305, 4).

    If one family does not work, this costs one delay, and not one for each of its addresses.
    """
    families: dict[int, list[tuple[int, Sockaddr]]] = {}
    for each in found:
        families.setdefault(each[0], []).append(each)
    return [each for row in zip_longest(*families.values()) for each in row if each is not None]
