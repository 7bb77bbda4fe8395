"""Tables whose columns leave where the terminal is too narrow, the least important first."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import click

from fourtuple.cli.terminal import is_terminal

if TYPE_CHECKING:
    from rich.console import Console

#: Between two columns.
GAP = 2


@dataclass(frozen=True)
class Table:
    """Rows of texts. ``rank`` says which columns leave first: the highest; those of rank 0 stay.

    Before a column of rank 1 leaves, those with a number in ``fold`` are folded to so many characters; 0 is never.
    """

    title: str
    headings: Sequence[str]
    right: Sequence[bool]
    rank: Sequence[int]
    rows: Sequence[Sequence[str]]
    styles: Sequence[Sequence[str]] = field(default=())
    fold: Sequence[int] = field(default=())


def print_tables(tables: Sequence[Table], width: int | None) -> None:
    """Print tables on standard output; on a terminal in colours and folded to ``width`` (None: as wide as they are)."""
    for number, table in enumerate(tables):
        if number:
            click.echo()
        if not is_terminal(sys.stdout):
            click.echo("\n".join(plain(table)))
        else:
            from rich.console import Console  # only here: loading it takes longer than reading a kernel

            draw(table, Console(width=width or sum(widths_of(table)) + GAP * len(table.headings), highlight=False))


def kept(table: Table, width: int | None) -> list[int]:
    """PURE: the numbers of the columns that fit a width; empty columns are left out, those of rank 0 never."""
    widths = widths_of(table)
    folded = [min(w, fold or w) for w, fold in zip(widths, _folds(table), strict=True)]
    columns = [n for n, rank in enumerate(table.rank) if not rank or any(row[n] for row in table.rows)]
    while width is not None and _total(widths, columns) > width:
        rank, number = max((table.rank[n], n) for n in columns)
        if not rank or (rank == 1 and _total(folded, columns) <= width):
            break
        columns.remove(number)
    return columns


def _total(widths: Sequence[int], columns: Sequence[int]) -> int:
    return sum(widths[n] + GAP for n in columns) - GAP


def _folds(table: Table) -> Sequence[int]:
    return table.fold or [0] * len(table.headings)


def widths_of(table: Table) -> list[int]:
    """PURE: how wide each column is."""
    return [max(map(len, column)) for column in zip(table.headings, *table.rows, strict=True)]


def plain(table: Table) -> list[str]:
    """PURE: a table as lines of text, with all of its columns."""
    widths, columns = widths_of(table), kept(table, None)

    def line(cells: Sequence[str]) -> str:
        padded = (cells[n].rjust(widths[n]) if table.right[n] else cells[n].ljust(widths[n]) for n in columns)
        return (" " * GAP).join(padded).rstrip()

    return [table.title, line(table.headings), *map(line, table.rows)]


def fits(table: Table, columns: Sequence[int], width: int) -> bool:
    """PURE: whether these columns fit a width, folded as far as each may be."""
    widths, folds = widths_of(table), _folds(table)
    if not any(folds):
        return _total([min(w, max(len(h), 1)) for w, h in zip(widths, table.headings, strict=True)], columns) <= width
    return _total([min(w, fold or w) for w, fold in zip(widths, folds, strict=True)], columns) <= width


def blocks(table: Table, columns: Sequence[int]) -> Iterator[str]:
    """PURE: the rows for a terminal that is too narrow for a table: each cell is a line.

    A text that is too long for the terminal is wrapped by the terminal itself, so it can be copied as a whole.
    """
    for number, row in enumerate(table.rows):
        lines = [f"{table.headings[n]}{' ' if table.headings[n] else ''}{row[n]}" for n in columns]
        yield "\n".join(([""] if number else []) + lines)


def draw(table: Table, console: Console) -> None:
    """Print a table to a console, with the columns that fit; a text that is still too wide is folded, never cut.

    If not even the most important columns fit, each cell is a line.
    """
    from rich.table import Table as Rich
    from rich.text import Text

    columns = kept(table, console.width)
    console.print(Text(table.title, style="bold"))
    if not fits(table, columns, console.width):
        for block in blocks(table, columns):
            console.print(Text(block), soft_wrap=True)
        return
    foldable = any(_folds(table))
    drawn = Rich(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="dim")
    for n in columns:
        justify: Literal["left", "right"] = "right" if table.right[n] else "left"
        drawn.add_column(table.headings[n], justify=justify, overflow="fold", no_wrap=not _folds(table)[n] and foldable)
    styles = table.styles or [[""] * len(table.headings)] * len(table.rows)
    for row, style in zip(table.rows, styles, strict=True):
        drawn.add_row(*(Text(row[n], style=style[n]) for n in columns))
    console.print(drawn)
