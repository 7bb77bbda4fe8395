"""Throttles: what holds one connection, and all of one address, to their rates. Pure: clock and lock are arguments.

A rate bounds what is *delivered*. A stream asks its throttle before it decodes and before it reads::

    read:    octets(most)   -> how many octets may be read now     received(count) pays for them
    decode:  messages(most) -> how many messages may be had now    delivered(count) pays for them

Zero means: not now. What was read and may not be delivered yet waits in the decoder, reading stops, and TCP's own
flow control slows the peer down. When there are tokens again, the throttle's owner is told, and goes on.

One connection waits for its own bucket by the clock. The connections of one address share a bucket, and must not take
each other's turn: who is denied stands in line, and as tokens come they are reserved for those in front.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import islice

from fourtuple.options import Limits
from fourtuple.rates import MAX_REMEMBERED, Bucket, Table

#: Those of one address who are asked in one look: each takes a handler's time.
MOST_TURNS = 512

Lock = AbstractContextManager[object]


class OwnRate(Bucket):
    """A connection's own bucket, which knows for how long it has been too little."""

    __slots__ = ("over_since",)

    def __init__(self, rate: float, now: float) -> None:
        super().__init__(rate, rate, now)
        #: Since when the connection has been above its rate, without one moment of quiet; None while it is not.
        self.over_since: float | None = None

    def allowed(self, most: int, now: float) -> int:
        """How many of ``most`` there may be now."""
        if self.full(now):
            self.over_since = None  # A second of quiet: whatever was, is forgiven.
        allowed = min(most, self.available(now))
        if not allowed and self.over_since is None:
            self.over_since = now
        return allowed


