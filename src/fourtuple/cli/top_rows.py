"""PURE: what ``fourtuple top`` shows: its table, its head, and the page of one socket."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

from fourtuple.cli import columns as c
from fourtuple.cli.tables import GAP as _GAP
from fourtuple.cli.tables import Table, widths_of
from fourtuple.inspector.explaining import explained
from fourtuple.inspector.fields import FIELDS
from fourtuple.inspector.history import History, Rates, Track
from fourtuple.inspector.model import ActiveSocket, Counters, PassiveSocket, Socket, UnixSocket
from fourtuple.inspector.units import bars, octets, rate, seconds, short_octets, short_seconds
from fourtuple.inspector.window import View
from fourtuple.printable import printable

if TYPE_CHECKING:
    from fourtuple.operations.watching import Watched

#: Keys for the order: what each sorts by. The first is the default: by state and port.
ORDERS: tuple[tuple[str, str], ...] = (
    ("state", ""), ("send queue", "-sendq"), ("receive queue", "-recvq"), ("round trip", "-rtt"),
    ("retransmitted", "-retrans"), ("idle", "-idle"), ("accept queue", "-queue"),
)  # fmt: skip

_HEADINGS = ("STATE", "LOCAL", "PEER", "QUEUES", "PROGRAM", "OUT", "IN", "RTT", "RETRANS", "IDLE", "LIMITED BY", "USER")
_RIGHT = (False, False, False, True, False, True, True, True, True, True, False, False)
_RANK = (0, 0, 0, 0, 1, 2, 2, 3, 4, 5, 6, 7)
_FOLD = (0, c.ADDRESS, c.ADDRESS, 0, c.PROGRAM, 0, 0, 0, 0, 0, 0, 0)


def table(view: View, history: History) -> Table:
    """The rows of a look."""
    return Table(
        title="",
        headings=_HEADINGS,
        right=_RIGHT,
        rank=_RANK,
        rows=[list(map(printable, _cells(each, history.rates_of(each)))) for each in view.rows],
        fold=_FOLD,
    )


def _cells(each: Socket, rates: Rates) -> list[str]:
    if isinstance(each, UnixSocket):
        return [each.state, each.path, "", "", c.holders(each), *[""] * 6, each.user or ""]
    user = each.user or c.UNKNOWN
    if isinstance(each, PassiveSocket):
        limit = "?" if each.queue.limit is None else f"{each.queue.limit}"
        queue = f"{each.queue.waiting} of {limit}"
        return [each.state, str(each.address), "", queue, c.holders(each), *[""] * 6, user]
    return [
        each.state,
        str(each.name.local),
        str(each.name.remote),
        f"{short_octets(each.receive_queue)}/{short_octets(each.send_queue)}",
        c.holders(each),
        _rate(rates.sent),
        _rate(rates.received),
        _duration(each, "rtt"),
        _number(each, "retrans"),
        _duration(each, "idle"),
        FIELDS["limited"].get(each) or c.UNKNOWN,
        user,
    ]


def _rate(value: float | None) -> str:
    return c.UNKNOWN if value is None else rate(value) if value else "0"


def _duration(each: Socket, name: str) -> str:
    value = FIELDS[name].get(each)
    return c.UNKNOWN if value is None else short_seconds(value)


def _number(each: Socket, name: str) -> str:
    value = FIELDS[name].get(each)
    return c.UNKNOWN if value is None else f"{value:g}"


def fitted(shown: Table, columns: Sequence[int], width: int) -> list[str]:
    """The heading and the rows as lines of exactly ``width``: one line each, a text that is too long cut with a "
    "mark."""
    widths = widths_of(shown)
    for n in sorted(columns, key=lambda n: -shown.fold[n]):
        over = sum(widths[m] + _GAP for m in columns) - _GAP - width
        if over > 0 and shown.fold[n]:
            widths[n] = min(widths[n], max(shown.fold[n], widths[n] - over))
    return [
        _line([row[n] for n in columns], [widths[n] for n in columns], shown, columns, width)
        for row in (shown.headings, *shown.rows)
    ]


