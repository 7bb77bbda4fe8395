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
        "attempts in all, each over all addresses",
        unit="attempts",
        reason="one: an error shows at once, who wants patience says so",
        minimum=1,
    )
    delay: float = option(
        0.1,
        "before the second attempt; doubled before each further one",
        unit="seconds",
        reason="a restart takes about that",
        minimum=0,
    )
    max_delay: float = option(
        10.0,
        "the longest pause between two attempts",
        unit="seconds",
        reason="a server that is back is found soon",
        minimum=0,
    )
    jitter: float = option(
        0.5,
        "the random share of each pause, 0 to 1",
        reason="a thousand clients of a restarted server do not return at the same instant",
        minimum=0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.jitter > 1:
            raise OptionError(f"jitter: {self.jitter!r} given, it is a share, at most 1")

    def pause(self, attempt: int, chance: float) -> float:
        """Seconds to wait after failed attempt number ``attempt`` (1 is the first); ``chance`` is in [0, 1)."""
        # The exponent is bounded: after many attempts, the power of two would overflow a float.
        full: float = min(self.max_delay, self.delay * 2.0 ** min(attempt - 1, 64))
        return full * (1 - self.jitter * chance)

    if TYPE_CHECKING:

        def replace(self, **changes: Unpack[ReconnectChanges]) -> Self: ...  # type: ignore[override]
