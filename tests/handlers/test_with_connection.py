"""A handler that takes the connection, as a function of the message alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from fourtuple.handlers.with_connection import with_connection


def plain(message: Any, connection: Any) -> Any:
    return message, connection


def with_defaults(message: Any = "m", connection: Any = "c") -> Any:
    return message, connection


def with_more(message: Any, connection: Any, more: str = "more") -> Any:
    assert more == "more"
    return message, connection


def with_names(message: Any, connection: Any, *, name: str = "name", **named: Any) -> Any:
    assert (name, named) == ("name", {})
    return message, connection


def with_rest(*both: Any) -> Any:
    return both


def with_connections(message: Any, connection: Any, *more: Any) -> Any:
    assert not more
    return message, connection


class Handler:
    def method(self, message: Any, connection: Any) -> Any:
        assert isinstance(self, Handler)
        return message, connection

    def __call__(self, message: Any, connection: Any) -> Any:
        return self.method(message, connection)


def closure() -> Callable[..., Any]:
    calls: list[Any] = []

    def handler(message: Any, connection: Any) -> Any:
        calls.append(connection)
        return message, calls[-1]

    return handler


HANDLERS = {
    "plain": plain,
    "defaults": with_defaults,
    "more": with_more,
    "names": with_names,
    "rest": with_rest,
    "message and rest": with_connections,
    "closure": closure(),
    "partial": functools.partial(with_more, more="more"),
    "lambda": lambda message, connection: (message, connection),
    "method": Handler().method,
    "object": Handler(),
}


@pytest.mark.parametrize("kind", HANDLERS)
def test_each_connection_has_its_own(kind: str) -> None:
    handler = HANDLERS[kind]
    first, second = with_connection(handler, "first"), with_connection(handler, "second")
    assert [first("a"), second("b"), first("c")] == [("a", "first"), ("b", "second"), ("c", "first")]
    assert handler("d", "given") == ("d", "given")  # the handler itself is as it was


def test_a_plain_function_is_called_without_another_around_it() -> None:
    copied = with_connection(plain, "connection")
    assert copied.__code__ is plain.__code__
    assert copied.__qualname__ == plain.__qualname__
    assert plain.__defaults__ is None
