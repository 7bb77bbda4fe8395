"""What framings check: their options, and the messages that they encode."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator
from typing import Any

from fourtuple.errors import EncodeError, MalformedMessage, MessageTooLong, OptionError
from fourtuple.framing.base import Framing
from fourtuple.options import DEFAULT_MAX_MESSAGE, nearest, seen
from fourtuple.options.checking import LARGEST


def octets_of(framing: object, message: Any) -> bytes:
    """Return a message as ``bytes``. Raises :class:`~fourtuple.errors.EncodeError` for other types, such as ``str``."""
    if type(message) is bytes:
        return message
    if isinstance(message, bytes | bytearray | memoryview):
        return bytes(message)
    taken = "takes octets (bytes, bytearray, memoryview)"
    raise EncodeError(f"{framing} {taken}, not {type(message).__name__}{_hint(message)}")


def as_it_is_now(message: Any) -> Any:
    """Return a message that is encoded later, so that a buffer may be filled again: its octets as ``bytes``.

    Other values are returned as they are. Only the framing of that moment could tell what they hold.
    """
    return bytes(message) if isinstance(message, bytearray | memoryview) else message


def _hint(message: Any) -> str:
    """What to do with a value that is no message, as the end of an error's text."""
    if isinstance(message, str):
        return "; encode it first, as in text.encode()"
    if isinstance(message, Awaitable):  # what a plain function returns that wraps an async def
        return "; await it first, in an async def"
    if isinstance(message, Iterator | AsyncIterator):  # the same of a generator
        return "; yield its items one by one, in a generator"
    return ""


def whole(value: Any, least: int, most: int = LARGEST) -> bool:
    """Whether an option's value is a whole number in its range. ``True`` is not a number."""
    return type(value) is int and least <= value <= most


def at_least(value: Any, least: int) -> str:
    """What :func:`whole` needs without ``most``, for the error about a value."""
    return f"no more than {LARGEST}" if type(value) is int and value > LARGEST else f"at least {least}"


#: The most digits that are read of an announced length: enough for 64 bits. An error shows only these, marked as cut.
MOST_DIGITS = 20


def announced_size(digits: bytes, allowed: int | None) -> int:
    """Return the length that decimal digits announce, in octets.

    Raises :class:`~fourtuple.errors.MessageTooLong` for more than ``allowed``; its number has at most
    :data:`MOST_DIGITS` digits. With no bound, too many digits are :class:`~fourtuple.errors.MalformedMessage`.
    """
    digits = digits.lstrip(b"0") or b"0"
    cut = len(digits) > MOST_DIGITS
    size = int(digits[:MOST_DIGITS])
    if allowed is not None and (cut or size > allowed):
        raise MessageTooLong(size, allowed, cut=cut)
    if cut:
        raise MalformedMessage(f"a length of more than {MOST_DIGITS} digits: {size}...")
    return size


def check_bounds(framing: Any, announced: int | None = None) -> None:
    """Reject a ``max_message`` or ``max_sent`` below 1, or one that is larger than the length field can announce.

    For the ``__post_init__`` of framings. ``announced`` is the largest message that the length field can
    announce. The default of ``max_message`` may be larger, so that it is valid for every width. A framing may lack
    ``max_sent``. Values of the wrong type are rejected too: see :func:`check_kinds`.
    """
    check_kinds(framing)
    for name in ("max_message", "max_sent"):
        bound = getattr(framing, name, None)
        if bound is None:
            continue
        if not whole(bound, 1):
            raise OptionError(f"{framing.word}: {name} is {seen(bound)}, it must be None or {at_least(bound, 1)}")
        if announced is not None and bound > announced and (name, bound) != ("max_message", DEFAULT_MAX_MESSAGE):
            raise OptionError(
                f"{framing.word}: {name} is {bound}, the length field cannot announce more than {announced}"
            )


#: The field types for which Python would silently accept a wrong value: the text "off" is true.
_KINDS: dict[str, tuple[type, str]] = {"bool": (bool, "True or False"), "bytes": (bytes, "bytes"), "str": (str, "text")}


def check_kinds(framing: Any) -> None:
    """Reject a switch that is not True or False, octets that are not bytes, and text that is not a str."""
    for field in dataclasses.fields(framing):
        kind, needed = _KINDS.get(str(field.type), (object, ""))
        value = getattr(framing, field.name)
        if not isinstance(value, kind):
            raise OptionError(f"{framing.word}: {field.name} is {seen(value)}, it must be {needed}")


def check_choice(framing: Any, name: str, choices: Iterable[str]) -> None:
    """Reject an option's value that is not one of its choices."""
    value, known = getattr(framing, name), list(choices)
    if not isinstance(value, str) or value not in known:
        hint = nearest(value, known) if isinstance(value, str) else ""
        raise OptionError(f"{framing.word}: {name} is {seen(value)}, it must be one of {', '.join(known)}{hint}")


def normalise(framing: Any, name: str, what: str) -> None:
    """Make a field of several octets a tuple: of one ``bytes``, a list or a tuple. Reject any other value.

    A set has no order, and the encoder writes the first.
    """
    value = getattr(framing, name)
    if isinstance(value, bytes):
        value = (value,)
    if not isinstance(value, list | tuple):
        raise OptionError(f"{framing.word}: {name} is {seen(value)}, expected {what} (bytes) or a tuple of them")
    object.__setattr__(framing, name, tuple(value))


def check_marker(framing: Any, name: str, value: Any) -> None:
    """Reject a delimiter or marker that is not bytes or is empty."""
    if not isinstance(value, bytes) or not value:
        raise OptionError(f"{framing.word}: {name} is {seen(value)}, it must be at least one octet")


def check_outside(framing: Framing, message: bytes, marker: bytes, what: str) -> None:
    """Refuse to encode a message that contains ``marker``: the peer would see its end too early."""
    at = (message + marker).find(marker)
    if at < len(message):
        raise EncodeError(
            f"{framing}: the message has {what} ({marker!r}) inside, at octet {at}; the peer would read two messages"
        )


def check_size(framing: Any, size: int) -> None:
    """Refuse to encode more octets than ``max_sent``. ``max_message`` bounds received messages only."""
    bound = framing.max_sent
    if bound is not None and size > bound:
        raise EncodeError(f"{framing}: the message has {size} octets, no more than {bound} are allowed (max_sent)")
