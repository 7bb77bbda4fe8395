"""Which rates apply to the connections of a server: those of each connection, and those of its address."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock

from fourtuple.address import network_of
from fourtuple.engine import Channel, throttle
from fourtuple.options import Limits
from fourtuple.rates.throttle import AddressRate, AddressRates, address_rates, throttles
from fourtuple.serving.admission import ip_of


class Throttling:
    """Throttles a server's connections, by the limits in force."""

    def __init__(self) -> None:
        self._limits = Limits()
        self._addresses: AddressRates | None = None

    @property
    def on(self) -> bool:
        """Whether any rate is set."""
        return throttles(self._limits)

    def change(
        self, limits: Limits, max_connections: int, named: Iterable[Channel], unnamed: Iterable[Channel]
    ) -> None:
        """Put other limits in force, also for open connections.

        ``unnamed`` are connections whose PROXY header has not come yet. When the rates of addresses change, their
        counts begin again.
        """
        before, self._limits = self._limits, limits
        if _of_addresses(before) != _of_addresses(limits) or (self._addresses is None and self._has_addresses):
            self._addresses = AddressRates(limits, max_connections, Lock) if self._has_addresses else None
        if self.on or throttles(before):
            # The limits of a stream: the connection may have changed some for itself.
            for channel in named:
                throttle(channel, channel.stream.limits, self._address_of(channel))
            for channel in unnamed:
                throttle(channel, channel.stream.limits, None)

    @property
    def _has_addresses(self) -> bool:
        return address_rates(self._limits) != (None, None)

    def begin(self, channel: Channel) -> None:
        """Throttle a new connection whose address a PROXY header will tell: only its own rates apply yet."""
        if self.on:
            throttle(channel, self._limits, None)

    def join(self, channel: Channel) -> None:
        """Throttle a connection whose name is that of its client."""
        if self.on:
            throttle(channel, self._limits, self._address_of(channel))

    def leave(self, channel: Channel) -> None:
        """Remove a connection that has ended."""
        if channel.stream.throttle is not None:
            channel.stream.throttle.join(None)

    def look(self, now: float) -> None:
        """Let connections go on that waited for a rate of their address, if there are tokens again."""
        if self._addresses is not None:
            self._addresses.look(now)

    def _address_of(self, channel: Channel) -> AddressRate | None:
        ip = ip_of(channel.name)
        if self._addresses is None or ip is None:
            return None
        key = network_of(ip, 32, self._limits.network_prefix_v6)
        return self._addresses.enter(str(key), channel.engine.time())


def _of_addresses(limits: Limits) -> tuple[float | int | None, ...]:
    """Return the limits on which the rates of addresses depend."""
    return *address_rates(limits), limits.network_prefix_v6
