"""Checks for the values of options, parameters, flags, variables and keys, with the same error texts for all.

Each check raises :class:`~fourtuple.errors.OptionError` with the name, the value expected and the value given.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable
from typing import Any, NoReturn

from fourtuple.errors import FourTupleError, OptionError
from fourtuple.printable import printable

#: The most characters of a given value in an error: enough to recognize it.
_SHOWN = 80

#: For each annotation, the accepted types and their description.
_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "int": (int, "a whole number"),
    "float": ((int, float), "a number"),
    "bool": (bool, "True or False"),
    "str": (str, "text"),
    "bytes": (bytes, "bytes"),
}


def seen(value: object) -> str:
    """Describe a given value for an error: short, on one line, and with its type if the repr does not show it."""
    try:
        shown = repr(value)
    except Exception:
        shown = f"something without a repr ({type(value).__name__})"
    shown = printable(shown, _SHOWN)
    plain = value is None or isinstance(value, str | int | float | bytes)
    return shown if plain else f"{shown} ({type(value).__name__})"


def refuse(name: str, value: object, needed: str, kind: type[FourTupleError] = OptionError) -> NoReturn:
    """Raise the error for an invalid value."""
    raise kind(f"{name}: expected {needed}, got {seen(value)}")


def kind_of(annotation: str) -> str:
    """The type of an annotation without None: ``int`` for ``int | None``, ``str`` for texts (``Literal``)."""
    return "str" if annotation.startswith("Literal[") else annotation.split("|")[0].strip()


def choices_of(annotation: str) -> list[str]:
    """The texts in an annotation, such as ``Literal['fin', 'reset']``; empty for any other annotation."""
    return re.findall(r"'([^']*)'", annotation) if annotation.startswith("Literal[") else []


def words_for(annotation: str, unit: str = "") -> str:
    """A description of an annotation, such as ``a whole number of octets``."""
    words = _KINDS.get(kind_of(annotation), (object, "text"))[1]
    return f"{words} of {unit}" if unit else words


def check_kind(name: str, value: object, annotation: str, unit: str = "") -> None:
    """Raise OptionError for a value that does not have the type of ``annotation``, such as ``int`` or ``float | None``.

    True and False are not numbers, numbers are not switches, and a number must be finite. Other annotations than the
    basic types are not checked.
    """
    optional, kind = "None" in annotation, kind_of(annotation)
    if kind not in _KINDS or (optional and value is None):
        return
    fits = isinstance(value, _KINDS[kind][0]) and (kind == "bool" or not isinstance(value, bool))
    if fits and not (isinstance(value, float) and not math.isfinite(value)):
        return
    needed = words_for(annotation, unit) + (" or None" if optional else "")
    if fits:
        needed = needed.replace("a number", "a finite number")
    elif kind == "str" and isinstance(value, list | tuple | set | frozenset):
        needed += f", as in {printable(', '.join(map(str, value)), _SHOWN)!r}"
    refuse(name, value, needed)


#: The largest number: the C counts in 64 bits, no float holds the largest ints, and no useful value is larger.
LARGEST = 1 << 62


def check_range(
    name: str, value: Any, unit: str, minimum: float | None, above: float | None, maximum: float | None = LARGEST
) -> None:
    """Raise OptionError for a number that is too small or too large."""
    of = f" {unit}" if unit else ""
    if minimum is not None and not value >= minimum:
        raise OptionError(f"{name}: expected at least {minimum:g}, got {seen(value)}{of}")
    if above is not None and not value > above:
        raise OptionError(f"{name}: expected more than {above:g}, got {seen(value)}{of}")
    if maximum is not None and not value <= maximum:
        most = maximum if isinstance(maximum, int) else f"{maximum:g}"
        raise OptionError(f"{name}: expected no more than {most}, got {seen(value)}{of}")


def check_name_of_system(name: str, value: str, *, optional: bool = False) -> None:
    """Raise OptionError for a text that the system cannot take: with a NUL, which ends a text in C, or an empty one."""
    if "\0" in value:
        refuse(name, value, "a text without NUL")
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        refuse(name, value, "a text that can be written as octets")
    if optional and not value:
        raise OptionError(f"{name}: expected a text or none, got an empty text; none turns it off")


#: The largest number of a user or a group. The one above stands for none in setresuid(2) and chown(2).
LARGEST_ID = (1 << 32) - 2


def check_id(name: str, value: str, shown: str | None = None) -> None:
    """Raise OptionError for a number that no user or group can have. ``shown`` is all of the value that was given."""
    if not is_id(value):
        return
    digits = value.lstrip("0")
    # Length first: int() raises another error for thousands of digits.
    if len(digits) > 10 or int(digits or "0") > LARGEST_ID:
        refuse(name, value if shown is None else shown, f"a name, or a number of no more than {LARGEST_ID}")


def is_id(text: str) -> bool:
    """Whether a user or a group is given by its number."""
    return text.isascii() and text.isdigit()


def check_whole(name: str, value: object, least: int, unit: str = "", kind: type[FourTupleError] = OptionError) -> None:
    """Raise an error for a value that is not a whole number of at least ``least``."""
    if type(value) is not int or value < least:
        words = words_for("int", unit)
        refuse(name, value, f"{words}, {least} or more" if least else f"{words}, not negative", kind)


def check_flag(name: str, value: object, kind: type[FourTupleError] = OptionError) -> None:
    """Raise an error for a value that is neither True nor False."""
    if type(value) is not bool:
        refuse(name, value, "True or False", kind)


def check_timeout(timeout: float | None) -> None:
    """Raise OptionError for an invalid ``timeout``, such as NaN. 0 means do not wait; None means no timeout."""
    if timeout is None:
        return
    number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if not number or not timeout >= 0:
        refuse("timeout", timeout, "a number of seconds, 0 or more, or None")
    if timeout != math.inf:  # infinity is another way to write None
        check_range("timeout", timeout, "seconds", None, None)


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Raise OptionError for a value that is not one of the choices. The error suggests the nearest one."""
    known = list(choices)
    if not isinstance(value, str) or value not in known:
        misspelt = isinstance(value, str) and any(map(str.isalpha, value))  # a number is no misspelt other one
        hint = nearest(str(value), known) if misspelt else ""
        raise OptionError(f"{name}: expected one of {', '.join(known)}, got {seen(value)}{hint}")


