"""What a message may be compared with: the forms that ``--expect`` and ``--is-push`` share.

A pattern is a function of one message. It is made of module-level functions, so that pickle can send it to other
processes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from fourtuple.errors import OptionError
from fourtuple.framing.notation import unescape

#: Whether a message is what a pattern describes.
Pattern = Callable[[Any], bool]

#: The kinds of patterns, as they are written before the colon.
KINDS = ("text", "starts", "regex", "size")


def pattern(name: str, text: str, *others: str) -> Pattern:
    r"""Read ``text:TEXT``, ``starts:TEXT``, ``regex:RE`` or ``size:N``, the value of the option ``name``.

    ``others`` are forms that the caller reads itself; an error names them too. The texts of a pattern may contain
    escapes such as ``\n``, ``\r`` and ``\x1c``.
    Raises :class:`~fourtuple.errors.OptionError` for an invalid value.
    """
    kind, colon, rest = text.partition(":")
    if not colon or kind not in KINDS:
        raise OptionError(f"{name}: {text!r} is not one of {', '.join([*(f'{each}:' for each in KINDS), *others])}")
    return of_kind(name, kind, rest)


def of_kind(name: str, kind: str, rest: str) -> Pattern:
    """Return the pattern of a known kind; ``rest`` is what follows its colon."""
    try:
        if kind == "size":
            if not (rest.isascii() and rest.isdigit() and len(rest) < 20):
                raise ValueError("expected a whole number of octets, as in size:16")
            return partial(_has_size, int(rest))
        if kind == "regex":
            return partial(_matches, re.compile(rest.encode(), re.DOTALL))  # re handles the escapes of an expression
        return partial(_is if kind == "text" else _starts, unescape(rest))
    except (ValueError, re.error) as error:
        raise OptionError(f"{name}: '{kind}:{rest}': {error}") from error


def octets_of(message: Any) -> bytes:
    """A message as octets: a value that is not bytes is compared as text."""
    return message if isinstance(message, bytes) else str(message).encode("utf-8", "surrogateescape")


def _has_size(size: int, message: Any) -> bool:
    return len(octets_of(message)) == size


def _matches(expression: re.Pattern[bytes], message: Any) -> bool:
    return expression.search(octets_of(message)) is not None


def _is(octets: bytes, message: Any) -> bool:
    return octets_of(message) == octets


def _starts(octets: bytes, message: Any) -> bool:
    return octets_of(message).startswith(octets)
