"""For tests and debug runs: each read of a stream's path is compared with the full condition.

A path that is SPECIAL without need only costs time. A path that is wrongly PLAIN loses an end of file. If
``FOURTUPLE_CHECKS`` is set in the environment (to any value), each read of the path in Python detects the difference.
"""

from __future__ import annotations

from inspect import getattr_static

from fourtuple.stream.state import State
from fourtuple.stream.stream import Stream
from fourtuple.stream.values import Path


class WrongPath(AssertionError):
    """The path of a stream does not follow from its state."""


class _Checked:
    """A descriptor that replaces the slot ``path`` and checks the value at each read."""

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

    SPECIAL is always accepted: a path may stay SPECIAL until the held octets are decoded. (The fast path in C also
    holds undecoded octets for a moment, but it decodes them before any Python code runs.)
    """
    if path is not Path.SPECIAL and path is not stream.standing():
        raise WrongPath(f"{stream!r} is {path.value}, and ought to be {stream.standing().value}")


def install() -> None:
    """Check every read of a path from now on. Idempotent."""
    if not isinstance(vars(Stream).get("path"), _Checked):
        Stream.path = _Checked()  # type: ignore[assignment, misc]
