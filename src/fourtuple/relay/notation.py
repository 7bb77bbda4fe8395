"""Toxics as text, named as toxiproxy names them: ``latency:latency=100ms,jitter=20ms,stream=upstream,toxicity=0.5``.

toxiproxy counts times in milliseconds and rates in KB/s, this package in seconds and octets. So that no number is taken
for another one, times and rates need a unit here.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from fourtuple.errors import OptionError
from fourtuple.options import nearest, seen
from fourtuple.options.checking import LARGEST
from fourtuple.relay.toxics import Toxics

UPSTREAM, DOWNSTREAM, BOTH = "upstream", "downstream", "both"

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
_OCTETS = {"b": 1, "k": 1024, "m": 1024 * 1024, "g": 1024 * 1024 * 1024}
_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([a-z]*)")


def _seconds(text: str) -> float:
    return _number(text, _SECONDS, "a time with its unit, as in 100ms or 0.1s")


def _rate(text: str) -> float:
    return _number(text.removesuffix("/s"), _OCTETS, "octets a second with a unit, as in 500b, 100k or 1m")


def _octets(text: str) -> int:
    return int(_number(text if text[-1:].isalpha() else f"{text}b", _OCTETS, "a number of octets, as in 500 or 64k"))


def _probability(text: str) -> float:
    value = _number(f"{text}x", {"x": 1.0}, "a probability, from 0 to 1")
    if value > 1:
        raise OptionError(f"expected a probability, from 0 to 1, got {text!r}")
    return value


def _number(text: str, units: dict[str, Any], wanted: str) -> float:
    found = _NUMBER.fullmatch(text.lower())
    if found is not None and found[1].strip("0.") == "" and not found[2]:
        return 0.0  # zero is zero in every unit
    if found is None or found[2] not in units:
        raise OptionError(f"expected {wanted}, got {text.removesuffix('x')!r}")
    value = float(found[1]) * float(units[found[2]])
    if value > LARGEST:
        raise OptionError(f"expected no more than {LARGEST}, got {seen(text.removesuffix('x'))}")
    return value


@dataclass(frozen=True)
class _Attribute:
    """An attribute of a toxic: the field of :class:`Toxics` that it sets, and how its text is read."""

    field: str
    read: Callable[[str], Any]
    #: What it is where it is not given; None where it has to be given.
    default: str | None = None


@dataclass(frozen=True)
class _Kind:
    """A toxic by name, with its attributes, what it sets besides, and a line about it."""

    about: str
    attributes: dict[str, _Attribute]
    sets: dict[str, Any] = field(default_factory=dict)
    #: Whether one of its attributes suffices, the others stay at None.
    any_of: bool = False


#: Every toxic. The first seven are toxiproxy's, with its names of attributes.
KINDS: dict[str, _Kind] = {
    "latency": _Kind(
        "delays all octets, by latency and up to jitter more",
        {"latency": _Attribute("latency", _seconds), "jitter": _Attribute("jitter", _seconds, "0")},
    ),
    "bandwidth": _Kind("at most rate octets a second", {"rate": _Attribute("bandwidth", _rate)}),
    "slow_close": _Kind("delays the FIN", {"delay": _Attribute("finish_delay", _seconds)}),
    "timeout": _Kind(
        "nothing passes; after timeout both ends are closed (0: never)",
        {"timeout": _Attribute("close_timeout", _seconds)},
        {"silent": True},
    ),
    "reset_peer": _Kind(
        "RST to both ends, after timeout, or after this many bytes",
        {"timeout": _Attribute("reset_timeout", _seconds), "bytes": _Attribute("reset_after", _octets)},
        any_of=True,
    ),
    "slicer": _Kind(
        "segments of about average_size octets, delay between them",
        {
            "average_size": _Attribute("slice", _octets),
            "size_variation": _Attribute("slice_variation", _octets, "0"),
            "delay": _Attribute("slice_delay", _seconds, "0"),
        },
    ),
    "limit_data": _Kind("closes both ends after this many bytes", {"bytes": _Attribute("close_after", _octets)}),
    "corrupt": _Kind("changes one bit of a message", {"probability": _Attribute("corrupt", _probability, "1")}),
    "duplicate": _Kind("sends a message twice", {"probability": _Attribute("duplicate", _probability, "1")}),
    "reorder": _Kind(
        "lets the next message overtake a message", {"probability": _Attribute("reorder", _probability, "1")}
    ),
    "half_close": _Kind(
        "sends FIN in this direction after this many bytes, and drops the rest",
        {"bytes": _Attribute("half_close_after", _octets)},
    ),
    "half_open": _Kind(
        "after this many bytes the sender vanishes: no octet, no FIN and no RST of it arrives",
        {"bytes": _Attribute("half_open_after", _octets, "0")},
    ),
}


@dataclass(frozen=True, slots=True)
class NamedToxic:
    """One toxic as it was asked for: its text, where it acts, for which share of the connections, and what it sets."""

    text: str
    name: str
    stream: str
    toxicity: float
    changes: tuple[tuple[str, Any], ...]

    def acts(self, upstream: bool) -> bool:
        """Whether it acts in a direction."""
        return self.stream in (BOTH, UPSTREAM if upstream else DOWNSTREAM)


def parse_toxic(text: str) -> NamedToxic:
    """Read the text of a toxic. Raises :class:`~fourtuple.errors.OptionError`."""
    name, _, rest = text.strip().partition(":")
    kind = KINDS.get(name)
    if kind is None:
        raise OptionError(f"there is no toxic {name!r}{nearest(name, KINDS)} (there are {', '.join(KINDS)})")
    given = _pairs(text, rest)
    stream = given.pop("stream", DOWNSTREAM)
    if stream not in (UPSTREAM, DOWNSTREAM, BOTH):
        raise OptionError(f"{text}: stream is {stream!r}, it is one of {UPSTREAM}, {DOWNSTREAM}, {BOTH}")
    try:
        toxicity = _probability(given.pop("toxicity", "1"))
        changes = dict(_changes(name, kind, given))
        if changes.get("close_timeout") == 0.0:
            changes["close_timeout"] = None  # as toxiproxy has it: the connection is never closed
        changes |= kind.sets
        Toxics(**changes)
    except OptionError as error:
        raise OptionError(f"{text}: {error}") from error
    return NamedToxic(text.strip(), name, stream, toxicity, tuple(changes.items()))


def _pairs(text: str, rest: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in filter(None, (each.strip() for each in rest.split(","))):
        key, equals, value = (each.strip() for each in part.partition("="))
        if not equals:
            raise OptionError(f"{text}: {part!r} is not an attribute, write name=value")
        if key in pairs:
            raise OptionError(f"{text}: {key} is given twice")
        pairs[key] = value
    return pairs


def _changes(name: str, kind: _Kind, given: dict[str, str]) -> Iterable[tuple[str, Any]]:
    names = [*kind.attributes, "stream", "toxicity"]
    for key in given:
        if key not in kind.attributes:
            raise OptionError(f"{name} has no attribute {key!r}{nearest(key, names)} (it has {', '.join(names)})")
    for key, attribute in kind.attributes.items():
        text = given.get(key, attribute.default)
        if text is not None:
            try:
                yield attribute.field, attribute.read(text)
            except OptionError as error:
                raise OptionError(f"{key}: {error}") from error
        elif not kind.any_of or not given:
            needed = kind.attributes if kind.any_of else [key]
            raise OptionError(f"it needs {' or '.join(f'{each}=...' for each in needed)}")


class ToxicTable:
    """The toxics of a relay. Each connection gets those that its dice say.

    Raises :class:`~fourtuple.errors.OptionError` for two toxics of one name in one direction.
    """

    def __init__(self, toxics: Iterable[NamedToxic] = ()) -> None:
        self.toxics: tuple[NamedToxic, ...] = tuple(toxics)
        for upstream in (True, False):
            names = [toxic.name for toxic in self.toxics if toxic.acts(upstream)]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                where = UPSTREAM if upstream else DOWNSTREAM
                raise OptionError(f"two toxics are named {twice} {where}: one of a name acts in one direction")

    @property
    def by_message(self) -> bool:
        """Whether one of them acts on whole messages."""
        return any(Toxics(**dict(toxic.changes)).by_message for toxic in self.toxics)

    def roll(self, dice: random.Random) -> tuple[NamedToxic, ...]:
        """Choose the toxics of one connection."""
        return tuple(each for each in self.toxics if each.toxicity >= 1 or dice.random() < each.toxicity)


def combined(toxics: Iterable[NamedToxic], upstream: bool) -> Toxics:
    """Return what the toxics of one connection do in one direction."""
    found = Toxics()
    for toxic in toxics:
        if toxic.acts(upstream):
            found = replace(found, **dict(toxic.changes))
    return found


def read_toxics(text: str) -> list[NamedToxic]:
    """Read a file of toxics: one a line; ``#`` begins a comment."""
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    found = []
    for number, line in enumerate(lines, 1):
        if line:
            try:
                found.append(parse_toxic(line))
            except OptionError as error:
                raise OptionError(f"line {number}: {error}") from error
    return found