class SharedRate:
    """The bucket of one address. Threads use it, too: everything is done under the lock.

    ``crowded`` is where it is entered while somebody waits; whoever looks after that calls :meth:`serve`.
    """

    __slots__ = ("_bucket", "_crowded", "_lock", "_reserved", "_waiting")

    def __init__(self, rate: float, now: float, lock: Lock, crowded: dict[SharedRate, None]) -> None:
        self._bucket = Bucket(rate, rate, now)
        self._lock = lock
        self._crowded = crowded
        self._waiting: dict[Throttle, None] = {}
        self._reserved: dict[Throttle, int] = {}

    def allowed(self, throttle: Throttle, most: int, now: float) -> int:
        """How many of ``most`` a connection may have now; with 0 it stands in line."""
        with self._lock:
            reserved = self._reserved.get(throttle)
            if reserved is not None:
                return min(most, reserved)
            if not self._waiting:
                allowed = min(most, self._bucket.available(now))
                if allowed:
                    return allowed
            self._waiting[throttle] = None
            self._crowded[self] = None
            return 0

    def take(self, throttle: Throttle, count: int, now: float) -> None:
        """A connection had so many: of what was reserved for it, where something was; the rest is given back."""
        with self._lock:
            self._bucket.give_back(self._reserved.pop(throttle, 0))
            self._bucket.take(now, count)

    def give_back(self, count: int) -> None:
        """A connection had so many and did not keep them."""
        with self._lock:
            self._bucket.give_back(count)

    def forget(self, throttle: Throttle) -> None:
        """A connection has gone, or does not want any."""
        with self._lock:
            self._waiting.pop(throttle, None)
            self._bucket.give_back(self._reserved.pop(throttle, 0))

    def serve(self, now: float) -> None:
        """Let those who wait go on, in the order in which they came, a share each, while tokens last."""
        left = min(len(self._waiting), MOST_TURNS)
        while left > 0 and (chosen := self._reserve(left, now)):
            left -= len(chosen)
            for throttle in chosen:
                if throttle.on_turn():
                    self._settle(throttle)
        with self._lock:
            if not self._waiting:
                self._crowded.pop(self, None)

    def _reserve(self, most: int, now: float) -> list[Throttle]:
        with self._lock:
            there = self._bucket.available(now)
            count = min(most, len(self._waiting), there)
            if not count:
                return []
            chosen = list(islice(self._waiting, count))
            for throttle in chosen:
                del self._waiting[throttle]
                self._reserved[throttle] = there // count
            self._bucket.take(now, there // count * count)
            return chosen

    def _settle(self, throttle: Throttle) -> None:
        """A connection has had its turn: what it did not need is given back."""
        with self._lock:
            self._bucket.give_back(self._reserved.pop(throttle, 0))

    def as_new(self, now: float) -> bool:
        """Whether nobody owes anything."""
        return not self._waiting and not self._reserved and self._bucket.full(now)


class AddressRate:
    """The rates of one address, for all its connections together."""

    __slots__ = ("messages", "octets", "users")

    def __init__(self, messages: SharedRate | None, octets: SharedRate | None) -> None:
        self.messages = messages
        self.octets = octets
        #: Connections that are here.
        self.users = 0

    def as_new(self, now: float) -> bool:
        """Whether nobody is here, and nothing is owed."""
        rates = (self.messages, self.octets)
        return not self.users and all(rate is None or rate.as_new(now) for rate in rates)


class AddressRates:
    """The rates of all addresses. An address that comes back finds its rate as it left it."""

    def __init__(self, limits: Limits, max_connections: int, new_lock: Callable[[], Lock]) -> None:
        self._limits = limits
        self._new_lock = new_lock
        self._crowded: dict[SharedRate, None] = {}
        # Those who are here are never forgotten, and are not in the way of those who are to be remembered.
        self._table = Table(self._make, AddressRate.as_new, MAX_REMEMBERED + max_connections)

    def _make(self, now: float) -> AddressRate:
        def shared(rate: float | None) -> SharedRate | None:
            return None if rate is None else SharedRate(rate, now, self._new_lock(), self._crowded)

        limits = self._limits
        return AddressRate(shared(limits.max_message_rate_per_address), shared(limits.max_octet_rate_per_address))

    def enter(self, key: str, now: float) -> AddressRate:
        """A connection of this address has come."""
        rate = self._table.entry(key, now)
        rate.users += 1
        return rate

    def look(self, now: float) -> None:
        """Let those who wait for their address go on."""
        for rate in list(self._crowded):
            rate.serve(now)


class Throttle:
    """Holds one connection to its own rates, and to those of its address: a second's worth at once, then the rate.

    Parameters
    ----------
    limits
        Where the rates stand.
    clock
        The time, in seconds.
    on_wait
        Called with the moment at which there will be a token, when there is none; infinity for one that stands in line.
    on_turn
        Called when a connection that stands in line may go on; returns whether it has done so. A thread goes on by
        itself, later.
    """

    __slots__ = (
        "_address",
        "_clock",
        "_messages",
        "_octets",
        "_on_wait",
        "_shared_messages",
        "_shared_octets",
        "on_turn",
        "rates",
        "thirsty",
        "until",
    )

    def __init__(
        self,
        limits: Limits,
        clock: Callable[[], float],
        on_wait: Callable[[float], None],
        on_turn: Callable[[], bool],
    ) -> None:
        #: The connection's own rates.
        self.rates = own_rates(limits)
        self._clock = clock
        self._on_wait = on_wait
        self.on_turn = on_turn
        messages, octets = self.rates
        self._messages = OwnRate(messages, clock()) if messages is not None else None
        self._octets = OwnRate(octets, clock()) if octets is not None else None
        self._address: AddressRate | None = None
        self._shared_messages: SharedRate | None = None
        self._shared_octets: SharedRate | None = None
        #: Whether the last look found that no octet may be read.
        self.thirsty = False
        #: When there is a token again, as was found at the last look.
        self.until = -math.inf

    @property
    def over_since(self) -> float | None:
        """Since when the connection has been above one of its own rates, without a second of quiet."""
        over = [rate.over_since for rate in (self._messages, self._octets) if rate is not None]
        return min((since for since in over if since is not None), default=None)

    def join(self, address: AddressRate | None) -> None:
        """The connection is one of this address, and of no other."""
        if self._address is not None:
            self._address.users -= 1
        for rate in (self._shared_messages, self._shared_octets):
            if rate is not None:
                rate.forget(self)
        self._address = address
        self._shared_messages = None if address is None else address.messages
        self._shared_octets = None if address is None else address.octets

    # -- messages -----------------------------------------------------------------------------------------

    def messages(self, most: int) -> int:
        """How many messages may be delivered now, at most ``most``."""
        return self._allowed(self._messages, self._shared_messages, most)

    def delivered(self, count: int) -> None:
        """So many were."""
        self._take(self._messages, self._shared_messages, count)

    def undelivered(self, count: int) -> None:
        """So many were delivered, and taken back unseen: they will come again."""
        if self._messages is not None:
            self._messages.give_back(count)
        if self._shared_messages is not None:
            self._shared_messages.give_back(count)

    # -- octets -------------------------------------------------------------------------------------------

    def octets(self, most: int) -> int:
        """How many octets may be read now, at most ``most``."""
        allowed = self._allowed(self._octets, self._shared_octets, most)
        self.thirsty = not allowed
        return allowed

    def received(self, count: int) -> None:
        """So many were read."""
        self._take(self._octets, self._shared_octets, count)

    # -- both ---------------------------------------------------------------------------------------------

    def _allowed(self, own: OwnRate | None, shared: SharedRate | None, most: int) -> int:
        now = self._clock()
        if own is not None:
            most = own.allowed(most, now)
            if not most:
                self._wait(now + own.wait(now))
                return 0
        if shared is not None:
            most = shared.allowed(self, most, now)
            if not most:
                self._wait(math.inf)
        return most

    def _take(self, own: OwnRate | None, shared: SharedRate | None, count: int) -> None:
        now = self._clock()
        if own is not None:
            own.take(now, count)
        if shared is not None:
            shared.take(self, count, now)

    def _wait(self, until: float) -> None:
        self.until = until
        self._on_wait(until)


def own_rates(limits: Limits) -> tuple[float | None, float | None]:
    """The rates of a connection alone: of messages, and of octets."""
    return limits.max_message_rate, limits.max_octet_rate


def address_rates(limits: Limits) -> tuple[float | None, float | None]:
    """The rates of an address: of messages, and of octets."""
    return limits.max_message_rate_per_address, limits.max_octet_rate_per_address


def throttles(limits: Limits) -> bool:
    """Whether there is any rate."""
    return any(rate is not None for rate in (*own_rates(limits), *address_rates(limits)))
