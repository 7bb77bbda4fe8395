"""For tests and debug runs: every look at a stream's path is compared with the long form.

A path that is kept too well costs nothing but time; one that is kept wrong loses an end of file. With
``FOURTUPLE_CHECKS`` in the environment, whatever it says, each look at it that Python takes sees the difference.
"""

from __future__ import annotations

from inspect import getattr_static

from fourtuple.stream.state import State
from fourtuple.stream.stream import Stream
from fourtuple.stream.values import Path


class WrongPath(AssertionError):
    """The path of a stream is not what follows from its state."""


class _Checked:
    """Stands before the slot, and asks at every look."""

    def __init__(self) -> None:
        self._slot = getattr_static(State, "path")

    def __get__(self, stream: State | None, owner: type) -> Path:
        path: Path = self._slot.__get__(stream, owner)
        if stream is not None:
            check(stream, path)
        return path

    def __set__(self, stream: State, path: Path) -> None:
        self._slot.__set__(stream, path)


def check(stream: State, path: Path) -> None:
    """Raise :class:`WrongPath` unless this is the path of the stream.

    It may be SPECIAL without need for a moment, until what was held is decoded. (The fast path in C holds octets
    uncut for a moment, and cuts them before anybody can look.)
    """
    if path is not Path.SPECIAL and path is not stream.standing():
        raise WrongPath(f"{stream!r} is {path.value}, and ought to be {stream.standing().value}")


def install() -> None:
    """Look from now on."""
    if not isinstance(vars(Stream).get("path"), _Checked):
        Stream.path = _Checked()  # type: ignore[assignment, misc]
