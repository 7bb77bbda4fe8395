"""The command ``fourtuple``: its subcommands, and what they have in common."""

from __future__ import annotations

import platform
import sys
from importlib import import_module
from typing import Any, NoReturn

import click

from fourtuple._version import __version__
from fourtuple.cli.failure import Exit, Failure
from fourtuple.cli.standard_files import abandon_output, leave_output
from fourtuple.compiled import ASKED, PIECES


def _version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    readiness = "nested (epoll)" if sys.platform == "linux" else "portable (add_reader)"
    click.echo(f"fourtuple {__version__}, Python {platform.python_version()}, readiness {readiness}, {_speed()}")
    ctx.exit()


def _speed() -> str:
    """Return which parts run in C in this process, and why others do not."""
    import_module("fourtuple.serving.run")  # a server uses all the parts
    asked = {what: ASKED[what] for what in PIECES if what in ASKED}
    in_c = [what for what, why_not in asked.items() if not why_not]
    speed = f"C for: {', '.join(in_c)}" if in_c else "pure Python"
    return "; ".join([speed, *(f"{what} {why_not}" for what, why_not in asked.items() if why_not)])


#: The subcommands, and their modules, which are imported when the command is used.
_SUBCOMMANDS = {
    **{name: name for name in ("serve", "connect", "bench", "relay", "framings")},
    **{name: name for name in ("sockets", "ports", "probe", "top", "care")},
    **dict.fromkeys(("status", "suspend", "resume", "drain", "workers", "limits", "connections", "close"), "control"),
}


class _Commands(click.Group):
    """Ends with the exit code for Ctrl-C, and prints nothing: the user typed it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _SUBCOMMANDS:
            return None
        command: click.Command = getattr(import_module(f"fourtuple.cli.{_SUBCOMMANDS[cmd_name]}"), cmd_name)
        return command

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
    """Serve TCP protocols, and talk to servers.

    Exit codes: 0 done, 1 peer or protocol, 2 usage, 3 cannot listen or connect, 4 timed out.
    """


def main() -> NoReturn:
    """Run the command and exit."""
    try:
        cli.main(prog_name="fourtuple")
    except Failure as failure:
        failure.show()
        sys.exit(failure.code)
    except OSError as error:
        # The output's disk is full, or no descriptor is left for an event loop: other failures have an error class.
        abandon_output()
        Failure(error.strerror or error, Exit.FAILED).show()
        sys.exit(Exit.FAILED)
    finally:
        leave_output()
    sys.exit(Exit.DONE)
