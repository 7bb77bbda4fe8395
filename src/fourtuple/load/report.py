"""A run as one HTML file, with its numbers and its plots as SVG. The file loads no other file and runs no script.

matplotlib draws the plots: the report of a one-minute run has about 60 KB and prints well. Libraries with interactive
plots add a script of megabytes to every file. matplotlib is an extra (``fourtuple[report]``); only this module imports
it.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator, Sequence
from html import escape
from importlib import import_module
from typing import Any

from fourtuple._version import __version__
from fourtuple.errors import OptionError
from fourtuple.load.histogram import Histogram
from fourtuple.load.result import PERCENTILES, Result
from fourtuple.load.tally import Interval, Phase

_BLUE, _ORANGE, _RED, _GREY = "#1f6fb2", "#d98019", "#c2412d", "#8a949e"

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f23; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
table { border-collapse: collapse; } th, td { padding: .2rem .9rem .2rem 0; text-align: right; }
th:first-child, td:first-child { text-align: left; } th { color: #5b646d; font-weight: normal; }
tr.bad td, p.bad { color: #c2412d; } footer, .note { color: #5b646d; } svg { width: 100%; height: auto; }
code { background: #f2f4f6; padding: 0 .2rem; }
"""


def check() -> None:
    """Raise :class:`~fourtuple.errors.OptionError` if matplotlib is not installed. Called before a run."""
    try:
        import_module("matplotlib")
    except ImportError as error:
        raise OptionError("the report needs matplotlib for its plots: pip install 'fourtuple[report]'") from error


def report(result: Result) -> str:
    """Return a result as HTML. Raises :class:`~fourtuple.errors.OptionError` if matplotlib is not installed."""
    check()
    return "".join(_document(result))


def _document(result: Result) -> Iterator[str]:
    title = f"{result.address}, {result.framing}"
    yield f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
    yield f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
    yield f"<p>{escape(_what(result))}</p>\n"
    for line in _warnings(result):
        yield f'<p class="bad">{escape(line)}</p>\n'
    yield "<h2>Numbers</h2>\n"
    yield _table(("", "in all", "a second"), _numbers(result))
    rows = list(_latencies(result))
    if rows:
        yield "<h2>Latencies, in milliseconds</h2>\n"
        yield _table(("", "mean", *(f"p{percent:g}" for percent in PERCENTILES), "max"), rows)
    for head, note, draw in _plots(result):
        yield f'<h2>{escape(head)}</h2>\n<p class="note">{escape(note)}</p>\n{_svg(draw)}\n'
    if result.total.samples:
        yield "<h2>Examples of what went wrong</h2>\n<ul>\n"
        yield from (f"<li><code>{escape(sample)}</code></li>\n" for sample in result.total.samples)
        yield "</ul>\n"
    yield f"<h2>Options</h2>\n{_table(('option', 'value'), _options(result))}"
    began = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(result.began))
    yield f"<footer><p>{began}, fourtuple {__version__}</p></footer>\n</body>\n</html>\n"


# -- words and tables -------------------------------------------------------------------------------------


def _what(result: Result) -> str:
    load = result.load
    if load.rate is None:
        loop = "Closed loop: each reply is followed by the next request, so a server that stalls gets fewer requests."
    else:
        loop = (
            f"Open loop at {load.rate:,g} requests per second: latencies count from the moment at which each request "
            "was due, whether it could be sent then or not."
        )
    measured = f"{result.measured.seconds:.2f} s were measured, after {load.warmup:g} s of warm-up."
    return f"{loop} {load.connections:,} connections, {load.in_flight} in flight on each. {measured}"


def _warnings(result: Result) -> Iterator[str]:
    if result.interrupted:
        yield "The run was interrupted: these are the results until then."
    if not result.kept_up:
        yield (
            f"The rate was not reached: {result.sent_rate:,.0f} of {result.asked or 0:,.0f} requests per second were "
            f"sent, up to {result.measured.lateness.maximum / 1e9:.3f} s late, "
            f"and {result.total.unsent:,} were never sent."
        )
    if result.busy > BUSY:
        yield f"The load generator was {result.busy:.0%} busy: the server may be faster than this."


