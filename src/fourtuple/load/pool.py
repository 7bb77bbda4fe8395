"""The requests that a process may still send."""

from __future__ import annotations


class Pool:
    """The requests that this process may still send."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left: int = left

    def take(self, wanted: int) -> int:
        """Take at most ``wanted`` of them; return how many."""
        taken = min(wanted, self.left)
        self.left -= taken
        return taken

    def put(self, count: int) -> None:
        """Return requests that were taken and not used."""
        self.left += count


class Closed(Pool):
    """A pool that stays empty, even when requests are returned."""

    __slots__ = ()

    def put(self, count: int) -> None:
        pass
