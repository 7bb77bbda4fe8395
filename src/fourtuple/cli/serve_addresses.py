"""Where ``fourtuple serve`` listens: its flags, socket activation, and what a supervisor before this one had."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import click

from fourtuple.address import Address
from fourtuple.cli.failure import Exit, Failure
from fourtuple.errors import OptionError
from fourtuple.net.given import Inherited, inherited
from fourtuple.supervisor.seat import Handover
from fourtuple.supervisor.stored import is_kept

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 9999


def activated() -> tuple[list[Inherited], list[Inherited]]:
    """Return what the service manager has kept of the supervisor before this one, and what it has opened itself."""
    try:
        found = inherited(os.environ)
    except OptionError as error:
        raise Failure(error, Exit.USAGE) from error
    kept = [each for each in found if is_kept(each)]
    return kept, [each for each in found if each not in kept]


@dataclass(frozen=True)
class Where:
    """What a command line and its surroundings say of where to listen."""

    binds: tuple[Address, ...]
    host: str | None
    port: int | None
    #: What socket activation has handed over, and a supervisor before this one.
    handed: Sequence[Inherited]
    handover: Handover | None

    @property
    def flags(self) -> str:
        """The flags that say where; empty without one."""
        if self.binds:
            return "--bind"
        return "" if self.host is None and self.port is None else "--host or --port"

    @cached_property
    def addresses(self) -> tuple[Address, ...]:
        """The addresses of the command line; without flags, those of socket activation, or the default."""
        given = tuple(Address(fd=each.fd) for each in self.handed)
        if self.handover is not None:
            given += tuple(each for each in self.handover.addresses if each.is_given)
        if not self.flags:
            return given or (Address(DEFAULT_HOST, DEFAULT_PORT),)
        one = self.host is not None or self.port is not None
        if one and self.binds:
            raise click.UsageError("Give either --bind or --host and --port, not both.")
        self.tell_left_out(self.binds, f"{self.flags} is given")
        if not one:
            return self.binds
        return (Address(self.host or DEFAULT_HOST, DEFAULT_PORT if self.port is None else self.port),)

    def tell_left_out(self, used: Collection[Address], why: str) -> None:
        """Tell at which sockets of socket activation this server does not listen.

        It is silent if a name is used that none of them has: the start ends with an error, which tells them all.
        """
        names = {each.fd_name for each in used}
        if names - {"", *(each.name for each in self.handed)}:
            return
        unused = [
            str(address)
            for each in self.handed
            if (address := Address(fd=each.fd)) not in used and each.name not in names
        ]
        if unused:
            click.echo(f"fourtuple: not listening at {', '.join(unused)} of socket activation: {why}", err=True)