def check_type(
    name: str,
    value: object,
    *types: type,
    optional: bool = True,
    hint: str = "",
    kind: type[FourTupleError] = OptionError,
) -> None:
    """Raise an error for a value that has none of the types. ``hint`` is an example of a valid value."""
    if (optional and value is None) or isinstance(value, types):
        return
    words = [each.__name__ for each in types] + (["None"] if optional else [])
    needed = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
    if isinstance(value, dict) and hasattr(types[0], "__dataclass_fields__"):
        given = ", ".join(f"{key}={each!r}" for key, each in value.items())
        hint = printable(f"{types[0].__name__}({given})", _SHOWN)
    refuse(name, value, f"{needed}, as in {hint}" if hint else needed, kind)


def check_callable(
    name: str, value: object, *, optional: bool = True, kind: type[FourTupleError] = OptionError
) -> None:
    """Raise an error for a value that cannot be called."""
    if not (callable(value) or (optional and value is None)):
        refuse(name, value, "a function or None" if optional else "a function", kind)


def nearest(given: str, known: Iterable[str], prefix: str = "") -> str:
    """Return ``; did you mean ...?`` if a known word is similar to the given one, otherwise an empty text."""
    import difflib  # imported here: only errors need it

    found = difflib.get_close_matches(given, list(known), n=1)
    return f"; did you mean {prefix}{found[0]}?" if found else ""


def among(given: str, known: Iterable[str], listed: str = "") -> str:
    """Return :func:`nearest`, and all known words behind it: ``; did you mean ...? There are ...``.

    ``listed`` lists them in other words. Default: the words alone.
    """
    words = list(known)
    near = nearest(given, words)
    return f"{near}{' There' if near else '; there'} are {listed or ', '.join(words)}"
