"""``fourtuple check``: the options in force, and where each was given, without serving."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from fourtuple.cli.failure import Exit, Failure
from fourtuple.cli.flags import CommandWithOptions, given, option_flags
from fourtuple.config import FAMILIES, FILE_NAME, Setting, configured, default_file, given_settings
from fourtuple.errors import OptionError
from fourtuple.options import Options
from fourtuple.printable import printable
from fourtuple.supervisor.sharing import PER_ADDRESS


@click.command(cls=CommandWithOptions, params=option_flags(), options_metavar="[OPTIONS]")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help=f"Options in TOML.  [./{FILE_NAME}]")
@click.option("--all", "everything", is_flag=True, help="Print the options that have their defaults, too.")
@click.option("--json", "as_json", is_flag=True, help="Print all options as one JSON object.")
def check(config: Path | None, everything: bool, as_json: bool, **flags: Any) -> None:
    """Check the options, and print those in force and where each comes from: a flag, the environment or a file.

    It reads what 'fourtuple serve' would read, and opens no socket and no certificate. The exit code is 0, or 2 for an
    invalid option. A limit of one address or network is counted by each worker: with --workers, what all of them
    allow together is printed beside it.
    """
    file = config or default_file(Path())
    try:
        settings = given_settings(given(flags), os.environ, file)
        configuration = configured(settings)
    except OptionError as error:
        raise Failure(error, Exit.USAGE) from error
    workers = configuration.processes.workers
    rows = {table: dict(_rows(getattr(configuration, table), settings, workers)) for table in FAMILIES}
    if as_json:
        told = {"file": None if file is None else str(file), "options": rows}
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(f"# File: {'none' if file is None else printable(str(file))}")
    for table, options in rows.items():
        shown = {name: row for name, row in options.items() if everything or row["source"] != "default"}
        if shown:
            click.echo(f"\n[{table}]")
        for name, row in shown.items():
            all_workers = f", {row['all_workers']} in {workers} workers" if "all_workers" in row else ""
            click.echo(printable(f"{name} = {_toml(row['value'])}  # {_place(row)}{all_workers}"))


def _rows(
    options: Options, settings: Mapping[str, Setting], workers: int | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name of each option of a family, and what is told of it."""
    for field in dataclasses.fields(options):
        value, setting = getattr(options, field.name), settings.get(field.name)
        row: dict[str, Any] = {
            "value": value if field.repr or value is None else "***",
            "source": "default" if setting is None else setting.source,
            "where": None if setting is None else setting.where,
            "line": None if setting is None else setting.line,
        }
        if workers is not None and workers > 1 and value is not None and field.name in PER_ADDRESS:
            row["all_workers"] = value * workers
        yield field.name, row


def _place(row: Mapping[str, Any]) -> str:
    if row["source"] != "file":
        return str(row["where"] or "default")
    path = str(row["where"]).partition(": [")[0]
    return path if row["line"] is None else f"{path}, line {row['line']}"


def _toml(value: Any) -> str:
    """Return a value as it may stand in the file."""
    if value is None:
        return '"none"'
    if isinstance(value, float):
        return f"{value:g}" if value == float(f"{value:g}") else repr(value)
    return json.dumps(value, ensure_ascii=False)
