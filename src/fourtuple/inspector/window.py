"""Looking again and again: only what is shown is decoded and looked up, however many sockets there are.

A filter or an order that asks for more than the name and the state of a socket needs all of them decoded; then a look
takes ten times as long, which :attr:`View.seconds` tells.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fourtuple.inspector import diag, states
from fourtuple.inspector.fields import FIELDS, need_owners
from fourtuple.inspector.filters import Filter
from fourtuple.inspector.joining import joined, peers_of
from fourtuple.inspector.model import Owner, Snapshot, Socket, Source
from fourtuple.inspector.netlink import Netlink
from fourtuple.inspector.ordering import ordered
from fourtuple.inspector.owners import Owners, owners_of
from fourtuple.inspector.reading import counters, placed, snapshot, with_owners

_EVERY = frozenset(states.ALL)
#: The place of each state in the default order, by the kernel's number.
_ORDER = {number: states.ALL.index(name) for number, name in enumerate(states.NAMES) if name in states.ALL}
_LISTEN = states.NAMES.index(states.LISTEN)
_LAST = len(states.ALL)


@dataclass(frozen=True, slots=True)
class View:
    """One look: ``rows`` are those from ``first`` on, ``total`` is how many the filter chose."""

    rows: tuple[Socket, ...]
    first: int
    total: int
    in_states: tuple[tuple[str, int], ...]
    seen: Snapshot
    #: Seconds of processor time that the look took.
    seconds: float


class Window:
    """Looks at the sockets, and remembers the owners of those that it has shown."""

    def __init__(self, source: Source = "auto") -> None:
        self._source = source
        self._owners: dict[int, tuple[Owner, ...]] = {}

    def look(self, wanted: Filter, sort: Sequence[str], first: int, count: int) -> View:
        """Return ``count`` rows from ``first`` on, or the last ones if there are fewer."""
        began = time.process_time()
        if self._source != "proc" and not wanted.fields and not sort:
            try:
                view = self._cheap(first, count)
            except OSError:
                if self._source == "netlink":
                    raise
                view = self._whole(wanted, sort, first, count)
        else:
            view = self._whole(wanted, sort, first, count)
        return replace(view, seconds=time.process_time() - began)

    def _cheap(self, first: int, count: int) -> View:
        with Netlink() as netlink:
            bodies = [
                each.body
                for family in diag.FAMILIES
                for each in netlink.dump(diag.SOCK_DIAG_BY_FAMILY, diag.question(family, _EVERY))
            ]
        bodies.sort(key=_head)
        first = _fitting(first, count, len(bodies))
        cut = bodies[first : first + count]
        by_name = {diag.end_of(body): body for body in bodies}
        listeners = [diag.decode(body).socket for body in bodies if body[1] == _LISTEN]
        # The other ends of the rows that are shown, for their programs.
        others = [by_name[end] for body in cut if (end := diag.other_end_of(body)) in by_name]
        beside = [*listeners, *(diag.decode(body).socket for body in others)]
        known = joined([*beside, *(diag.decode(body, by_name).socket for body in cut)])
        rows = known[len(beside) :]
        in_states = Counter(states.name_of(body[1]) for body in bodies)
        seen = Snapshot(known, counters(), "netlink")
        return self._view(seen, rows, first, len(bodies), in_states)

    def _whole(self, wanted: Filter, sort: Sequence[str], first: int, count: int) -> View:
        seen = snapshot(source=self._source)
        if need_owners({*wanted.fields, *(name.removeprefix("-") for name in sort)} & FIELDS.keys()):
            seen = with_owners(seen, seen.sockets)
        found = ordered(filter(wanted, seen.sockets), sort)
        first = _fitting(first, count, len(found))
        return self._view(seen, found[first : first + count], first, len(found), Counter(each.state for each in found))

    def _view(self, seen: Snapshot, rows: Sequence[Socket], first: int, total: int, in_states: Counter[str]) -> View:
        peers = peers_of(rows, seen.sockets)
        inodes = ({each.inode for each in rows} | set(peers.values())) - {0}
        owners = self._look_up(inodes)
        cut = placed(seen, rows, peers, owners)
        return View(cut.sockets, first, total, tuple(in_states.most_common()), replace(seen, sockets=()), 0.0)

    def _look_up(self, inodes: set[int]) -> Owners:
        """The owners of sockets; those that were found before are not looked for again."""
        missing = inodes - self._owners.keys()
        hidden = 0
        if missing:
            found = owners_of(missing)
            hidden = found.hidden
            self._owners |= {inode: found.by_inode.get(inode, ()) for inode in missing}
        self._owners = {inode: self._owners[inode] for inode in inodes}
        return Owners({inode: some for inode, some in self._owners.items() if some}, hidden)


def _head(body: memoryview) -> tuple[int, bytes]:
    """The default order: by state, then by local port, peer's port and addresses."""
    return _ORDER.get(body[1], _LAST), bytes(body[4:40])


def _fitting(first: int, count: int, total: int) -> int:
    return max(0, min(first, total - count))
