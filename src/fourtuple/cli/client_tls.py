"""What a client can say about TLS, from a terminal: the flags, and what was chosen by them."""

from __future__ import annotations

from collections.abc import Mapping

import click

from fourtuple.cli.flags import OptionFlag
from fourtuple.errors import OptionError
from fourtuple.options import Tls, declared

_NAMES = ("ca", "verify", "certificate", "key", "key_password", "alpn", "minimum")


def flags(family: str = "tls") -> list[click.Parameter]:
    """The flags of the options of TLS that a client has a use for, under a heading of the help."""
    return [OptionFlag(family, option) for option in declared(Tls) if option.name in _NAMES]


def chosen(wanted: bool, flags: Mapping[str, str | None]) -> Tls | None:
    """What was asked of TLS; None where nothing was. Any of its flags means it."""
    given = {name: flags[name] for name in _NAMES if flags.get(name) is not None}
    if not wanted and not given:
        return None
    try:
        return Tls(**given)  # type: ignore[arg-type]  # all of the client's are texts
    except OptionError as error:
        raise click.UsageError(f"tls: {error}") from error
