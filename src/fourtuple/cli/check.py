"""``fourtuple check``: the options in force, and where each was given, without serving."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from fourtuple.address import Address
from fourtuple.cli import types
from fourtuple.cli.beforehand import check_http, check_on_this_machine
from fourtuple.cli.check_rows import Table, in_workers, service_table, tables_of, toml_value
from fourtuple.cli.flags import command_with_options, config_flags, given, option_flags, which_service
from fourtuple.cli.programs import OfFile, OneService, Program, check_only, of_file_named
from fourtuple.cli.serve_addresses import Where
from fourtuple.cli.starting import file_of, of_configuration
from fourtuple.config import Configuration, ServiceConfiguration, configured, given_settings
from fourtuple.errors import OptionError
from fourtuple.framing import Framing
from fourtuple.printable import printable


@command_with_options(params=option_flags(), options_metavar="[OPTIONS]")
@click.argument("target", required=False, shell_complete=types.complete_target)
@click.option("--framing", "-f", type=types.framing(), help="Of TARGET, instead of its own; as for 'fourtuple serve'.")
@which_service
@config_flags
@click.option("--all", "everything", is_flag=True, help="Also print the options that have their defaults.")
@click.option(
    "--files", is_flag=True,
    help="Also look on this machine, as this user: certificates and keys, --user and --group, --unix-owner, "
    "--interface, --congestion, the folders of --control and --pidfile.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print all options as one JSON object.")
def check(
    target: str | None,
    framing: Framing | None,
    only: tuple[str, ...],
    command: str | None,
    config: Path | None,
    no_config: bool,
    everything: bool,
    files: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Check the options, and print those in force and where each comes from: a flag, the environment or a file.

    It reads what 'fourtuple serve' would read, imports TARGET, or else the services that the file declares (with
    --only, some of them), and opens no socket. For each service it prints its own options and those that it has from
    the rest of the file. The exit code is 0, or 2 for an invalid option, a service that cannot be imported, a refusal
    that its framing cannot carry, and an HTTP server at an address that cannot be read or is a service's. With --files
    it also reads the certificates, and looks for what else 'fourtuple serve' would end on; the exit codes are those of
    'fourtuple serve'. With --workers, the share of each worker is printed beside a limit of the whole server. A limit
    of one address or network is counted by each worker: what all of them allow together is printed beside it.
    """
    if target is not None and command is not None:
        raise click.UsageError("Give either a TARGET or --exec CMD.")
    one = target is not None or command is not None  # 'fourtuple serve' then serves that alone
    if framing is not None and not one:
        raise click.UsageError("--framing is for one TARGET; the services of the file have keys for it.")
    check_only(only, target, command)
    file = file_of(config, no_config)
    try:
        settings = given_settings(given(flags), os.environ, file)
        configuration = configured(settings)
    except OptionError as error:
        raise of_configuration(error, file) from error
    found = () if one else of_file_named(configuration, only).services
    _import_all(target, command, framing, configuration, found)
    # With a target, the addresses are those of flags of 'fourtuple serve' alone.
    check_http(configuration.operations, _addresses(found), configuration.where)
    workers = configuration.processes.workers
    if files:
        check_on_this_machine(_program(target, command, framing, configuration, found))
    tables = tables_of(configuration, settings.whole, workers)
    services = [
        service_table(settings_of, options, workers)
        for settings_of, options in zip(settings.services, configuration.services, strict=True)
        if options in found
    ]
    if as_json:
        told: dict[str, Any] = {"file": None if file is None else str(file), "options": tables.as_json()}
        told["services"] = {each.name: each.as_json() for each in services}
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(f"# File: {'none' if file is None else printable(str(file))}")
    for table in (*tables.tables, *(table for each in services for table in each.tables)):
        _print(table, workers, everything)


def _import_all(
    target: str | None,
    command: str | None,
    framing: Framing | None,
    configuration: Configuration,
    services: Iterable[ServiceConfiguration],
) -> None:
    """Import what 'fourtuple serve' would import. Raises a :class:`Failure`."""
    from fourtuple.cli.to_serve import of_command_line, of_file  # imported here: most files declare no service

    if target is not None or command is not None:
        of_command_line(target, command, framing, configuration)
        return
    for service in services:
        of_file(service)


def _program(
    target: str | None,
    command: str | None,
    framing: Framing | None,
    configuration: Configuration,
    services: tuple[ServiceConfiguration, ...],
) -> Program:
    """Return what 'fourtuple serve' would serve; a file without services is for some target."""
    if services:
        return OfFile(configuration, services)
    return OneService(target, command, framing, configuration, Where((), None, None, (), None))


def _addresses(services: Iterable[ServiceConfiguration]) -> list[Address]:
    """Return the addresses of services that the file declares."""
    found: list[Address] = []
    for service in services:
        found += service.listen
        for endpoint in service.endpoints:
            found += endpoint.listen
    return found


def _print(table: Table, workers: int | None, everything: bool) -> None:
    rows = {name: row for name, row in table.rows.items() if everything or row["source"] != "default"}
    if rows or table.always:
        click.echo(f"\n{table.heading}")
    for name, row in rows.items():
        click.echo(printable(f"{name} = {toml_value(row['value'])}  # {_place(row)}{in_workers(row, workers)}"))


def _place(row: dict[str, Any]) -> str:
    if row["source"] != "file":
        return str(row["where"] or "default")
    path = str(row["where"]).partition(": [")[0]
    return path if row["line"] is None else f"{path}, line {row['line']}"
