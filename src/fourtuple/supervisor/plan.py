"""PURE: which slots get new connections, and when a worker is replaced."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of one slot."""

    slot: int
    #: A worker serves here.
    ready: bool
    #: It answers the supervisor in time.
    responsive: bool = True
    #: It does not accept: it is at a limit, or was suspended.
    full: bool = False
    #: The slot is being removed.
    leaving: bool = False


def routable(standings: Iterable[Standing]) -> frozenset[int]:
    """Return the slots that get new connections.

    These are the ones whose worker accepts. If there are none, those whose worker may accept again; without these, all
    slots: connections wait in the accept queues for the workers to come.
    """
    staying = [each for each in standings if not each.leaving]
    ready = [each for each in staying if each.ready]
    for found in (
        [each for each in ready if each.responsive and not each.full],
        [each for each in ready if each.responsive],
        ready,
        staying,
    ):
        if found:
            return frozenset(each.slot for each in found)
    return frozenset()


@dataclass(frozen=True, slots=True)
class Lifetime:
    """When one worker is replaced by a fresh one: after this many messages, or this many seconds; None for never."""

    messages: float | None
    seconds: float | None

    @classmethod
    def drawn(cls, messages: int | None, seconds: float | None, jitter: float, chance: float) -> Lifetime:
        """Return the lifetime of one worker, longer or shorter by up to the share ``jitter``.

        ``chance`` is a random number from 0 to 1. Without jitter, workers that began together would end together.
        """
        factor = 1 + jitter * (2 * chance - 1)
        return cls(*(None if limit is None else limit * factor for limit in (messages, seconds)))

    def over(self, messages: int, age: float) -> str:
        """Return why a worker is to be replaced now; empty while it is not."""
        if self.messages is not None and messages >= self.messages:
            return f"after {messages} messages"
        if self.seconds is not None and age >= self.seconds:
            return f"after {age:.0f} s"
        return ""
