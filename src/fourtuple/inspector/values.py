"""PURE: the values of fields as text, written and read: ``50ms``, ``64k``, ``10.0.0.0/8``, ``8000-8099``."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from difflib import get_close_matches

from fourtuple.inspector import states

_NUMBER = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)([a-zA-Z/]{0,5})")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_OCTETS = {"": 1, "b": 1, "k": 1 << 10, "kib": 1 << 10, "m": 1 << 20, "mib": 1 << 20, "g": 1 << 30, "gib": 1 << 30}
_HIGHEST_PORT = (1 << 16) - 1

Check = Callable[[object], bool]


def number(kind: str, text: str) -> float:
    """Read a number of a kind. Raises :class:`ValueError`, with what is expected."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a number")
    value, unit = float(found[1]), found[2]
    if kind == "duration":
        if unit not in _SECONDS:
            raise ValueError(f"{text!r} is not a duration: a number with us, ms, s, m, h or d, as in 50ms")
        return value * _SECONDS[unit]
    if kind in ("size", "rate"):
        plain = unit.lower().removesuffix("/s") if kind == "rate" else unit.lower()
        if plain not in _OCTETS:
            raise ValueError(f"{text!r} is not a number of octets: k, m and g stand for KiB, MiB and GiB, as in 64k")
        return value * _OCTETS[plain]
    if unit:
        raise ValueError(f"{text!r}: a number without a unit is expected")
    return value


def equal_to(kind: str, text: str) -> Check:
    """Return what checks that a value is what the text says. Raises :class:`ValueError`."""
    if kind == "address":
        return _in_network(text)
    if kind == "port":
        return _in_ports(text)
    if kind == "word":
        wanted = text.lower()
        return lambda value: str(value).lower() == wanted
    wanted_number = number(kind, text)
    return lambda value: value == wanted_number


def checked_state(text: str) -> str:
    """Return a state as it is written here: ``TIME_WAIT``, ``time-wait`` and ``timewait`` are one."""
    plain = text.lower().replace("_", "-")
    known = {name.replace("-", ""): name for name in states.ALL} | {"close": states.CLOSED, "listening": states.LISTEN}
    found = known.get(plain.replace("-", ""))
    if found is None:
        raise ValueError(f"no state {text!r}{suggestion(plain, states.ALL)}: one of {', '.join(states.ALL)}")
    return found


def suggestion(text: str, known: object) -> str:
    """Return ``, did you mean 'this'?`` for a misspelled name; empty if nothing is near."""
    near = get_close_matches(text, list(known), n=1)  # type: ignore[call-overload]
    return f", did you mean {near[0]!r}?" if near else ""


def _in_network(text: str) -> Check:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        if text.startswith(("/", "@")):
            return lambda value: value == text  # the path of a Unix socket
        raise ValueError(f"{text!r} is neither an address nor a network: as in 192.0.2.7, 10.0.0.0/8 or ::1") from None
    return lambda value: _within(value, network)


def _within(value: object, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        address = ipaddress.ip_address(str(value).partition("%")[0])
    except ValueError:
        return False  # the path of a Unix socket
    return address.version == network.version and address in network


def _in_ports(text: str) -> Check:
    first, dash, last = text.partition("-")
    if not (first.isascii() and first.isdigit() and (not dash or (last.isascii() and last.isdigit()))):
        raise ValueError(f"{text!r} is neither a port nor a range of ports: as in 9999 or 8000-8099")
    low, high = int(first), int(last or first)
    if not low <= high <= _HIGHEST_PORT:
        raise ValueError(f"{text!r}: ports are 0 to {_HIGHEST_PORT}, the lower one first")
    return lambda value: isinstance(value, int) and low <= value <= high
