"""The fast path in C, if it is installed: see ``engine/_turn/turn.h`` and, for what it does, ``engine/channel.py``.

Its module, ``_fast_path``, also has the splitters (``framing/_split/``), which ``framing/splitting.py`` uses.

The C is called first. Python does what the C declines, and what leaves the fast path.

The C works on the fields of its own base types. A class that it knows derives from one of them, and has its other
attributes in ``__slots__``. Each base type has a Python twin with the same fields, which is the base without the C.
"""

from __future__ import annotations

from types import ModuleType
from typing import TypeVar

from fourtuple.compiled import compiled

T = TypeVar("T")

#: The C module, or ``None``. The classes on which it works register themselves with it.
turn: ModuleType | None = compiled("turn")
#: The Python twins, whether or not the C is used.
TWINS: dict[str, type] = {}


def _bundled() -> None:
    """Never called: see the one of ``signals/native.py``."""
    import fourtuple._fast_path  # noqa: F401


def complete(kind: type, twin: type, *names: str) -> None:
    """Give a type of the C these methods of its Python twin: what is rare is written once."""
    for name in names:
        setattr(kind, name, vars(twin)[name])


def fields(twin: type[T]) -> type[T]:
    """A decorator of a twin: it returns the C's base type of the same name, or ``twin`` without the C."""
    TWINS[twin.__name__] = twin
    if turn is None:
        return twin
    base: type[T] = getattr(turn, twin.__name__)
    return base
