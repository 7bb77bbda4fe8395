"""Checks of the keywords with which a public function or class is called: an error suggests the nearest one.

Python's own TypeError names the wrong keyword alone.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from fourtuple.errors import FourTupleError, OptionError
from fourtuple.options.checking import nearest
from fourtuple.options.declaring import of_another

F = TypeVar("F", bound=Callable[..., Any])


def check_keywords(
    whom: str,
    function: Callable[..., Any],
    given: Mapping[str, object],
    kind: type[FourTupleError] = OptionError,
) -> None:
    """Raise an error for a keyword that a function does not take. The error suggests the nearest one."""
    known = _keywords(function)
    if known is None or given.keys() <= known.keys():
        return
    for name in given:
        if name not in known:
            hint = of_another(name, known) or nearest(name, known) or f"; there are {', '.join(known)}"
            raise kind(f"{name}: there is no such option of {whom}{hint}")


def by_keyword(kind: type[FourTupleError] = OptionError) -> Callable[[F], F]:
    """Decorate a function or a class with options: for a keyword that it does not take, it raises ``kind``."""

    def decorate(decorated: F) -> F:
        if isinstance(decorated, type):
            decorated.__init__ = _checked(decorated.__init__, decorated.__name__, kind)  # type: ignore[misc]
            return decorated
        checked: F = _checked(decorated, decorated.__qualname__.removesuffix(".__init__"), kind)
        return checked

    return decorate


def _checked(function: Any, whom: str, kind: type[FourTupleError]) -> Any:
    @functools.wraps(function)
    def checked(*arguments: Any, **options: Any) -> Any:
        if options:
            check_keywords(whom, function, options, kind)
        return function(*arguments, **options)

    return checked


@functools.lru_cache(maxsize=256)
def _keywords(function: Callable[..., Any]) -> dict[str, None] | None:
    """Return the keywords that a function takes, in order; None if it takes any, or if that is not known.

    From its code, as :func:`inspect.signature` takes longer than most functions that are checked.
    """
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None or code.co_flags & inspect.CO_VARKEYWORDS:
        return None
    names = code.co_varnames[code.co_posonlyargcount : code.co_argcount + code.co_kwonlyargcount]
    return {name: None for name in names if name != "self"}
