"""Passive sockets that the service manager has kept of the supervisor before this one: see :mod:`.fd_store`.

The name of a descriptor (FDNAME) tells its place: ``fourtuple-<address in base 32>-<index>-<slot>``, where the index is
that in the kernel's array. Behind the address, a NUL and the label follow, if there is one.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence

from fourtuple.address import Address
from fourtuple.net.given import Inherited
from fourtuple.supervisor.seat import HandedPlace, Handover

_PREFIX = "fourtuple"


def name_of(address: str, label: str, index: int, slot: int) -> str:
    """Return the name under which the manager keeps one socket."""
    text = f"{address}\0{label}" if label else address
    return f"{_PREFIX}-{base64.b32encode(text.encode()).decode().rstrip('=')}-{index}-{slot}"


def names_of(handover: Handover | None) -> list[str]:
    """Return the names under which the manager keeps what a supervisor has handed over, or what it kept of it."""
    places = () if handover is None else handover.places
    return [
        name_of(place.address, place.label, index, slot)
        for place in places
        if not Address.parse(place.address).is_given
        for index, slot in enumerate(place.slots or (0,))
    ]


def is_kept(inherited: Inherited) -> bool:
    """Whether the service manager got this descriptor from a supervisor before."""
    parts = inherited.name.split("-")
    return len(parts) == 4 and parts[0] == _PREFIX


def handed_over(kept: Sequence[Inherited]) -> Handover | None:
    """Return what was kept of the supervisor before this one; None if there is nothing."""
    places: dict[str, list[tuple[int, int, int]]] = {}
    for each in kept:
        _, address, index, slot = each.name.split("-")
        places.setdefault(_text(address), []).append((int(index), int(slot), each.fd))
    if not places:
        return None
    handed = tuple(_handed(text, sockets) for text, sockets in places.items())
    return Handover(-1, handed, max(len(each.fds) for each in handed))


def close_kept(kept: Sequence[Inherited]) -> None:
    """Close what was kept: this program runs without a supervisor now."""
    for each in kept:
        os.close(each.fd)


def _text(text: str) -> str:
    return base64.b32decode(text + "=" * (-len(text) % 8)).decode()


def _handed(text: str, sockets: list[tuple[int, int, int]]) -> HandedPlace:
    address, _, label = text.partition("\0")
    in_order = sorted(sockets)
    slots = tuple(slot for _, slot, _ in in_order)
    return HandedPlace(address, tuple(fd for *_, fd in in_order), () if slots == (0,) else slots, label)
