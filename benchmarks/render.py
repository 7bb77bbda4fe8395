"""Results as a page of Markdown, without I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.model import Bar, Measure, Row
from benchmarks.ratios import Spread, ratios, spread
from benchmarks.rounds import Result

HEAD = """\
# Results

Written by `python -m benchmarks`; do not edit. The server runs on one core, the load on another. In every round of a
row each server has its turn, so that what disturbs the machine disturbs all alike: **a ratio is made within a round**,
and the table shows the median of these ratios and, in brackets, their quartiles. CPU is nanoseconds of the scheduler's
accounting, children included. Every message goes to a handler in Python that returns a new value; statistics,
deadlines, limits and events are on. `C, echo` writes back what it read; `C, splits` stores every message and answers
each on its own. The peers in Go and Rust also call one function for each message, which returns a new value; they have
one core as everybody else. How the peers are written is in `benchmarks/peers`. A bar is reached if the median reaches
it; `within the noise` means that only the better quartile does.
What two commits cost, in the same rounds, is in [PAIRED.md](PAIRED.md).
"""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A bar, and the measured ratio."""

    bar: Bar
    who: str | None
    ratio: Spread | None

    @property
    def word(self) -> str:
        """Reached, within the noise, not reached, or not measured."""
        return "not measured" if self.ratio is None else self.bar.verdict(self.ratio)


def judge(bar: Bar, result: Result) -> Verdict:
    """Compare the best of our servers with the one that the bar names."""
    found: list[tuple[float, str, Spread]] = []
    for who in bar.ours:
        samples = result.samples.get(who)
        if samples is None:
            continue
        if bar.against is None:
            values: Sequence[float | None] = samples
        else:
            other = result.samples.get(who.removesuffix(bar.against) if bar.ourselves else bar.against)
            if other is None:
                continue
            values = ratios(samples, other)
        seen = spread(values)
        if seen is not None:
            found.append((-bar.judged(seen) if bar.at_least else bar.judged(seen), who, seen))
    if not found:
        return Verdict(bar, None, None)
    _, who, seen = min(found, key=lambda each: each[0])
    return Verdict(bar, who, seen)


def number(value: float) -> str:
    """A number with three significant digits and no exponent."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.5f}"


def _with_quartiles(seen: Spread | None) -> str:
    return "" if seen is None else f"{number(seen.median)} ({number(seen.low)} to {number(seen.high)})"


def page(
    facts: Mapping[str, str],
    rows: Sequence[Row],
    results: Mapping[str, Result],
    pictures: Mapping[str, str],
    tried: Mapping[str, str] | None = None,
) -> str:
    """The complete page. ``pictures`` are paths by the name of the row; ``bars`` is that of the summary.

    ``tried`` are texts, by the name of the row, about attempts to make it faster and their results.
    """
    parts = [HEAD, "\n".join(f"- {name}: {value}" for name, value in facts.items())]
    parts.append(summary([row for row in rows if row.name in results], results))
    if "bars" in pictures:
        parts.append(f"![Ratios and bars]({pictures['bars']})")
    told = tried or {}
    for row in rows:
        if row.name in results:
            parts.append(section(row, results[row.name], pictures.get(row.name)))
            if row.name in told:
                parts.append(f"### What was tried\n\n{told[row.name].strip()}")
    missing = [f"`{row.name}`" for row in rows if row.name not in results]
    if missing:
        parts.append("Not asked for in this run: " + ", ".join(missing) + ".")
    return "\n\n".join(part.strip() for part in parts) + "\n"


def summary(rows: Sequence[Row], results: Mapping[str, Result]) -> str:
    """The table of the bars."""
    lines = ["## The bars", "", "| work | bar | measured | with | |", "|---|---|---|---|---|"]
    for row in rows:
        result = results[row.name]
        if result.why_not is not None:
            lines.append(f"| {row.title} | | | | skipped: {result.why_not} |")
            continue
        for bar in row.bars:
            verdict = judge(bar, result)
            unit = {Measure.MEMORY: " KiB", Measure.WAIT: " ms"}.get(row.measure, "") if bar.against is None else ""
            why = result.skipped.get(bar.against or "")
            if why is None and any(samples and set(samples) == {None} for samples in result.samples.values()):
                why = "the client itself was late in every round"
            word = f"{verdict.word}: {why}" if verdict.ratio is None and why else verdict.word
            lines.append(
                f"| {row.title} | {bar}{unit} | {_with_quartiles(verdict.ratio)} | {verdict.who or ''} | {word} |"
            )
    return "\n".join(lines)


def section(row: Row, result: Result, picture: str | None) -> str:
    """One row: the value of each server, and its ratio to the first server that is not ours."""
    lines = [f"## {row.title}", "", f"`{row.name}`: {row.measure.value}."]
    lines += ["", *row.notes] if row.notes else []
    if result.again:
        differs = "; ".join(f"{name}: {value}" for name, value in result.again.items())
        lines += ["", f"Measured again, later than the other rows ({differs})."]
    if result.why_not is not None:
        return "\n".join([*lines, "", f"Skipped: {result.why_not}."])
    base = next((name for name in result.samples if not name.startswith("fourtuple")), None)
    if base is not None:
        base = base.removesuffix(row.part(base))
    seen = {name: spread(samples) for name, samples in result.samples.items()}
    count = max((each.count for each in seen.values() if each is not None), default=0)
    lines += ["", f"Median (quartiles) of {count} rounds" + (f"; ratio to {base}:" if base else ":"), ""]
    lines += ["| server | value | ratio |", "|---|---|---|"]
    for name, each in seen.items():
        against = spread(ratios(result.samples[name], result.samples[base + row.part(name)])) if base else None
        shown = f"**{name}**" if name.startswith("fourtuple") else name
        lines.append(f"| {shown} | {_with_quartiles(each)} | {_with_quartiles(against)} |")
    dropped = {
        name.removesuffix(row.part(name)): samples.count(None)
        for name, samples in result.samples.items()
        if None in samples
    }
    late = ", ".join(f"{name} {count}" for name, count in dropped.items())
    lines += [f"| {name} | skipped: {_cell(why)} | |" for name, why in result.skipped.items()]
    lines += ["", f"Rounds dropped, because the client itself was late: {late}."] if late else []
    if picture is not None:
        lines += ["", f"![{row.title}]({picture})"]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ")[:160]
