"""How sockets are shown: tables for people, JSON and CSV for programs, explanations."""

from __future__ import annotations

import csv
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from textwrap import wrap

import click

from fourtuple.cli import columns as c
from fourtuple.cli.sockets_wish import Wish
from fourtuple.cli.tables import Table, print_tables
from fourtuple.cli.terminal import is_terminal
from fourtuple.inspector import states
from fourtuple.inspector.assignments import assigned
from fourtuple.inspector.explaining import explained, overview
from fourtuple.inspector.model import Counters, Snapshot, Socket
from fourtuple.inspector.ordering import Group, grouped
from fourtuple.inspector.plain import csv_rows, frame
from fourtuple.inspector.units import short_octets
from fourtuple.printable import escaped, printable

_CLEAR = "\x1b[H\x1b[J"
#: The width of explanations if the width of the output is unknown.
_WIDTH = 100


def show(seen: Snapshot, wish: Wish, *, again: bool) -> None:
    """Print what was seen."""
    if wish.form == "json":
        click.echo(json.dumps(frame(seen, time.time()), indent=2))
    elif wish.form == "jsonl":
        click.echo(json.dumps(frame(seen, time.time()), separators=(",", ":")))
    elif wish.form == "csv":
        # Escaped: a program chooses its name, and the path of its socket.
        rows = ([escaped(cell) for cell in row] for row in csv_rows(seen))
        csv.writer(sys.stdout, lineterminator="\n").writerows(rows)
    else:
        _show_tables(seen, wish, again=again)


def _show_tables(seen: Snapshot, wish: Wish, *, again: bool) -> None:
    on_screen = again and is_terminal(sys.stdout)
    size = shutil.get_terminal_size()
    if on_screen:
        click.echo(_CLEAR, nl=False)
    if again:
        click.echo(time.strftime("%H:%M:%S"))
    if wish.explain:
        for line in explanations(seen, size.columns if is_terminal(sys.stdout) else _WIDTH):
            click.echo(line)
    elif wish.group:
        print_tables([_group_table(grouped(seen.sockets, wish.group), wish.group)], None if wish.wide else size.columns)
    else:
        tables = list(tables_of(seen, most=size.lines - _AROUND if on_screen else None))
        print_tables(tables, None if wish.wide else size.columns)
    for line in notes(seen):
        click.echo(line)
    if again and not on_screen:
        click.echo()


#: Lines around the rows of a screen: time, titles, headings, notes.
_AROUND = 10


def tables_of(seen: Snapshot, most: int | None = None) -> Iterator[Table]:
    """Yield a table for each kind of socket that is there; ``most`` rows in all of them."""
    kinds: tuple[tuple[str, Sequence[Socket], Callable[[], Sequence[c.Column]]], ...] = (
        ("listener", seen.listeners, lambda: c.listener_columns(assigned)),
        ("connection", seen.connections, c.connection_columns),
        ("Unix socket", seen.unix, c.unix_columns),
    )
    left = most
    for noun, rows, make in kinds:
        if rows:
            shown = rows if left is None else rows[: max(left, 1)]
            left = None if left is None else left - len(shown)
            yield _table(f"{_counted(len(rows), noun)}{_in_states(rows)}", shown, make())


def _table(title: str, rows: Sequence[Socket], columns: Sequence[c.Column]) -> Table:
    coloured = is_terminal(sys.stdout)
    return Table(
        title=title,
        headings=[column.heading for column in columns],
        right=[column.right for column in columns],
        rank=[column.rank for column in columns],
        fold=[column.fold for column in columns],
        rows=[harmless([column.text(row) for column in columns]) for row in rows],
        styles=[[column.style(row) for column in columns] for row in rows] if coloured else (),
    )


def harmless(cells: list[str]) -> list[str]:
    """PURE: cells as they may be printed: a program gives itself any name, escape sequences included."""
    return cells if "".join(cells).isprintable() else list(map(printable, cells))


def _in_states(rows: Sequence[Socket]) -> str:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.state] = counts.get(row.state, 0) + 1
    if set(counts) == {states.LISTEN}:
        return ""
    told = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ": " + ", ".join(f"{count:,} {state}" for state, count in told)


def _group_table(groups: Sequence[Group], by: str) -> Table:
    total = sum(group.count for group in groups)
    return Table(
        title=f"{_counted(total, 'socket')} by {by}",
        headings=[by.upper(), "SOCKETS", "PEERS", "RECV-Q", "SEND-Q", "RETRANS", "STATES"],
        right=[False, True, True, True, True, True, False],
        rank=[0, 0, 0, 2, 2, 1, 0],
        rows=[_group_row(group) for group in groups],
    )


def _group_row(group: Group) -> list[str]:
    return [
        c.UNKNOWN if group.value is None else printable(str(group.value)),
        f"{group.count:,}",
        f"{group.peers:,}",
        short_octets(group.receive_queue),
        short_octets(group.send_queue),
        f"{group.retransmitted:,}",
        ", ".join(f"{count:,} {state}" for state, count in group.states),
    ]


def explanations(seen: Snapshot, width: int) -> Iterator[str]:
    """Yield lines: each socket with what its state and numbers mean, then what is true of all together."""
    for each in seen.sockets:
        yield printable(f"{c.address_of(each)}  {each.state}  {c.holders(each)}")
        for sentence in explained(each, seen.counters):
            yield from wrap(printable(sentence), width, initial_indent="    ", subsequent_indent="    ")
        yield ""
    for sentence in overview(seen):
        yield from wrap(sentence, width)


def notes(seen: Snapshot) -> Iterator[str]:
    """Yield what the rows do not say: the machine's counters, and what could not be seen."""
    if not seen.sockets:
        yield "No socket matches."
    told = counted(seen.counters)
    if told and (seen.listeners or not seen.sockets):
        yield f"Accept queues of this machine since it started: {told}."
    if seen.source == "proc":
        yield f"Read by /proc ({seen.why or 'as you asked'}): no TCP_INFO, and the limit of accept queues is unknown."
    hidden = sum(not each.owners and bool(each.inode) for each in seen.sockets)
    if hidden and seen.hidden_processes:
        yield (
            f"{_counted(hidden, 'socket')} without an owner here: {seen.hidden_processes} processes of others "
            "hide theirs."
        )


def counted(counters: Counters) -> str:
    """PURE: the machine's counters of accept queues."""
    if counters.overflows is None:
        return ""
    drops = "" if counters.drops is None else f", {_counted(counters.drops, 'drop')}"
    return f"{_counted(counters.overflows, 'overflow')}{drops}"


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
