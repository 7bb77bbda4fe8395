"""Text of a peer that attacks a log: ways to begin a line, to move the cursor, to hide text."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import fourtuple.relay.events
import fourtuple.supervisor.events  # noqa: F401
from fourtuple import events
from fourtuple.address import Address
from fourtuple.errors import Fate
from fourtuple.four_tuple import FourTuple, UnixName
from fourtuple.stream import Reason, Statistics

#: The text that should appear as a line of the log.
FORGED = "#666 opened 127.0.0.1:1 <- root"
#: All characters that some program takes as the end of a line: str.splitlines() knows most of them.
BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
#: Terminal escapes (7 and 8 bits), bells, backspaces, NUL, DEL, bidirectional controls, and octets that are not UTF-8.
CONTROLS = "\x1b[2J\x1b]0;title\x07\x9b1m\b\0\x7f\u202e\u2066\u200f\ufeff\udc80\udcff"
HOSTILE = "".join(f"{each}{FORGED}" for each in BREAKS) + CONTROLS
#: As long as a message of a peer may be.
LONG = "\u202e" * (1 << 20)


class Hostile(ValueError):
    """An exception of a handler that has the peer's octets in its text and its notes."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.add_note(text)


def raised(text: str) -> Exception:
    """A hostile exception with all parts that a traceback prints: text, notes, cause, group."""
    try:
        try:
            raise Hostile(text)
        except Hostile as cause:
            raise ExceptionGroup(text, [Hostile(text), cause]) from cause
    except ExceptionGroup as error:
        return error


class Speechless(Exception):
    """An exception whose text cannot be read."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Unspeakable(Exception):
    """An exception that can only be raised: all its methods fail."""

    def __str__(self) -> str:
        raise SystemExit("no text")

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    def __hash__(self) -> int:
        raise RuntimeError("no hash")

    @property
    def __notes__(self) -> list[str]:
        raise RuntimeError("no notes")


def chain(count: int) -> Exception:
    """``count`` exceptions, each the cause of the next."""
    error = ValueError("0")
    for number in range(1, count):
        later = ValueError(str(number))
        later.__cause__ = error
        error = later
    return error


def nested(count: int) -> Exception:
    """``count`` nested groups."""
    error: Exception = ValueError("the innermost")
    for _ in range(count):
        error = ExceptionGroup("a group", [error])
    return error


def branching(depth: int, width: int) -> Exception:
    """A tree of groups."""
    if not depth:
        return ValueError("a leaf")
    return ExceptionGroup("a group", [branching(depth - 1, width) for _ in range(width)])


#: Exceptions whose complete text would take very long.
TANGLES: dict[str, Callable[[], Exception]] = {
    "a long chain": lambda: chain(20_000),
    "deep groups": lambda: nested(20_000),
    "a wide group": lambda: ExceptionGroup("wide", [ValueError(str(number)) for number in range(20_000)]),
    "a tree": lambda: branching(5, 6),
    "a chain of groups": lambda: ExceptionGroup("a group", [chain(1000) for _ in range(30)]),
}


def every_event(text: str, error: Exception) -> list[events.Event]:
    """One of each event, with ``text`` and ``error`` in every place that takes one."""
    unix = UnixName(text[:100], 1, 2)
    values: dict[str, Any] = {
        "Address": Address(path=text[:100]), "Name": unix, "OSError": OSError(24, text), "int": 1, "float": 0.5,
        "bool": False, "str": text, "Reason": Reason.MESSAGE_ERROR, "Statistics": Statistics(1, 2, 3, 4, 5, 6, 7),
        "bytes": text.encode(errors="surrogateescape"), "Fate": Fate.NOT_SENT, "tuple[str, ...]": (text,),
        "ClientState": "ready",
    }  # fmt: skip
    for kind_of_error in (
        "BaseException", "Exception", "MessageError", "UnmappedMessage", "TlsError", "DeadlinePassed", "OptionError",
    ):  # fmt: skip
        values[kind_of_error] = error
    # With slots, the class of a dataclass is made twice, and the second one is used.
    kinds = {kind.__name__: kind for kind in events.Event.__subclasses__()}.values()
    return [kind(*(values[str(field.type).split(" | ")[0]] for field in dataclasses.fields(kind))) for kind in kinds]


#: A harmless name.
NAME = FourTuple("192.0.2.1", 9999, "192.0.2.2", 40000)
