"""Checks at the registration of a function: its kind, and whether it can be called with the intended arguments.

Without them, a function with the wrong parameters would fail only at the first message, once for each connection.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import Enum
from typing import Any

from fourtuple.errors import ServiceError
from fourtuple.options import check_callable, check_whole, code_of, refuse, taken_of
from fourtuple.options import function_name as function_name

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


def reply_kind(given: Callable[..., Any], threads: bool) -> ReplyKind:
    """Return how to call a reply handler. Raises ServiceError for an async function with ``threads``."""
    function = code_of(given)
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
    function = code_of(conversation)
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
    code = code_of(function)
    if inspect.iscoroutinefunction(code) or inspect.isgeneratorfunction(code) or inspect.isasyncgenfunction(code):
        # Only `opened` has another place for an await; the others have none.
        instead = "; a conversation can await before its first message" if hook == "opened" else ""
        raise ServiceError(f"{hook}: {function_name(function)} must be a plain def, because it runs inline{instead}")


def check_lifespan(function: Callable[..., Any]) -> bool:
    """Return whether a lifespan is an async generator function; otherwise it returns an async context manager.

    Raises ServiceError for a function that can be neither, and for one that takes arguments.
    """
    code = code_of(function)
    if inspect.iscoroutinefunction(code) or inspect.isgeneratorfunction(code):
        raise ServiceError(f"lifespan: {function_name(function)} must be an async def with one yield")
    check_arguments("lifespan", function, ())
    return inspect.isasyncgenfunction(code)


def check_arguments(hook: str, function: Callable[..., Any], *forms: tuple[str, ...]) -> int:
    """Return the number of arguments with which a function is called; see :func:`fourtuple.options.taken_of`.

    Raises ServiceError if the function takes none of the forms.
    """
    return taken_of(hook, function, *forms, kind=ServiceError)
