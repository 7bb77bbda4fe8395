"""PURE: samples as lines of text, and as SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from fourtuple.care.running import Sample
from fourtuple.care.sentences import Event

_BARS = " ▁▂▃▄▅▆▇█"
#: What is drawn: its name, its unit, and where it stands.
SERIES: tuple[tuple[str, str, Callable[[Sequence[Sample], int], float]], ...] = (
    ("congestion window", "segments", lambda samples, at: samples[at].info.snd_cwnd),
    ("on the way", "segments", lambda samples, at: samples[at].info.unacked),
    ("receive window", "octets", lambda samples, at: samples[at].info.snd_wnd or 0),
    ("round trip", "ms", lambda samples, at: samples[at].info.rtt / 1000),
    ("sent again", "segments", lambda samples, at: _step(samples, at, lambda each: each.info.total_retrans)),
    ("arrived", "octets", lambda samples, at: _step(samples, at, lambda each: each.read)),
)
_NAME = 18
_COLOURS = ("#1f77b4", "#9467bd", "#2ca02c", "#8c564b", "#d62728", "#7f7f7f")


def _step(samples: Sequence[Sample], at: int, get: Callable[[Sample], int]) -> float:
    return get(samples[at]) - get(samples[at - 1]) if at else 0


def lines(samples: Sequence[Sample], width: int) -> list[str]:
    """Draw each series as a line of bars, from 0 to its largest value; the newest sample is at the right."""
    if not samples:
        return []
    room = max(10, width - _NAME - 22)
    first = max(0, len(samples) - room)
    drawn = []
    for name, unit, get in SERIES:
        values = [get(samples, at) for at in range(first, len(samples))]
        highest = max(values)
        bars = "".join(_BARS[_level(value, highest)] for value in values)
        shown = f"{values[-1]:>9,.0f}"
        one = unit.removesuffix("s") if shown.strip() == "1" and unit != "ms" else unit
        drawn.append(f"{name:{_NAME}}{bars:{room}} {shown} {one}"[:width].rstrip())
    return drawn


def _level(value: float, highest: float) -> int:
    """0 for nothing; anything else is at least the lowest bar."""
    if value <= 0 or highest <= 0:
        return 0
    return max(1, min(8, round(value / highest * 8)))


def svg(samples: Sequence[Sample], events: Sequence[Event], title: str) -> str:
    """Draw each series as a panel of its own, above each other, with the events as marks."""
    width, left, height, gap = 900, 170, 80, 22
    total = len(SERIES) * (height + gap) + 60
    end = samples[-1].time or 1.0
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {total}" role="img" '
        f'font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(' '.join(f'{each.time:.1f} s: {each.text}.' for each in events))}</desc>",
        f'<rect width="{width}" height="{total}" fill="white"/>',
    ]
    for number, (name, unit, get) in enumerate(SERIES):
        top = 20 + number * (height + gap)
        values = [get(samples, at) for at in range(len(samples))]
        highest = max(values) or 1
        points = " ".join(
            f"{left + sample.time / end * (width - left - 20):.1f},{top + height - value / highest * height:.1f}"
            for sample, value in zip(samples, values, strict=True)
        )
        parts += [
            f'<text x="10" y="{top + 14}">{escape(name)}</text>',
            f'<text x="10" y="{top + 30}" fill="#555">0 to {highest:,.0f} {escape(unit)}</text>',
            f'<line x1="{left}" y1="{top + height}" x2="{width - 20}" y2="{top + height}" stroke="#ccc"/>',
            f'<polyline fill="none" stroke="{_COLOURS[number]}" stroke-width="1.5" points="{points}"/>',
        ]
    bottom = total - 40
    for each in events:
        x = left + each.time / end * (width - left - 20)
        parts.append(
            f'<line x1="{x:.1f}" y1="15" x2="{x:.1f}" y2="{bottom}" stroke="#000" stroke-opacity="0.15">'
            f"<title>{each.time:.1f} s: {escape(each.text)}</title></line>"
        )
    parts.append(f'<text x="{left}" y="{total - 15}">0 s</text>')
    parts.append(f'<text x="{width - 60}" y="{total - 15}">{end:.1f} s</text>')
    return "\n".join([*parts, "</svg>\n"])
