"""The requests that are left to a process."""

from __future__ import annotations


class Pool:
    """The requests that are left to this process."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, wanted: int) -> int:
        """At most ``wanted`` of them."""
        taken = min(wanted, self.left)
        self.left -= taken
        return taken

    def put(self, count: int) -> None:
        """Some that were taken, and not used."""
        self.left += count


class Closed(Pool):
    """Nothing is left, whatever comes back."""

    __slots__ = ()

    def put(self, count: int) -> None:
        pass
