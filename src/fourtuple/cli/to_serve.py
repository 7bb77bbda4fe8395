"""One service of a run of ``fourtuple serve``: loaded, with its places and its options."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from fourtuple.address import Address
from fourtuple.cli import types
from fourtuple.cli.failure import Exit, Failure
from fourtuple.config import Configuration, ServiceConfiguration
from fourtuple.errors import FourTupleError
from fourtuple.framing import Framing
from fourtuple.options import Limits

if TYPE_CHECKING:
    from fourtuple.options.endpoint import Endpoint
    from fourtuple.service import Service


@dataclass(frozen=True)
class ToServe:
    """One service of a run, its places and its options."""

    service: Service
    places: Sequence[Address | socket.socket | Endpoint]
    options: Configuration
    #: Its name in the file, with which its lines begin; empty for the only service of a command line.
    label: str = ""
    #: The labels of the places, for a worker: see :mod:`fourtuple.supervisor.listen_address`.
    labels: Sequence[str] = ()

    def named(self, text: object) -> str:
        """Return a text that says which service it is about."""
        return f"{self.label}: {text}" if self.label else str(text)


def of_command_line(
    target: str | None, command: str | None, framing: Framing | None, options: Configuration
) -> Service:
    """Return the service of TARGET or --exec.

    Raises :class:`Failure` if it cannot be imported or is none, and for options that do not fit its framing.
    """
    if command is None:
        assert target is not None
        loaded = _loaded(target, framing)
    elif framing is not None:
        raise click.UsageError("--framing does not work with --exec: the program reads the octets itself.")
    else:
        loaded = _program(command)
    _check_refusal(loaded, options.limits, options.where)
    return loaded


def of_file(service: ServiceConfiguration) -> Service:
    """Return a service of the file, under its name there.

    Raises :class:`Failure`, with its place in the file, as :func:`of_command_line` does.
    """
    try:
        framing = types.framing_of(service.framing) if service.framing else None
    except ValueError as error:
        raise Failure(f"{service.where} framing: {error}", Exit.USAGE) from error
    except Failure as failure:
        raise failure.at(f"{service.where} framing") from failure
    try:
        loaded = _program(service.command) if service.command else _loaded(service.target, framing)
    except Failure as failure:
        raise failure.at(f"{service.where} {'exec' if service.command else 'target'}") from failure
    _check_refusal(loaded, service.options.limits, service.options.where)
    for each in service.endpoints:
        if each.limits is not None:
            _check_refusal(loaded, each.limits, each.where)
    return loaded.with_name(service.name)


def _check_refusal(service: Service, limits: Limits, where: Mapping[str, str]) -> None:
    """Raise a :class:`Failure` for a refusal that the service's framing cannot carry; it says where it was given."""
    if not limits.refusal:
        return
    from fourtuple.serving.admission import framed_refusal  # imported here: few servers have one

    try:
        framed_refusal(limits, service.framing)
    except FourTupleError as error:
        raise Failure(f"{where.get('refusal', '--refusal')}: {error}", Exit.USAGE) from error


def _program(command: str) -> Service:
    from fourtuple.cli import targets  # imported here: --help and usage errors need no service

    return targets.program(command)


def _loaded(target: str, framing: Framing | None) -> Service:
    from fourtuple.cli import targets  # also imported here

    service = targets.load(target)
    try:
        service.check()
    except FourTupleError as error:
        raise Failure(f"{target}: {error}", Exit.USAGE) from error
    return service if framing is None else service.with_framing(framing)
