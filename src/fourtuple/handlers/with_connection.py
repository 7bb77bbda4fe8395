"""A handler that takes a message and the connection, as a function of the message alone."""

from __future__ import annotations

from collections.abc import Callable
from inspect import CO_VARARGS
from types import FunctionType
from typing import Any, TypeVar

R = TypeVar("R")


def with_connection(function: Callable[..., R], connection: Any) -> Callable[[Any], R]:
    """Return ``function`` as a function of its first parameter; the second one is always ``connection``.

    A plain function of two parameters is copied with another default for the second one. A call then costs no more than
    that of a handler of the message alone. Any other callable gets a function around it.
    """
    if isinstance(function, FunctionType):
        code = function.__code__
        if code.co_argcount == 2 and not code.co_flags & CO_VARARGS:
            copied = FunctionType(code, function.__globals__, function.__name__, (connection,), function.__closure__)
            copied.__kwdefaults__ = function.__kwdefaults__
            return copied
    return lambda message: function(message, connection)
