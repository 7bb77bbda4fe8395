"""Colours and tables, where a person looks at the output."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TextIO

import click

#: ``paint("red", text)``: the text as it is to be written.
Paint = Callable[[str, str], str]


def painter(file: TextIO) -> Paint:
    """What paints for this file: nothing where it is no terminal, a dumb one, or where NO_COLOR is set."""
    if not is_terminal(file):
        return lambda _style, text: text
    # Only here: loading rich takes longer than many a conversation.
    from rich.color import ColorSystem
    from rich.console import Console
    from rich.style import Style

    console = Console(file=file)
    if console.no_color or console.color_system is None:
        return lambda _style, text: text
    return lambda style, text: Style.parse(style).render(text, color_system=ColorSystem.STANDARD)


def is_terminal(file: TextIO | None) -> bool:
    """Whether a person looks at it; a file that was closed is nobody's."""
    try:
        return file is not None and file.isatty()
    except ValueError:
        return False


def print_table(rows: Iterable[tuple[str, str]]) -> None:
    """Print names with a text each, on standard output: folded to a terminal's width, a line each in a pipe."""
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
        table.add_row(Text(name), Text(text))  # not as markup: [ is an octet like any other
    Console(highlight=False).print(table)
