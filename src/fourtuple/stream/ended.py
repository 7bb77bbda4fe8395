"""What a stream holds after both its connection and its handler have ended."""

from __future__ import annotations

from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any

from fourtuple.framing import Decoder
from fourtuple.framing.base import Octets


class LetGo(Decoder[Any]):
    """Replaces the decoder. It holds no octets and returns no messages."""

    __slots__ = ()

    buffered = 0

    def feed(self, data: Octets, limit: int | None = None) -> list[Any]:
        return []

    def finish(self) -> list[Any]:
        return []

    def take(self, undelivered: int = 0) -> bytes:
        return b""

    def settle(self) -> None:
        """Do nothing: nothing was fed."""


LET_GO = LetGo()


def alone(error: Exception | None) -> Exception | None:
    """Return a copy of the error without its traceback.

    The frames of a traceback refer to the stream, and the stream refers to the error. The copy breaks this reference
    cycle. The original keeps its traceback, because other code may still hold it; only an exception that cannot be
    copied whole loses it.
    """
    if error is None:
        return None
    return copy_of(error) or error.with_traceback(None)


def copy_of(error: Exception) -> Exception | None:
    """Return a copy of an exception of any class; None if the copy would not say all that the original says.

    Without its ``__init__``, which may ask for other arguments than those in ``args``. What a class of the standard
    library keeps outside of ``__dict__`` (the position of a UnicodeDecodeError), or a class with ``__slots__``, is
    copied field by field.
    """
    try:
        copy: Exception = type(error).__new__(type(error), *error.args)
        BaseException.__setattr__(copy, "args", error.args)  # a frozen dataclass refuses an assignment
        copy.__dict__.update(error.__dict__)
        for kind in type(error).__mro__:
            if kind is BaseException:
                break
            _copy_fields(kind, error, copy)
        return copy if str(copy) == str(error) else None
    except Exception:  # a class whose own code raises in one of these
        return None


def _copy_fields(kind: type[Any], error: Exception, copy: Exception) -> None:
    for field in list(vars(kind).values()):
        if not isinstance(field, MemberDescriptorType | GetSetDescriptorType) or field.__name__.startswith("__"):
            continue
        try:
            value = field.__get__(error)
        except (AttributeError, TypeError):
            continue  # it was never set
        # A comparison first: some can only be read, and a None that is written is shown (OSError.filename).
        if not _has(copy, field, value):
            field.__set__(copy, value)


def _has(copy: Exception, field: MemberDescriptorType | GetSetDescriptorType, value: Any) -> bool:
    try:
        held = field.__get__(copy)
    except (AttributeError, TypeError):
        return False
    return held is value or bool(held == value)
