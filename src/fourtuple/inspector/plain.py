"""PURE: sockets as plain values for JSON and CSV: names as in the classes, None where the kernel does not say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from fourtuple.address import Address
from fourtuple.four_tuple import FourTuple
from fourtuple.inspector.fields import FIELDS
from fourtuple.inspector.model import PassiveSocket, Snapshot, Socket, UnixSocket


def frame(seen: Snapshot, time: float) -> dict[str, Any]:
    """Return a snapshot as a value for JSON; ``time`` is Unix time in seconds."""
    return {
        "time": time,
        "source": seen.source,
        "hidden_processes": seen.hidden_processes,
        "counters": _plain(seen.counters),
        "sockets": [as_dict(each) for each in seen.sockets],
    }


def as_dict(each: Socket) -> dict[str, Any]:
    """Return one socket: its ``kind`` is ``listener``, ``connection`` or ``unix``, its ``limited_by`` is derived."""
    kind = "listener" if isinstance(each, PassiveSocket) else "unix" if isinstance(each, UnixSocket) else "connection"
    value = {"kind": kind}
    for field in fields(each):
        name = "socket_kind" if field.name == "kind" else field.name
        value[name] = _plain(getattr(each, field.name))
    if kind == "connection":
        value["limited_by"] = FIELDS["limited"].get(each)
    return value


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, FourTuple):
        return value._asdict()
    if isinstance(value, Address):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return str(value)


def csv_rows(seen: Snapshot) -> Iterator[list[str]]:
    """Yield the heading and a row for each socket: every field that filters know, in their units.

    Durations are seconds, sizes octets, rates octets a second, flags 0 and 1; several values are joined by ``;``.
    """
    yield list(FIELDS)
    for each in seen.sockets:
        yield [_cell(field.get(each)) for field in FIELDS.values()]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return f"{value:.9g}"
    return ";".join(map(str, value)) if isinstance(value, tuple) else str(value)
