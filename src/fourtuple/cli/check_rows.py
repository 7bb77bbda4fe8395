"""PURE: what ``fourtuple check`` tells of each option, as tables of TOML and as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from fourtuple.config import (
    FAMILIES,
    OF_A_SERVICE,
    OF_AN_ENDPOINT,
    SERVICES,
    Configuration,
    EndpointConfiguration,
    EndpointSettings,
    ServiceConfiguration,
    ServiceSettings,
    Setting,
)
from fourtuple.options import OF_THE_SERVER, Limits, Options, declared
from fourtuple.supervisor.sharing import PER_ADDRESS, RATES, TOTALS, share

Row: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """One table of the file: its heading, and its rows by the name of their key."""

    heading: str
    rows: dict[str, Row]
    #: Whether the heading is printed also without rows.
    always: bool = False


@dataclass(frozen=True)
class Tables:
    """The tables of the whole program."""

    tables: list[Table]

    def as_json(self) -> dict[str, Any]:
        """Return all rows, by family."""
        return {name: table.rows for name, table in zip(FAMILIES, self.tables, strict=True)}


@dataclass(frozen=True)
class ServiceTables:
    """The tables of one service, and of its endpoints."""

    name: str
    own: Table
    families: dict[str, Table]
    endpoints: list[tuple[Table, dict[str, Table]]] = field(default_factory=list)

    @property
    def tables(self) -> Iterator[Table]:
        """All tables, in the order in which they may stand in the file."""
        yield self.own
        yield from self.families.values()
        for own, families in self.endpoints:
            yield own
            yield from families.values()

    def as_json(self) -> dict[str, Any]:
        """Return what the service is, its options by family, and its endpoints."""
        return {
            **self.own.rows,
            "options": {name: table.rows for name, table in self.families.items()},
            "endpoints": [
                {**own.rows, "options": {name: table.rows for name, table in families.items()}}
                for own, families in self.endpoints
            ],
        }


def tables_of(configuration: Configuration, settings: Mapping[str, Setting], workers: int | None) -> Tables:
    """Return the tables of the options that hold for the whole program."""
    return Tables(
        [Table(f"[{name}]", dict(_rows(getattr(configuration, name), settings, workers))) for name in FAMILIES]
    )


def service_table(service: ServiceSettings, options: ServiceConfiguration, workers: int | None) -> ServiceTables:
    """Return the tables of a service."""
    table = service.table
    rows = {key: _row(setting.value, setting) for key, setting in table.words.items()}
    if _is_off("tls", table.off, service.settings):
        rows["tls"] = _row(False, table.off["tls"])
    families = {
        name: Table(
            f"[{SERVICES}.{table.name}.{name}]", dict(_rows(getattr(options.options, name), service.settings, workers))
        )
        for name in OF_A_SERVICE
        if "tls" not in rows or name != "tls"
    }
    endpoints = [
        _endpoint(table.name, *each, workers) for each in zip(service.endpoints, options.endpoints, strict=True)
    ]
    return ServiceTables(table.name, Table(f"[{SERVICES}.{table.name}]", rows, always=True), families, endpoints)


def _endpoint(
    service: str, settings: EndpointSettings, options: EndpointConfiguration, workers: int | None
) -> tuple[Table, dict[str, Table]]:
    """Return the tables of an endpoint: those of the families in which it differs from its service."""
    heading = f"{SERVICES}.{service}.endpoints"
    rows = {"listen": _row(settings.table.listen.value, settings.table.listen)}
    families: dict[str, Table] = {}
    for name in OF_AN_ENDPOINT:
        family = getattr(options, name)
        if family is not None and not _is_off(name, settings.table.off, settings.settings):
            own = {key: row for key, row in _rows(family, settings.settings, workers) if key not in OF_THE_SERVER}
            families[name] = Table(f"[{heading}.{name}]", own, always=True)
        elif family is not None:
            rows[name] = _row(False, settings.table.off[name])
    return Table(f"[[{heading}]]", rows, always=True), families


def _is_off(name: str, off: Collection[str], settings: Mapping[str, Setting]) -> bool:
    """Return whether a family was turned off, and no flag or variable has turned it on again."""
    return name in off and not any(option.name in settings for option in declared(FAMILIES[name]))


def _rows(options: Options, settings: Mapping[str, Setting], workers: int | None) -> Iterator[tuple[str, Row]]:
    """Yield the name of each option of a family, and what is told of it."""
    for each in dataclasses.fields(options):
        value, setting = getattr(options, each.name), settings.get(each.name)
        row = _row(value if each.repr or value is None else "***", setting)
        yield each.name, row | _in_workers(options, each.name, workers)


def _in_workers(options: Options, name: str, workers: int | None) -> Row:
    """Return what workers make of an option; nothing, if it is not a limit that they divide or count by themselves."""
    value = getattr(options, name)
    if workers is None or workers <= 1 or not isinstance(options, Limits):
        return {}
    if value is not None and name in PER_ADDRESS:
        return {"all_workers": value * workers}
    return _divided(options, name, workers) if name in (*TOTALS, *RATES) else {}


def _divided(limits: Limits, name: str, workers: int) -> Row:
    """Return what each worker has of a limit of the whole service, and the sum: a worker has at least 1 of a total."""
    shares = [getattr(share(limits, place, workers), name) for place in range(workers)]
    return {} if None in shares else {"each_worker": shares, "all_workers": sum(shares)}


def in_workers(row: Row, workers: int | None) -> str:
    """Return what workers make of a limit, in words; empty for any other option."""
    if "all_workers" not in row:
        return ""
    every = toml_value(row["all_workers"])
    if "each_worker" not in row:
        return f", {every} in {workers} workers"
    shares = " or ".join(dict.fromkeys(map(toml_value, row["each_worker"])))
    beyond = "" if row["value"] is None or every == toml_value(row["value"]) else f", {every} in all"
    return f", {shares} in each of {workers} workers{beyond}"


def limit_in_workers(name: str, text: str, workers: int) -> str:
    """Return what workers make of a limit that was set to a value, both as text: as :func:`in_workers`."""
    if text == "none" or name not in (*TOTALS, *RATES, *PER_ADDRESS):
        return ""
    return in_workers(limit_row(name, text, workers), workers)


def limit_row(name: str, text: str, workers: int) -> Row:
    """Return a limit that was set to a value, given as text, and what workers make of it, in the form of JSON."""
    value = next(option for option in declared(Limits) if option.name == name).convert(text)
    return {"value": value} | _in_workers(Limits().replace(**{name: value}), name, workers)


def in_force_rows(told: Mapping[str, Any], workers: int) -> dict[str, Row]:
    """Return the limits that a running server has told, and what workers make of each, by name, as for JSON."""
    given = told["limits"]
    values = given | {"max_connections": told["max_connections"]}
    options = [option for option in declared(Limits) if option.name in given]
    limits = Limits().replace(**{option.name: values[option.name] for option in options})
    return {
        option.name: {
            "value": values[option.name],
            "option": option.flag,
            "default": given[option.name] == option.default,
            **_in_workers(limits, option.name, workers),
        }
        for option in options
    }


def _row(value: Any, setting: Setting | None) -> Row:
    return {
        "value": [str(each) for each in value] if isinstance(value, tuple) else value,
        "source": "default" if setting is None else setting.source,
        "where": None if setting is None else setting.where,
        "line": None if setting is None else setting.line,
    }


def toml_value(value: Any) -> str:
    """Return a value as it may stand in the file."""
    if value is None:
        return '"none"'
    if isinstance(value, float):
        return f"{value:g}" if value == float(f"{value:g}") else repr(value)
    return json.dumps(value, ensure_ascii=False)
