"""The base class of all events, and how one is declared."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias, TypeVar, dataclass_transform

from fourtuple.ignored import Ignored

E = TypeVar("E")


@dataclass_transform(frozen_default=True)
def event(cls: type[E]) -> type[E]:
    """Make a frozen dataclass that takes ``repr()``, ``==`` and ``hash()`` from :class:`Event`.

    :func:`dataclasses.dataclass` would compile these for each event: a third of the time to import a server.
    """
    return dataclass(frozen=True, slots=True, repr=False, eq=False)(cls)


@event
class Event:
    """Something that has just happened; an observer that needs the time reads its own clock.

    ``kind`` is the event's name in logs: the name of its class in kebab case, such as ``handler-raised`` for
    :class:`HandlerRaised`.
    """

    kind: ClassVar[str] = "event"
    # The names of the fields, in order: :func:`dataclasses.dataclass` sets it.
    __match_args__: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls) -> None:
        cls.kind = re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__match_args__)

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__qualname__}({values})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Event) or other.__class__ is not self.__class__:
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())


#: Any callable that takes one event and is not awaited.
Observer: TypeAlias = Callable[[Event], Ignored]