def _line(cells: Sequence[str], widths: Sequence[int], shown: Table, columns: Sequence[int], width: int) -> str:
    parts = []
    for text, size, n in zip(cells, widths, columns, strict=True):
        cut = text if len(text) <= size else text[: size - 1] + "…"
        parts.append(cut.rjust(size) if shown.right[n] else cut.ljust(size))
    return (" " * _GAP).join(parts)[:width].ljust(width)


def head(view: View, history: History, order: str, every: float, width: int) -> list[str]:
    """Two lines above the table: how many there are in which state, and what the machine counts."""
    told = ", ".join(f"{count:,} {state}" for state, count in view.in_states)
    first = f"{view.total:,} socket{'' if view.total == 1 else 's'}: {told}"
    counters = view.seen.counters
    overflows = "" if counters.overflows is None else f"overflows {counters.overflows:,} {_spark(history.overflows)}"
    again = "" if counters.retransmitted is None else f"retransmitted {_last(history.retransmitted)}"
    second = f"by {order}, every {every:g} s   {overflows}  {again} {_spark(history.retransmitted)}"
    return [first[:width].ljust(width), second[:width].ljust(width)]


def server_line(watched: Watched, width: int) -> str:
    """The line of a server of fourtuple: what it says of itself, which the kernel does not know."""
    told = watched.frame
    if told is None:
        return f"unix:{watched.path} does not answer"[:width].ljust(width)
    status, handler, rates = told["status"], told["handler"], watched.rates
    parts = [f"{status['name']} {status['state']}"]
    parts.append(f"{sum(each['connections'] for each in status['services']):,} served")
    if rates:
        parts.append(f"messages in {rates['received']:,.0f}/s {_spark(watched.received)}".rstrip())
        parts.append(f"out {rates['sent']:,.0f}/s")
    if handler is not None:
        most = "above 10s" if handler["p99"] is None else f"up to {short_seconds(handler['p99'])}"
        parts.append(f"handler {short_seconds(handler['mean'])}, 99 % {most}")
    refused = sum(told["refused"].values())
    if refused:
        parts.append(f"{refused:,.0f} refused")
    return printable("  ".join(parts))[:width].ljust(width)


def _spark(values: Sequence[float], most: int = 20) -> str:
    some = list(values)[-most:]
    return bars(some) if any(some) else ""


def _last(values: Sequence[float]) -> str:
    return f"{values[-1]:.0f}/s" if values else "-"


def page(each: Socket, track: Track, rates: Rates, counters: Counters, width: int) -> Iterator[str]:
    """The page of one socket: what it is, what its numbers did, and what they mean."""
    yield printable(f"{c.address_of(each)}  {each.state}")
    yield printable(
        c.holders(each) + (f", {each.user}" if each.user else "") + (f", {each.container}" if each.container else "")
    )
    yield ""
    for name, values in track.series():
        write = {"round trip": seconds, "receive queue": octets, "send queue": octets}.get(name, "{:,.0f}".format)
        latest = write(values[-1])
        yield f"{name:14} {bars(values)} {latest}"
    if rates.sent is not None:
        yield f"{'out, in':14} {_rate(rates.sent)}, {_rate(rates.received)}"
    yield ""
    for sentence in explained(each, counters):
        yield from wrap(printable(sentence), width)
    if isinstance(each, ActiveSocket) and each.info is not None:
        yield ""
        yield from wrap(_numbers(each), width)


_TOLD = ("mss", "cwnd", "rto", "min-rtt", "sent", "acked", "received", "segments-out", "segments-in", "unacked", "lost",
         "peer-window", "pacing", "rate", "congestion", "timer")  # fmt: skip
_WRITE = {"duration": short_seconds, "size": short_octets, "rate": rate}


def _numbers(each: Socket) -> str:
    told = []
    for name in _TOLD:
        field = FIELDS[name]
        value = field.get(each)
        if value is not None:
            told.append(f"{name} {_WRITE.get(field.kind, '{}'.format)(value)}")
    return printable(", ".join(told))
