"""What decoded values take in memory: the bound of one message, and what is charged against it.

``max_message`` counts octets. A decoder that makes values of them needs a second bound, in units that follow memory:
four octets of RESP or two of JSON can be an object of sixty. So each value is charged a constant and its octets. The
charges are made of the octets alone, never asked of the interpreter: every implementation, and the C, comes to the
same number at the same message.
"""

from __future__ import annotations

from typing import Any

from fourtuple.errors import MessageTooLong, OptionError
from fourtuple.options import DEFAULT_MAX_MESSAGE_MEMORY

#: What a value is charged beside its octets: an object, and its place in a list or a dict. A map counts for two.
VALUE = 96
#: What an octet of text in an error is charged: it may become ``\xff``, in a str of four octets a character.
TEXT = 16

_UNIT = "octets of memory"


def memory_bound(framing: Any) -> int | None:
    """The bound of a framing; its default grows with a ``max_message`` that somebody typed."""
    bound: int | None = framing.max_message_memory
    if bound != DEFAULT_MAX_MESSAGE_MEMORY:
        return bound
    octets: int | None = framing.max_message
    return None if octets is None else max(bound, 4 * octets)


def check_max_message_memory(framing: Any) -> None:
    """Refuse a bound that hardly a message could meet. For the ``__post_init__`` of framings."""
    bound = framing.max_message_memory
    if bound is not None and (type(bound) is not int or bound < 1024):
        raise OptionError(f"{framing.word}: max_message_memory is {bound!r}, it must be None or at least 1024 octets")


def too_much(size: int, allowed: int, *, announced: bool = False) -> MessageTooLong:
    """The error of a message whose values take more than is allowed."""
    return MessageTooLong(size, allowed, announced=announced, unit=_UNIT, option="max_message_memory")
