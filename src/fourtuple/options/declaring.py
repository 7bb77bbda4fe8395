"""Declaring options, describing them, and reading them from text."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self, TypeVar

from fourtuple.errors import OptionError
from fourtuple.options.checking import (
    LARGEST,
    check_choice,
    check_kind,
    check_name_of_system,
    check_range,
    choices_of,
    kind_of,
    nearest,
    seen,
    words_for,
)

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Declared:
    """The description of one option, from which its flag, variable, key and reference row are made."""

    family: str
    name: str
    annotation: str
    default: Any
    unit: str
    help: str
    reason: str
    prefix: str = ""
    bare: bool = False
    #: Words that stand for a value: each with the function that returns it.
    words: Mapping[str, Callable[[], Any]] = dataclasses.field(default_factory=dict)

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
        """Whether the option accepts ``none``."""
        return "None" in self.annotation

    @property
    def lists(self) -> bool:
        """Whether the option is a list in one text, separated by commas, and empty by default."""
        return self.default == "" and kind_of(self.annotation) == "str"

    def convert(self, text: str) -> Any:
        """Convert text (``64k``, ``1.5``, ``none``, ``on``) to a value. Raises :class:`OptionError` for other text."""
        given = text.strip().lower()
        if self.optional and given in {"none", "off", "never", "unlimited"}:
            return None
        if self.lists:
            # Not an empty list: a variable of a shell that is not set would let everyone in.
            if not given:
                raise OptionError(f"{self.name}: expected {self.expects}, got an empty text; none clears the list")
            if given == "none":
                return ""
        if given in self.words:
            return self.words[given]()
        kind = kind_of(self.annotation)
        try:
            if kind == "bool":
                return _BOOLS[given]
            if kind == "int":
                return parse_size(given) if self.unit == "octets" else int(given)
            if kind == "float":
                return float(given)
        except (KeyError, ValueError):
            raise OptionError(f"{self.name}: cannot read {seen(text)} as {self.expects}") from None
        return text

    @property
    def expects(self) -> str:
        """A description of the values that a user may type."""
        words = "on or off" if kind_of(self.annotation) == "bool" else words_for(self.annotation, self.unit)
        if self.unit == "octets":
            words += " (64k, 1m)"
        also = [*self.words, *(["none"] if self.optional or self.lists else [])]
        return words + "".join(f" or {word}" for word in also)


_BOOLS = {"on": True, "true": True, "yes": True, "1": True, "off": False, "false": False, "no": False, "0": False}


def option(
    default: Any,
    help: str,
    *,
    unit: str = "",
    reason: str = "",
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = LARGEST,
    secret: bool = False,
    bare: bool = False,
    words: Mapping[str, Callable[[], Any]] = MappingProxyType({}),
    any_text: bool = False,
) -> Any:
    """Declare an option as a dataclass field.

    :class:`Options` checks ``minimum``, ``above`` and ``maximum``, and that a text is one of those in the annotation
    (``Literal``). A ``secret`` option is not in the repr. The flag of a ``bare`` option takes no value. ``words`` are
    texts that stand for a value, which their function returns. A text without ``any_text`` is a name for the system: it
    has no NUL, and is not empty if there is None to say nothing.
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
            "maximum": maximum,
            "bare": bare,
            "words": words,
            "any_text": any_text or secret,
        },
    )


@dataclass(frozen=True, kw_only=True)
class Options:
    """The base class of the option families, which checks names, types and ranges.

    For an invalid option it raises :class:`OptionError` with the name, the value expected and the value given.
    """

    #: The prefix of a field's name in flags and variables.
    prefix: ClassVar[str] = ""

    def __new__(cls, *values: Any, **options: Any) -> Self:
        if values:
            example = f"{cls.__name__}({next(iter(_names(cls)), '')}=...)"
            raise OptionError(f"{cls.__name__}: expected options by name, as in {example}, got {seen(values[0])}")
        for name in options:
            check_name(name, cls)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, kind, unit = getattr(self, field.name), str(field.type), field.metadata.get("unit", "")
            check_kind(field.name, value, kind, unit)
            if value is None:
                continue
            if kind_of(kind) in ("int", "float"):
                bounds = (field.metadata.get(name) for name in ("minimum", "above", "maximum"))
                check_range(field.name, value, unit, *bounds)
            if choices := choices_of(kind):
                check_choice(field.name, value, choices)
            elif kind_of(kind) == "str" and not field.metadata.get("any_text", True):
                check_name_of_system(field.name, value, optional="None" in kind)

    def replace(self: _O, **changes: Any) -> _O:
        """Return a checked copy with ``changes``, options of this family by name.

        Raises :class:`~fourtuple.errors.OptionError` for an unknown or invalid option.
        """
        for name in changes:
            check_name(name, type(self))
        return dataclasses.replace(self, **changes)


def _names(family: type[Options]) -> list[str]:
    return [field.name for field in dataclasses.fields(family)]


def check_name(name: str, family: type[Options]) -> None:
    """Raise OptionError for a name that is not an option of a family. The error suggests the nearest name."""
    known = _names(family)
    if name not in known:
        hint = of_another(name, known) or nearest(name, known) or f"; {family.__name__} has {', '.join(known)}"
        raise OptionError(f"{name}: there is no such option in {family.__name__}{hint}")


def of_another(given: str, known: Iterable[str]) -> str:
    """Return where an option belongs that another family has: ``; it is an option of Deadlines``, otherwise ""."""
    for family in Options.__subclasses__():
        own = family.__name__
        # Connect has no public name: its options are the parameters of connect().
        if given in family.__dataclass_fields__ and own != "Connect":
            form = f", as in {own.lower()}={own}({given}=...)" if own.lower() in known else ""
            return f"; it is an option of {own}{form}"
    return ""


_O = TypeVar("_O", bound=Options)


def declared(family: type[Options]) -> Iterator[Declared]:
    """The options of a family, in the order of their declaration."""
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
            meta["words"],
        )


def parse_size(text: str) -> int:
    """Read ``65536``, ``64k``, ``64KiB``, ``1m`` or ``2g`` as octets. Raises :class:`OptionError` for other text."""
    match = re.fullmatch(r"([0-9]{1,4000})\s*([kmg]?)(?:i?b)?", text.strip().lower())
    if match is None:
        raise OptionError(f"cannot read {seen(text)} as a number of octets (65536, 64k, 1m)")
    return int(match[1]) * {"": 1, "k": KIB, "m": MIB, "g": 1024 * MIB}[match[2]]
