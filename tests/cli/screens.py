"""Screens as people see them, kept as files in ``screens/``. ``SCREENS=write`` writes them anew."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from fourtuple.cli.tables import Table, draw, plain

SCREENS = Path(__file__).parent / "screens"


def same_screen(name: str, tables: Sequence[Table], width: int | None, *, colours: bool = False) -> None:
    """Compare tables, as a terminal of this width shows them (None: as a pipe gets them), with the file."""
    same_text(name, "\n".join(screen(table, width, colours=colours) for table in tables))


def same_text(name: str, text: str) -> None:
    path = SCREENS / f"{name}.txt"
    if os.environ.get("SCREENS") == "write":
        path.write_text(text)
    assert text == path.read_text()


def screen(table: Table, width: int | None, *, colours: bool = False) -> str:
    if width is None:
        return "\n".join(plain(table)) + "\n"
    file = io.StringIO()
    console = Console(
        file=file, width=width, force_terminal=True, color_system="standard" if colours else None, highlight=False,
        no_color=not colours,
    )  # fmt: skip
    draw(table, console)
    return "\n".join(line.rstrip() for line in file.getvalue().split("\n"))
