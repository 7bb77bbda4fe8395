"""Checks of the functions that a program gives: their kind, and whether they can be called with the arguments meant.

Without them, a function with the wrong parameters would fail only when it is first called, and each time again.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from fourtuple.errors import FourTupleError, HandlerMistake, OptionError
from fourtuple.options.checking import check_callable


def function_name(function: Callable[..., Any]) -> str:
    """Return a callable's name with its module, for texts."""
    name = getattr(function, "__qualname__", None) or type(function).__name__
    return f"{getattr(function, '__module__', '')}.{name}".lstrip(".")


#: The kinds of functions, as the texts of errors call them.
PLAIN, GENERATOR, ASYNC, ASYNC_GENERATOR = "def", "generator", "async def", "async generator"


def function_kind(given: Callable[..., Any]) -> str:
    """Return the kind of a function: one of the constants above."""
    function = code_of(given)
    if inspect.iscoroutinefunction(function):
        return ASYNC
    if inspect.isasyncgenfunction(function):
        return ASYNC_GENERATOR
    return GENERATOR if inspect.isgeneratorfunction(function) else PLAIN


def with_article(kind: str) -> str:
    """Return a kind of function for a sentence: ``an async def``."""
    return f"an {kind}" if kind.startswith("async") else f"a {kind}"


def check_function(name: str, function: Any, *arguments: str, awaits: bool = False) -> None:
    """Raise OptionError for what is neither None nor a function that is called as ``function(*arguments)``.

    ``awaits``: what it returns may be awaited, so it may be an async def. A generator is never right.
    """
    check_callable(name, function)
    if function is None:
        return
    _check_kind(name, function, awaits)
    taken_of(name, function, arguments)


#: The flags of the code of a function that does not run when it is called.
_GENERATES = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
_WAITS = _GENERATES | inspect.CO_COROUTINE


def check_runs(name: str, function: Any, *, awaits: bool = False) -> None:
    """Raise OptionError for what is not a function, and as :func:`check_function` for one of a wrong kind.

    For calls that a program may make often: it looks at a function and a method only. Of other objects,
    :func:`refuse_unrun` tells when they are called.
    """
    check_callable(name, function, optional=False)
    code = getattr(function, "__code__", None)
    if code is not None and code.co_flags & (_GENERATES if awaits else _WAITS):
        _check_kind(name, function, awaits)


def _check_kind(name: str, function: Callable[..., Any], awaits: bool) -> None:
    """Raise OptionError for a generator, and for an async def if it is not awaited."""
    kind = function_kind(function)
    if kind in (GENERATOR, ASYNC_GENERATOR):
        raise OptionError(
            f"{name}: {function_name(function)} is {with_article(kind)}, which would not run: expected a function"
        )
    if kind == ASYNC and not awaits:
        raise OptionError(
            f"{name}: {function_name(function)} is an async def, which is not awaited: expected a plain def"
        )


def call_plain(name: str, function: Callable[..., object], *arguments: object) -> None:
    """Call a function of the program whose result is of no use. Raises HandlerMistake as :func:`refuse_unrun`."""
    refuse_unrun(name, function, function(*arguments))


def refuse_unrun(name: str, function: Callable[..., Any], returned: object) -> None:
    """Raise HandlerMistake if a function has returned code that nothing runs; see :func:`unrun`."""
    if returned is not None and (error := unrun(name, function, returned)) is not None:
        raise error


def unrun(name: str, function: Callable[..., Any], returned: object) -> HandlerMistake | None:
    """Return the error for a function that has returned code that nothing runs: a coroutine or a generator.

    The kind of the function was checked before, but a plain function may still call an async one and return what that
    returns. ``name`` is that of its parameter, or of its hook. Returns None if it has returned anything else.
    """
    if inspect.iscoroutine(returned):
        returned.close()  # otherwise Python would warn about it as well
        kind = "a coroutine, which is not awaited"
    elif inspect.isgenerator(returned) or inspect.isasyncgen(returned):
        kind = f"{with_article(GENERATOR if inspect.isgenerator(returned) else ASYNC_GENERATOR)}, which would not run"
    else:
        return None
    return HandlerMistake(
        f"{name}: {function_name(function)} returned {kind}: expected a function that has done its work when it returns"
    )


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
    if cls := _class_of_unbound(function, signature):
        raise kind(
            f"{name}: {function_name(function)} is a method without its object, "
            f"its first parameter is {next(iter(signature.parameters))}: give the method of an object, "
            f"as in {cls}().{function.__name__}"
        )
    for form in forms:
        try:
            signature.bind(*form)
        except TypeError:
            continue
        return len(form)
    of = " or ".join(f"({', '.join(form)})" for form in forms)
    expected = f"a function of {of}" if forms[-1] else "a function without arguments"
    raise kind(f"{name}: {function_name(function)} {_needs(signature, len(forms[0]))}; expected {expected}")


def _class_of_unbound(function: Callable[..., Any], signature: inspect.Signature) -> str:
    """Return the name of the class of a method that was taken from it, or is given while it is defined; otherwise "".

    Its object would be missing: another argument would take the place of ``self``.
    """
    if not inspect.isfunction(function):
        return ""
    *_, owner, _ = ("", "", *function.__qualname__.split("."))
    first = next(iter(signature.parameters), "")
    return owner if owner != "<locals>" and first in ("self", "cls") else ""


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
