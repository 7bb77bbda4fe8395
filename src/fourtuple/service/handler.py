"""The handler of a service, as it was registered: a function and its kind, or a program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fourtuple.errors import ServiceError
from fourtuple.options import check_callable, function_name
from fourtuple.service.kinds import (
    ReplyKind,
    batch_kind,
    check_may_be_concurrent,
    check_may_outlast,
    conversation_kind,
    reply_kind,
)
from fourtuple.service.registration import check_arguments


@dataclass(frozen=True, slots=True)
class ReplyHandler:
    """A function that takes one message, and returns one reply, several, or none; or that takes batches."""

    function: Callable[..., Any]
    kind: ReplyKind
    wants_connection: bool
    concurrency: int
    cancel_on_lost: bool = True
    #: Whether it takes a list of messages, and returns a list of replies.
    batches: bool = False

    @property
    def name(self) -> str:
        """The handler's name, as events give it."""
        return function_name(self.function)


@dataclass(frozen=True, slots=True)
class ConversationHandler:
    """A function that drives the connection."""

    function: Callable[..., Any]
    blocking: bool
    speaks_first: bool
    cancel_on_lost: bool = True

    @property
    def name(self) -> str:
        """The handler's name, as events give it."""
        return function_name(self.function)


@dataclass(frozen=True, slots=True)
class ProgramHandler:
    """A program that gets the connected socket as its standard input and output."""

    command: tuple[str, ...]

    @property
    def name(self) -> str:
        """The command line, as events give it."""
        return " ".join(self.command)


@dataclass(frozen=True, slots=True)
class AdaptedHandler:
    """Existing code, written for another library.

    ``make(host, service, connection, channel)`` makes the runner of one connection, ``name`` is what events give. With
    ``wants_socket`` the code uses a socket itself: it gets the connection's own where nothing has to be read before.
    """

    make: Callable[..., Any]
    name: str
    wants_socket: bool = False


Handler = ReplyHandler | ConversationHandler | ProgramHandler | AdaptedHandler


# -- from functions, which are checked: each raises ServiceError for one that cannot be this handler ----------------


def reply_handler(function: Callable[..., Any], threads: bool, concurrency: int, cancel_on_lost: bool) -> ReplyHandler:
    """Return the handler for ``@service.reply``."""
    check_callable("reply", function, optional=False, kind=ServiceError)
    kind = reply_kind(function, threads)
    check_may_be_concurrent(function, kind, concurrency)
    check_may_outlast(function, kind, cancel_on_lost)
    wants_connection = check_arguments("reply", function, ("message",), ("message", "connection")) == 2
    return ReplyHandler(function, kind, wants_connection, concurrency, cancel_on_lost)


def batch_handler(function: Callable[..., Any], cancel_on_lost: bool) -> ReplyHandler:
    """Return the handler for ``@service.replies``."""
    check_callable("replies", function, optional=False, kind=ServiceError)
    kind = batch_kind(function)
    check_may_outlast(function, kind, cancel_on_lost)
    wants_connection = check_arguments("replies", function, ("messages",), ("messages", "connection")) == 2
    return ReplyHandler(function, kind, wants_connection, 1, cancel_on_lost, batches=True)


def conversation_handler(function: Callable[..., Any], speaks_first: bool, cancel_on_lost: bool) -> ConversationHandler:
    """Return the handler for ``@service.conversation``."""
    check_callable("conversation", function, optional=False, kind=ServiceError)
    kind = conversation_kind(function, speaks_first, cancel_on_lost)
    check_arguments("conversation", function, ("connection",))
    return ConversationHandler(function, kind is ReplyKind.THREAD, speaks_first, cancel_on_lost)
