"""What the commands that serve do before they serve: read the configuration, choose the loop, prepare the output."""

from __future__ import annotations

import io
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fourtuple.cli.failure import Exit, Failure
from fourtuple.config import Configuration, configure, default_file
from fourtuple.errors import OptionError
from fourtuple.net.descriptors import too_few

if TYPE_CHECKING:
    from fourtuple.serving.run import LoopFactory


def check_descriptors() -> None:
    """Raise :class:`Failure` for a limit on descriptors with which nothing can be served: each step would fail."""
    why = too_few()
    if why:
        raise Failure(why, Exit.NO_START)


def configuration_of(file: Path | None, flags: dict[str, str]) -> Configuration:
    """Return the options in force. Raises :class:`Failure` for those that are impossible."""
    try:
        return configure(flags, os.environ, file or default_file(Path()))
    except OptionError as error:
        raise Failure(error, Exit.USAGE) from error


def loop_factory(name: str) -> LoopFactory | None:
    """Return what makes the event loop; None for asyncio's own."""
    if name == "asyncio" or (name == "auto" and not find_spec("uvloop")):
        return None
    if not find_spec("uvloop"):
        raise Failure("uvloop is not installed: pip install 'fourtuple[uvloop]'", Exit.USAGE)
    import uvloop  # imported only if it is chosen

    factory: LoopFactory = uvloop.new_event_loop
    return factory


def line_buffered() -> None:
    """Write each line to a pipe at once, and escape characters that the encoding does not have."""
    for file in (sys.stdout, sys.stderr):
        if isinstance(file, io.TextIOWrapper):
            file.reconfigure(line_buffering=True, errors="backslashreplace")
