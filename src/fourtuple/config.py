"""Configuration: flags override the environment, which overrides ``fourtuple.toml``, which overrides the defaults.

Each option is declared once, in :mod:`fourtuple.options`. Its flag, variable and key follow from that::

    fourtuple serve echo --max-connections 500
    FOURTUPLE_MAX_CONNECTIONS=500 fourtuple serve echo
    [limits]                                               # fourtuple.toml
    max_connections = 500

An invalid value or an unknown option raises an :class:`~fourtuple.errors.OptionError` that says where it was given.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar

from fourtuple.errors import OptionError
from fourtuple.files import read_regular
from fourtuple.options import (
    Deadlines,
    Declared,
    Limits,
    Operations,
    Options,
    Processes,
    Proxy,
    Sockets,
    Tls,
    declared,
    nearest,
    seen,
)

#: The configuration file, in the current directory.
FILE_NAME = "fourtuple.toml"

#: The prefix of the options' variables, and the variables of fourtuple that are not options: see
#: :mod:`fourtuple.compiled`.
PREFIX = "FOURTUPLE_"
NO_OPTIONS = ("FOURTUPLE_C", "FOURTUPLE_CHECKS", "FOURTUPLE_FUZZ_CASES", "FOURTUPLE_PEERS", "FOURTUPLE_SITE")
#: Kubernetes sets these variables in pods if a service is called fourtuple; FOURTUPLE_PORT is a URL then.
_OF_KUBERNETES = re.compile(r"FOURTUPLE_(SERVICE_(HOST|PORT\w*)|PORT(_[0-9]+_(TCP|UDP|SCTP)\w*)?)\Z")

#: The option families that can be configured, by the name of their table in the file.
FAMILIES: dict[str, type[Options]] = {
    "limits": Limits,
    "deadlines": Deadlines,
    "sockets": Sockets,
    "tls": Tls,
    "proxy": Proxy,
    "operations": Operations,
    "processes": Processes,
}

#: What an option was given by.
Source: TypeAlias = Literal["flag", "environment", "file"]

_O = TypeVar("_O", bound=Options)


@dataclass(frozen=True, slots=True)
class Configuration:
    """The options in force, checked."""

    limits: Limits
    deadlines: Deadlines
    sockets: Sockets
    tls: Tls
    proxy: Proxy
    operations: Operations
    processes: Processes


@dataclass(frozen=True, slots=True)
class Setting:
    """A value given for an option, and where: ``--backlog``, ``FOURTUPLE_BACKLOG``, or a key in a file."""

    value: Any
    where: str
    source: Source
    #: The line in the file; None if it is not from a file, or if its table or key is written in an unusual way.
    line: int | None = None


def configure(
    flags: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Configuration:
    """Combine the options from all sources, check them, and return them.

    Parameters
    ----------
    flags
        The texts of the flags that were given, by option name (``max_connections``).
    environment
        Variables. Those whose names do not begin with ``FOURTUPLE_`` are ignored.
    file
        A configuration file, see :func:`read_file`. Default: None, no file.

    Raises :class:`~fourtuple.errors.OptionError`.
    """
    return configured(given_settings(flags, environment, file))


def given_settings(
    flags: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> dict[str, Setting]:
    """Return the settings in force that are not defaults, by option name, as :func:`configure` combines them.

    Raises :class:`~fourtuple.errors.OptionError`.
    """
    check_variables(environment or {})
    known = [option.name for option in _everything()]
    for name in flags or {}:
        if name not in known:
            raise OptionError(f"{name}: there is no such option{nearest(name, known)}")
    settings = {} if file is None else read_file(file)
    for family in FAMILIES.values():
        for option in declared(family):
            for given, where in (
                ((environment or {}).get(option.variable), option.variable),
                ((flags or {}).get(option.name), option.flag),
            ):
                if given is not None:
                    source: Source = "flag" if where == option.flag else "environment"
                    settings[option.name] = Setting(_convert(option, given, where), where, source)
    return settings


def configured(settings: Mapping[str, Setting]) -> Configuration:
    """Make the options from settings. Raises :class:`~fourtuple.errors.OptionError` for one out of range."""
    return Configuration(
        _made(Limits, settings),
        _made(Deadlines, settings),
        _made(Sockets, settings),
        _made(Tls, settings),
        _made(Proxy, settings),
        _made(Operations, settings),
        _made(Processes, settings),
    )


def check_variables(environment: Mapping[str, str]) -> None:
    """Reject variables with the options' prefix that are not options: a mistyped limit would have no effect.

    Raises :class:`~fourtuple.errors.OptionError`.
    """
    known = [option.variable.removeprefix(PREFIX) for option in _everything()]
    for name, value in environment.items():
        own = name.removeprefix(PREFIX)
        if own == "PORT" and "://" not in value:
            raise OptionError(f"{name}: there is no such option; give the address with --bind, or --host and --port")
        if own != name and own not in known and name not in NO_OPTIONS and not _OF_KUBERNETES.match(name):
            raise OptionError(f"{name}: there is no such option{nearest(own, known, PREFIX)}")


def _everything() -> Iterator[Declared]:
    return (option for family in FAMILIES.values() for option in declared(family))


def _made(family: type[_O], settings: Mapping[str, Setting]) -> _O:
    """Make an option family from its settings; the error for a value out of range says where the value was given."""
    own = {option.name: settings[option.name] for option in declared(family) if option.name in settings}
    try:
        return family(**{name: setting.value for name, setting in own.items()})
    except OptionError as error:
        # The text begins with the option's name.
        name, _, text = str(error).partition(": ")
        if name not in own:
            raise
        raise OptionError(f"{own[name].where}: {text}") from error


def default_file(directory: Path) -> Path | None:
    """Return the configuration file of a directory; None if there is none."""
    path = directory / FILE_NAME
    return path if path.exists() or path.is_symlink() else None  # anything that is not a regular file is an error later


def read_file(path: Path) -> dict[str, Setting]:
    """Read the settings of a configuration file: TOML, with a table for each option family.

    Numbers and booleans may be TOML values or the text that a flag takes: ``"64k"``, ``"none"``. Raises
    :class:`~fourtuple.errors.OptionError` for a file that cannot be read, and for an unknown table or key; the text
    suggests the nearest known one.
    """
    try:
        text = read_regular(path).decode("utf-8")
        tables = tomllib.loads(text)
    except OSError as error:
        raise OptionError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:  # tomllib.TOMLDecodeError and UnicodeDecodeError are both
        raise OptionError(f"{path}: not TOML: {error}") from error
    return dict(_settings(path, tables, _lines_of(text)))


def _settings(
    path: Path, tables: Mapping[str, Any], lines: Mapping[tuple[str, str], int]
) -> Iterator[tuple[str, Setting]]:
    for table, keys in tables.items():
        if table not in FAMILIES or not isinstance(keys, dict):
            raise OptionError(f"{path}: {_unknown_table(table, keys)}")
        options = {option.name: option for option in declared(FAMILIES[table])}
        for key, value in keys.items():
            where = f"{path}: [{table}] {key}"
            if key not in options:
                raise OptionError(f"{where}: there is no such option{_hint(table, key)}")
            yield key, Setting(_convert(options[key], value, where), where, "file", lines.get((table, key)))


_HEADER = re.compile(r"[ \t]*+\[[ \t]*+(\w++)[ \t]*+\][ \t]*+(?:#.*)?\Z")
_KEY = re.compile(r"[ \t]*+(\w++)[ \t]*+=")


def _lines_of(text: str) -> dict[tuple[str, str], int]:
    """Return the line of each table and key, where both are written without quotes and dots: tomllib tells no lines.

    No line is told in a file with strings of several lines, which might look like keys.
    """
    found: dict[tuple[str, str], int] = {}
    table = ""
    if '"""' in text or "'''" in text:
        return found
    for number, line in enumerate(text.split("\n"), 1):
        header, key = _HEADER.match(line.rstrip("\r")), _KEY.match(line)
        if header is not None:
            table = header[1]
        elif key is not None:
            found[table, key[1]] = number
    return found


def _convert(option: Declared, value: Any, where: str) -> Any:
    if not isinstance(value, str):
        return value  # a TOML number or boolean, which the family checks
    try:
        return option.convert(value)
    except OptionError as error:
        raise OptionError(f"{where}: cannot read {seen(value)} as {option.expects}") from error


def _unknown_table(name: str, content: Any) -> str:
    known = ", ".join(f"[{each}]" for each in FAMILIES)
    if isinstance(content, dict):
        return f"there is no table [{name}]{nearest(name, FAMILIES)}; there are {known}"
    home = _home(name)
    if home is not None:
        return f"{name} is outside of its table [{home}]"
    return f"{name} is in no table; there are {known}"


def _hint(table: str, key: str) -> str:
    home = _home(key)
    if home is not None:
        return f" in [{table}]; it belongs in [{home}]"
    return nearest(key, [option.name for option in _everything()])


def _home(key: str) -> str | None:
    """Return the table to which an option belongs."""
    return next(
        (table for table, family in FAMILIES.items() if any(key == option.name for option in declared(family))), None
    )
