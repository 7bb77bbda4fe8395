"""What a look at this machine's own sockets adds to a probe, if the server is on this machine."""

from __future__ import annotations

from fourtuple.address import WILDCARDS, unmapped
from fourtuple.four_tuple import FourTuple
from fourtuple.inspector import states
from fourtuple.inspector.reading import snapshot
from fourtuple.inspector.routes import route_to


def full_queue(ip: str, port: int) -> tuple[int, int] | None:
    """Return (waiting, limit) of a listener at this address whose accept queue is full; None if there is none here."""
    plain = unmapped(ip)
    route = route_to(plain)
    if route is None or not route.here:
        return None
    try:
        seen = snapshot(names=frozenset({states.LISTEN}))
    except OSError:
        return None
    for each in seen.listeners:
        here = each.address.port == port and each.address.host in (plain, *WILDCARDS)
        if here and each.queue.full and each.queue.limit is not None:
            return each.queue.waiting, each.queue.limit
    return None


def waits_for_accept(name: FourTuple) -> bool | None:
    """Return whether the other end of a connection waits in an accept queue; None if it is not on this machine."""
    route = route_to(name.remote_ip)
    if route is None or not route.here:
        return None
    try:
        # An older kernel shows it in SYN-RECV until data or the last ACK is taken: that one also waits.
        seen = snapshot(names=frozenset({states.LISTEN, states.ESTABLISHED, states.CLOSE_WAIT, states.SYN_RECV}))
    except OSError:
        return None
    for each in seen.connections:
        if each.name == name.reversed:
            return each.waits_at is not None or each.state == states.SYN_RECV
    return None
