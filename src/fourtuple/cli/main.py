"""The command ``fourtuple``: its subcommands, and what they have in common."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Any, NoReturn

import click

from fourtuple._version import __version__
from fourtuple.cli import speed
from fourtuple.cli.failure import Exit, Failure
from fourtuple.cli.standard_files import abandon_output, leave_output


def _version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    readiness = "nested (epoll)" if sys.platform == "linux" else "portable (add_reader)"
    python = sys.version.partition(" ")[0]
    click.echo(f"fourtuple {__version__}, Python {python}, loop {speed.loop()}, readiness {readiness}, {speed.parts()}")
    ctx.exit()


#: The subcommands by what they are for, each with its module, which is imported when the command is used, and with what
#: the list of commands says of it.
_SECTIONS = {
    "Serve and talk": {
        "serve": ("serve", "Serve a service until a signal."),
        "connect": ("connect", "Exchange messages with a server."),
        "check": ("check", "What the options are, and where each comes from."),
        "relay": ("relay", "Relay between clients and a server: show, record, break."),
        "bench": ("bench", "Load a server, and report how fast it answers."),
        "framings": ("framings", "List what --framing takes."),
    },
    "Look at sockets": {
        "sockets": ("sockets", "Every socket of this machine, its queues and owners."),
        "top": ("top", "The same on a whole screen, live."),
        "ports": ("ports", "Ephemeral ports in use; who has a port."),
        "probe": ("probe", "Why a connection fails, or what it takes."),
        "care": ("care", "Watch TCP repair a path that loses segments."),
    },
    "Operate a running server": {
        "status": ("control", "What it does: services, queues, workers."),
        "connections": ("control", "Its open connections."),
        "close": ("control", "Close one of them."),
        "suspend": ("control", "Stop accepting."),
        "resume": ("control", "Accept again."),
        "drain": ("control", "Stop, as SIGTERM does."),
        "workers": ("control", "Change the number of worker processes."),
        "upgrade": ("control", "Replace the whole program."),
        "limits": ("control", "Show and change limits."),
    },
}
_SUBCOMMANDS = {name: module for section in _SECTIONS.values() for name, (module, _) in section.items()}


#: Where a context keeps the arguments of its command.
_GIVEN = "fourtuple.given"


def _with_one_dash(ctx: click.Context | None, given: list[str]) -> str:
    """Return the first flag of a command that was given as ``-framing``, which says ``-f raming``; "" if none was."""
    known = [flag for each in ctx.command.params for flag in each.opts] if ctx is not None else []
    flags = (f"-{argument.partition('=')[0]}" for argument in given if argument.startswith("-"))
    return next((flag for flag in flags if flag.startswith("--") and len(flag) > 3 and flag in known), "")


class _Formatter(click.HelpFormatter):
    """Puts the text of each flag below it where two columns would break its words."""

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        if self.width >= _TWO_COLUMNS:
            super().write_dl(list(rows), col_max, col_spacing)
            return
        for name, text in rows:
            self.write(f"{'':>{self.current_indent}}{name}\n")
            below = " " * (self.current_indent + 4)
            self.write(f"{click.formatting.wrap_text(text, self.width, below, below)}\n")


#: The least width for flags and their texts side by side.
_TWO_COLUMNS = 60


class _Context(click.Context):
    formatter_class = _Formatter


class _Commands(click.Group):
    """Ends with the exit code for Ctrl-C, and prints nothing: the user typed it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_SUBCOMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands in their sections. No module of a command is imported for that."""
        width = max(map(len, _SUBCOMMANDS))
        for title, section in _SECTIONS.items():
            spacing = 2 + width - max(map(len, section))
            with formatter.section(title):
                formatter.write_dl([(name, text) for name, (_, text) in section.items()], col_spacing=spacing)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _SUBCOMMANDS:
            return None
        command: click.Command = getattr(import_module(f"fourtuple.cli.{_SUBCOMMANDS[cmd_name]}"), cmd_name)
        command.context_class = _Context
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that was given. The usage error for an unknown one suggests the nearest."""
        if args and args[0] not in _SUBCOMMANDS and not args[0].startswith("-"):
            from fourtuple.options import nearest  # imported here: only errors need it

            ctx.fail(f"No such command {args[0]!r}{nearest(args[0], _SUBCOMMANDS) or '.'}")
        ctx.meta[_GIVEN] = args[1:]
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            flag = _with_one_dash(error.ctx, ctx.meta.get(_GIVEN, []))
            if flag:
                text = f"{error.format_message().rstrip('.')}. Did you mean {flag}, with two dashes?"
                raise click.UsageError(text, error.ctx) from error
            raise
        except KeyboardInterrupt:
            sys.exit(Exit.INTERRUPTED)


@click.group(cls=_Commands, context_settings={"help_option_names": ["--help", "-h"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version,
    help="What this is: version, Python, event loop, readiness, C or Python.",
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
