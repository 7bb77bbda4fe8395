"""The TLS flags of the client commands, and the options that they choose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from fourtuple.cli import types
from fourtuple.cli.failure import Exit, Failure
from fourtuple.cli.flags import option_flag
from fourtuple.errors import OptionError
from fourtuple.options import Tls, declared

Command = TypeVar("Command", bound=Callable[..., Any])

_NAMES = ("ca", "verify", "certificate", "key", "key_password", "alpn", "minimum")


def flags(family: str = "tls", prefix: str = "") -> list[click.Parameter]:
    """Return the flags of the TLS options of a client, under one heading of the help."""
    return [option_flag(family, option, prefix) for option in declared(Tls) if option.name in _NAMES]


def wanted(command: Command) -> Command:
    """Give a command ``--tls`` and ``--server-name``: arguments of its function, for :func:`chosen`."""
    name = "The name that the server's certificate must have.  [the host of ADDRESS]"
    command = click.option("--server-name", type=types.text("a name"), metavar="NAME", help=name)(command)
    return click.option("--tls", is_flag=True, help="Use TLS. Any other TLS option implies it.")(command)


def chosen(wanted: bool, flags: Mapping[str, str | None], prefix: str = "") -> Tls | None:
    """Return the TLS options; None without TLS. Any of its flags turns TLS on."""
    named = {name: f"{prefix}_{name}" if prefix else name for name in _NAMES}
    given = {name: flags[flag] for name, flag in named.items() if flags.get(flag) is not None}
    if not wanted and not given:
        return None
    try:
        return Tls(**given)  # type: ignore[arg-type]  # all of the client's are texts
    except OptionError as error:
        side = f"{prefix}_" if prefix else ""
        raise Failure(OptionError(f"{side}{Tls.prefix}{error}"), Exit.USAGE) from error
