"""How an option is declared, what is known of it then, and how its value is checked and read from text."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from fourtuple.errors import OptionError

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Declared:
    """What is known of one option: where the flag, the variable, the key and the reference row come from."""

    family: str
    name: str
    annotation: str
    default: Any
    unit: str
    help: str
    reason: str
    prefix: str = ""
    bare: bool = False

    @property
    def flag(self) -> str:
        """``--max-connections``, ``--tls-certificate``"""
        return "--" + (self.prefix + self.name).replace("_", "-")

    @property
    def variable(self) -> str:
        """``FOURTUPLE_MAX_CONNECTIONS``, ``FOURTUPLE_TLS_CERTIFICATE``"""
        return "FOURTUPLE_" + (self.prefix + self.name).upper()

    @property
    def optional(self) -> bool:
        """Whether ``none`` can be given."""
        return "None" in self.annotation

    def convert(self, text: str) -> Any:
        """The value that a text form stands for: ``64k``, ``1.5``, ``none``, ``on``. Raises :class:`OptionError`."""
        given = text.strip().lower()
        if self.optional and given in {"none", "off", "never", "unlimited"}:
            return None
        kind = self.annotation.split("|")[0].strip()
        try:
            if kind == "bool":
                return {
                    "on": True,
                    "true": True,
                    "yes": True,
                    "1": True,
                    "off": False,
                    "false": False,
                    "no": False,
                    "0": False,
                }[given]
            if kind == "int":
                return parse_size(given) if self.unit == "octets" else int(given)
            if kind == "float":
                return float(given)
        except (KeyError, ValueError) as error:
            raise OptionError(f"{self.name}: cannot read {text!r} as {self.expects}") from error
        return text

    @property
    def expects(self) -> str:
        """What a user may type, in words."""
        kind = self.annotation.split("|")[0].strip()
        words = {"bool": "on or off", "int": "a whole number", "float": "a number"}.get(kind, "text")
        if self.unit:
            words += f" of {self.unit}"
        if self.unit == "octets":
            words += " (64k, 1m)"
        return words + (" or none" if self.optional else "")


def option(
    default: Any,
    help: str,
    *,
    unit: str = "",
    reason: str = "",
    minimum: float | None = None,
    above: float | None = None,
    choices: tuple[str, ...] = (),
    secret: bool = False,
    bare: bool = False,
) -> Any:
    """Declare an option as a dataclass field.

    ``minimum``, ``above`` and ``choices`` are checked by :class:`Options`; a ``secret`` is not in the repr;
    the flag of a ``bare`` one takes no value.
    """
    return dataclasses.field(
        default=default,
        repr=not secret,
        metadata={
            "help": help,
            "unit": unit,
            "reason": reason,
            "minimum": minimum,
            "above": above,
            "choices": choices,
            "bare": bare,
        },
    )


@dataclass(frozen=True, kw_only=True)
class Options:
    """The base of the option families: checks ranges, lists what is declared."""

    #: What flags and variables have in front of a field's name.
    prefix: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is None:
                if "None" not in str(field.type):
                    raise OptionError(f"{field.name}: None is not possible here")
                continue
            kind = str(field.type).split("|")[0].strip()
            wanted: Any = {"int": int, "float": (int, float), "bool": bool, "str": str}.get(kind)
            if wanted is not None and (not isinstance(value, wanted) or (kind != "bool" and isinstance(value, bool))):
                raise OptionError(f"{field.name}: {value!r} is not {kind}")
            unit = f" {field.metadata['unit']}" if field.metadata.get("unit") else ""
            minimum, above = field.metadata.get("minimum"), field.metadata.get("above")
            # `not (value >= minimum)` rather than `value < minimum`: it refuses a NaN, too.
            if minimum is not None and not (value >= minimum):
                raise OptionError(f"{field.name}: {value!r}{unit} given, at least {minimum:g} needed")
            if above is not None and not (value > above):
                raise OptionError(f"{field.name}: {value!r}{unit} given, more than {above:g} needed")
            choices = field.metadata.get("choices")
            if choices and value not in choices:
                raise OptionError(f"{field.name}: {value!r} given, one of {', '.join(choices)} needed")

    def replace(self: _O, **changes: Any) -> _O:
        """A copy with some options changed; checked again. Raises OptionError."""
        known = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in known:
                raise OptionError(f"{name}: there is no such option, {type(self).__name__} has {', '.join(known)}")
        return dataclasses.replace(self, **changes)


_O = TypeVar("_O", bound=Options)


def declared(family: type[Options]) -> Iterator[Declared]:
    """The options of a family, in the order in which they stand."""
    for field in dataclasses.fields(family):
        meta = field.metadata
        yield Declared(
            family.__name__,
            field.name,
            str(field.type),
            field.default,
            meta["unit"],
            meta["help"],
            meta["reason"],
            family.prefix,
            meta["bare"],
        )


def parse_size(text: str) -> int:
    """``65536``, ``64k``, ``64KiB``, ``1m``, ``2g`` as a number of octets. Raises :class:`OptionError`."""
    match = re.fullmatch(r"([0-9]{1,18})\s*([kmg]?)(?:i?b)?", text.strip().lower())
    if match is None:
        raise OptionError(f"cannot read {text!r} as a number of octets (65536, 64k, 1m)")
    return int(match[1]) * {"": 1, "k": KIB, "m": MIB, "g": 1024 * MIB}[match[2]]


def check_timeout(timeout: float | None) -> None:
    """Refuse a timeout that is NaN: no moment is behind it, it might never pass. Raises :class:`OptionError`.

    No more than that: of zero and less it is certain that they have passed.
    """
    if timeout is not None and math.isnan(timeout):
        raise OptionError(f"timeout: {timeout!r} given, a number of seconds or None needed")
