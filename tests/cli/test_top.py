"""`fourtuple top`: its screen, its keys, the page of one socket, and how little it looks."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import socket
import struct
import subprocess
import termios
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from cli.conftest import ENVIRONMENT, FOURTUPLE, Run
from cli.screens import same_text
from fourtuple.cli import top_rows
from fourtuple.cli.tables import kept
from fourtuple.inspector import parse_filter
from fourtuple.inspector.filters import Filter
from fourtuple.inspector.history import History, Track
from fourtuple.inspector.model import ActiveSocket, Counters
from fourtuple.inspector.ordering import ordered
from fourtuple.inspector.window import View, Window
from inspector.sample import SAMPLE
from inspector.scenes import Pair, port_of

pytest.importorskip("textual", reason="textual is not installed")


def view_of(wanted: Filter, sort: Sequence[str], first: int, count: int) -> View:
    """A look at the sample, instead of the kernel."""
    found = ordered(filter(wanted, SAMPLE.sockets), sort)
    first = max(0, min(first, len(found) - count))
    states: dict[str, int] = {}
    for each in found:
        states[each.state] = states.get(each.state, 0) + 1
    in_states = tuple(sorted(states.items()))
    return View(tuple(found[first : first + count]), first, len(found), in_states, replace(SAMPLE, sockets=()), 0.0)


ALL = parse_filter("")


# -- what is drawn ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 200])
def test_the_screen_fits_its_width(width: int) -> None:
    history = History()
    view = view_of(ALL, (), 0, 20)
    history.add(view.rows, view.total, Counters(overflows=0, retransmitted=10), 100.0)
    history.add(view.rows, view.total, Counters(overflows=4, retransmitted=40), 102.0)
    shown = top_rows.table(view, history)
    lines = top_rows.head(view, history, "state", 1.0, width) + top_rows.fitted(shown, kept(shown, width), width)
    assert {len(line) for line in lines} == {width}
    same_text(f"top-{width}", "\n".join(line.rstrip() for line in lines) + "\n")


def test_the_page_of_one_socket() -> None:
    history, track = History(), Track()
    busy = next(each for each in SAMPLE.connections if each.send_queue)
    assert busy.info is not None
    for moment in range(5):
        info = replace(busy.info, rtt=60_000 + moment * 8000, bytes_acked=moment * 1000)
        later = replace(busy, info=info, send_queue=moment * 600_000)
        track.add(later)
        history.add([later], 1, Counters(), float(moment))
    same_text("top-page", "\n".join(top_rows.page(later, track, history.rates_of(later), Counters(), 80)) + "\n")


def test_rates_are_differences_between_two_looks() -> None:
    history = History()
    busy = next(each for each in SAMPLE.connections if each.send_queue)
    assert busy.info is not None
    history.add([busy], 1, Counters(retransmitted=1), 10.0)
    assert history.rates_of(busy).sent is None
    later = replace(busy, info=replace(busy.info, bytes_acked=3000, bytes_received=84_500))
    history.add([later], 1, Counters(retransmitted=7), 12.0)
    assert (history.rates_of(later).sent, history.rates_of(later).received) == (1500.0, 250.0)
    assert list(history.retransmitted) == [3.0]
    history.add([], 0, Counters(), 13.0)
    assert history.rates_of(later).sent is None  # what is not seen any more is forgotten


# -- a look -----------------------------------------------------------------------------------------------


def test_a_look_decodes_what_is_shown_and_finds_the_rest_where_it_is() -> None:
    with ExitStack() as stack:
        pair = Pair(stack)
        waits = stack.enter_context(socket.create_connection(pair.listener.getsockname()))
        window = Window("netlink")
        whole = window.look(parse_filter(f"port={pair.port} and not state=time-wait"), (), 0, 10)
        assert whole.total == len(whole.rows) == 5
        everything = window.look(ALL, (), 0, 1_000_000)
        assert everything.total == len(everything.rows)
        mine = [each for each in everything.rows if each.cookie in {row.cookie for row in whole.rows}]
        assert [each.cookie for each in mine] == [each.cookie for each in whole.rows]
        for cheap, full in zip(mine, whole.rows, strict=True):
            assert (cheap.owners, cheap.state) == (full.owners, full.state)
            if isinstance(cheap, ActiveSocket):
                assert isinstance(full, ActiveSocket)
                assert (cheap.both_ends_here, cheap.waits_at) == (full.both_ends_here, full.waits_at)
                assert cheap.peer_owners == full.peer_owners
        assert any(isinstance(each, ActiveSocket) and each.waits_at for each in mine)
        last = window.look(ALL, (), 10_000_000, 3)
        assert (len(last.rows), last.first) == (min(3, last.total), max(0, last.total - 3))
        assert port_of(waits)


# -- keys -------------------------------------------------------------------------------------------------


def screen_of(app: Any) -> str:
    return str(app.query_one("#body").render())


def piloted(steps: Callable[[Any, Any], Awaitable[None]], wanted: Filter = ALL) -> None:
    """Run the screen without a terminal, 80 by 24, and press keys."""
    from fourtuple.cli._top_app import Top

    looked: list[tuple[str, tuple[str, ...]]] = []

    def look(asked: Filter, sort: Sequence[str], first: int, count: int) -> View:
        looked.append((asked.text, tuple(sort)))
        return view_of(asked, sort, first, count)

    async def main() -> None:
        app = Top(look, wanted, every=60.0)
        async with app.run_test(size=(80, 24)) as pilot:
            await steps(app, pilot)
        assert looked

    asyncio.run(main())


def test_moving_and_the_page() -> None:
    async def steps(app: Any, pilot: Any) -> None:
        first = app.chosen()
        await pilot.press("down", "down")
        assert app.cursor == 2
        assert app.chosen() != first
        await pilot.press("end")
        assert app.cursor == len(SAMPLE.sockets) - 1
        await pilot.press("home", "enter")
        assert app.opened is not None
        assert "It awaits connections" in screen_of(app)
        await pilot.press("escape")
        assert app.opened is None
        assert "10 sockets: " in screen_of(app)

    piloted(steps)


def test_order_pause_and_speed() -> None:
    async def steps(app: Any, pilot: Any) -> None:
        await pilot.press("s")
        assert top_rows.ORDERS[app.order][0] == "send queue"
        assert app.chosen().send_queue == 2_400_000
        await pilot.press("S", "p", "plus")
        assert (app.order, app.paused, app.every) == (0, True, 30.0)

    piloted(steps)


def test_a_filter_and_one_that_cannot_be_read() -> None:
    async def steps(app: Any, pilot: Any) -> None:
        await pilot.press("slash", *"stat=x", "enter")
        assert "no field 'stat', did you mean 'state'?" in app.trouble
        app.query_one("#filter").value = "state=time-wait"
        await pilot.press("enter")
        assert app.wanted.text == "state=time-wait"
        assert "1 socket: 1 time-wait" in screen_of(app)
        assert app.trouble == ""

    piloted(steps)


def test_few_rows_are_asked_for() -> None:
    """As many as the screen has room for, whatever there is."""
    from fourtuple.cli._top_app import Top

    counts: list[int] = []

    def look(asked: Filter, sort: Sequence[str], first: int, count: int) -> View:
        counts.append(count)
        return view_of(asked, sort, first, count)

    async def main() -> None:
        async with Top(look, ALL, every=60.0).run_test(size=(80, 24)):
            pass

    asyncio.run(main())
    assert max(counts) == 20


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        *((b"q", 0), (b"\x03", 130), (signal.SIGHUP, 129)),
        *(pytest.param(each, 128 + each, marks=pytest.mark.slow) for each in (signal.SIGINT, signal.SIGTERM)),
    ],
)
def test_on_a_terminal_until_its_end(ends: bytes | signal.Signals, code: int) -> None:
    """The whole command: it draws, and gives the terminal back."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = ENVIRONMENT | {"TERM": "xterm-256color"}
    with subprocess.Popen(
        [*FOURTUPLE, "top", "listening"], stdin=slave, stdout=slave, stderr=slave, env=environment
    ) as process:
        os.close(slave)
        octets, asked = b"", False
        while True:
            try:
                octets += os.read(master, 65536)
            except OSError:  # EIO: nobody has the terminal open any more
                break
            if b"STATE" in octets and not asked:
                if isinstance(ends, bytes):
                    os.write(master, ends)
                else:
                    process.send_signal(ends)
                asked = True
    os.close(master)
    assert process.returncode == code, octets
    assert b"q quit" in octets
    for mode in (1049, 1000):  # the other screen, and the reports of the mouse
        assert octets.rfind(b"\x1b[?%dl" % mode) > octets.rfind(b"\x1b[?%dh" % mode) >= 0


def test_it_does_not_outlive_its_terminal_where_a_hangup_is_ignored() -> None:
    master, slave = pty.openpty()
    environment = ENVIRONMENT | {"TERM": "xterm-256color"}
    ignoring = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh"]
    with subprocess.Popen(
        [*ignoring, *FOURTUPLE, "top", "listening"], stdin=slave, stdout=slave, stderr=slave, env=environment
    ) as process:
        os.close(slave)
        octets = b""
        while b"STATE" not in octets:
            octets += os.read(master, 65536)
        os.close(master)
        assert process.wait() == 129


def test_a_narrow_screen_says_how_to_quit() -> None:
    from fourtuple.cli._top_app import _HELP

    assert _HELP.startswith("q quit")


@pytest.mark.parametrize(
    ("arguments", "says"), [(["stat=x"], "no field 'stat'"), ([], "top needs a terminal; for a pipe there is")]
)
def test_what_cannot_be(run: Run, arguments: list[str], says: str) -> None:
    done = run("top", *arguments)
    assert (done.code, done.text) == (2, "")
    assert says in done.err
