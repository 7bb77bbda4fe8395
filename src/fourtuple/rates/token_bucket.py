"""Rates: a token bucket, and a bounded table of entries for addresses. Pure: the clock is an argument."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

E = TypeVar("E")

#: The most addresses without an open connection that are remembered.
MAX_REMEMBERED = 10_000
#: The number of entries that new addresses share when the table is full: enough that few share one, few in memory.
SHARED_ENTRIES = 64
#: Seconds between two searches for entries to drop when the table is full: each search checks all entries.
LOOK_SECONDS = 0.25
#: The rounding error when a bucket is filled a thousand times a second.
_ROUNDING = 1e-6


class Bucket:
    """A token bucket: it gets ``rate`` tokens a second, and holds at most ``burst``."""

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
        """Return the seconds until the bucket has a whole token; 0 if it has one now."""
        self._fill(now)
        return 0.0 if self._tokens + _ROUNDING >= 1 else (1 - self._tokens) / self._rate

    def available(self, now: float) -> int:
        """Return the number of whole tokens in the bucket now."""
        self._fill(now)
        return max(0, int(self._tokens + _ROUNDING))

    def full(self, now: float) -> bool:
        """Return whether the bucket is full: nothing was taken for a while."""
        self._fill(now)
        return self._tokens >= self._burst

    def take(self, now: float, tokens: float = 1.0) -> None:
        """Take tokens. The bucket may go into debt."""
        self._fill(now)
        self._tokens -= tokens

    def give_back(self, tokens: float) -> None:
        """Put back tokens that were taken and not needed."""
        self._tokens = min(self._burst, self._tokens + tokens)

    def _fill(self, now: float) -> None:
        if now > self._since:
            self._tokens = min(self._burst, self._tokens + (now - self._since) * self._rate)
            self._since = now


class Table(Generic[E]):
    """One entry for each key, in bounded memory; a peer cannot cause its entry to be dropped.

    Only entries for which ``as_new(entry, now)`` is true are dropped: they equal new ones. If there are ``most``
    entries and none can be dropped, new keys share a few common entries, chosen by a hash that peers cannot know. A
    cache would drop the entry that was unused for longest; a peer with many addresses could reset its rates so.
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
        #: The most entries, not counting the shared ones.
        self.most: int = most

    def __len__(self) -> int:
        return len(self._entries)

    def entry(self, key: Hashable, now: float) -> E:
        """Return the entry of a key; make it if there is none."""
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
        """Drop the entries that equal new ones."""
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        for entries in (self._entries, self._shared):
            for key in [key for key, entry in entries.items() if self._as_new(entry, now)]:
                del entries[key]
