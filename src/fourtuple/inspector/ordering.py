"""PURE: sorting sockets, and counting them in groups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from fourtuple.errors import OptionError
from fourtuple.inspector import states
from fourtuple.inspector.fields import FIELDS, Field, Value
from fourtuple.inspector.model import ActiveSocket, Socket, UnixSocket
from fourtuple.inspector.values import suggestion

#: What --group may name, beside any field.
_STATE_ORDER = {name: number for number, name in enumerate(states.ALL)}


def field_named(text: str, option: str) -> Field:
    """Return a field. Raises :class:`~fourtuple.errors.OptionError`, which names the nearest one."""
    field = FIELDS.get(text.lower())
    if field is None:
        raise OptionError(f"{option}: no field {text!r}{suggestion(text, FIELDS)}: one of {', '.join(FIELDS)}")
    return field


def ordered(sockets: Iterable[Socket], by: Sequence[str] = ()) -> list[Socket]:
    """Return sockets in order: listeners first, by port; then connections by state and name.

    ``by`` names fields, the most important first; ``-`` before a name is for the largest first. What the kernel does
    not say comes last either way.
    """
    result = sorted(sockets, key=_usual)
    for name in reversed(by):
        field = field_named(name.removeprefix("-"), "sort")
        known = [each for each in result if field.get(each) is not None]
        unknown = [each for each in result if field.get(each) is None]
        known.sort(key=lambda each: _comparable(field, field.get(each)), reverse=name.startswith("-"))
        result = known + unknown
    return result


def _usual(socket: Socket) -> tuple[object, ...]:
    if isinstance(socket, UnixSocket):
        return 1, _STATE_ORDER.get(socket.state, 99), 0, socket.path, socket.inode
    port = FIELDS["local-port"].get(socket)
    name = socket.name if isinstance(socket, ActiveSocket) else socket.address.host
    return 0, _STATE_ORDER.get(socket.state, 99), port, str(name), socket.inode


def _comparable(field: Field, value: Value) -> tuple[object, ...]:
    values = value if isinstance(value, tuple) else (value,)
    if field.kind == "address":
        return tuple(_address(each) for each in values)
    return tuple(str(each).lower() if isinstance(each, str) else each for each in values)


def _address(text: str) -> tuple[int, int, str]:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return 0, 0, text
    return address.version, int(address), text


@dataclass(frozen=True, slots=True)
class Group:
    """Sockets that have one value of a field in common."""

    #: The value; None for those of which the kernel does not say it.
    value: Value
    count: int
    #: How many different addresses of peers.
    peers: int
    #: How many are in each state, the most frequent first.
    states: tuple[tuple[str, int], ...]
    receive_queue: int
    send_queue: int
    retransmitted: int


def grouped(sockets: Iterable[Socket], by: str) -> list[Group]:
    """Count sockets by a field, the largest group first. A socket with several values (owners) counts in each."""
    field = field_named(by, "group")
    members: dict[Value, list[Socket]] = {}
    for each in sockets:
        value = field.get(each)
        for one in value if isinstance(value, tuple) else (value,):
            members.setdefault(one, []).append(each)
    groups = [_group(value, some) for value, some in members.items()]
    return sorted(groups, key=lambda group: (-group.count, group.value is None, str(group.value)))


def _group(value: Value, members: Sequence[Socket]) -> Group:
    counts: dict[str, int] = {}
    for each in members:
        counts[each.state] = counts.get(each.state, 0) + 1
    active = [each for each in members if isinstance(each, ActiveSocket)]
    return Group(
        value=value,
        count=len(members),
        peers=len({each.name.remote_ip for each in active}),
        states=tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        receive_queue=sum(each.receive_queue for each in active),
        send_queue=sum(each.send_queue for each in active),
        retransmitted=sum(each.info.total_retrans for each in active if each.info is not None),
    )
