"""Every option, declared once: a field of a frozen dataclass with its unit, default and the default's reason.

The command line's flags, the environment variables (``FOURTUPLE_MAX_CONNECTIONS``), the keys of
``fourtuple.toml`` and the reference page are made from these fields by :func:`declared`. Seconds are floats,
sizes are octets, ``None`` means "no limit" and must be typed by somebody. All values are checked when the
object is made: before a socket is opened.
"""

from __future__ import annotations

from fourtuple.options.checking import (
    check_callable,
    check_choice,
    check_flag,
    check_kind,
    check_range,
    check_timeout,
    check_type,
    check_whole,
    nearest,
    refuse,
    seen,
)
from fourtuple.options.connect import Reconnect
from fourtuple.options.deadlines import Deadlines
from fourtuple.options.declaring import KIB, MIB, Declared, Options, declared, option, parse_size
from fourtuple.options.limits import DEFAULT_MAX_MESSAGE, DEFAULT_MAX_MESSAGE_MEMORY, Limits
from fourtuple.options.proxy import Proxy
from fourtuple.options.sockets import Sockets
from fourtuple.options.tls import Tls

__all__ = [
    "FAMILIES",
    "Limits",
    "Deadlines",
    "Sockets",
    "Tls",
    "Proxy",
    "Reconnect",
    "DEFAULT_MAX_MESSAGE",
    "DEFAULT_MAX_MESSAGE_MEMORY",
    "KIB",
    "MIB",
    "Declared",
    "Options",
    "check_callable",
    "check_choice",
    "check_flag",
    "check_kind",
    "check_range",
    "check_timeout",
    "check_type",
    "check_whole",
    "nearest",
    "refuse",
    "seen",
    "declared",
    "option",
    "parse_size",
]

#: The families of a server's options.
FAMILIES: tuple[type[Options], ...] = (Limits, Deadlines, Sockets, Tls, Proxy)