#: If the load generator was busy for more than this share of its time, it may itself be the bottleneck.
BUSY = 0.85


def _numbers(result: Result) -> Iterator[tuple[str, ...]]:
    measured, total, seconds = result.measured, result.total, result.measured.seconds or 1.0
    yield "replies", f"{measured.replies:,}", f"{measured.replies / seconds:,.0f}"
    yield "requests", f"{measured.requests:,}", f"{result.sent_rate:,.0f}"
    yield "octets in", f"{measured.octets_in:,}", f"{measured.octets_in / seconds:,.0f}"
    yield "octets out", f"{measured.octets_out:,}", f"{measured.octets_out / seconds:,.0f}"
    yield "connects", f"{total.connects:,}", f"{result.connect_rate:,.0f}"
    yield "CPU of this end for each message", f"{result.cost:.2f} us", f"{result.busy:.0%} busy"
    for name, count in troubles(result):
        yield f"!{name}", f"{count:,}", ""
    for name, count in sorted(total.others.items()):
        yield name, f"{count:,}", ""


def troubles(result: Result) -> Iterator[tuple[str, int]]:
    """The failures with their counts, by the names that tables show."""
    total = result.total
    for name, count in total.connect_failures.most_common():
        yield f"cannot connect: {name}", count
    for name, count in total.failures.most_common():
        yield f"broken: {name}", count
    for name, count in (
        ("timeouts", total.timeouts),
        ("unanswered", total.unanswered),
        ("wrong replies", total.mismatches),
        ("never sent", total.unsent),
    ):
        if count:
            yield name, count


def spans(result: Result) -> Iterator[tuple[str, Histogram]]:
    """The histograms of a run that are not empty, by the names that tables show."""
    for name, histogram in (
        ("latency", result.latency),
        ("sent late by", result.measured.lateness),
        ("connecting", result.total.connecting),
        ("TLS handshake", result.total.handshaking),
    ):
        if histogram.count:
            yield name, histogram


def _latencies(result: Result) -> Iterator[tuple[str, ...]]:
    for name, histogram in spans(result):
        values = [histogram.mean, *map(histogram.percentile, PERCENTILES), histogram.maximum]
        yield name, *(f"{value / 1e6:.3f}" for value in values)


def _options(result: Result) -> Iterator[tuple[str, str]]:
    for name in type(result.load).__dataclass_fields__:
        yield name, str(getattr(result.load, name))


def _table(heads: Sequence[str], rows: Iterator[tuple[str, ...]] | Sequence[tuple[str, ...]]) -> str:
    """A table. A row whose name begins with an exclamation mark shows a failure."""
    lines = ["<table>\n<tr>", *(f"<th>{escape(head)}</th>" for head in heads), "</tr>\n"]
    for name, *values in rows:
        bad = ' class="bad"' if name.startswith("!") else ""
        cells = "".join(f"<td>{escape(value)}</td>" for value in (name.removeprefix("!"), *values))
        lines.append(f"<tr{bad}>{cells}</tr>\n")
    return "".join([*lines, "</table>\n"])


# -- plots ------------------------------------------------------------------------------------------------

Draw = Callable[[Any], None]


def _plots(result: Result) -> Iterator[tuple[str, str, Draw]]:
    rows = [row for row in result.series if row.phase is not Phase.OPENING and row.tally.seconds > 0]
    timed = [row for row in rows if row.tally.latency.count]
    if timed:
        yield (
            "Latency over time",
            "Of the replies that came in each interval. The warm-up is shaded.",
            lambda axes: _over_time(axes, timed),
        )
    if result.latency.count:
        yield (
            "Latency by percentile",
            "The further to the right, the rarer: each step is ten times fewer replies.",
            lambda axes: _by_percentile(axes, result),
        )
    if rows:
        what = "Replies" if result.load.replies else "Requests"
        yield f"{what} a second", "", lambda axes: _rates(axes, result, rows)
    if any(row.tally.connects for row in rows):
        yield "Connects a second, and connections open", "", lambda axes: _connects(axes, rows)


