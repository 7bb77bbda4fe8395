"""PURE: durations, sizes and rates as people read them."""

from __future__ import annotations

from collections.abc import Sequence

_SECONDS = (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3))
#: Eighths of a cell.
_BARS = "▁▂▃▄▅▆▇█"
_OCTETS = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


def seconds(value: float) -> str:
    """Write a duration: ``3.2 ms``, ``45 s``, ``2.5 min``."""
    for unit, size in _SECONDS:
        if value >= size:
            return f"{_digits(value / size)} {unit}"
    return f"{round(value * 1e6)} us"


def octets(value: float) -> str:
    """Write a number of octets: ``512 octets``, ``1.5 KiB``."""
    for unit, size in _OCTETS:
        if value >= size:
            return f"{_digits(value / size)} {unit}"
    return f"{value:.0f} octet{'' if value == 1 else 's'}"


def short_octets(value: float) -> str:
    """Write a number of octets for a column: ``512``, ``1.5K``, ``20M``."""
    for unit, size in _OCTETS:
        if value >= size:
            return f"{_digits(value / size)}{unit[0]}"
    return f"{value:.0f}"


def rate(value: float) -> str:
    """Write octets a second for a column: ``1.5M/s``."""
    return f"{short_octets(value)}/s"


def short_seconds(value: float) -> str:
    """Write a duration for a column: ``3.2ms``."""
    return seconds(value).replace(" ", "")


def bars(values: Sequence[float | None]) -> str:
    """Draw numbers as bars, from 0 to the largest; ``x`` where there is none."""
    highest = max((each for each in values if each is not None), default=0.0)
    return "".join("x" if each is None else _BARS[_eighth(each, highest)] for each in values)


def _eighth(value: float, highest: float) -> int:
    return min(len(_BARS) - 1, int(value / highest * len(_BARS))) if highest else 0


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}".removesuffix(".0")
