"""The one call of programs: :func:`sockets`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from fourtuple.inspector.fields import FIELDS, need_owners
from fourtuple.inspector.filters import Filter, parse_filter
from fourtuple.inspector.model import Snapshot, Socket, Source
from fourtuple.inspector.ordering import ordered
from fourtuple.inspector.reading import snapshot, with_owners, without_owners


def sockets(
    where: str = "",
    *,
    sort: Sequence[str] = (),
    unix: bool = False,
    owners: bool = True,
    source: Source = "auto",
) -> Snapshot:
    """Return the sockets of this machine (of this network namespace), as the kernel lists them now.

    Parameters
    ----------
    where
        A filter, as in ``"state=established and peer in 10.0.0.0/8 and rtt > 50ms"``. All sockets unless given.
    sort
        Names of fields, the most important first; ``"-rtt"`` has the largest first. Listeners first unless given.
    unix
        Also Unix stream sockets. Default: False.
    owners
        Look up processes, users and containers. This reads the descriptors of all processes, and takes most of the
        time; processes of other users are seen by root only. Default: True.
    source
        ``"netlink"``, ``"proc"`` (which has no TCP_INFO and no limits of queues), or ``"auto"``: netlink where it is
        open. Default: ``"auto"``.

    Raises :class:`~fourtuple.errors.FilterError` for a filter and :class:`~fourtuple.errors.OptionError` for a field
    that cannot be read, and :class:`OSError` if the kernel lets us see nothing.
    """
    return chosen(snapshot(unix=unix, source=source), parse_filter(where), sort, owners=owners)


def chosen(
    seen: Snapshot,
    wanted: Filter,
    sort: Sequence[str] = (),
    *,
    owners: bool = True,
    cut: Callable[[Sequence[Socket]], Sequence[Socket]] | None = None,
) -> Snapshot:
    """Return the sockets of a snapshot that a filter chooses, in order, with their owners.

    Owners are looked up first if the filter or the order needs them, and otherwise only for what is left: after
    ``cut``, which keeps the rows that are to be shown.
    """
    early = need_owners({*wanted.fields, *(name.removeprefix("-").lower() for name in sort)} & FIELDS.keys())
    if early:
        seen = with_owners(seen, seen.sockets)
    found: Sequence[Socket] = ordered(filter(wanted, seen.sockets), sort)
    if cut is not None:
        found = cut(found)
    if early:
        return replace(seen, sockets=tuple(found))
    return with_owners(seen, found) if owners else replace(seen, sockets=without_owners(found))
