"""Checks for mistakes in the functions and classes of a framing's author, made as early as possible.

An error names the function, what it returned and what is expected. Mistakes that show before there is a connection
(not a function, a coroutine function, wrong arguments) raise :class:`~fourtuple.errors.OptionError` when the framing is
made. Later mistakes raise :class:`~fourtuple.errors.EncodeError` in an encoder, and
:class:`~fourtuple.errors.FramingMistake` in everything that decodes.
"""

from __future__ import annotations

import functools
import inspect
import reprlib
from collections.abc import Callable
from typing import Any, TypeGuard

from fourtuple.errors import EncodeError, FramingMistake, OptionError
from fourtuple.printable import error_text

OCTETS = "octets (bytes, bytearray, memoryview)"

#: The most octets or characters of a value that an error shows.
_MOST = 60
_short = reprlib.Repr()
_short.maxother = _short.maxstring = _short.maxlong = _MOST


def name_of(function: object) -> str:
    """A function's name for the text of an error."""
    if isinstance(function, functools.partial):
        return name_of(function.func)
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None) or type(function).__qualname__
    return str(name).rpartition("<locals>.")[2]


def told(value: object) -> str:
    """Describe a wrong value and its type, for the text of an error."""
    if inspect.iscoroutine(value):
        value.close()  # it is never awaited; without this, Python would warn
        return "a coroutine, which is not awaited here"
    try:
        if isinstance(value, bytes | bytearray) and len(value) > _MOST:
            text = f"{bytes(value[:_MOST])!r}..."
        else:
            text = _short.repr(value)
    except KeyboardInterrupt:
        raise
    except BaseException:
        text = "a value without a text"
    return text if value is None or isinstance(value, type) else f"{text} ({type(value).__name__})"


def is_count(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number. True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def mistake(framing: object, function: object, returned: object, wanted: str) -> FramingMistake:
    """The error for a function that returned a wrong value."""
    name = function if isinstance(function, str) else name_of(function)
    return FramingMistake(f"{framing}: {name}() returned {told(returned)}; expected {wanted}")


def raised(framing: object, function: object, error: BaseException) -> FramingMistake:
    """The error for a function that raised an error it must not raise."""
    name = function if isinstance(function, str) else name_of(function)
    found = FramingMistake(f"{framing}: {name}() raised {error_text(error)}")
    found.__cause__ = error
    return found


def encoded(framing: object, function: object, returned: object) -> bytes:
    """Return the result of an encoder as bytes. Raises EncodeError if it is not octets."""
    if type(returned) is bytes:
        return returned
    if isinstance(returned, bytes | bytearray | memoryview):
        return bytes(returned)
    raise EncodeError(f"{framing}: {name_of(function)}() returned {told(returned)}; expected {OCTETS}")


def check_function(what: str, argument: str, function: object, *arguments: object, called: str) -> None:
    """Reject a non-function, an async or generator function, and one that cannot be called as ``called`` shows."""
    if not callable(function):
        raise OptionError(f"{what}: {argument}: expected a function, called as {called}, got {told(function)}")
    if _is_async(function) or _is_async(type(function).__call__):
        raise OptionError(f"{what}: {argument} is {name_of(function)}(), an async function, which is not awaited here")
    if inspect.isgeneratorfunction(function):
        raise OptionError(f"{what}: {argument} is {name_of(function)}(), a generator function; it returns, not yields")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # a builtin without a signature
    try:
        signature.bind(*arguments)
    except TypeError as error:
        name = name_of(function)
        raise OptionError(
            f"{what}: {argument} is called as {called}, and {name}{signature} does not take that"
        ) from error


def _is_async(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def checked_encoder(function: Callable[[Any, Any], object]) -> Callable[[Any, Any], bytes]:
    """Wrap an ``encode`` or ``encode_many`` of a framing's author to raise EncodeError if the result is not octets."""

    @functools.wraps(function)
    def encode(self: Any, given: Any) -> bytes:
        octets = function(self, given)
        return octets if type(octets) is bytes else encoded(self, function, octets)

    return encode
