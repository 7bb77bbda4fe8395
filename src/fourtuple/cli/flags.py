"""One flag for every declared option, made from its declaration and grouped by family in the help."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from fourtuple.cli import types
from fourtuple.config import FAMILIES, FILE_NAME
from fourtuple.errors import OptionError
from fourtuple.options import KIB, MIB, Declared, declared

C = TypeVar("C", bound=Callable[..., Any])


class _OptionFlag(click.Option):
    """The flag of a declared option, which knows its family."""

    def __init__(self, family: str, names: list[str], **settings: Any) -> None:
        super().__init__(names, **settings)
        self.family = family


def option_flag(family: str, option: Declared, prefix: str = "") -> click.Option:
    """Return the flag of a declared option. Its value is text, or None if it is not given.

    With a ``prefix``, it is for another side than the command's own: ``--target-tls-ca``, the parameter ``target_ca``.
    """
    kind: dict[str, Any] = {
        "type": types.parameter(option.name, lambda text: _checked(option, text)),
        "metavar": _metavar(option),
    }
    if option.bare:
        kind = {"type": str, "is_flag": True, "flag_value": "on", "default": None}
    flag, name = option.flag, option.name
    if prefix:
        flag, name = f"--{prefix}-{flag.removeprefix('--')}", f"{prefix}_{name}"
    return _OptionFlag(family, [flag, name], help=_help(option), **kind)


def option_flags(*without: str) -> list[click.Parameter]:
    """Return the flags of all families but those ``without``, in the order of their declaration."""
    families = [(table, family) for table, family in FAMILIES.items() if table not in without]
    return [option_flag(table, option) for table, family in families for option in declared(family)]


def which_service(command: C) -> C:
    """A decorator: the flags beside TARGET that say what is served, of ``fourtuple serve`` and ``fourtuple check``."""
    program = click.option(
        "--exec", "command", type=types.text("a command"), metavar="CMD",
        help="Instead of TARGET: a program that gets each connection as its standard input and output. CMD is split "
        "like a shell does, and run without a shell; at most max_threads run at once.",
    )  # fmt: skip
    only = click.option(
        "--only", type=types.text("the name of a service"), metavar="NAME", multiple=True,
        help=f"Of the services in {FILE_NAME}, only this one; may be given several times.",
    )  # fmt: skip
    return only(program(command))


def config_flags(command: C) -> C:
    """A decorator: the flags that say which configuration file is read, for :func:`~fourtuple.cli.starting.file_of`."""
    command = click.option("--no-config", is_flag=True, help=f"Read no file, not even ./{FILE_NAME}.")(command)
    return click.option("--config", type=types.file(), help=f"Options in TOML.  [./{FILE_NAME}]")(command)


def running_flags(command: C) -> C:
    """A decorator: the flags that say how a server runs, of ``fourtuple serve`` and ``fourtuple relay``."""
    flags = (
        click.option(
            "--log-format", type=click.Choice(["console", "json"]), default="console",
            help="Lines for people, or every event as a line of JSON on standard output.  [console]",
        ),
        config_flags,
        click.option(
            "--loop", type=click.Choice(["auto", "asyncio", "uvloop"]), default="auto",
            help="The event loop; auto is uvloop if it is installed, else asyncio.  [auto]",
        ),
        click.option(
            "--readiness", type=click.Choice(["auto", "nested", "portable"]), default="auto",
            help="How to wait for sockets: with a separate epoll set (nested), or the loop's add_reader (portable).  "
            "[auto]",
        ),
    )  # fmt: skip
    for flag in reversed(flags):
        command = flag(command)
    return command


def given(parameters: dict[str, Any]) -> dict[str, str]:
    """Return the declared options that were given, as text."""
    names = [option.name for family in FAMILIES.values() for option in declared(family)]
    return {name: parameters[name] for name in names if parameters.get(name) is not None}


class _CommandWithOptions(click.Command):
    """A command whose help shows its own options, then the declared ones, family by family."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {"": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):  # the usage line shows the arguments
                groups.setdefault(parameter.family if isinstance(parameter, _OptionFlag) else "", []).append(record)
        for family, records in groups.items():
            where = f" (in fourtuple.toml: [{family}])" if family in FAMILIES else ""
            title = f"{family.capitalize()}{where}" if family else "Options"
            with formatter.section(title):
                formatter.write_dl(records)


def command_with_options(**settings: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """As :func:`click.command`: the help shows the command's own options, then the declared ones, family by family."""
    return click.command(cls=_CommandWithOptions, **settings)


def _checked(option: Declared, text: str) -> str:
    """Check the text, and return it unchanged: :mod:`fourtuple.config` decides which source of an option wins."""
    try:
        option.convert(text)
    except OptionError as error:
        raise ValueError(f"cannot read {text!r} as {option.expects}") from error
    return text


def _metavar(option: Declared) -> str:
    kind = option.annotation.split("|")[0].strip()
    unit = option.unit.upper() if option.unit.isalpha() else ""
    metavar = {"bool": "on|off", "int": unit or "N", "float": unit or "N"}.get(kind, unit or "TEXT")
    return "|".join([metavar, *option.words, *(["none"] if option.optional else [])])


def _help(option: Declared) -> str:
    default, reason = shown(option), option.reason
    why = reason if reason.startswith(f"{default}:") else f"{default}: {reason}"
    return f"{option.help}  [{why.removesuffix(': ')}]"


def shown(option: Declared) -> str:
    """Return an option's default as a user would type it."""
    value = option.default
    if value is None or isinstance(value, bool):
        return {None: "none", True: "on", False: "off"}[value]
    if value == "":
        return "empty"
    if option.unit == "octets":
        for size, letter in ((MIB, "m"), (KIB, "k")):
            if value and value % size == 0:
                return f"{value // size}{letter}"
    return f"{value:g}" if isinstance(value, float) else str(value)
