"""Throttles: they hold connections to the rates of each connection and each address. Clock and lock are arguments.

A rate bounds what is *delivered*. A stream asks its throttle before it decodes and before it reads::

    read:    octets(most)   -> how many octets may be read now           received(count) takes the tokens
    decode:  messages(most) -> how many messages may be delivered now    delivered(count) takes the tokens

Zero means: not now. Octets that were read and may not be delivered yet stay in the decoder. Reading stops, and TCP's
flow control slows the peer down. When there are tokens again, the throttle's owner is called, and goes on.

A connection waits for its own bucket by the clock. The connections of one address share a bucket, and must not take
each other's turn: a connection that gets no tokens waits in a queue, and new tokens are reserved for those in front.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import islice

from fourtuple.options import Limits
from fourtuple.rates.token_bucket import MAX_REMEMBERED, Bucket, Table

#: The most connections of one address that get a turn in one check: each may take a handler's time.
MOST_TURNS = 512

Lock = AbstractContextManager[object]


class OwnRate(Bucket):
    """The bucket of one connection. It also records since when the connection has been above its rate."""

    __slots__ = ("over_since",)

    def __init__(self, rate: float, now: float) -> None:
        super().__init__(rate, rate, now)
        #: Since when the connection has been above its rate, without a second of silence; None while it is not.
        self.over_since: float | None = None

    def allowed(self, most: int, now: float) -> int:
        """Return how many of ``most`` are allowed now."""
        if self.full(now):
            self.over_since = None  # The bucket fills in a second of silence: then the count begins again.
        allowed = min(most, self.available(now))
        if not allowed and self.over_since is None:
            self.over_since = now
        return allowed


class SharedRate:
    """The bucket of one address. Several threads use it, so all work is done under the lock.

    While connections wait, the bucket is in ``crowded``, whose owner calls :meth:`serve`.
    """

    __slots__ = ("_bucket", "_crowded", "_lock", "_reserved", "_waiting")

    def __init__(self, rate: float, now: float, lock: Lock, crowded: dict[SharedRate, None]) -> None:
        self._bucket = Bucket(rate, rate, now)
        self._lock = lock
        self._crowded = crowded
        self._waiting: dict[Throttle, None] = {}
        self._reserved: dict[Throttle, int] = {}

    def allowed(self, throttle: Throttle, most: int, now: float) -> int:
        """Return how many of ``most`` a connection may have now; with 0 it is put into the queue."""
        with self._lock:
            reserved = self._reserved.get(throttle)
            if reserved is not None:
                return min(most, reserved)
            # Connections in the queue come first: a busy one that asks again and again would take every token before
            # them.
            if not self._waiting:
                allowed = min(most, self._bucket.available(now))
                if allowed:
                    return allowed
            self._waiting[throttle] = None
            self._crowded[self] = None
            return 0

    def take(self, throttle: Throttle, count: int, now: float) -> None:
        """Take tokens for a connection, from those reserved for it, if any; return unused ones to the bucket."""
        with self._lock:
            self._bucket.give_back(self._reserved.pop(throttle, 0))
            self._bucket.take(now, count)

    def give_back(self, count: int) -> None:
        """Put back tokens that a connection has taken and not used."""
        with self._lock:
            self._bucket.give_back(count)

    def forget(self, throttle: Throttle) -> None:
        """Forget a connection that has ended, or needs no tokens."""
        with self._lock:
            self._waiting.pop(throttle, None)
            self._bucket.give_back(self._reserved.pop(throttle, 0))

    def serve(self, now: float) -> None:
        """Let waiting connections go on, first come, first served, each with a share, while there are tokens."""
        # Those that come back into the queue in their turn wait for the next look, or this loop might never end.
        left = min(len(self._waiting), MOST_TURNS)
        while left > 0 and (chosen := self._reserve(left, now)):
            left -= len(chosen)
            for throttle in chosen:
                # Without the lock: the connection's turn asks for its tokens, and may wake a thread that asks as well.
                if throttle.on_turn():
                    self._return_unused(throttle)
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

    def _return_unused(self, throttle: Throttle) -> None:
        """Return the tokens that a connection did not use in its turn."""
        with self._lock:
            self._bucket.give_back(self._reserved.pop(throttle, 0))

    def as_new(self, now: float) -> bool:
        """Return whether the bucket is full, and no connection waits or has reserved tokens."""
        return not self._waiting and not self._reserved and self._bucket.full(now)


class AddressRate:
    """The rates of one address, for all its connections together."""

    __slots__ = ("messages", "octets", "users")

    def __init__(self, messages: SharedRate | None, octets: SharedRate | None) -> None:
        self.messages: SharedRate | None = messages
        self.octets: SharedRate | None = octets
        #: The number of open connections from this address.
        self.users: int = 0

    def as_new(self, now: float) -> bool:
        """Return whether no connection is open, and all buckets are as new."""
        rates = (self.messages, self.octets)
        return not self.users and all(rate is None or rate.as_new(now) for rate in rates)


class AddressRates:
    """The rates of all addresses. They are remembered when an address has no open connection."""

    def __init__(self, limits: Limits, max_connections: int, new_lock: Callable[[], Lock]) -> None:
        self._limits = limits
        self._new_lock = new_lock
        self._crowded: dict[SharedRate, None] = {}
        # Addresses with open connections are never dropped. The size leaves room for MAX_REMEMBERED others.
        self._table = Table(self._make, AddressRate.as_new, MAX_REMEMBERED + max_connections)

    def _make(self, now: float) -> AddressRate:
        def shared(rate: float | None) -> SharedRate | None:
            return None if rate is None else SharedRate(rate, now, self._new_lock(), self._crowded)

        limits = self._limits
        return AddressRate(shared(limits.max_message_rate_per_address), shared(limits.max_octet_rate_per_address))

    def enter(self, key: str, now: float) -> AddressRate:
        """Return the rates of an address, for one more connection."""
        rate = self._table.entry(key, now)
        rate.users += 1
        return rate

    def look(self, now: float) -> None:
        """Let connections go on that wait for a rate of their address."""
        for rate in list(self._crowded):
            rate.serve(now)


class Throttle:
    """Holds one connection to its own rates, and to those of its address. A burst may have the tokens of one second.

    Parameters
    ----------
    limits
        The limits with the rates.
    clock
        Returns the time, in seconds.
    on_wait
        Called, if there is no token, with the moment of the next one; infinity if the connection waits in the queue.
    on_turn
        Called when a connection in the queue may go on; returns whether it has done so. A thread goes on later, by
        itself.
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
        self.rates: tuple[float | None, float | None] = own_rates(limits)
        self._clock = clock
        self._on_wait = on_wait
        self.on_turn: Callable[[], bool] = on_turn
        messages, octets = self.rates
        self._messages = OwnRate(messages, clock()) if messages is not None else None
        self._octets = OwnRate(octets, clock()) if octets is not None else None
        self._address: AddressRate | None = None
        self._shared_messages: SharedRate | None = None
        self._shared_octets: SharedRate | None = None
        #: Whether the last call of octets() allowed none.
        self.thirsty: bool = False
        #: When there will be a token again, from the last check that found none.
        self.until: float = -math.inf

    @property
    def over_since(self) -> float | None:
        """Since when the connection has been above one of its own rates, without a second of silence; None if not."""
        over = [rate.over_since for rate in (self._messages, self._octets) if rate is not None]
        return min((since for since in over if since is not None), default=None)

    def join(self, address: AddressRate | None) -> None:
        """Count the connection for this address, and for no other one; None for no address."""
        if self._address is not None:
            self._address.users -= 1
        for rate in (self._shared_messages, self._shared_octets):
            if rate is not None:
                rate.forget(self)
        self._address = address
        self._shared_messages = None if address is None else address.messages
        self._shared_octets = None if address is None else address.octets

    # -- messages -----------------------------------------------------------------------------------------

    def leave_to_next(self) -> AddressRate | None:
        """Return the address's rates for :meth:`join` of this throttle again, or of the next one of its connection."""
        if self._address is not None:
            self._address.users += 1
        return self._address

    def messages(self, most: int) -> int:
        """Return how many messages may be delivered now, at most ``most``."""
        return self._allowed(self._messages, self._shared_messages, most)

    def delivered(self, count: int) -> None:
        """Take the tokens for messages that were delivered."""
        self._take(self._messages, self._shared_messages, count)

    def undelivered(self, count: int) -> None:
        """Put back the tokens of messages that were delivered and taken back unread: they will be delivered again."""
        if self._messages is not None:
            self._messages.give_back(count)
        if self._shared_messages is not None:
            self._shared_messages.give_back(count)

    # -- octets -------------------------------------------------------------------------------------------

    def octets(self, most: int) -> int:
        """Return how many octets may be read now, at most ``most``."""
        allowed = self._allowed(self._octets, self._shared_octets, most)
        self.thirsty = not allowed
        return allowed

    def received(self, count: int) -> None:
        """Take the tokens for octets that were read."""
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
    """Return the rates of one connection: of messages, and of octets."""
    return limits.max_message_rate, limits.max_octet_rate


def address_rates(limits: Limits) -> tuple[float | None, float | None]:
    """Return the rates of an address: of messages, and of octets."""
    return limits.max_message_rate_per_address, limits.max_octet_rate_per_address


def throttles(limits: Limits) -> bool:
    """Return whether any rate is set."""
    return any(rate is not None for rate in (*own_rates(limits), *address_rates(limits)))
