"""How many connections the limit on descriptors allows."""

from __future__ import annotations

import resource
from collections.abc import Collection
from contextlib import suppress

#: Descriptors not used for connections: for listeners, the loop, files, pipes to workers, and what handlers open.
DESCRIPTOR_RESERVE = 64
#: The fewest descriptors with which a command can serve: the standard files, the loop, an engine, a listener, imports.
LEAST_DESCRIPTORS = 24
#: The default of max_connections, if the limit on descriptors allows it.
DEFAULT_MAX_CONNECTIONS = 10_000
#: More connections than any limit on descriptors allows.
_MOST = 1 << 40


def connection_limit(asked: int | None) -> int:
    """Raise RLIMIT_NOFILE to its hard limit and return how many connections may be open.

    That is ``asked``, or 10,000 if it is None, but never more than the limit on descriptors minus a reserve.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    if soft == resource.RLIM_INFINITY:
        return asked or DEFAULT_MAX_CONNECTIONS
    reserve = min(DESCRIPTOR_RESERVE, soft // 2)
    return max(1, min(asked or DEFAULT_MAX_CONNECTIONS, soft - reserve))


def too_few() -> str:
    """Return why a command cannot serve, if the limit on descriptors is too low for that; otherwise an empty text.

    It is raised to its hard limit first.
    """
    connection_limit(1)
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY or limit >= LEAST_DESCRIPTORS:
        return ""
    return f"the limit on descriptors (ulimit -n) is {limit}, at least {LEAST_DESCRIPTORS} are needed"


def default_connections(given: Collection[int | None], workers: int = 1) -> int:
    """Return what max_connections is for a service without one, summed over the workers of its program.

    ``given`` is the max_connections of all services of the program, None for those without: these divide what the limit
    on descriptors allows beside the others.
    """
    taken = [each for each in given if each is not None]
    possible = connection_limit(_MOST) * workers - sum(taken)
    return max(1, min(DEFAULT_MAX_CONNECTIONS, possible // max(1, len(given) - len(taken))))
