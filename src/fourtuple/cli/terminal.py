"""Colours and tables for a terminal."""

from __future__ import annotations

import os
import signal
import sys
import termios
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

import click

#: ``paint("red", text)`` returns the text to write.
Paint = Callable[[str, str], str]


def painter(file: TextIO) -> Paint:
    """Return what paints for this file: no colours if it is not a terminal or a dumb one, or if NO_COLOR is set."""
    if not is_terminal(file):
        return lambda _style, text: text
    # Imported here: loading rich takes longer than many conversations.
    from rich.color import ColorSystem
    from rich.console import Console
    from rich.style import Style

    console = Console(file=file)
    if console.no_color or console.color_system is None:
        return lambda _style, text: text
    return lambda style, text: Style.parse(style).render(text, color_system=ColorSystem.STANDARD)


def is_terminal(file: TextIO | None) -> bool:
    """Return whether a file is a terminal. A closed file is not."""
    try:
        return file is not None and file.isatty()
    except ValueError:
        return False


@contextmanager
def restored_at_hangup(file: TextIO, codes: str) -> Iterator[None]:
    """While the block runs, SIGHUP puts the terminal of ``file`` back before it ends the process.

    ``codes`` undo what was written to it. The other signals that end a command are handled by the loop. If SIGHUP is
    ignored (nohup), it stays so.
    """
    before = signal.getsignal(signal.SIGHUP)
    if before is not signal.SIG_DFL or not is_terminal(file):
        yield
        return
    fd = file.fileno()
    attributes = termios.tcgetattr(fd)

    def end(number: int, _frame: object) -> None:
        with suppress(OSError, termios.error):
            termios.tcsetattr(fd, termios.TCSANOW, attributes)
            os.write(fd, codes.encode())
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGHUP, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def print_table(rows: Iterable[tuple[str, str]]) -> None:
    """Print names with their texts on standard output: folded to the terminal's width, one line each in a pipe."""
    if not is_terminal(sys.stdout):
        for name, text in rows:
            click.echo(f"{name:24} {text}")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    table.add_column(style="bold cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(Text(name), Text(text))  # not as markup: [ has no meaning here
    Console(highlight=False).print(table)
