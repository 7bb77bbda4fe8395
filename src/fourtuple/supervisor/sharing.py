"""PURE: the limits of a whole server, divided among its workers.

Totals (connections, buffered octets, threads) and rates of the whole server are divided. Limits of one connection and
of one remote address hold in each worker.
"""

from __future__ import annotations

from fourtuple.net.descriptors import DEFAULT_MAX_CONNECTIONS
from fourtuple.options import Limits

#: The limits that count things: each worker gets a whole share, and at least 1.
TOTALS = ("max_connections", "max_buffered", "max_threads", "alarm_connections")
#: The limits per second.
RATES = ("accept_rate",)
#: The limits of one remote address or network, which each worker counts by itself.
PER_ADDRESS = (
    *("max_connections_per_address", "max_connections_per_network", "accept_rate_per_address"),
    *("max_message_rate_per_address", "max_octet_rate_per_address"),
)


def share(limits: Limits, place: int, workers: int, default: int = DEFAULT_MAX_CONNECTIONS) -> Limits:
    """Return the limits of the worker at this place (0 to ``workers`` - 1).

    ``default`` is the max_connections of the whole server if it has none.

    The shares of a total add up to it, unless there are more workers than it counts: a worker has at least 1.
    """
    if limits.max_connections is None:
        limits = limits.replace(max_connections=default)
    if workers == 1:
        return limits
    changes: dict[str, int | float] = {}
    for name in TOTALS:
        total = getattr(limits, name)
        if total is not None:
            # The remainder goes to the first workers, one each.
            changes[name] = max(1, total // workers + (place < total % workers))
    for name in RATES:
        rate = getattr(limits, name)
        if rate is not None:
            changes[name] = max(rate / workers, 0.001)
    return Limits.replace(limits, **changes)  # type: ignore[arg-type]
