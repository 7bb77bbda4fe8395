"""The line of each key in a file of TOML: tomllib tells no lines."""

from __future__ import annotations

import re
from typing import TypeAlias

#: The names of the tables around a key, and the key; a table of an array is followed by its number, from 0.
Path: TypeAlias = tuple[str, ...]

_HEADER = re.compile(r"[ \t]*+(\[\[?+)[ \t]*+([\w-]++(?:\.[\w-]++)*+)[ \t]*+\]++[ \t]*+(?:#.*)?\Z")
_KEY = re.compile(r"[ \t]*+([\w-]++)[ \t]*+=")


def lines_of(text: str) -> dict[Path, int]:
    """Return the line of each table and key, where they are written without quotes, and keys without dots.

    No line is told in a file with strings of several lines, which might look like keys.
    """
    found: dict[Path, int] = {}
    if '"""' in text or "'''" in text:
        return found
    arrays: dict[Path, int] = {}
    table: Path | None = ()
    for number, line in enumerate(text.split("\n"), 1):
        header, key = _HEADER.match(line.rstrip("\r")), _KEY.match(line)
        if header is not None:
            table = _table(header[2].split("."), arrays, begins=header[1] == "[[")
            found[table] = number
        elif line.lstrip(" \t").startswith("["):
            table = None  # a header that is written in another way
        elif key is not None and table is not None:
            found[*table, key[1]] = number
    return found


def _table(names: list[str], arrays: dict[Path, int], *, begins: bool) -> Path:
    """Return the path of a table whose header was read; ``begins`` for one more table of an array."""
    path: Path = ()
    for place, name in enumerate(names, 1):
        path = (*path, name)
        if begins and place == len(names):
            arrays[path] = arrays.get(path, -1) + 1
        if path in arrays:
            path = (*path, str(arrays[path]))
    return path
