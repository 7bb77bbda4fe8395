"""The screen of ``fourtuple top``, on textual: keys, the table, the page of one socket."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar, TextIO

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.timer import Timer
from textual.widgets import Input, Static

from fourtuple.cli import top_rows
from fourtuple.cli.tables import kept
from fourtuple.cli.terminal import is_terminal
from fourtuple.errors import FilterError
from fourtuple.inspector.filters import Filter, parse_filter
from fourtuple.inspector.history import History, Track
from fourtuple.inspector.model import ActiveSocket, Socket, key_of
from fourtuple.inspector.window import View

if TYPE_CHECKING:
    from fourtuple.operations.watching import Watched

#: ``look(filter, sort, first, count)``: one look at the kernel.
Look = Callable[[Filter, Sequence[str], int, int], View]

#: At most this part of one core is used for looking: where a look takes long, the next one comes later.
SHARE = 0.2
#: A narrow screen cuts its end.
_HELP = "q quit  ↑↓ move  enter page  / filter  s order  p pause  + - faster slower"
#: The exit code of a command that Ctrl-C has ended: in raw mode it is a key, and no signal.
_INTERRUPTED = 128 + signal.SIGINT


class Top(App[None]):
    """The sockets, again and again. Only the rows on the screen are decoded and drawn."""

    CSS: ClassVar[str] = """
    Screen { layout: vertical; }
    #body { height: 1fr; }
    #filter { display: none; height: 1; border: none; }
    #filter.open { display: block; }
    #status { height: 1; }
    """
    ENABLE_COMMAND_PALETTE: ClassVar[bool] = False
    AUTO_FOCUS: ClassVar[str | None] = ""  # the keys are ours, until / opens the line of the filter
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "interrupt", "Quit", priority=True),  # textual would only say how to quit
        Binding("down,j", "move(1)", "Down", priority=False),
        Binding("up,k", "move(-1)", "Up"),
        Binding("pagedown,space", "page(1)", "Page down"),
        Binding("pageup", "page(-1)", "Page up"),
        Binding("home,g", "edge(-1)", "First"),
        Binding("end,G", "edge(1)", "Last"),
        Binding("enter", "open", "Page of one socket"),
        Binding("escape", "back", "Back"),
        Binding("s", "order(1)", "Next order"),
        Binding("S", "order(-1)", "Last order"),
        Binding("slash", "ask", "Filter"),
        Binding("p", "pause", "Pause"),
        Binding("plus", "every(0.5)", "Faster"),
        Binding("minus", "every(2.0)", "Slower"),
    ]

    def __init__(
        self,
        look: Look,
        wanted: Filter,
        *,
        every: float = 1.0,
        watched: Watched | None = None,
        terminal: TextIO | None = None,
    ) -> None:
        super().__init__()
        self._look = look
        self._terminal = terminal
        self.wanted: Filter = wanted
        self.every: float = every
        self._watched = watched
        self.order: int = 0
        self.cursor: int = 0
        self.paused: bool = False
        self.opened: object = None
        self.trouble: str = ""
        self.view: View | None = None
        self._first = 0
        self._history = History()
        self._track = Track()
        self._page_of: Socket | None = None
        self._timer: Timer | None = None
        self._ended_by: int | None = None

    def compose(self) -> ComposeResult:
        """The parts of the screen."""
        yield Static(id="body", markup=False)
        yield Input(id="filter", placeholder="state=established and rtt > 50ms", compact=True)
        yield Static(_HELP, id="status", markup=False)

    def on_mount(self) -> None:
        """Look for the first time."""
        if self._ended_by is not None:
            self.exit(return_code=128 + self._ended_by)
            return
        self.refresh_now()

    def on_resize(self) -> None:
        """There is another number of rows."""
        self.refresh_now()

    # -- ends --------------------------------------------------------------------------------------------

    def end_by(self, number: int, _frame: object = None) -> None:
        """End by a signal, as its handler: the terminal is put back first, and the exit code has the number."""
        self._ended_by = number
        loop = self._loop
        if loop is not None:
            loop.call_soon_threadsafe(partial(self.exit, return_code=128 + number))

    def action_interrupt(self) -> None:
        """Quit by Ctrl-C."""
        self.exit(return_code=_INTERRUPTED)

    # -- looking ------------------------------------------------------------------------------------------

    def refresh_now(self) -> None:
        """Look at the kernel, draw, and arrange for the next look."""
        if self._terminal is not None and not is_terminal(self._terminal):
            # The terminal is gone, and SIGHUP, which says so, is ignored (trap "" HUP). Reading it would never wait any
            # more, and there is nothing to put back.
            os._exit(128 + signal.SIGHUP)
        if self._timer is not None:
            self._timer.stop()
        if not self.paused or self.view is None:
            self._see()
        self._draw()
        spent = 0.0 if self.view is None else self.view.seconds
        self._timer = self.set_timer(max(self.every, spent / SHARE), self.refresh_now)

    def _see(self) -> None:
        sort = top_rows.ORDERS[self.order][1]
        if self._watched is not None:
            self._watched.look()
        try:
            if self.opened is not None:
                view = self._look(_this_one(self.opened), (), 0, 1)
            else:
                view = self._look(self.wanted, [sort] if sort else [], self._first, self.rows)
        except OSError as error:
            self.trouble = f"the sockets cannot be read: {error.strerror or error}"
            return
        self.trouble = ""
        if self.opened is not None:
            self._see_one(view)
            return
        self.view, self._first = view, view.first
        self.cursor = max(view.first, min(self.cursor, view.first + len(view.rows) - 1))
        self._history.add(view.rows, view.total, view.seen.counters, time.monotonic())

    def _see_one(self, view: View) -> None:
        """Take a look at the socket whose page is open."""
        self._history.add(view.rows, view.total, view.seen.counters, time.monotonic())
        self._page_of = view.rows[0] if view.rows else None
        if isinstance(self._page_of, ActiveSocket):
            self._track.add(self._page_of)

    @property
    def rows(self) -> int:
        """How many rows there is room for."""
        above = 4 if self._watched is None else 5  # two or three lines of head, the heading, and the status
        return max(1, self.size.height - above)

    def chosen(self) -> Socket | None:
        """The socket under the cursor, or the one whose page is open; None if it is gone."""
        if self.opened is not None:
            return self._page_of
        if self.view is None or not self.view.rows:
            return None
        at = self.cursor - self.view.first
        return self.view.rows[at] if 0 <= at < len(self.view.rows) else None

    # -- drawing ------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        body = self.query_one("#body", Static)
        status = self.query_one("#status", Static)
        status.update(self.trouble or ("paused   " if self.paused else "") + _HELP)
        if self.view is not None:
            body.update(self._page() if self.opened is not None else self._table(self.view))

    def _table(self, view: View) -> Text:
        width = max(20, self.size.width)
        shown = top_rows.table(view, self._history)
        lines = top_rows.fitted(shown, kept(shown, width), width)
        order = top_rows.ORDERS[self.order][0]
        text = Text(no_wrap=True)
        for number, line in enumerate(top_rows.head(view, self._history, order, self.every, width)):
            text.append(line + "\n", "bold" if number == 0 else "")
        if self._watched is not None:
            text.append(top_rows.server_line(self._watched, width) + "\n", "bold")
        text.append(lines[0] + "\n", "dim")
        for number, line in enumerate(lines[1:], view.first):
            text.append(line + "\n", "reverse" if number == self.cursor else "")
        return text

    def _page(self) -> Text:
        socket = self.chosen()
        if socket is None:
            return Text("It has gone.  (escape goes back)")
        assert self.view is not None
        counters = self.view.seen.counters
        rates = self._history.rates_of(socket)
        lines = top_rows.page(socket, self._track, rates, counters, max(20, self.size.width))
        return Text("\n".join(lines))

    # -- keys ---------------------------------------------------------------------------------------------

    def action_move(self, step: int) -> None:
        """Move the cursor, and the rows with it at the edge of the screen."""
        if self.view is None or self.opened is not None:
            return
        self.cursor = max(0, min(self.cursor + step, self.view.total - 1))
        if self.cursor < self._first:
            self._first = self.cursor
        elif self.cursor >= self._first + self.rows:
            self._first = self.cursor - self.rows + 1
        else:
            self._draw()
            return
        self._again()

    def action_page(self, step: int) -> None:
        """Move by a screen."""
        self.action_move(step * self.rows)

    def action_edge(self, step: int) -> None:
        """Go to the first or to the last row."""
        self.action_move(step * (self.view.total if self.view else 0))

    def action_open(self) -> None:
        """Open the page of the socket under the cursor."""
        socket = self.chosen()
        if socket is not None and self.opened is None:
            self.opened, self._page_of, self._track = key_of(socket), socket, Track()
            self._again()

    async def action_back(self) -> None:
        """Close the page, or the line of the filter."""
        self.opened = None
        self._close_filter()
        self._again()

    def action_order(self, step: int) -> None:
        """Order the rows by another number."""
        self.order = (self.order + step) % len(top_rows.ORDERS)
        self._first = self.cursor = 0
        self._again()

    def action_pause(self) -> None:
        """Look no more, or again."""
        self.paused = not self.paused
        self._draw()

    def action_every(self, factor: float) -> None:
        """Look more often, or less."""
        self.every = min(60.0, max(0.25, self.every * factor))
        self._again()

    def action_ask(self) -> None:
        """Open the line for a filter."""
        line = self.query_one("#filter", Input)
        line.value = self.wanted.text
        line.add_class("open")
        line.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the filter; one that cannot be read stays in its line, with the reason below it."""
        try:
            self.wanted = parse_filter(event.value)
        except FilterError as error:
            self.trouble = str(error)
            self._draw()
            return
        self._close_filter()
        self._first = self.cursor = 0
        self._again()

    def _close_filter(self) -> None:
        line = self.query_one("#filter", Input)
        line.remove_class("open")
        self.set_focus(None)
        self.trouble = ""

    def _again(self) -> None:
        """Look at once, even while paused: other rows were asked for."""
        paused, self.paused = self.paused, False
        self.refresh_now()
        self.paused = paused


def _this_one(key: object) -> Filter:
    """The filter for one socket. It names a field, so that all sockets are decoded and it is found wherever it is."""
    return Filter("", frozenset({"inode"}), lambda socket: key_of(socket) == key)
