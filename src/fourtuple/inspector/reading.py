"""Reading the kernel: netlink where it answers, /proc where it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from fourtuple.errors import OptionError
from fourtuple.four_tuple import FourTuple
from fourtuple.inspector import diag, proctables, states, unixdiag
from fourtuple.inspector.joining import joined, peers_of
from fourtuple.inspector.model import (
    NO_OWNER,
    NOT_ASKED,
    ActiveSocket,
    Counters,
    PassiveSocket,
    Snapshot,
    Socket,
    Source,
    UnixSocket,
    changed,
)
from fourtuple.inspector.netlink import Netlink
from fourtuple.inspector.owners import Owners, owners_of
from fourtuple.inspector.places import cgroup_paths, container_of, interface_name, user_name

_EVERY_STATE = frozenset(states.ALL)
_PROC_TABLES = (("tcp", "ipv4"), ("tcp6", "ipv6"))


def snapshot(*, names: frozenset[str] = _EVERY_STATE, unix: bool = False, source: Source = "auto") -> Snapshot:
    """Read every socket in these states, without its owners: see :func:`with_owners`.

    ``source`` is ``"netlink"``, ``"proc"``, or ``"auto"``: netlink, and /proc where that is closed. Connections in an
    accept queue are known only if connections are also read.
    """
    if source not in (choices := get_args(Source)):
        raise OptionError(f"source: expected one of {', '.join(choices)}, got {source!r}")
    why = ""
    if source != "proc":
        try:
            return Snapshot(joined(_by_netlink(names, unix)), counters(), "netlink")
        except OSError as error:
            if source == "netlink":
                raise
            why = str(error.strerror or error)
    return Snapshot(joined(_by_proc(names, unix)), counters(), "proc", why)


def _by_netlink(names: frozenset[str], unix: bool) -> list[Socket]:
    found: list[Socket] = []
    with Netlink() as netlink:
        for family in diag.FAMILIES:
            bodies = [each.body for each in netlink.dump(diag.SOCK_DIAG_BY_FAMILY, diag.question(family, names))]
            ends = diag.ends_of(bodies)
            found += [diag.decode(body, ends).socket for body in bodies]
        if unix:
            for message in netlink.dump(diag.SOCK_DIAG_BY_FAMILY, unixdiag.question()):
                each = unixdiag.decode(message.body)
                if each is not None and each.state in names:
                    found.append(each)
    return found


def dump(netlink: Netlink, family: int, names: frozenset[str]) -> Iterator[diag.Answer]:
    """Yield every TCP socket of a family in these states."""
    for message in netlink.dump(diag.SOCK_DIAG_BY_FAMILY, diag.question(family, names)):
        yield diag.decode(message.body)


def _by_proc(names: frozenset[str], unix: bool) -> list[Socket]:
    found: list[Socket] = []
    for table, family in _PROC_TABLES:
        found += _table(table, lambda lines, family=family: proctables.tcp_rows(lines, family))  # type: ignore[misc]
    if unix:
        found += _table("unix", proctables.unix_rows)
    return [each for each in found if each.state in names]


def _table(name: str, rows: Callable[[Iterable[str]], Iterable[Socket]]) -> list[Socket]:
    """Read one table. A kernel without IPv6 has no tcp6; another that cannot be read is an error, not "no sockets"."""
    try:
        with open(f"/proc/net/{name}", errors="surrogateescape") as table:
            return list(rows(table))
    except FileNotFoundError:
        if name != "tcp6":
            raise
        return []


def counters() -> Counters:
    """Read the machine's counters; None for what cannot be read."""
    return proctables.counters(*(_text(f"/proc/net/{name}") for name in ("netstat", "snmp")))


def _text(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


@dataclass(frozen=True, slots=True)
class _Facts:
    owners: Owners
    peers: dict[FourTuple | int, int]
    cgroups: dict[int, str]


def with_owners(seen: Snapshot, shown: Sequence[Socket]) -> Snapshot:
    """Return the snapshot cut to the sockets ``shown``, with their owners, users, containers, and their peers' owners.

    Those in the accept queue of a shown listener need no look-up: no process holds them.
    """
    peers = peers_of(shown, seen.sockets)
    return placed(seen, shown, peers, owners_of({each.inode for each in shown} | set(peers.values())))


def placed(seen: Snapshot, shown: Sequence[Socket], peers: dict[FourTuple | int, int], owners: Owners) -> Snapshot:
    """Return the snapshot cut to the sockets ``shown``, with these owners, and with users and containers."""
    facts = _Facts(
        owners,
        peers,
        cgroup_paths({each.cgroup_id for each in shown if each.cgroup_id}),
    )
    return replace(seen, sockets=tuple(_placed(each, facts) for each in shown), hidden_processes=facts.owners.hidden)


def _placed(each: Socket, facts: _Facts) -> Socket:
    owners = facts.owners.by_inode.get(each.inode, ())
    path = facts.cgroups.get(each.cgroup_id or 0)
    known = {
        "owners": owners,
        "user": None if each.uid is None else user_name(each.uid),
        "cgroup": path,
        "container": None if path is None else container_of(path),
        "unowned": "" if owners else why_unowned(each, facts.owners.hidden),
        "device": interface_name(each.interface) if each.interface else None,
    }
    if isinstance(each, PassiveSocket):
        return changed(each, **known)
    key: FourTuple | int = each.inode if isinstance(each, UnixSocket) else each.name
    peers = facts.owners.by_inode.get(facts.peers.get(key, 0), ())
    return changed(each, **known, peer_owners=peers)


def without_owners(shown: Sequence[Socket]) -> tuple[Socket, ...]:
    """PURE: return sockets whose owners were not looked up, and say so."""
    return tuple(changed(each, unowned=NOT_ASKED) for each in shown)


def why_unowned(each: Socket, hidden: int) -> str:
    """PURE: return why a socket has no owner that we know."""
    if isinstance(each, ActiveSocket) and each.waits_at is not None:
        return f"it waits in the accept queue of {each.waits_at}: its program has not accepted it"
    if not each.inode:
        return NO_OWNER.get(each.state, "no process holds it: it belongs to the kernel, or has just been closed")
    if hidden:
        return f"{hidden} processes of other users hide their descriptors: root sees them"
    return "no process of this machine's view holds it: it is in another container, or of the kernel"
