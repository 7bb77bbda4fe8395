"""What is given to options, parameters, flags, variables and keys, checked in one way and refused with the same words.

Each refusal is an :class:`~fourtuple.errors.OptionError` that says the name, what was given and what is needed.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from fourtuple.errors import FourTupleError, OptionError
from fourtuple.printable import printable

#: Characters of what was given: enough to know it again.
_SHOWN = 80

#: What the kinds of an annotation are, and how they are called.
_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "int": (int, "a whole number"),
    "float": ((int, float), "a number"),
    "bool": (bool, "True or False"),
    "str": (str, "text"),
    "bytes": (bytes, "bytes"),
}


def seen(value: object) -> str:
    """What was given, for an error's text: short, on one line, and with its type where that does not show."""
    try:
        shown = repr(value)
    except Exception:
        shown = f"something without a repr ({type(value).__name__})"
    shown = printable(shown, _SHOWN)
    plain = value is None or isinstance(value, str | int | float | bytes)
    return shown if plain else f"{shown} ({type(value).__name__})"


def refuse(name: str, value: object, needed: str, kind: type[FourTupleError] = OptionError) -> NoReturn:
    """Raise the error of something that was given and is not possible."""
    raise kind(f"{name}: {seen(value)} given, {needed} needed")


def kind_of(annotation: str) -> str:
    """``int`` of ``int | None``."""
    return annotation.split("|")[0].strip()


def words_for(annotation: str, unit: str = "") -> str:
    """``a whole number of octets``."""
    words = _KINDS.get(kind_of(annotation), (object, "text"))[1]
    return f"{words} of {unit}" if unit else words


def check_kind(name: str, value: object, annotation: str, unit: str = "") -> None:
    """Refuse what is not of the type that ``annotation`` says: ``int``, ``float | None``. Others are not looked at.

    True and False are no numbers, numbers are no switches, and a number is finite.
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
        needed += f", as in {printable(', '.join(map(str, value)), _SHOWN)!r},"
    refuse(name, value, needed)


#: No option is a larger number: the C counts in 64 bits, and nothing is so large.
LARGEST = 1 << 62


def check_range(
    name: str, value: Any, unit: str, minimum: float | None, above: float | None, maximum: float | None = None
) -> None:
    """Refuse a number that is too small, or too large."""
    of = f" {unit}" if unit else ""
    if minimum is not None and not value >= minimum:
        raise OptionError(f"{name}: {seen(value)}{of} given, at least {minimum:g} needed")
    if above is not None and not value > above:
        raise OptionError(f"{name}: {seen(value)}{of} given, more than {above:g} needed")
    if maximum is not None and not value <= maximum:
        most = maximum if isinstance(maximum, int) else f"{maximum:g}"
        raise OptionError(f"{name}: {seen(value)}{of} given, no more than {most} possible")


def check_whole(name: str, value: object, least: int, unit: str = "", kind: type[FourTupleError] = OptionError) -> None:
    """Refuse what is no whole number of at least ``least``."""
    if type(value) is not int or value < least:
        words = words_for("int", unit)
        refuse(name, value, f"{words}, {least} or more," if least else f"{words}, not negative,", kind)


def check_flag(name: str, value: object, kind: type[FourTupleError] = OptionError) -> None:
    """Refuse what is neither True nor False."""
    if type(value) is not bool:
        refuse(name, value, "True or False", kind)


def check_timeout(timeout: float | None) -> None:
    """Refuse a ``timeout`` that is no number of seconds, as NaN is. Zero only looks; None waits as long as it takes."""
    if timeout is None:
        return
    number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if not number or not timeout >= 0:
        refuse("timeout", timeout, "a number of seconds, 0 or more, or None")


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Refuse what is none of the choices, with the nearest of them."""
    known = list(choices)
    if not isinstance(value, str) or value not in known:
        hint = nearest(value, known) if isinstance(value, str) else ""
        raise OptionError(f"{name}: {seen(value)} given, one of {', '.join(known)} needed{hint}")


def check_type(
    name: str,
    value: object,
    *types: type,
    optional: bool = True,
    hint: str = "",
    kind: type[FourTupleError] = OptionError,
) -> None:
    """Refuse what is an instance of none of the types. ``hint`` is how it would be right."""
    if (optional and value is None) or isinstance(value, types):
        return
    words = [each.__name__ for each in types] + (["None"] if optional else [])
    needed = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
    if isinstance(value, dict) and hasattr(types[0], "__dataclass_fields__"):
        given = ", ".join(f"{key}={each!r}" for key, each in value.items())
        hint = printable(f"{types[0].__name__}({given})", _SHOWN)
    refuse(name, value, f"{needed}, as in {hint}," if hint else needed, kind)


def check_callable(
    name: str, value: object, *, optional: bool = True, kind: type[FourTupleError] = OptionError
) -> None:
    """Refuse what cannot be called."""
    if not (callable(value) or (optional and value is None)):
        refuse(name, value, "a function or None" if optional else "a function", kind)


def check_keywords(whom: str, function: Callable[..., Any], given: Mapping[str, object]) -> None:
    """Refuse a keyword that a function does not take, with the nearest that it does."""
    parameters = inspect.signature(function).parameters.values()
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return
    known = [each.name for each in parameters if each.kind in (each.KEYWORD_ONLY, each.POSITIONAL_OR_KEYWORD)]
    known = [name for name in known if name != "self"]
    for name in given:
        if name not in known:
            hint = nearest(name, known) or f"; there are {', '.join(known)}"
            raise OptionError(f"{name}: there is no such option of {whom}{hint}")


def nearest(given: str, known: Iterable[str], prefix: str = "") -> str:
    """``; did you mean ...?`` when something known is near to what was given, else nothing."""
    import difflib  # here: only a mistake needs it

    found = difflib.get_close_matches(given, list(known), n=1)
    return f"; did you mean {prefix}{found[0]}?" if found else ""
