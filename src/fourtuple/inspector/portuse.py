"""PURE: local ports: the ephemeral range, what is reserved, and how much of it is in use towards which peers.

connect(2) may give one local port to connections to several peers. What runs out is therefore not the range, but the
range towards one peer: one local address, one remote address and one remote port.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fourtuple.inspector import states
from fourtuple.inspector.model import ActiveSocket, PassiveSocket, Snapshot

HIGHEST = (1 << 16) - 1
#: From this share on, exhaustion is near: connect(2) already has to search for long.
NEAR = 0.8


@dataclass(frozen=True, slots=True)
class Settings:
    """The kernel's settings for ports (of this network namespace)."""

    #: net.ipv4.ip_local_port_range: the first and the last ephemeral port.
    first: int
    last: int
    #: net.ipv4.ip_local_reserved_ports: never chosen by the kernel itself.
    reserved: tuple[tuple[int, int], ...]
    #: net.ipv4.ip_unprivileged_port_start: below it, bind(2) needs CAP_NET_BIND_SERVICE.
    unprivileged: int

    def is_reserved(self, port: int) -> bool:
        """Whether the kernel never chooses this port itself."""
        return any(first <= port <= last for first, last in self.reserved)

    def is_ephemeral(self, port: int) -> bool:
        """Whether the kernel may give this port to any connection."""
        return self.first <= port <= self.last and not self.is_reserved(port)

    @property
    def available(self) -> int:
        """How many ports the kernel may choose from."""
        ports = range(self.first, self.last + 1)
        inside = {port for first, last in self.reserved for port in range(first, last + 1) if port in ports}
        return len(ports) - len(inside)


@dataclass(frozen=True, slots=True)
class Use:
    """The ephemeral ports in use from one local address towards one peer."""

    local_ip: str
    remote_ip: str
    remote_port: int
    used: int
    time_wait: int
    available: int

    @property
    def share(self) -> float:
        """Which part of all that are available: 1.0 is exhaustion."""
        return self.used / self.available if self.available else 1.0

    @property
    def near(self) -> bool:
        """Whether exhaustion is near."""
        return self.share >= NEAR


def read_settings(range_: str, reserved: str, unprivileged: str) -> Settings:
    """Decode the texts of the three files in /proc/sys/net/ipv4. Raises :class:`ValueError`."""
    first, last = map(int, range_.split())
    return Settings(first, last, ranges(reserved), int(unprivileged or 1024))


def ranges(text: str) -> tuple[tuple[int, int], ...]:
    """Read ``80,8000-8099``. Raises :class:`ValueError`."""
    found = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        low, high = int(first), int(last or first)
        if not 0 <= low <= high <= HIGHEST:
            raise ValueError(f"{part!r}: ports are 0 to {HIGHEST}, the lower one first")
        found.append((low, high))
    return tuple(found)


def uses(seen: Snapshot, settings: Settings) -> list[Use]:
    """Return how many ephemeral ports are in use towards each peer, the most used first."""
    ports: dict[tuple[str, str, int], set[int]] = {}
    ended: dict[tuple[str, str, int], int] = {}
    passive = {each.address.port for each in seen.listeners}
    for each in seen.connections:
        name = each.name
        if not settings.is_ephemeral(name.local_port) or name.local_port in passive:
            continue
        key = name.local_ip, name.remote_ip, name.remote_port
        ports.setdefault(key, set()).add(name.local_port)
        ended[key] = ended.get(key, 0) + (each.state == states.TIME_WAIT)
    available = settings.available
    found = [Use(*key, len(some), ended[key], available) for key, some in ports.items()]
    return sorted(found, key=lambda use: (-use.used, use.remote_ip, use.remote_port))


@dataclass(frozen=True, slots=True)
class PortUse:
    """Who uses one port of this machine."""

    port: int
    service: str
    listeners: tuple[PassiveSocket, ...]
    connections: tuple[ActiveSocket, ...]
    #: Whether a socket is bound to it that neither listens nor is connected: no table of the kernel has that one.
    bound: bool = False

    @property
    def free(self) -> bool:
        """Whether no socket has it."""
        return not self.listeners and not self.connections and not self.bound


def use_of(port: int, service: str, seen: Snapshot) -> PortUse:
    """Return who uses a port at this end."""
    return PortUse(
        port,
        service,
        tuple(each for each in seen.listeners if each.address.port == port),
        tuple(each for each in seen.connections if each.name.local_port == port),
    )


def explained(use: PortUse, settings: Settings) -> list[str]:
    """Return sentences: what is to be known of a port before one listens at it."""
    sentences = []
    port = use.port
    if port and port < settings.unprivileged:
        sentences.append(f"Listening below {settings.unprivileged} needs root or CAP_NET_BIND_SERVICE.")
    if settings.is_ephemeral(port):
        sentences.append(
            f"It is in the ephemeral range: any connection may get it, and then a server cannot listen there. "
            f"net.ipv4.ip_local_reserved_ports={port} keeps it free."
        )
    elif settings.first <= port <= settings.last:
        sentences.append("It is reserved: the kernel gives it to no connection by itself.")
    if use.bound:
        sentences.append(
            "A socket is bound to it that neither listens nor is connected: bind(2) tells so, and no table of the "
            "kernel says whose it is."
        )
    if not use.listeners and use.connections:
        ended = sum(each.state == states.TIME_WAIT for each in use.connections)
        why = f", {ended:,} in TIME-WAIT" if ended else ""
        sentences.append(
            f"No socket listens, but it is this end's port of {_counted(len(use.connections), 'connection')}{why}: "
            "bind(2) needs SO_REUSEADDR (servers of fourtuple set it)."
        )
    return sentences


def exhaustion(found: Sequence[Use]) -> list[str]:
    """Return sentences about peers towards whom the ports run out."""
    return [
        f"Towards {use.remote_ip} port {use.remote_port}, {use.used:,} of {use.available:,} ports are in use "
        f"({use.share:.0%}, {use.time_wait:,} in TIME-WAIT): connect() will soon fail with EADDRNOTAVAIL. Keep "
        "connections open, connect from several local addresses, or widen net.ipv4.ip_local_port_range."
        for use in found
        if use.near
    ]


def spoken(settings: Settings) -> str:
    """The ephemeral range in words."""
    reserved = ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in settings.reserved)
    told = f", {reserved} reserved" if reserved else ", none reserved"
    return f"{settings.first}-{settings.last} ({settings.available:,} ports{told})"


def free_candidates(seen: Snapshot, settings: Settings, taken: Iterable[int]) -> list[int]:
    """Return ports that a server may be given: unassigned, unused, not privileged and not ephemeral."""
    used = {each.address.port for each in seen.listeners} | {each.name.local_port for each in seen.connections}
    out = {*used, *taken}
    return [
        port
        for port in range(max(1024, settings.unprivileged), HIGHEST + 1)
        if port not in out and not settings.first <= port <= settings.last
    ]


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
