"""The command ``fourtuple``: its subcommands, and what every one of them does alike."""

from __future__ import annotations

import platform
import sys
from typing import Any, NoReturn

import click

from fourtuple._version import __version__
from fourtuple.cli.bench import bench
from fourtuple.cli.connect import connect
from fourtuple.cli.failure import Exit, Failure
from fourtuple.cli.framings import framings
from fourtuple.cli.serve import serve
from fourtuple.cli.standard_files import abandon_output, leave_output
from fourtuple.compiled import ASKED


def _version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    readiness = "nested (epoll)" if sys.platform == "linux" else "portable (add_reader)"
    click.echo(f"fourtuple {__version__}, Python {platform.python_version()}, readiness {readiness}, {_speed()}")
    ctx.exit()


def _speed() -> str:
    """What runs in C in this very process, and why the rest does not."""
    in_c = [what for what, why_not in ASKED.items() if not why_not]
    speed = f"C for: {', '.join(in_c)}" if in_c else "pure Python"
    return "; ".join([speed, *(f"{what} {why_not}" for what, why_not in ASKED.items() if why_not)])


class _Commands(click.Group):
    """Ctrl-C is told by the exit code, in no word: whoever typed it knows."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.exit(Exit.INTERRUPTED)


@click.group(cls=_Commands, context_settings={"help_option_names": ["--help", "-h"]})
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
    finally:
        leave_output()
    sys.exit(Exit.DONE)
