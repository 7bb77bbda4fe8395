"""The kinds of handlers: what a function is decides how it is called, and which options it can have.

An option that would have no effect on a kind is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from fourtuple.errors import ServiceError
from fourtuple.options import check_whole, function_kind, function_name, refuse, with_article

#: Replies of one connection that may be made at once. Peers choose how many messages they send in one go.
MOST_CONCURRENT = 10_000


class ReplyKind(Enum):
    """How a reply handler is called."""

    INLINE = "def"
    INLINE_GENERATOR = "generator"
    ASYNC = "async def"
    ASYNC_GENERATOR = "async generator"
    THREAD = "def in a thread"
    THREAD_GENERATOR = "generator in a thread"

    @property
    def is_async(self) -> bool:
        """Whether its code is run in tasks."""
        return self in (ReplyKind.ASYNC, ReplyKind.ASYNC_GENERATOR)


_IN_THREADS = {ReplyKind.INLINE: ReplyKind.THREAD, ReplyKind.INLINE_GENERATOR: ReplyKind.THREAD_GENERATOR}


def reply_kind(function: Callable[..., Any], threads: bool) -> ReplyKind:
    """Return how to call a reply handler. Raises ServiceError for an async function with ``threads``."""
    kind = ReplyKind(function_kind(function))
    if not threads:
        return kind
    if kind.is_async:
        raise ServiceError(
            f"threads=True is for code that blocks; {function_name(function)} is async, it runs on the loop"
        )
    return _IN_THREADS[kind]


def batch_kind(function: Callable[..., Any]) -> ReplyKind:
    """Return how to call a handler of batches: INLINE or ASYNC. Raises ServiceError for a generator."""
    kind = reply_kind(function, False)
    if kind not in (ReplyKind.INLINE, ReplyKind.ASYNC):
        raise ServiceError(
            f"replies: {_described(function, kind)}; "
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
            f"concurrency={concurrency} needs an async def or threads=True; {_described(function, kind)}"
        )


def check_may_outlast(function: Callable[..., Any], kind: ReplyKind, cancel_on_lost: bool) -> None:
    """Raise ServiceError for ``cancel_on_lost=False`` if this kind of handler is never cancelled."""
    if not (cancel_on_lost or kind.is_async):
        raise ServiceError(
            f"cancel_on_lost=False is for an async def; {_described(function, kind)}, which is never cancelled"
        )


def conversation_kind(function: Callable[..., Any], speaks_first: bool, cancel_on_lost: bool) -> ReplyKind:
    """Return how to call a conversation: ASYNC, or THREAD for a plain ``def``.

    Raises ServiceError for a generator, and for an option that has no effect on this kind.
    """
    kind = reply_kind(function, False)
    if kind not in (ReplyKind.INLINE, ReplyKind.ASYNC):
        raise ServiceError(f"conversation: {_described(function, kind)}; a conversation sends through its connection")
    if kind is ReplyKind.INLINE:
        kind = ReplyKind.THREAD
    elif speaks_first:
        raise ServiceError(
            "speaks_first=True is for a plain def, which otherwise gets its thread at the peer's first octet; "
            f"{_described(function, kind)}, which begins at once: leave it out"
        )
    check_may_outlast(function, kind, cancel_on_lost)
    return kind


def _described(function: Callable[..., Any], kind: ReplyKind) -> str:
    return f"{function_name(function)} is {with_article(kind.value)}"
