"""``fourtuple top``: the sockets on a whole screen, again and again."""

from __future__ import annotations

import os
import signal
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from fourtuple.cli import types
from fourtuple.cli.failure import Exit, Failure
from fourtuple.cli.terminal import is_terminal
from fourtuple.errors import FilterError, FourTupleError
from fourtuple.inspector.filters import parse_filter
from fourtuple.inspector.model import Source

if TYPE_CHECKING:
    from fourtuple.operations.watching import Watched


@click.command()
@click.argument("filter_", metavar="[FILTER]...", nargs=-1)
@click.option("--interval", "-i", type=types.seconds(), default=1.0, metavar="SECONDS", help="Between two looks.  [1]")
@click.option(
    "--source", type=click.Choice(["auto", "netlink", "proc"]), default="auto",
    help="Where to read.  [netlink, and proc where that is closed]",
)  # fmt: skip
@click.option(
    "--control", "-c", metavar="PATH",
    help="Also show what the server with this control socket says of itself: messages a second, handler time.  "
    "[FOURTUPLE_CONTROL, or the only one in $XDG_RUNTIME_DIR/fourtuple, if there is one]",
)  # fmt: skip
def top(filter_: tuple[str, ...], interval: float, source: Source, control: str | None) -> None:
    """Show the sockets of this machine on a whole screen, live. FILTER chooses among them, as in fourtuple sockets.

    Keys: arrows, page up and down, home and end move; enter opens the page of one socket, with its history and what its
    numbers mean, and escape closes it; / asks for a filter; s and S change the order; p pauses; + and - look more often
    and less; q and Ctrl-C quit.

    It needs textual: pip install 'fourtuple[top]'. Looking takes at most a fifth of one core: where there are many
    thousands of sockets, an order or a filter by numbers is looked at less often.
    """
    try:
        wanted = parse_filter(" ".join(filter_))
    except FilterError as error:
        raise Failure(error, Exit.USAGE) from error
    if find_spec("textual") is None:
        raise Failure("top needs textual: pip install 'fourtuple[top]'", Exit.USAGE)
    if not (is_terminal(sys.stdin) and is_terminal(sys.stdout)):
        raise Failure("top needs a terminal; for a pipe there is fourtuple sockets --watch", Exit.USAGE)
    from fourtuple.cli._top_app import Top  # only here: textual takes a while to import
    from fourtuple.inspector.window import Window

    watched = _watched(control)
    window = Window(source)
    try:
        window.look(wanted, (), 0, 1)
    except OSError as error:
        raise Failure(f"the kernel lets no socket be seen: {error.strerror or error}", Exit.NO_START) from error
    app = Top(window.look, wanted, every=interval, watched=watched, terminal=sys.stdin)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, app.end_by)
    try:
        app.run()
    finally:
        if watched is not None:
            watched.close()
    if app.return_code:
        sys.exit(app.return_code)


def _watched(control: str | None) -> Watched | None:
    """The server to ask: the one that was named, or one that is found; None if there is none."""
    from fourtuple.operations.control_client import find  # only here, as above
    from fourtuple.operations.watching import Watched

    try:
        return Watched(find(control, os.environ))
    except FourTupleError as error:
        if control is not None:
            raise Failure(error, Exit.USAGE) from error
        return None
