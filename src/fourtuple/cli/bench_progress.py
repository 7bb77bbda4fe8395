"""The progress of a run on a terminal: one table, which is redrawn with every row."""

from __future__ import annotations

import sys
from collections import deque
from contextlib import ExitStack
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table as Rich
from rich.text import Text

from fourtuple.cli.bench_table import duration
from fourtuple.cli.tables import Table, kept
from fourtuple.cli.terminal import restored_at_hangup
from fourtuple.load import Interval, Load, Phase

#: The number of rows shown: the last ones.
_ROWS = 8
#: A narrow terminal leaves those with the highest rank out.
_HEADINGS = ("second", "", "replies/s", "p50", "p99", "max", "open", "connects", "troubles")
_RANKS = (0, 4, 0, 2, 1, 3, 5, 6, 0)
_SHOW_CURSOR = "\x1b[?25h"


class Progress:
    """A context manager around a run; :meth:`row` takes its rows. If not ``shown``, it does nothing."""

    def __init__(self, load: Load, *, shown: bool, console: Console | None = None) -> None:
        self._load = load
        self._rows: deque[Interval] = deque(maxlen=_ROWS)
        self._console = console or Console(stderr=True)
        self._live: Live | None = None
        self._stack = ExitStack()
        if shown:
            # Drawn only when a row is complete: a thread that draws ten times a second would be part of the load.
            self._live = Live(console=self._console, auto_refresh=False, transient=True)

    def __enter__(self) -> Progress:
        if self._live is not None:
            self._stack.enter_context(restored_at_hangup(sys.stderr, _SHOW_CURSOR))
            self._stack.enter_context(self._live)
        return self

    def __exit__(self, *exc: Any) -> None:
        self._stack.__exit__(*exc)

    @property
    def _width(self) -> int:
        return self._console.width - 1  # the space behind the last column

    def row(self, row: Interval) -> None:
        """Add the next row of the series."""
        if self._live is not None:
            self._rows.append(row)
            self._live.update(self.table(), refresh=True)

    def table(self) -> Rich:
        """Return the table of the last rows."""
        table = Rich(
            box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim"
        )  # a terminal may have only 80 columns
        rows = [self._cells(row) for row in self._rows]
        shape = Table("", _HEADINGS, [True] * len(_HEADINGS), _RANKS, rows)
        columns = kept(shape, self._width)
        for name in (_HEADINGS[n] for n in columns):
            table.add_column(name, justify="left" if not name else "right", no_wrap=True)
        for cells in rows:
            style = "red" if cells[-1] != "0" else ""
            table.add_row(*(Text(cells[n], style=style if n == len(cells) - 1 else "") for n in columns))
        return table

    def _cells(self, row: Interval) -> list[str]:
        tally, latency = row.tally, row.tally.latency
        of = f" of {self._load.seconds:g}" if row.phase is not Phase.AFTER else ""
        return [
            f"{row.start + tally.seconds:.0f}{of}",
            row.phase.value,
            f"{tally.rate:,.0f}",
            *(duration(latency.percentile(percent)) if latency.count else "" for percent in (50, 99, 100)),
            f"{row.open:,}",
            f"{tally.connects:,}",
            f"{tally.troubles:,}",
        ]
