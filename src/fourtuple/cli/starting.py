"""What the commands that serve do before they serve: read the configuration, choose the loop, prepare the output."""

from __future__ import annotations

import io
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click

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


def file_of(named: Path | None, none: bool) -> Path | None:
    """Return the configuration file: the one that is named, or that of the directory; None with --no-config.

    Raises a usage error if both are given.
    """
    if none and named is not None:
        raise click.UsageError("Give either --config or --no-config.")
    return None if none else named or default_file(Path())


def configuration_of(named: Path | None, none: bool, flags: dict[str, str]) -> Configuration:
    """Return the options in force, with the file of :func:`file_of`. Raises :class:`Failure` for impossible ones."""
    file = file_of(named, none)
    try:
        return configure(flags, os.environ, file)
    except OptionError as error:
        raise of_configuration(error, file) from error


def of_configuration(error: OptionError, file: Path | None) -> Failure:
    """Return the failure for an error of the configuration. One of the file begins with its name, not an option's."""
    of_file = file is not None and str(error).startswith(f"{file}: ")
    return Failure(str(error) if of_file else error, Exit.USAGE)


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
