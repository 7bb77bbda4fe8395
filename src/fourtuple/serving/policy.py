"""Which peers are admitted: networks, numbers and rates. Pure: it uses no socket, and the clock is an argument.

There are two kinds of limits. At a limit *of the server* (``max_connections``, ``accept_rate``) new connections are
not accepted yet: they wait in the kernel's accept queue, and none is dropped. A limit *of one peer* (its address, its
network, its rate, a deny list) can be checked only after accept; the connection is then refused, with a reason.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from fourtuple.address import IpNetwork, network_of, parse_networks
from fourtuple.options import Limits
from fourtuple.rates.token_bucket import Bucket, Table

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a connection is refused: the ``limit``, named like its option, and a ``text`` with the numbers."""

    limit: str
    text: str


class AdmissionPolicy:
    """Decides on every new connection, and counts the open ones.

    Call :meth:`admit` before a connection is served, and :meth:`leave` when it has ended. ``ip`` is the peer's
    address, an IPv4-mapped one as IPv4. It is None for the peer of a Unix socket, which runs on this machine: no limit
    per address or network applies to it.
    """

    def __init__(self, limits: Limits) -> None:
        #: Open connections by address. It is always kept: a limit per address may be set later.
        #: Not a Counter: setting an item of one calls Python code, and each connection sets two.
        self.by_address: dict[str, int] = {}
        #: Open connections by network. It is kept only while there is a limit per network.
        self._by_network: Counter[IpNetwork] = Counter()
        self._rates: Table[Bucket] | None = None
        self._overall: Bucket | None = None
        #: The limits in force.
        self.limits: Limits
        self.change(limits)

    def change(self, limits: Limits) -> None:
        """Put other limits in force. Open connections stay, and count."""
        allow, deny = parse_networks(limits.allow), parse_networks(limits.deny)
        self.limits, self._allow, self._deny = limits, allow, deny
        self._overall = None
        rate = limits.accept_rate_per_address
        self._rates = None if rate is None else Table(lambda now: Bucket(rate, rate, now), Bucket.full)
        # The prefix of a network is one of the limits: the counts by the old one are of no use.
        self._count_networks()

    @property
    def open(self) -> bool:
        """Whether no limit or list of this policy applies to any connection."""
        limits = self.limits
        asked = limits.accept_rate, limits.accept_rate_per_address, limits.max_queue_age
        most = limits.max_connections_per_address, limits.max_connections_per_network
        return not (self._allow or self._deny) and all(limit is None for limit in (*asked, *most))

    def wait(self, now: float) -> float:
        """Return the seconds to wait before the next accept, so that ``accept_rate`` holds; 0 if there is no wait."""
        bucket = self._bucket(now)
        return bucket.wait(now) if bucket is not None else 0.0

    def accepted(self, now: float) -> None:
        """Count an accepted connection for ``accept_rate``, even if it is then refused."""
        bucket = self._bucket(now)
        if bucket is not None:
            bucket.take(now)

    def _bucket(self, now: float) -> Bucket | None:
        rate = self.limits.accept_rate
        if rate is not None and self._overall is None:
            # It holds the tokens of one second: a burst of that size passes at once, after a quiet second.
            self._overall = Bucket(rate, rate, now)
        return self._overall

    def waited(self, age: float) -> Refusal | None:
        """Return the refusal of a connection that was silent in the accept queue for ``age`` seconds, or None."""
        most = self.limits.max_queue_age
        if most is None or age <= most:
            return None
        text = (
            f"its last octet, or its handshake, was {age:.1f} s ago in the accept queue, "
            f"no more than {most:g} s are allowed"
        )
        return Refusal("max_queue_age", text)

    def admit(self, ip: str | None, now: float) -> Refusal | None:
        """Admit and count a peer (None), or return the refusal."""
        if ip is None:
            return None
        refusal = self._listed(ip) or self._too_many(ip) or self._too_fast(ip, now)
        if refusal is None:
            self.by_address[ip] = self.by_address.get(ip, 0) + 1
            if self.limits.max_connections_per_network is not None:
                self._by_network[self._network_of(ip)] += 1
        return refusal

    def leave(self, ip: str | None) -> None:
        """Stop counting an admitted peer: its connection has ended."""
        if ip is None:
            return
        decrement(self.by_address, ip)
        if self.limits.max_connections_per_network is not None:
            decrement(self._by_network, self._network_of(ip))

    def recount(self, here: Iterable[str | None]) -> None:
        """Count the open connections again, in place of what :meth:`admit` and :meth:`leave` have counted."""
        self.by_address.clear()
        self.by_address.update(Counter(ip for ip in here if ip is not None))
        self._count_networks()

    def _count_networks(self) -> None:
        self._by_network.clear()
        if self.limits.max_connections_per_network is not None:
            for ip, count in self.by_address.items():
                self._by_network[self._network_of(ip)] += count

    def count(self, ip: str) -> int:
        """Return the number of open connections from this address."""
        return self.by_address.get(ip, 0)

    def _network_of(self, ip: str) -> IpNetwork:
        return network_of(ip, self.limits.network_prefix_v4, self.limits.network_prefix_v6)

    def _listed(self, ip: str) -> Refusal | None:
        if not self._deny and not self._allow:
            return None
        address = _address(ip)
        denied = next((network for network in self._deny if address in network), None)
        if denied is not None:
            return Refusal("deny", f"{ip} is in {denied}, which is denied")
        if self._allow and not any(address in network for network in self._allow):
            allowed = len(self._allow)
            networks = f"the {allowed} networks that are" if allowed > 1 else f"{self._allow[0]}, the only one that is"
            return Refusal("allow", f"{ip} is not in {networks} allowed")
        return None

    def _too_many(self, ip: str) -> Refusal | None:
        limits = self.limits
        here, most = self.count(ip), limits.max_connections_per_address
        if most is not None and here >= most:
            return Refusal(
                "max_connections_per_address", f"{ip} has {here} connections, no more than {most} are allowed"
            )
        most = limits.max_connections_per_network
        if most is None:
            return None
        network = self._network_of(ip)
        here = self._by_network[network]
        if here >= most:
            return Refusal(
                "max_connections_per_network", f"{network} has {here} connections, no more than {most} are allowed"
            )
        return None

    def _too_fast(self, ip: str, now: float) -> Refusal | None:
        if self._rates is None:
            return None
        # By network: one machine can use every address of its IPv6 network, and would get a new rate with each.
        bucket = self._rates.entry(str(network_of(ip, 32, self.limits.network_prefix_v6)), now)
        if bucket.wait(now):
            text = f"{ip} connects more than {bucket.rate:g} times a second"
            return Refusal("accept_rate_per_address", text)
        bucket.take(now)
        return None


def _address(ip: str) -> IpAddress:
    return ipaddress.ip_address(ip.partition("%")[0])


def decrement(counts: dict[T, int], key: T) -> None:
    count = counts.get(key, 0) - 1
    if count > 0:
        counts[key] = count
    else:
        counts.pop(key, None)
