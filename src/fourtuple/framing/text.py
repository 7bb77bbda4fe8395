r"""The text form of framings: ``fixed:16``, ``line:crlf,max_message=4k``, ``u16le``, ``u32+json``.

The command line, the configuration, the tests and the documentation use the same grammar::

    text    = framing *("+" mapping)
    framing = word [":" value] *("," name "=" value)
    mapping = kind ["," "max_message_memory" "=" value]
    kind    = "json" | "text" | "struct:" layout | "check:" checksum | "msgspec-json" | "msgspec-msgpack"
    value   = octets, a number, on or off; several octets as a|b; the cases of a switch as a=framing|b=framing

A backslash escapes as in Python's bytes literals: ``\n``, ``\x1c``. Before ``, | = +`` and before a backslash it
makes that character literal. These characters are escaped in a framing inside another framing.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

from fourtuple.errors import FourTupleError, FramingTextError, OptionError
from fourtuple.framing.base import Framing
from fourtuple.framing.notation import split_unescaped, unescape, unnest
from fourtuple.options import among, nearest, parse_size
from fourtuple.typevars import In, Out

#: The module of each word's framing, which is imported when a text names the framing.
_MODULES = {
    "cobs": "stuffed",
    "content-length": "header",
    "delimited": "delimited",
    "dle-stx": "escaped",
    "duplex": "duplex_framing",
    "eof": "whole",
    "fixed": "fixed",
    "gap": "silence",
    "hdlc": "stuffed",
    "headed": "headed_framing",
    "json": "jsontext",
    "length": "length",
    "line": "line",
    "marked": "marked",
    "mllp": "marked",
    "netstring": "decimal",
    "nmea": "nmea",
    "octet-counting": "decimal",
    "raw": "whole",
    "resp": "resp",
    "slip": "stuffed",
    "stuffed": "escaped",
    "stx-etx": "marked",
    "switch": "switch",
    "syslog": "decimal",
    "telnet": "telnet_framing",
    "varint": "varint",
}
_SHORT = re.compile(r"u(8|16|24|32|64)(le|be)?")
#: What can stand behind a plus.
_MAPPINGS = ("json", "text", "struct:LAYOUT", "check:CHECKSUM", "msgspec-json", "msgspec-msgpack")
#: The most nested framings and mappings: to parse a thousand levels would take a thousand times the text's length.
DEEPEST = 8
_EXAMPLES = {
    "delimited": "#",
    "duplex": "delimited:?,sends=delimited:.",
    "fixed": "16",
    "headed": "line:crlf,size=last",
    "marked": r"\x02,end=\x03",
    "switch": r"$=line|\x01=u16",
}


def framing_class(word: str) -> type[Framing]:
    """The class of a word of the grammar. Raises KeyError for an unknown word."""
    module = import_module(f"fourtuple.framing.{_MODULES[word]}")
    return next(
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Framing) and vars(kind).get("word") == word
    )


def _mapped_framing() -> ModuleType:
    """The module of mapped framings, which is imported when a text names a mapping."""
    return import_module("fourtuple.framing.mapped_framing")


def parse_framing(text: str | Framing[In, Out]) -> Framing[In, Out]:
    """Return the framing of a text form; ``parse_framing(str(framing)) == framing`` for every built-in framing.

    A :class:`Framing` is returned unchanged, with its types. A text gives a framing of ``Any`` messages. Raises
    :class:`~fourtuple.errors.FramingTextError` for an invalid text; the error names the invalid part and the
    valid choices.
    """
    if isinstance(text, Framing):
        return text
    if isinstance(text, type) and issubclass(text, Framing):
        needs = any(each.default is each.default_factory for each in dataclasses.fields(text) if each.init)
        raise FramingTextError(text.__name__, f"it is a class; write {text.__name__}({'...' if needs else ''})")
    if not isinstance(text, str):
        raise FramingTextError(repr(text), "a framing is a text, as in 'line' or 'fixed:16', or a Framing")
    return _parse(text, 0)


def changed_framing(
    current: Framing, framing: Framing | str | None, receives: Framing | str | None, sends: Framing | str | None
) -> Framing:
    """The framing after a change: another one, or another one for one direction or for each.

    Raises :class:`~fourtuple.errors.OptionError` if none is given, or one for both directions and one for one.
    """
    if framing is not None:
        if receives is not None or sends is not None:
            raise OptionError("change_framing takes a framing, or receives= and sends=, not both")
        return parse_framing(framing)
    if receives is None and sends is None:
        raise OptionError("change_framing takes a framing, or receives= or sends= or both; none is given")
    module = import_module("fourtuple.framing.duplex_framing")
    ways = [current if way is None else parse_framing(way) for way in (receives, sends)]
    changed: Framing = module.of_two(*ways)
    return changed


def _parse(text: str, depth: int) -> Framing:
    """Read a framing nested in ``depth`` others, and the mappings of its messages."""
    parts = split_unescaped(text.strip(), "+")
    mappings: list[dict[str, Any]] = []
    while len(parts) > 1 and (mapping := _mapping(text, parts[-1])) is not None:
        mappings.append(mapping)
        parts.pop()
    if depth + len(mappings) > DEEPEST:
        raise FramingTextError(text, f"no more than {DEEPEST} framings and mappings can be nested")
    framing = _parse_one("+".join(parts), depth)
    for mapping in reversed(mappings):
        framing = _checked(text, _mapped_framing().Mapped, framing, **mapping)
    return framing


def _mapping(text: str, given: str) -> dict[str, Any] | None:
    """The text after a plus, as arguments of Mapped; ``None`` if it is not a mapping."""
    head, *pairs = split_unescaped(given, ",")
    mapping = _checked(text, _mapped_framing().mapping_named, head)
    return None if mapping is None else {"mapping": mapping} | _mapping_options(text, head, pairs)


def _mapping_options(text: str, head: str, pairs: list[str]) -> dict[str, Any]:
    known = dataclasses.fields(_mapped_framing().Mapped)
    fields = {field.name: field for field in known if field.name not in ("inner", "mapping")}
    return _options(text, head, pairs, fields, {}, 0)


def _parse_one(text: str, depth: int) -> Framing:
    head, *pairs = split_unescaped(text.strip(), ",")
    word, colon, argument = head.partition(":")
    if word == "json-lines" and not colon:
        own = [each for each in pairs if each.startswith("max_message_memory=")]  # the other options belong to the line
        with _explained(text):
            line = _parse_one(",".join(["line", *(each for each in pairs if each not in own)]), depth)
        module = _mapped_framing()
        options = _mapping_options(text, "json-lines", own)
        mapped: Framing = _checked(text, module.Mapped, line, module.mapping_named("json"), **options)
        return mapped
    given: dict[str, Any] = {}
    short = _SHORT.fullmatch(word)
    if short is not None:
        kind = framing_class("length")
        given = {"width": int(short[1]) // 8} | ({"byteorder": "little"} if short[2] == "le" else {})
    elif word in _MODULES:
        kind = framing_class(word)
    else:
        raise FramingTextError(text, _unknown(word))
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if colon:
        if kind.argument is None or short is not None:
            raise FramingTextError(text, f"{word} takes no arguments after a colon")
        with _explained(hint=_misplaced(word, argument, fields, kind.argument)):
            given[kind.argument] = _value(text, fields[kind.argument], argument, depth)
    given = _options(text, word, pairs, fields, given, depth, kind.argument)
    for name, field in fields.items():
        if name not in given and field.default is dataclasses.MISSING:
            example = _EXAMPLES.get(word, "...")
            raise FramingTextError(text, f"{word} needs its {name}, as in {word}:{example}")
    with _explained(hint=_misplaced(word, argument, fields, kind.argument)):
        framing: Framing = _checked(text, kind, **given)
    return framing


@contextmanager
def _explained(text: str = "", hint: str = "") -> Iterator[None]:
    """Raise a FramingTextError again as one about ``text``, which is what the user gave, and with a hint."""
    try:
        yield
    except FramingTextError as error:
        raise FramingTextError(text or error.text, error.why + hint) from error.__cause__


def _misplaced(word: str, argument: str, fields: Collection[str], expected: str | None) -> str:
    """A hint for an option that was written behind the colon: ``line:max_message=64k``. It may be a valid argument."""
    name, equals, _ = argument.partition("=")
    if not equals or name == expected:
        return ""
    if name in fields:
        return f"; an option follows a comma, as in {word},{argument}"
    return nearest(name, [each for each in fields if each != expected], prefix=f"{word},")


def _unknown(word: str) -> str:
    """Say that there is no such framing, or no such mapping behind a framing."""
    framing, plus, mapping = word.rpartition("+")
    if mapping == "mapped":
        return "a text cannot name the functions of mapped(); in a program, give the framing itself instead of its text"
    if plus and framing:
        return f"there is no mapping {mapping!r}{among(mapping, _MAPPINGS)}"
    return f"there is no {word!r}{among(word, sorted(known_words()))}"


def _options(
    text: str,
    word: str,
    pairs: list[str],
    fields: dict[str, dataclasses.Field[Any]],
    given: dict[str, Any],
    depth: int,
    argument: str | None = None,
) -> dict[str, Any]:
    """Read the options after commas, and return them together with ``given``."""
    options = [each for each in fields if each != argument and each not in given]
    given = dict(given)
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if equals and name in options and name in given:
            raise FramingTextError(text, f"{name} is given twice")
        if not equals or name not in options:
            there = among(name, options, ", ".join(f"{each}=..." for each in options) or "none")
            raise FramingTextError(text, f"{pair!r} is not an option of {word}{there}")
        given[name] = _value(text, fields[name], value, depth)
    return given


def _checked(text: str, make: Any, *given: Any, **named: Any) -> Any:
    try:
        return make(*given, **named)
    except FramingTextError:
        raise
    except FourTupleError as error:
        raise FramingTextError(text, str(error)) from error


def known_words() -> list[str]:
    """The words that a text form can begin with."""
    return [*_MODULES, "u8", "u16", "u32", "u64", "u16le", "u32le", "u64le", "json-lines"]


def _value(text: str, field: dataclasses.Field[Any], given: str, depth: int) -> Any:
    kind = str(field.type)
    if given == "none" and "None" in kind:
        return None
    try:
        if kind.startswith(("int", "Literal[2")):  # a closed choice of numbers: the protocol of RESP
            return -parse_size(given[1:]) if given.startswith("-") else parse_size(given)
        if kind.startswith("float"):
            return float(given)
        if kind.startswith("bool"):
            return {"on": True, "off": False}[given]
        if kind.startswith("bytes"):
            return unescape(given)
        if kind.startswith("tuple[bytes"):
            return tuple(unescape(each) for each in split_unescaped(given, "|"))
        if kind.startswith("Cases"):
            return tuple(_case(text, each, depth) for each in split_unescaped(given, "|"))
        if kind.startswith("Framing"):
            return _parse(unnest(given), depth + 1)
    except FramingTextError:
        raise
    except (OptionError, KeyError, ValueError) as error:
        words = {"int": "a whole number", "Literal[2,": "a whole number", "bool": "on or off", "float": "a number"}
        raise FramingTextError(
            text, f"{field.name} is {given!r}, {words.get(kind.split()[0], 'text')} is expected"
        ) from error
    return given


def _case(text: str, given: str, depth: int) -> tuple[bytes, Framing]:
    octets, *framing = split_unescaped(given, "=")
    if not framing:
        raise FramingTextError(text, rf"{given!r} is not a case; a case is octets=framing, as in \x01=u16")
    return unescape(octets), _parse(unnest("=".join(framing)), depth + 1)
