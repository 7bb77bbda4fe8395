"""Results as pictures (SVG), drawn by matplotlib. Without matplotlib there are no pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.model import Row
from benchmarks.ratios import spread
from benchmarks.render import judge
from benchmarks.rounds import Result

OURS, FLOOR, THEIRS, BAD = "#1f6fb2", "#555555", "#b9c4cf", "#c2412d"


def draw(rows: Sequence[Row], results: Mapping[str, Result], folder: Path) -> dict[str, str]:
    """Draw every row and the summary; return their paths, relative to the folder's parent, by name."""
    if find_spec("matplotlib") is None:
        return {}
    import matplotlib as mpl

    mpl.use("svg")
    # With a fixed salt, equal results give equal files.
    mpl.rcParams.update({"svg.hashsalt": "fourtuple", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False})
    folder.mkdir(exist_ok=True)
    drawn = {}
    for row in rows:
        if row.name in results and results[row.name].samples:
            drawn[row.name] = _save(_row(row, results[row.name]), folder / f"{row.name}.svg")
    figure = _bars(rows, results)
    if figure is not None:
        drawn["bars"] = _save(figure, folder / "bars.svg")
    return drawn


def _save(figure: Any, path: Path) -> str:
    from matplotlib import pyplot

    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)
    # matplotlib ends lines of paths with blanks, which git would report.
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")
    return f"{path.parent.name}/{path.name}"


def _row(row: Row, result: Result) -> Any:
    """A bar for each server, with its quartiles."""
    from matplotlib import pyplot

    seen = {name: each for name, samples in result.samples.items() if (each := spread(samples)) is not None}
    names = sorted(seen, key=lambda name: seen[name].median, reverse=not row.measure.more_is_better)
    middle = [seen[name].median for name in names]
    # Measured memory can be negative; the lengths of error bars must not be.
    errors = [
        [max(0.0, seen[name].median - seen[name].low) for name in names],
        [max(0.0, seen[name].high - seen[name].median) for name in names],
    ]
    colours = [OURS if name.startswith("fourtuple") else FLOOR if name.startswith("C,") else THEIRS for name in names]
    figure, axes = pyplot.subplots(figsize=(7, 0.6 + 0.28 * len(names)))
    axes.barh(names, middle, xerr=errors, color=colours, error_kw={"elinewidth": 0.8, "capsize": 2})
    better = "more is better" if row.measure.more_is_better else "less is better"
    axes.set(title=row.title, xlabel=f"{row.measure.value} ({better})", xlim=(0, None))
    axes.spines["right"].set_visible(False)
    return figure


def _bars(rows: Sequence[Row], results: Mapping[str, Result]) -> Any:
    """The distance from every bar: 1 is the bar, smaller values reach it."""
    from matplotlib import pyplot

    shown: list[tuple[str, float, bool]] = []
    for row in rows:
        if row.name not in results:
            continue
        for bar in row.bars:
            verdict = judge(bar, results[row.name])
            if verdict.ratio is None or verdict.ratio.median <= 0:
                continue
            value = bar.judged(verdict.ratio)
            share = value / bar.limit
            shown.append((f"{row.name}: {bar}", 1 / share if bar.at_least else share, bar.reached(value)))
    if not shown:
        return None
    shown.reverse()
    figure, axes = pyplot.subplots(figsize=(7, 0.8 + 0.24 * len(shown)))
    for place, (_, share, reached) in enumerate(shown):
        axes.plot([1, share], [place, place], color=THEIRS, zorder=1)
        axes.scatter([share], [place], color=OURS if reached else BAD, zorder=2)
    axes.axvline(1, color=FLOOR, linewidth=0.8)
    axes.set_yticks(range(len(shown)), [name for name, _, _ in shown])
    axes.set(xscale="log", xlabel="measured / bar: left of the line is reached", title="fourtuple and its bars")
    axes.spines["right"].set_visible(False)
    return figure
