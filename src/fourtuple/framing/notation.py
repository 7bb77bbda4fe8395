"""The notation of values in the text form of a framing: octets, numbers, switches, alternatives, framings."""

from __future__ import annotations

import re
from typing import Any

from fourtuple.framing.usercode import name_of

_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", "e": "\x1b"}


def split_unescaped(text: str, separator: str) -> list[str]:
    """Split at the separators without a backslash before them; the escapes are left for :func:`unescape`."""
    parts: list[list[str]] = [[]]
    for piece in re.findall(r"\\.|[^\\]|\\$", text, re.DOTALL):
        if piece == separator:
            parts.append([])
        else:
            parts[-1].append(piece)
    return ["".join(each) for each in parts]


def unescape(text: str) -> bytes:
    r"""Octets from text: ``\n``, ``\r``, ``\t``, ``\0``, ``\e``, ``\x1c``; ``\`` before any other character is dropped.

    Raises :class:`ValueError` for ``\x`` without two digits and for a lone backslash at the end.
    """

    def octets(match: re.Match[str]) -> str:
        if match[1]:
            return chr(int(match[1], 16))
        if match[2] in ("x", ""):
            raise ValueError(f"{text!r}: \\x needs two digits, and a backslash something to escape")
        return _ESCAPES.get(match[2], match[2])

    # A character outside ASCII stands for its UTF-8 octets; latin-1 carries octets through the substitution.
    carried = text.encode().decode("latin-1")
    return re.sub(r"\\(?:x([0-9a-fA-F]{2})|(.?))", octets, carried, flags=re.DOTALL).encode("latin-1")


def escape(octets: bytes) -> str:
    r"""Text for octets that :func:`unescape` reads back: printable ASCII as it is, other octets as ``\x1c``."""
    return "".join(chr(each) if 33 <= each < 127 and chr(each) not in "\\,|=+" else f"\\x{each:02x}" for each in octets)


def excerpt(octets: bytes, most: int = 40) -> str:
    """Octets for the text of an error: all of them, or the first ``most`` and three dots for the rest."""
    return repr(octets) if len(octets) <= most else f"{octets[:most]!r}..."


def nest(text: str) -> str:
    """The text of a framing, escaped to be a value inside the text of another."""
    return re.sub(r"([\\,|+])", r"\\\1", text)


def unnest(text: str) -> str:
    """Undo :func:`nest`; other escapes belong to the inner framing."""
    return re.sub(r"\\([\\,|+])", r"\1", text)


def written(value: Any) -> str:
    """The text of a field's value."""
    match value:
        case None:
            return "none"
        case bool():
            return "on" if value else "off"
        case bytes():
            return escape(value)
        case tuple():
            return "|".join(map(_alternative, value))
        case int() | float() | str():
            return str(value)
    return f"{name_of(value)}()" if callable(value) else nest(str(value))


def _alternative(value: Any) -> str:
    """One of several octets, or a case of a switch."""
    if isinstance(value, bytes):
        return escape(value)
    octets, framing = value
    return f"{escape(octets)}={nest(str(framing))}"
