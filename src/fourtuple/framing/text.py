"""The text form of framings: ``fixed:16``, ``line:crlf,max_message=4k``, ``u16le``.

One grammar, used by the command line, the configuration, the tests and the documents::

    framing = word [":" value] *("," name "=" value)
    value   = text; "\\" escapes as in Python's bytes literals, and "\\," is a comma
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from fourtuple.errors import FourTupleError, FramingTextError, OptionError
from fourtuple.framing.base import Framing
from fourtuple.framing.fixed import Fixed
from fourtuple.framing.length import Length
from fourtuple.framing.line import Line
from fourtuple.framing.notation import split_unescaped, unescape
from fourtuple.framing.whole import Eof, Raw
from fourtuple.options import parse_size

_FRAMINGS: dict[str, type[Framing]] = {each.word: each for each in (Eof, Fixed, Length, Line, Raw)}
_SHORT = re.compile(r"u(8|16|24|32|64)(le|be)?")


def parse_framing(text: str | Framing) -> Framing:
    """Read a framing's text form; ``parse_framing(str(framing)) == framing`` for every built-in one.

    A :class:`Framing` is returned as it is. Raises :class:`~fourtuple.errors.FramingTextError`, which says
    what was not understood and what there is.
    """
    if isinstance(text, Framing):
        return text
    head, *pairs = split_unescaped(text.strip(), ",")
    word, colon, argument = head.partition(":")
    given: dict[str, Any] = {}
    short = _SHORT.fullmatch(word)
    if short is not None:
        kind: type[Framing] = Length
        given = {"width": int(short[1]) // 8, "byteorder": "little" if short[2] == "le" else "big"}
    elif word in _FRAMINGS:
        kind = _FRAMINGS[word]
    else:
        raise FramingTextError(text, f"there is no {word!r}; there are {', '.join(sorted(known_words()))}")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if colon:
        if kind.argument is None or short is not None:
            raise FramingTextError(text, f"{word} takes nothing behind a colon")
        given[kind.argument] = _value(text, fields[kind.argument], argument)
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or name not in fields or name in given:
            can = ", ".join(f"{each}=..." for each in fields if each != kind.argument)
            raise FramingTextError(text, f"{pair!r} is not an option of {word}; there are: {can or 'none'}")
        given[name] = _value(text, fields[name], value)
    missing = [
        name
        for name, field in fields.items()
        if name not in given
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise FramingTextError(
            text, f"{word} needs its {missing[0]}, as in {word}:{_EXAMPLES.get(word, '...')}"
        )
    try:
        return kind(**given)
    except FourTupleError as error:
        raise FramingTextError(text, str(error)) from error


_EXAMPLES = {"fixed": "16"}


def known_words() -> list[str]:
    """The words a text form can begin with."""
    return [*_FRAMINGS, "u8", "u16", "u32", "u64", "u16le", "u32le", "u64le"]


def _value(text: str, field: dataclasses.Field[Any], given: str) -> Any:
    kind = str(field.type)
    if given == "none" and "None" in kind:
        return None
    try:
        if kind.startswith("int"):
            return -parse_size(given[1:]) if given.startswith("-") else parse_size(given)
        if kind.startswith("bool"):
            return {"on": True, "off": False}[given]
        if kind.startswith("bytes"):
            return unescape(given)
        if kind.startswith("tuple[bytes"):
            return tuple(unescape(each) for each in split_unescaped(given, "|"))
    except (OptionError, KeyError, ValueError) as error:
        wanted = {"int": "a whole number", "bool": "on or off"}.get(kind.split()[0], "text")
        raise FramingTextError(text, f"{field.name} is {given!r}, {wanted} is expected") from error
    return given
