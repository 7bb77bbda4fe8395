"""Options for repeated attempts to connect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, Unpack

from fourtuple.errors import OptionError
from fourtuple.options.declaring import Options, option

if TYPE_CHECKING:
    from fourtuple.options.changes import ReconnectChanges


@dataclass(frozen=True, kw_only=True)
class Reconnect(Options):
    """How often a client tries to connect, and how long it waits between attempts."""

    attempts: int = option(
        1,
        "the number of attempts; each one tries all addresses",
        unit="attempts",
        reason="one: an error is raised at once; ask for more if you want to wait for a server",
        minimum=1,
    )
    """The number of attempts; each one tries all addresses. Default: 1 (one: an error is raised at once; ask for more
    if you want to wait for a server).
    """
    delay: float = option(
        0.1,
        "the pause before the second attempt; doubled before each further one",
        unit="seconds",
        reason="about the time of a restart",
        minimum=0,
    )
    """The pause before the second attempt; doubled before each further one, in seconds. Default: 0.1 (about the time of
    a restart).
    """
    max_delay: float = option(
        10.0,
        "the longest pause between two attempts",
        unit="seconds",
        reason="a server that is up again is found soon",
        minimum=0,
    )
    """The longest pause between two attempts, in seconds. Default: 10 (a server that is up again is found soon)."""
    jitter: float = option(
        0.5,
        "the share of each pause that is random, 0 to 1",
        reason="otherwise a thousand clients of a restarted server would return at the same instant",
        minimum=0,
    )
    """The share of each pause that is random, 0 to 1. Default: 0.5 (otherwise a thousand clients of a restarted server
    would return at the same instant).
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.jitter > 1:
            raise OptionError(f"jitter: expected a share, at most 1, got {self.jitter!r}")

    def pause(self, attempt: int, chance: float) -> float:
        """Return the seconds to wait after failed attempt ``attempt``: 1 is the first. ``chance`` is in [0, 1)."""
        # The exponent is bounded: after many attempts, the power of two would overflow a float.
        full: float = min(self.max_delay, self.delay * 2.0 ** min(attempt - 1, 64))
        return full * (1 - self.jitter * chance)

    if TYPE_CHECKING:

        def replace(self, **changes: Unpack[ReconnectChanges]) -> Self: ...  # type: ignore[override]
