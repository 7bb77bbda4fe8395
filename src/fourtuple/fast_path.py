"""The usual turn in C, where it is there: see ``engine/_turn/turn.h`` and, for what it does, ``engine/channel.py``.

It is asked first; whatever it declines, and whatever it meets that is not usual, is done in Python.

The C works on fields of its own base types: a class that it knows derives from one, and keeps the rest in
``__slots__``. Each base has a twin in Python with the same fields, which takes its place where there is no C.
"""

from __future__ import annotations

from typing import TypeVar

from fourtuple.compiled import compiled

T = TypeVar("T")

#: The C module, or ``None``. The classes that it works on make themselves known to it.
turn = compiled("turn", 26)
#: The twins in Python, whatever runs.
TWINS: dict[str, type] = {}


def fields(twin: type[T]) -> type[T]:
    """The C's base type of the same name, or ``twin`` where there is no C: a decorator of the twin."""
    TWINS[twin.__name__] = twin
    if turn is None:
        return twin
    base: type[T] = getattr(turn, twin.__name__)
    return base
