"""Toxics: what a relay does to the octets of one direction. Plain values; :mod:`fourtuple.relay.flow` obeys them."""

from __future__ import annotations

import dataclasses

from fourtuple.errors import OptionError
from fourtuple.options import by_keyword, check_kind, check_type, seen
from fourtuple.options.checking import LARGEST


@by_keyword()
@dataclasses.dataclass(frozen=True, kw_only=True)
class Toxics:
    """What happens to the octets of one direction; by default nothing. Units are seconds and octets.

    Probabilities are from 0 to 1. Raises :class:`~fourtuple.errors.OptionError` for a value out of range.
    """

    #: Seconds by which each octet is delayed.
    latency: float = 0.0
    #: The most seconds of an additional random delay. The order of octets is kept.
    jitter: float = 0.0
    #: The most octets per second; None means no bound.
    bandwidth: float | None = None
    #: The most octets in one segment; None means no bound.
    slice: int | None = None
    #: The most octets by which the size of a segment differs from ``slice``, at random.
    slice_variation: int = 0
    #: Seconds between two segments of ``slice``.
    slice_delay: float = 0.0
    #: Nothing arrives, not even an end of file, until this is False again; then everything arrives.
    silent: bool = False
    #: After this many octets of this direction, send RST to both ends.
    reset_after: int | None = None
    #: After this many seconds of the conversation, send RST to both ends.
    reset_timeout: float | None = None
    #: After this many, send FIN; later octets are discarded. The other direction continues.
    half_close_after: int | None = None
    #: After this many, send FIN in both directions.
    close_after: int | None = None
    #: After this many seconds of the conversation, send FIN in both directions.
    close_timeout: float | None = None
    #: Seconds by which the FIN of this direction is delayed.
    finish_delay: float = 0.0
    #: After this many octets, the sender vanishes: its octets, its FIN and its RST arrive no more, and nothing is sent
    #: in their place. The connection stays open until the receiver ends it.
    half_open_after: int | None = None
    #: The probability that one bit of a message is changed.
    corrupt: float = 0.0
    #: The probability that a message arrives twice.
    duplicate: float = 0.0
    #: The probability that the next message overtakes a message. If none comes in time, the message goes on.
    reorder: float = 0.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            check_kind(field.name, value, str(field.type))
            if value is not None and value > LARGEST:
                raise OptionError(f"{field.name} is {seen(value)}, it must be no more than {LARGEST}")
        for name in ("latency", "jitter", "slice_variation", "slice_delay", "finish_delay"):
            _at_least(name, getattr(self, name), 0)
        _at_least("slice", self.slice, 1)
        if self.bandwidth is not None and not self.bandwidth > 0:
            raise OptionError(f"bandwidth is {self.bandwidth!r}, it must be above 0; silent=True lets nothing pass")
        for name in ("reset_after", "half_close_after", "close_after", "half_open_after"):
            _at_least(name, getattr(self, name), 0)
        for name in ("reset_timeout", "close_timeout"):
            _at_least(name, getattr(self, name), 0)
        for name in ("corrupt", "duplicate", "reorder"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"{name} is {getattr(self, name)!r}, it must be a probability, from 0 to 1")

    @property
    def by_message(self) -> bool:
        """Whether a toxic acts on whole messages."""
        return bool(self.corrupt or self.duplicate or self.reorder)


def check_toxics(name: str, value: object, *, optional: bool = True) -> None:
    """Raise OptionError for what is not a set of toxics."""
    check_type(name, value, Toxics, optional=optional, hint="Toxics(latency=0.2)")


def _at_least(name: str, value: float | None, least: int) -> None:
    if value is not None and not value >= least:
        raise OptionError(f"{name} is {value!r}, it must be at least {least}")
