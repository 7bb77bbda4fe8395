"""Checks of the functions that a program gives: their kind, and whether they can be called with the arguments meant.

Without them, a function with the wrong parameters would fail only when it is first called, and each time again.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from fourtuple.errors import FourTupleError, OptionError
from fourtuple.options.checking import check_callable


def function_name(function: Callable[..., Any]) -> str:
    """Return a callable's name with its module, for texts."""
    name = getattr(function, "__qualname__", None) or type(function).__name__
    return f"{getattr(function, '__module__', '')}.{name}".lstrip(".")


def check_function(name: str, function: Any, *arguments: str, awaits: bool = False) -> None:
    """Raise OptionError for what is neither None nor a function that is called as ``function(*arguments)``.

    ``awaits``: what it returns may be awaited, so it may be an async def. A generator is never right.
    """
    check_callable(name, function)
    if function is None:
        return
    code = code_of(function)
    if inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code):
        raise OptionError(f"{name}: {function_name(function)} is a generator, which would not run: expected a function")
    if inspect.iscoroutinefunction(code) and not awaits:
        raise OptionError(f"{name}: {function_name(function)} must be a plain def, because it is not awaited")
    taken_of(name, function, arguments)


def taken_of(
    name: str, function: Callable[..., Any], *forms: tuple[str, ...], kind: type[FourTupleError] = OptionError
) -> int:
    """Return the number of arguments with which a function is called: those of the first of ``forms`` that it takes.

    ``name`` is that of its parameter, or of its hook. ``forms`` has the names of the arguments, the shortest form
    first. Raises an error if the function takes none of the forms.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return len(forms[0])  # some builtins have no signature
    for form in forms:
        try:
            signature.bind(*form)
        except TypeError:
            continue
        return len(form)
    of = " or ".join(f"({', '.join(form)})" for form in forms)
    expected = f"a function of {of}" if forms[-1] else "a function without arguments"
    raise kind(f"{name}: {function_name(function)} {_needs(signature, len(forms[0]))}; expected {expected}")


def _needs(signature: inspect.Signature, least: int) -> str:
    """Return the text that says which arguments a function needs."""
    parameters = signature.parameters.values()
    by_name = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY and each.default is each.empty]
    if by_name:
        return f"needs {', '.join(by_name)} by name"
    places = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    needed = sum(each.default is each.empty for each in places)
    count = len(places) if len(places) < least else needed
    return f"takes {count} argument{'' if count == 1 else 's'}"


def code_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what runs when ``function`` is called: for an object it is ``__call__``, which may be an async def."""
    if inspect.isroutine(function) or isinstance(function, functools.partial):
        return function
    called: Callable[..., Any] = type(function).__call__
    return called
