"""Checks at the registration of a hook: its kind, and whether it can be called with the intended arguments.

Without them, a function with the wrong parameters would fail only at the first message, once for each connection.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from fourtuple.errors import ServiceError
from fourtuple.options import check_callable, function_kind, function_name, seen, taken_of, with_article
from fourtuple.options.functions import PLAIN


class OnlyOptions(Enum):
    """The default of a decorator's function. None is no default: like any other value, it is not a function."""

    #: ``@service.reply(threads=True)``: the function follows.
    ONLY_OPTIONS = "only options"


ONLY_OPTIONS = OnlyOptions.ONLY_OPTIONS


def check_hook(
    name: str, function: Callable[..., Any], arguments: tuple[str, ...], before: object = None
) -> Callable[..., Any]:
    """Return a hook that is called inline, as ``function(*arguments)``.

    Raises ServiceError if it cannot be, or if ``before`` is registered already.
    """
    check_callable(name, function, optional=False, kind=ServiceError)
    check_plain(name, function)
    check_arguments(name, function, arguments)
    check_sole(name, function, before)
    return function


def check_sole(hook: str, given: object, before: object) -> None:
    """Raise ServiceError if a hook is registered already: one of the two would never be called.

    Each is a function, or the message of ``goodbye``. ``before`` is None if there is none yet.
    """
    if before is not None:
        instead = "call both in one function" if callable(given) and callable(before) else "a service has one"
        raise ServiceError(
            f"{hook}: {_named(before)} is registered already, {_named(given)} cannot be added: {instead}"
        )


def _named(hook: object) -> str:
    return function_name(hook) if callable(hook) else seen(hook)


def check_plain(hook: str, function: Callable[..., Any]) -> None:
    """Raise ServiceError for a hook that is async or a generator."""
    kind = function_kind(function)
    if kind != PLAIN:
        # Only `opened` has another place for an await; the others have none.
        instead = "; a conversation can await before its first message" if hook == "opened" else ""
        raise ServiceError(
            f"{hook}: {function_name(function)} is {with_article(kind)}; "
            f"expected a plain def, because it runs inline{instead}"
        )


def check_arguments(hook: str, function: Callable[..., Any], *forms: tuple[str, ...]) -> int:
    """Return the number of arguments with which a function is called; see :func:`fourtuple.options.taken_of`.

    Raises ServiceError if the function takes none of the forms.
    """
    return taken_of(hook, function, *forms, kind=ServiceError)
