"""PURE: an address at which a supervisor listens, and the label of the service that it belongs to.

A label names the part of the program that serves at an address: ``mail`` for the addresses of a service that the file
declares, ``mail/1`` for those of its first endpoint with options of its own, and nothing for the only service of a
command line. A worker finds its passive sockets by it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fourtuple.address import Address
from fourtuple.options import Sockets


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """One address, the options of its sockets, and a label."""

    address: Address
    sockets: Sockets = field(default_factory=Sockets)
    label: str = ""


def label_of(service: str, endpoint: int) -> str:
    """Return the label of an endpoint, from 1, or of the service's own addresses: 0."""
    return f"{service}/{endpoint}" if endpoint else service


def service_of(label: str) -> str:
    """Return the name of the service of a label."""
    return label.partition("/")[0]
