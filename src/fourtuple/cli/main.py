"""The command ``fourtuple``: its subcommands, and what every one of them does alike."""

from __future__ import annotations

import platform
import sys
from importlib.util import find_spec
from typing import NoReturn

import click

from fourtuple._version import __version__
from fourtuple.cli.bench import bench
from fourtuple.cli.connect import connect
from fourtuple.cli.failure import Exit, Failure
from fourtuple.cli.framings import framings
from fourtuple.cli.serve import serve
from fourtuple.cli.terminal import abandon_output, open_standard_files

#: The optional C, by what it does. See setup.py.
_C_MODULES = {"splitting": "fourtuple.framing._split", "turn": "fourtuple.engine._turn"}


def _version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    readiness = "nested (epoll)" if sys.platform == "linux" else "portable (add_reader)"
    in_c = [what for what, module in _C_MODULES.items() if find_spec(module)]
    speed = f"C for: {', '.join(in_c)}" if in_c else "pure Python"
    click.echo(f"fourtuple {__version__}, Python {platform.python_version()}, readiness {readiness}, {speed}")
    ctx.exit()


@click.group(context_settings={"help_option_names": ["--help", "-h"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version,
    help="What this is: version, Python, readiness, C or Python.",
)  # fmt: skip
def cli() -> None:
    """Serve TCP protocols, and talk to them.

    Exit codes: 0 done, 1 peer or protocol, 2 usage, 3 cannot listen or connect, 4 timed out.
    """


for command in (serve, connect, bench, framings):
    cli.add_command(command)


def main() -> NoReturn:
    """Run the command and exit."""
    open_standard_files()
    try:
        cli.main(prog_name="fourtuple")
    except Failure as failure:
        failure.show()
        sys.exit(failure.code)
    except OSError as error:
        # A full disk behind our output, no descriptor for an event loop: all else has an error of its own.
        abandon_output()
        Failure(error.strerror or error, Exit.FAILED).show()
        sys.exit(Exit.FAILED)
    sys.exit(Exit.DONE)
