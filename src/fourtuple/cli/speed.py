"""Which parts of this process run in C, and which event loop it takes."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import click

from fourtuple.compiled import ASKED, LOCK_IS_OFF, PIECES, chosen

WITH_COMPILER = (
    "With a C compiler and Python's headers, install it again: "
    "FOURTUPLE_C=require pip install --force-reinstall --no-cache-dir --no-binary fourtuple fourtuple"
)
WITH_LOCK = "PYTHON_GIL=1 switches the interpreter's lock on, with which the C runs; FOURTUPLE_C=off ends this line"


def parts() -> str:
    """Return which parts run in C in this process, and why others do not."""
    import_module("fourtuple.serving.run")  # a server uses all the parts
    asked = {what: ASKED[what] for what in PIECES if what in ASKED}
    in_c = [what for what, why_not in asked.items() if not why_not]
    speed = f"C for: {', '.join(in_c)}" if in_c else "pure Python"
    return "; ".join([speed, *(f"{what} {why_not}" for what, why_not in asked.items() if why_not)])


def tell_if_slow() -> None:
    """Print one line if C is missing that was not switched off: it could not be built at the installation.

    pip hides what a build prints, so this is where a person sees it. A Python that runs without its lock has no C by
    intention, and faster C is one setting away: the line names it.
    """
    missing = [what for what in PIECES if ASKED.get(what)]
    if missing and chosen() != "off":
        click.echo(
            f"fourtuple: slower than it could be: without C for {', '.join(missing)} (fourtuple --version says why). "
            + (WITH_LOCK if LOCK_IS_OFF else WITH_COMPILER),
            err=True,
        )


def loop() -> str:
    """Return the event loop that ``--loop auto`` takes, with its version if it is uvloop."""
    if not find_spec("uvloop"):
        return "asyncio"
    # imported here: it imports email, csv and zipfile, a tenth of the start of a server, which never asks for this
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"uvloop {version('uvloop')}"
    except PackageNotFoundError:
        return "uvloop"
