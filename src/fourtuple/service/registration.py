"""Checks at the registration of a function: its kind, and whether it can be called with the intended arguments.

Without them, a function with the wrong parameters would fail only at the first message, once for each connection.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from enum import Enum
from typing import Any

from fourtuple.errors import ServiceError
from fourtuple.options import check_callable, check_whole, refuse

#: Replies of one connection that may be made at once. Peers choose how many messages they send in one go.
MOST_CONCURRENT = 10_000


class OnlyOptions(Enum):
    """The default of a decorator's function. None is no default: like any other value, it is not a function."""

    #: ``@service.reply(threads=True)``: the function follows.
    ONLY_OPTIONS = "only options"


ONLY_OPTIONS = OnlyOptions.ONLY_OPTIONS


class ReplyKind(Enum):
    """How a reply handler is called."""

    INLINE = "def"
    INLINE_GENERATOR = "generator"
    ASYNC = "async def"
    ASYNC_GENERATOR = "async generator"
    THREAD = "def in a thread"
    THREAD_GENERATOR = "generator in a thread"


def function_name(function: Callable[..., Any]) -> str:
    """Return a callable's name with its module, for texts."""
    name = getattr(function, "__qualname__", None) or type(function).__name__
    return f"{getattr(function, '__module__', '')}.{name}".lstrip(".")


def reply_kind(given: Callable[..., Any], threads: bool) -> ReplyKind:
    """Return how to call a reply handler. Raises ServiceError for an async function with ``threads``."""
    function = _code_of(given)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        if threads:
            raise ServiceError(
                f"threads=True is for code that blocks; {function_name(given)} is async, it runs on the loop"
            )
        return ReplyKind.ASYNC if inspect.iscoroutinefunction(function) else ReplyKind.ASYNC_GENERATOR
    generator = inspect.isgeneratorfunction(function)
    if threads:
        return ReplyKind.THREAD_GENERATOR if generator else ReplyKind.THREAD
    return ReplyKind.INLINE_GENERATOR if generator else ReplyKind.INLINE


def batch_kind(given: Callable[..., Any]) -> ReplyKind:
    """Return how to call a handler of batches: INLINE or ASYNC. Raises ServiceError for a generator."""
    kind = reply_kind(given, False)
    if kind not in (ReplyKind.INLINE, ReplyKind.ASYNC):
        raise ServiceError(
            f"replies: {function_name(given)} is {_article(kind)} {kind.value}; "
            "expected a function that returns a list, with the reply to each message or None"
        )
    return kind


def check_concurrency(concurrency: int) -> None:
    """Raise ServiceError for a number of messages at once that cannot be."""
    check_whole("concurrency", concurrency, 1, "messages", ServiceError)
    if concurrency > MOST_CONCURRENT:
        refuse("concurrency", concurrency, f"at most {MOST_CONCURRENT:,} messages at once", ServiceError)


def check_may_be_concurrent(function: Callable[..., Any], kind: ReplyKind, concurrency: int) -> None:
    """Raise ServiceError for several messages at once if this kind of handler takes one after the other."""
    if concurrency > 1 and kind not in (ReplyKind.ASYNC, ReplyKind.THREAD):
        raise ServiceError(
            f"concurrency={concurrency} needs an async def or threads=True; "
            f"{function_name(function)} is {_article(kind)} {kind.value}"
        )


def _article(kind: ReplyKind) -> str:
    return "an" if kind.value.startswith("async") else "a"


def is_blocking(conversation: Callable[..., Any]) -> bool:
    """Return whether a conversation is a plain ``def``, which runs in a thread. Raises ServiceError for a generator."""
    function = _code_of(conversation)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ServiceError(
            f"conversation: {function_name(conversation)} is a generator; a conversation sends through its connection"
        )
    return not inspect.iscoroutinefunction(function)


def check_hook(
    name: str, function: Callable[..., Any], arguments: tuple[str, ...], before: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """Return a hook that is called inline, as ``function(*arguments)``.

    Raises ServiceError if it cannot be, or if ``before`` is registered already.
    """
    check_callable(name, function, optional=False, kind=ServiceError)
    check_plain(name, function)
    check_arguments(name, function, arguments)
    check_sole(name, function, before)
    return function


def check_sole(hook: str, function: object, before: Callable[..., Any] | None) -> None:
    """Raise ServiceError if a hook is registered already: one of the two would never be called."""
    if before is not None:
        name = function_name(function) if callable(function) else repr(function)
        raise ServiceError(
            f"{hook}: {function_name(before)} is registered already, {name} cannot be added: call both in one function"
        )


def check_plain(hook: str, function: Callable[..., Any]) -> None:
    """Raise ServiceError for a hook that is async or a generator."""
    code = _code_of(function)
    if inspect.iscoroutinefunction(code) or inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code):
        # Only `opened` has another place for an await; the others have none.
        instead = "; a conversation can await before its first message" if hook == "opened" else ""
        raise ServiceError(f"{hook}: {function_name(function)} must be a plain def, because it runs inline{instead}")


def check_lifespan(function: Callable[..., Any]) -> bool:
    """Return whether a lifespan is an async generator function; otherwise it returns an async context manager.

    Raises ServiceError for a function that can be neither, and for one that takes arguments.
    """
    code = _code_of(function)
    if inspect.iscoroutinefunction(code) or inspect.isgeneratorfunction(code):
        raise ServiceError(f"lifespan: {function_name(function)} must be an async def with one yield")
    check_arguments("lifespan", function, ())
    return inspect.isasyncgenfunction(code)


def check_arguments(hook: str, function: Callable[..., Any], *forms: tuple[str, ...]) -> int:
    """Return the number of arguments with which a function is called: those of the first of ``forms`` that it takes.

    ``hook`` is the name under which it is registered. ``forms`` has the names of the arguments, the shortest form
    first. Raises ServiceError if the function takes none of the forms.
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
    raise ServiceError(f"{hook}: {function_name(function)} {_needs(signature, len(forms[0]))}; expected {expected}")


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


def _code_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what runs when ``function`` is called: for an object it is ``__call__``, which may be an async def."""
    if inspect.isroutine(function) or isinstance(function, functools.partial):
        return function
    called: Callable[..., Any] = type(function).__call__
    return called
