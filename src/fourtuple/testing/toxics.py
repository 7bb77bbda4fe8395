"""What a simulated network does to the octets of one direction."""

from __future__ import annotations

import dataclasses

from fourtuple.errors import OptionError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Toxics:
    """What happens to the octets of one direction; by default nothing. Units are seconds and octets.

    Raises :class:`~fourtuple.errors.OptionError` for a value out of range.
    """

    #: Seconds by which each octet is delayed.
    latency: float = 0.0
    #: The most seconds of an additional random delay. The order of octets is kept.
    jitter: float = 0.0
    #: The most octets per second; None means no bound.
    bandwidth: float | None = None
    #: The most octets in one segment; None means no bound.
    slice: int | None = None
    #: Nothing arrives, also no end of file, until this is False again; then everything arrives.
    silent: bool = False
    #: After this many octets of this direction, send RST to both ends.
    reset_after: int | None = None
    #: After this many, send FIN; later octets are discarded. The other direction continues.
    half_close_after: int | None = None
    #: After this many, send FIN in both directions.
    close_after: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("latency", 0), ("jitter", 0), ("slice", 1)):
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise OptionError(f"{name} is {value!r}, it must be at least {least}")
        if self.bandwidth is not None and not self.bandwidth > 0:
            raise OptionError(f"bandwidth is {self.bandwidth!r}, it must be above 0; silent=True lets nothing pass")
        for name in ("reset_after", "half_close_after", "close_after"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise OptionError(f"{name} is {value!r}, it must be at least 0")
