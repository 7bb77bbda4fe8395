"""Build the site: ``python docs/site/build.py``, or ``make docs``. The pages are in build/site/html.

A warning is an error: a link that leads nowhere, a name that is not documented, a page that is not listed.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.cmd.build import build_main

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent)]

import api  # noqa: E402  # they are beside us
import generate  # noqa: E402
import stage  # noqa: E402


def main(folder: Path) -> int:
    """Build into ``folder``; return Sphinx's exit code."""
    source = folder / "source"
    stage.stage(source, HERE / "toctrees.txt")
    api.write_pages(source / "api", generate.PUBLIC)
    strict = ("-n", "-W", "--keep-going", "-q")
    folders = ("-d", str(folder / "doctrees"), str(source), str(folder / "html"))
    return build_main(["-b", "html", *strict, "-c", str(HERE), *folders])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "site"))