def _moments(rows: Sequence[Interval]) -> list[float]:
    """The ends of the rows, in seconds since the load began."""
    return [row.start + row.tally.seconds for row in rows]


def _shade(axes: Any, rows: Sequence[Interval]) -> None:
    warm = [row for row in rows if row.phase is Phase.WARMUP]
    if warm:
        axes.axvspan(0, _moments(warm)[-1], color="#eef1f4", zorder=0)
    axes.set_xlabel("seconds since the load began")
    axes.set_xlim(left=0)


def _over_time(axes: Any, rows: Sequence[Interval]) -> None:
    moments = _moments(rows)
    for percent, colour in ((50.0, _BLUE), (99.0, _ORANGE), (100.0, _RED)):
        values = [row.tally.latency.percentile(percent) / 1e6 for row in rows]
        axes.plot(moments, values, color=colour, marker=".", label="max" if percent == 100 else f"p{percent:g}")
    axes.set_yscale("log")
    axes.set_ylabel("milliseconds")
    axes.legend(loc="upper right", frameon=False, ncols=3)
    _shade(axes, rows)


def _by_percentile(axes: Any, result: Result) -> None:
    count = result.latency.count
    shares, values = [], []
    seen = 0
    for value, up_to in result.latency.steps():
        # A value begins at the share of values below it. The axis cannot show 100 %.
        shares += [1 / (1 - seen / count), 1 / max(1 - up_to / count, 0.1 / count)]
        values += [value / 1e6] * 2
        seen = up_to
    axes.plot(shares, values, color=_BLUE)
    ticks = [
        (1 / (1 - each / 100), f"{each:g} %")
        for each in (0, 90, 99, 99.9, 99.99, 99.999)
        if count * (100 - each) >= 100
    ]
    axes.set_xscale("log")
    axes.set_xticks([place for place, _ in ticks], [text for _, text in ticks])
    axes.minorticks_off()
    axes.set_xlim(left=1, right=max(10.0, shares[-1]))
    axes.set_ylim(bottom=0)
    axes.set_xlabel("percentile")
    axes.set_ylabel("milliseconds")


def _rates(axes: Any, result: Result, rows: Sequence[Interval]) -> None:
    rows = [row for row in rows if row.phase is not Phase.AFTER]
    counts = [row.tally.replies if result.load.replies else row.tally.requests for row in rows]
    rates = [count / row.tally.seconds for count, row in zip(counts, rows, strict=True)]
    axes.plot(_moments(rows), rates, color=_BLUE, marker=".")
    if result.asked is not None:
        axes.axhline(result.asked, color=_GREY, linestyle="--", label="asked")
        axes.legend(loc="lower right", frameon=False)
    axes.set_ylim(bottom=0)
    _shade(axes, rows)


def _connects(axes: Any, rows: Sequence[Interval]) -> None:
    axes.plot(_moments(rows), [row.tally.connects / row.tally.seconds for row in rows], color=_BLUE, label="connects")
    axes.plot(_moments(rows), [row.open for row in rows], color=_ORANGE, label="open")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper right", frameon=False, ncols=2)
    _shade(axes, rows)


def _svg(draw: Draw) -> str:
    """A plot as SVG for HTML: without an XML head, and with text as text, not as paths."""
    matplotlib = import_module("matplotlib")
    figure_module = import_module("matplotlib.figure")
    with matplotlib.rc_context({"svg.fonttype": "none", "font.size": 9, "svg.hashsalt": "fourtuple"}):
        figure = figure_module.Figure(figsize=(9, 3.2), layout="constrained")
        axes = figure.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e3e7eb")
        draw(axes)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    return re.sub(r"^.*?(?=<svg)", "", text.getvalue(), count=1, flags=re.DOTALL)
