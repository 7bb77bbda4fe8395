"""The result of a run as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from fourtuple.load import Histogram, Result
from fourtuple.load.report import BUSY, spans, troubles
from fourtuple.load.result import PERCENTILES

#: The space between two columns.
_GAP = 2


def show(result: Result) -> None:
    """Print the result to standard output."""
    # In a pipe the width is unknown: use one that is enough for the table of latencies.
    console = Console(width=None if Console().is_terminal else 120, soft_wrap=True, highlight=False)
    console.print(Group(*parts(result, console.width)))


def parts(result: Result, width: int) -> Iterator[RenderableType]:
    """Return the head, the numbers, the latencies, the failures and the notes, for this many columns."""
    yield Text(head(result), style="bold")
    yield ""
    yield _numbers(result)
    durations = _durations(result, width)
    if durations.row_count:
        yield ""
        yield durations
    for line in remarks(result):
        yield ""
        yield Text(line)


def head(result: Result) -> str:
    """Return a line about what was done."""
    load = result.load
    loop = "closed loop" if load.rate is None else f"open loop at {load.rate:,g}/s"
    what = f"{_counted(load.connections, 'connection')}, {load.in_flight} in flight on each"
    if load.churn is not None:
        what += f", {_counted(load.churn, 'request')} on each before the next ({load.close.upper()})"
    end = ", interrupted" if result.interrupted else ""
    return f"{result.address}, {result.framing}: {loop}, {what}; {result.measured.seconds:.2f} s measured{end}"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _numbers(result: Result) -> Table:
    measured, total, load = result.measured, result.total, result.load
    table = _table("", "in all", "a second")
    seconds = measured.seconds or 1.0
    if load.connections and load.churn != 0:
        if load.replies:
            table.add_row("replies", f"{measured.replies:,}", f"{result.rate:,.0f}")
        if load.rate is not None or not load.replies:
            table.add_row("requests", f"{measured.requests:,}", f"{result.sent_rate:,.0f}")
        if load.rate is not None and result.asked is not None:
            table.add_row("rate asked for", "", f"{result.asked:,.0f}")
    table.add_row("octets in", _size(measured.octets_in), _size(measured.octets_in / seconds))
    table.add_row("octets out", _size(measured.octets_out), _size(measured.octets_out / seconds))
    if total.connects:
        rate = f"{result.connect_rate:,.0f}" if measured.connects else ""
        table.add_row("connects", f"{total.connects:,}", rate)
    for name, count in troubles(result):
        table.add_row(Text(name, style="red"), f"{count:,}", "")
    if total.pushes:
        table.add_row("pushes", f"{total.pushes:,}", "")
    if total.closed_by_peer:
        table.add_row("closed by peer", f"{total.closed_by_peer:,}", "")
    for name, count in sorted(total.others.items()):
        table.add_row(name, f"{count:,}", "")
    return table


def _durations(result: Result, width: int) -> Table:
    """Return a row for each span of time; if that is too wide, a column, so that each number keeps its unit."""
    heads = ["", "mean", *(f"p{percent:g}" for percent in PERCENTILES), "max"]
    rows = [[name, *_row(histogram)] for name, histogram in spans(result)]
    columns = [list(column) for column in zip(heads, *rows, strict=True)]
    if rows and sum(max(map(len, column)) for column in columns) + _GAP * (len(columns) - 1) > width:
        heads, *rows = columns
    table = _table(*heads)
    for row in rows:
        table.add_row(*row)
    return table


def _row(histogram: Histogram) -> Iterator[str]:
    yield duration(histogram.mean)
    for percent in PERCENTILES:
        yield duration(histogram.percentile(percent))
    yield duration(histogram.maximum)


def _table(*heads: str) -> Table:
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="dim")
    for number, name in enumerate(heads):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    return table


def remarks(result: Result) -> Iterator[str]:
    """Return notes on what the numbers do not show."""
    for sample in result.total.samples:
        yield f"for example: {sample}"
    if unasked := result.total.unasked:
        yield (
            f"{_counted(unasked, 'message')} came with no request to answer: the server sent more messages than "
            "requests went. If it sends some unasked, say which with --is-push: a push that comes while a request "
            "waits is taken for its reply. If several messages answer one request, say so with --replies."
        )
    if not result.kept_up:
        lateness = result.measured.lateness
        yield (
            f"The rate was not reached: {result.sent_rate:,.0f} of {result.asked or 0:,.0f} requests per second were "
            f"sent, up to {duration(lateness.maximum)} late, and {result.total.unsent:,} were never sent. "
            "The latencies include that delay."
        )
    if result.messages:
        what = "message" if result.measured.requests else "connection"
        yield f"This end: {result.cost:.2f} us of CPU for each {what}, {result.busy:.0%} busy."
    if result.busy > BUSY:
        yield (
            "This end was busy nearly all the time: the server may be faster than this. Use more --processes, "
            "and enough cores for them."
        )


def duration(nanoseconds: float) -> str:
    """Format a duration with three digits and a unit."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if nanoseconds >= size:
            value = nanoseconds / size
            return f"{value:.{max(0, 2 - (value >= 10) - (value >= 100))}f} {unit}"
    return f"{nanoseconds:.0f} ns"


def _size(octets: float) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if octets >= size:
            return f"{octets / size:.1f} {unit}"
    return f"{octets:.0f}"
