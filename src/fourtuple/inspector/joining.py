"""PURE: what sockets are to each other: the two ends of a connection, a listener and its queue, a shared port."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from fourtuple.address import WILDCARDS, Address
from fourtuple.four_tuple import FourTuple
from fourtuple.inspector import states
from fourtuple.inspector.model import ActiveSocket, PassiveSocket, Socket, UnixSocket, changed

#: A connection that a program closed has left these states: without an inode, it waits to be accepted.
_NEVER_CLOSED = (states.ESTABLISHED, states.CLOSE_WAIT)


def joined(sockets: Iterable[Socket]) -> tuple[Socket, ...]:
    """Return the sockets with what they are to each other."""
    all_of_them = tuple(sockets)
    active = [each for each in all_of_them if isinstance(each, ActiveSocket)]
    passive = [each for each in all_of_them if isinstance(each, PassiveSocket)]
    names = {each.name for each in active}
    listening = {(each.address.host, each.address.port): each.address for each in passive}
    waits = {each.name: at for each in active if (at := _waits_at(each, listening)) is not None}
    queues: dict[Address, list[FourTuple]] = {}
    for name, at in waits.items():
        queues.setdefault(at, []).append(name)
    shared = Counter((each.address, each.interface, each.v6_only) for each in passive)
    return tuple(_joined(each, names, waits, queues, shared) for each in all_of_them)


def _joined(
    each: Socket,
    names: set[FourTuple],
    waits: dict[FourTuple, Address],
    queues: dict[Address, list[FourTuple]],
    shared: Counter[tuple[Address, int, bool | None]],
) -> Socket:
    if isinstance(each, PassiveSocket):
        return changed(
            each,
            sharing=shared[each.address, each.interface, each.v6_only],
            waiting=tuple(queues.get(each.address, ())),
        )
    if isinstance(each, ActiveSocket):
        here = each.both_ends_here or each.name.reversed in names
        if here != each.both_ends_here or each.name in waits:
            return changed(each, waits_at=waits.get(each.name), both_ends_here=here)
    return each


def _waits_at(each: ActiveSocket, listening: dict[tuple[str, int], Address]) -> Address | None:
    """Return the listener in whose accept queue a connection is: no process holds it, and none has closed it."""
    if each.inode or each.state not in _NEVER_CLOSED:
        return None
    ip, port = each.name.local_ip, each.name.local_port
    return next((listening[host, port] for host in (ip, *WILDCARDS) if (host, port) in listening), None)


def peers_of(shown: Sequence[Socket], everything: Iterable[Socket]) -> dict[FourTuple | int, int]:
    """Return the inodes of the other ends of the sockets shown: by the four-tuple, or by the inode of a Unix socket."""
    wanted = {each.name.reversed: each.name for each in shown if isinstance(each, ActiveSocket)}
    found: dict[FourTuple | int, int] = {
        each.inode: each.peer_inode for each in shown if isinstance(each, UnixSocket) and each.peer_inode
    }
    for each in everything:
        if isinstance(each, ActiveSocket) and each.inode and each.name in wanted:
            found[wanted[each.name]] = each.inode
    return found
