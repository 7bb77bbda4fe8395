"""Attributes that few streams set: they take no memory in the others."""

from __future__ import annotations

from typing import Generic, TypeVar

from fourtuple.stream.fields import StreamFields

T = TypeVar("T")


class Rare(Generic[T]):
    """An attribute that keeps its default value in most streams: only another value takes memory."""

    def __init__(self, original: T) -> None:
        self._original = original
        self._name = ""

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, stream: StreamFields, _owner: type) -> T:
        rare = stream._rare
        found: T = self._original if rare is None else rare.get(self._name, self._original)
        return found

    def __set__(self, stream: StreamFields, value: T) -> None:
        if stream._rare is None:
            if value is self._original:
                return
            stream._rare = {}
        stream._rare[self._name] = value
