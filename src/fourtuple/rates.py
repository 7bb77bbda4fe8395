"""Rates: a token bucket, and a bounded table of what is remembered of addresses. Pure: the clock is an argument."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

E = TypeVar("E")

#: Addresses that are remembered although nobody of them is here any more.
MAX_REMEMBERED = 10_000
#: With the table full, strangers share so many entries: enough that few share one, few enough to be no table.
SHARED_ENTRIES = 64
#: With the table full, entries that are as new are looked for this often: each look is at all of them.
LOOK_SECONDS = 0.25
#: What is lost to rounding when a bucket is filled a thousand times a second.
_ROUNDING = 1e-6


class Bucket:
    """A token bucket: ``rate`` tokens a second, at most ``burst`` of them saved up."""

    __slots__ = ("_burst", "_rate", "_since", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = max(1.0, burst)
        self._tokens = self._burst
        self._since = now

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self._rate

    def wait(self, now: float) -> float:
        """Seconds until a whole token is there; 0 when one is there now."""
        self._fill(now)
        return 0.0 if self._tokens + _ROUNDING >= 1 else (1 - self._tokens) / self._rate

    def available(self, now: float) -> int:
        """Whole tokens that are there now."""
        self._fill(now)
        return max(0, int(self._tokens + _ROUNDING))

    def full(self, now: float) -> bool:
        """Whether all that can be saved up is there: nothing was taken for a while."""
        self._fill(now)
        return self._tokens >= self._burst

    def take(self, now: float, tokens: float = 1.0) -> None:
        """Take tokens, into debt if need be."""
        self._fill(now)
        self._tokens -= tokens

    def give_back(self, tokens: float) -> None:
        """Put back what was taken and not needed."""
        self._tokens = min(self._burst, self._tokens + tokens)

    def _fill(self, now: float) -> None:
        if now > self._since:
            self._tokens = min(self._burst, self._tokens + (now - self._since) * self._rate)
            self._since = now


class Table(Generic[E]):
    """One entry for each key, in bounded memory, that whoever has an entry cannot get rid of.

    An entry that is ``as_new(entry, now)`` is the same as a fresh one: such entries alone are dropped. With ``most``
    entries and none to drop, strangers share a few common ones, chosen by a hash that no peer knows: forgetting the
    one that was quiet for longest, as a cache does, would let a peer with many addresses reset himself.
    """

    __slots__ = ("_as_new", "_entries", "_looked", "_make", "_shared", "most")

    def __init__(
        self, make: Callable[[float], E], as_new: Callable[[E, float], bool], most: int = MAX_REMEMBERED
    ) -> None:
        self._make = make
        self._as_new = as_new
        self._entries: dict[Hashable, E] = {}
        self._shared: dict[Hashable, E] = {}
        self._looked = -math.inf
        #: The most entries that are kept, without the common ones.
        self.most = most

    def __len__(self) -> int:
        return len(self._entries)

    def entry(self, key: Hashable, now: float) -> E:
        """The entry of a key, a new one where there is none."""
        found = self._entries.get(key)
        if found is not None:
            return found
        if len(self._entries) >= self.most:
            self._forget(now)
            if len(self._entries) >= self.most:
                place = hash(key) % SHARED_ENTRIES
                if place not in self._shared:
                    self._shared[place] = self._make(now)
                return self._shared[place]
        made = self._entries[key] = self._make(now)
        return made

    def _forget(self, now: float) -> None:
        """Drop the entries that are as new."""
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        for entries in (self._entries, self._shared):
            for key in [key for key, entry in entries.items() if self._as_new(entry, now)]:
                del entries[key]
