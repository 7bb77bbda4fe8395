"""Draw the pictures in these pages: ``python docs/pictures.py``. The sockets of terminals are the sample of the tests.

The picture of ``fourtuple care`` is one real run: ``fourtuple care --svg docs/pictures/care.svg``.
"""

from __future__ import annotations

import asyncio
import io
import re
import sys
from pathlib import Path

from rich.console import Console

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

from diagrams import DIAGRAMS  # noqa: E402  # it is beside us

from fourtuple.cli import sockets_show  # noqa: E402
from fourtuple.cli._top_app import Top  # noqa: E402
from fourtuple.cli.tables import draw  # noqa: E402
from fourtuple.inspector import parse_filter  # noqa: E402
from fourtuple.inspector.window import View  # noqa: E402
from inspector.sample import SAMPLE  # noqa: E402  # it is beside us, not in the package


def sockets(width: int = 100) -> str:
    """``fourtuple sockets --unix`` on a terminal of this width."""
    console = Console(
        record=True, width=width, force_terminal=True, color_system="standard", highlight=False, file=io.StringIO()
    )
    console.print("$ fourtuple sockets --unix")
    sockets_show.is_terminal = lambda _file: True  # colours, wherever this is run
    for number, table in enumerate(sockets_show.tables_of(SAMPLE)):
        if number:
            console.print()
        draw(table, console)
    for line in sockets_show.notes(SAMPLE):
        console.print(line)
    return plain(console.export_svg(title="fourtuple sockets", unique_id="sockets"))


def top() -> str:
    """The screen of ``fourtuple top``."""
    in_states = tuple(
        (state, sum(each.state == state for each in SAMPLE.sockets)) for state in ("listen", "established")
    )
    view = View(SAMPLE.sockets, 0, len(SAMPLE.sockets), in_states, SAMPLE, 0.0)

    async def shot() -> str:
        app = Top(lambda *_asked: view, parse_filter(""), every=60.0)
        async with app.run_test(size=(100, 16)) as pilot:
            await pilot.press("down", "down")
            return app.export_screenshot(title="fourtuple top")

    return plain(asyncio.run(shot()))


def plain(svg: str) -> str:
    """Without the fonts that would be fetched from elsewhere: the reader's own monospaced one serves."""
    return re.sub(r"@font-face \{[^}]*\}\s*", "", svg).replace("Fira Code", "monospace")


if __name__ == "__main__":
    (HERE / "pictures" / "sockets.svg").write_text(sockets())
    (HERE / "pictures" / "top.svg").write_text(top())
    for name, draw_diagram in DIAGRAMS.items():
        (HERE / "pictures" / f"{name}.svg").write_text(draw_diagram().svg())
