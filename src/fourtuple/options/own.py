"""The options that one connection may have of its own: which these are, and how they are changed.

Equal values are one object: a service that gives thousands of connections the same limits holds them once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from fourtuple.errors import OptionError
from fourtuple.options.deadlines import Deadlines
from fourtuple.options.declaring import Options, check_name
from fourtuple.options.limits import Limits

#: The deadlines of one connection; the others are of the server.
DEADLINES = (
    *("handshake_timeout", "first_message_timeout", "message_timeout", "idle_timeout", "handler_timeout"),
    *("write_timeout", "rate_timeout", "linger_timeout"),
)
#: The limits of one connection; the others are of the server.
LIMITS = (
    *("read_size", "max_batch", "high_water", "low_water", "max_outbox"),
    *("max_message_rate", "max_octet_rate", "max_buffered_per_connection"),
)


def changed_deadlines(deadlines: Deadlines, changes: Mapping[str, Any]) -> Deadlines:
    """Return deadlines with a connection's own changes. Raises OptionError for one that is not a connection's."""
    _check_names(changes, Deadlines, DEADLINES)
    return _same_deadlines(deadlines.replace(**changes))


def changed_limits(limits: Limits, changes: Mapping[str, Any]) -> Limits:
    """Return limits with a connection's own changes. Raises OptionError for one that is not a connection's."""
    _check_names(changes, Limits, LIMITS)
    return _same_limits(limits.replace(**changes))


def limits_with_own(limits: Limits, before: Limits, own: Mapping[str, Any]) -> Limits:
    """Return other limits of the server for a connection that has changed some of its limits.

    ``before`` are the connection's limits until now. If its own water marks do not fit those of the server any more,
    it keeps all limits of one connection as they were.
    """
    try:
        return _same_limits(limits.replace(**own))
    except OptionError:
        return _same_limits(limits.replace(**{name: getattr(before, name) for name in LIMITS}))


def _check_names(names: Iterable[str], family: type[Options], own: tuple[str, ...]) -> None:
    for name in names:
        check_name(name, family)
        if name not in own:
            raise OptionError(f"{name}: an option of the server, not of one connection, which has {', '.join(own)}")


@lru_cache(maxsize=256)
def _same_deadlines(deadlines: Deadlines) -> Deadlines:
    return deadlines


@lru_cache(maxsize=256)
def _same_limits(limits: Limits) -> Limits:
    return limits
