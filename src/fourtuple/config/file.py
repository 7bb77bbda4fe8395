"""Reading a configuration file: TOML, with a table for each option family, and one for each service."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fourtuple.config.lines import lines_of
from fourtuple.config.model import FAMILIES, Setting, everything
from fourtuple.errors import OptionError
from fourtuple.files import read_regular
from fourtuple.options import Declared, among, declared, nearest, seen

#: The configuration file, in the current directory.
FILE_NAME = "fourtuple.toml"
#: The table of the services.
SERVICES = "services"


@dataclass(frozen=True)
class File:
    """A file of TOML that was read: its tables, and the line of each key."""

    path: Path
    tables: Mapping[str, Any] = field(repr=False)
    lines: Mapping[tuple[str, ...], int] = field(repr=False)

    def setting(self, value: Any, shown: str, path: tuple[str, ...]) -> Setting:
        """Return a value as a setting: ``shown`` says where it is, ``path`` has the names of its tables and its key."""
        return Setting(value, f"{self.path}: {shown}", "file", self.lines.get(path))

    def error(self, text: str) -> OptionError:
        """Return an error with the name of the file."""
        return OptionError(f"{self.path}: {text}")


def default_file(directory: Path) -> Path | None:
    """Return the configuration file of a directory; None if there is none."""
    path = directory / FILE_NAME
    return path if path.exists() or path.is_symlink() else None  # anything that is not a regular file is an error later


def parsed(path: Path) -> File:
    """Read a file of TOML. Raises :class:`~fourtuple.errors.OptionError` for one that cannot be read."""
    try:
        text = read_regular(path).decode("utf-8")
        tables = tomllib.loads(text)
    except OSError as error:
        raise OptionError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:  # tomllib.TOMLDecodeError and UnicodeDecodeError are both
        raise OptionError(f"{path}: not TOML: {error}") from error
    except RecursionError as error:
        raise OptionError(f"{path}: not TOML that can be read: its values are nested too deeply") from error
    return File(path, tables, lines_of(text))


def read_file(path: Path) -> dict[str, Setting]:
    """Read the settings of a configuration file that hold for the whole program: TOML, a table for each option family.

    Numbers and booleans may be TOML values or the text that a flag takes: ``"64k"``, ``"none"``. Raises
    :class:`~fourtuple.errors.OptionError` for a file that cannot be read, and for an unknown table or key; the text
    suggests the nearest known one.
    """
    return settings_of(parsed(path))


def settings_of(file: File) -> dict[str, Setting]:
    """Return the settings of the option families; see :func:`read_file`."""
    settings: dict[str, Setting] = {}
    for table, keys in file.tables.items():
        if table == SERVICES and isinstance(keys, dict):
            continue
        if table not in FAMILIES or not isinstance(keys, dict):
            raise file.error(_unknown_table(table, keys))
        settings |= options_in(file, table, keys, f"[{table}] ", (table,))
    return settings


def options_in(
    file: File, table: str, keys: Mapping[str, Any], shown: str, path: tuple[str, ...]
) -> dict[str, Setting]:
    """Return the settings of one option family, ``table``. Errors name a key with ``shown`` before it."""
    options = {option.name: option for option in declared(FAMILIES[table])}
    settings: dict[str, Setting] = {}
    for key, value in keys.items():
        if key not in options:
            raise file.error(f"{shown}{key}: there is no such option{_hint(table, key)}")
        if value != "" or not options[key].lists:  # in a file, an empty list is written on purpose
            value = convert(options[key], value, f"{file.path}: {shown}{key}")
        settings[key] = file.setting(value, f"{shown}{key}", (*path, key))
    return settings


def convert(option: Declared, value: Any, where: str) -> Any:
    """Return the value of an option that was given as text; what is not text is left for the family to check."""
    if not isinstance(value, str):
        return value  # a TOML number or boolean
    try:
        return option.convert(value)
    except OptionError as error:
        raise OptionError(f"{where}: cannot read {seen(value)} as {option.expects}") from error


def _unknown_table(name: str, content: Any) -> str:
    known = [*(f"[{each}]" for each in FAMILIES), f"[{SERVICES}.NAME]"]
    if isinstance(content, dict):
        return f"there is no table [{name}]{among(name, [*FAMILIES, SERVICES], ', '.join(known))}"
    home = home_of(name)
    if home is not None:
        return f"{name} is outside of its table [{home}]"
    if name in FAMILIES or name == SERVICES:
        return f"{name}: expected a table, [{name}{'.NAME' * (name == SERVICES)}], got {seen(content)}"
    return f"{name} is in no table; there are {', '.join(known)}"


def _hint(table: str, key: str) -> str:
    home = home_of(key)
    if home is not None:
        return f" in [{table}]; it belongs in [{home}]"
    return nearest(key, [option.name for option in everything()])


def home_of(key: str) -> str | None:
    """Return the table to which an option belongs."""
    return next(
        (table for table, family in FAMILIES.items() if any(key == option.name for option in declared(family))), None
    )
