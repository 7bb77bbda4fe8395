"""What IANA has assigned the TCP ports to (RFC 6335). The data is in ``assignments.txt``; see :func:`generated`.

The file is made by ``python -m fourtuple.inspector.assignments SOURCE > assignments.txt`` from a copy of IANA's
"Service Name and Transport Protocol Port Number Registry": IANA's own CSV, or the form of services(5), in which
Debian's wireshark-common has the whole registry (/usr/share/wireshark/services). It has the names alone.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache

_DATA = os.path.join(os.path.dirname(__file__), "assignments.txt")
_PORTS = range(1, 1 << 16)


def assigned(port: int) -> str:
    """Return the name of the service that a TCP port is assigned to; empty if it is assigned to none."""
    return _assignments().get(port, "")


def ports_of(service: str) -> tuple[int, ...]:
    """Return the ports that are assigned to a service, by its exact name."""
    return tuple(port for port, name in _assignments().items() if name == service)


def assigned_ports() -> tuple[int, ...]:
    """Return all ports that are assigned to a service."""
    return tuple(_assignments())


@lru_cache(maxsize=1)
def _assignments() -> dict[int, str]:
    with open(_DATA, encoding="ascii") as data:
        return {int(port): name for port, _, name in (line.rstrip("\n").partition(" ") for line in data)}


def generated(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines of the data file from a copy of the registry: the first name of each TCP port."""
    rows = list(lines)
    pairs = _from_csv(rows) if rows and rows[0].startswith("Service Name,") else _from_services(rows)
    names: dict[int, str] = {}
    for port, name in pairs:
        if port in _PORTS and name.isascii():
            names.setdefault(port, name)
    for port, name in sorted(names.items()):
        yield f"{port} {name}\n"


def _from_services(rows: Iterable[str]) -> Iterator[tuple[int, str]]:
    for row in rows:
        fields = row.partition("#")[0].split()
        if len(fields) < 2:
            continue
        number, *protocols = fields[1].split("/")
        first, _, last = number.partition("-")
        if "tcp" in protocols:
            for port in range(int(first), int(last or first) + 1):
                yield port, fields[0]


def _from_csv(rows: Iterable[str]) -> Iterator[tuple[int, str]]:
    for row in csv.DictReader(rows):
        first, _, last = row["Port Number"].partition("-")
        if row["Transport Protocol"] == "tcp" and row["Service Name"] and first:
            for port in range(int(first), int(last or first) + 1):
                yield port, row["Service Name"]


def main(path: str) -> None:
    """Print the generated table for the registry file at ``path``."""
    with open(path, newline="", encoding="utf-8") as registry:
        sys.stdout.writelines(generated(registry))


if __name__ == "__main__":
    main(sys.argv[1])
