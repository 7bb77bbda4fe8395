"""The option families that can be configured, and what a configuration is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar

from fourtuple.address import Address
from fourtuple.errors import OptionError
from fourtuple.options import (
    Deadlines,
    Declared,
    Limits,
    Operations,
    Options,
    Processes,
    Proxy,
    Sockets,
    Tls,
    declared,
)

#: The option families that can be configured, by the name of their table in the file.
FAMILIES: dict[str, type[Options]] = {
    "limits": Limits,
    "deadlines": Deadlines,
    "sockets": Sockets,
    "tls": Tls,
    "proxy": Proxy,
    "operations": Operations,
    "processes": Processes,
}
#: The families of which each service may have its own, and each endpoint of a service.
OF_A_SERVICE = ("limits", "deadlines", "sockets", "tls", "proxy")
OF_AN_ENDPOINT = ("limits", "sockets", "tls", "proxy")

#: What an option was given by.
Source: TypeAlias = Literal["flag", "environment", "file"]

_O = TypeVar("_O", bound=Options)


@dataclass(frozen=True, slots=True)
class Setting:
    """A value given for an option, and where: ``--backlog``, ``FOURTUPLE_BACKLOG``, or a key in a file."""

    value: Any
    where: str
    source: Source
    #: The line in the file; None if it is not from a file, or if its table or key is written in an unusual way.
    line: int | None = None


@dataclass(frozen=True, slots=True)
class EndpointConfiguration:
    """Addresses of a service with options of their own; None for a family without a table here: the service's."""

    listen: tuple[Address, ...]
    limits: Limits | None
    sockets: Sockets | None
    tls: Tls | None
    proxy: Proxy | None
    #: Where each option was given, by its name: for errors that are found later than in the option's family.
    where: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class ServiceConfiguration:
    """One service of the file: what it serves, where it listens, and its options."""

    name: str
    #: Where the file says what it serves, for errors; then what: one of both is empty.
    where: str
    target: str
    command: str
    #: The text of a framing instead of the service's own; empty without one.
    framing: str
    #: The addresses with the options of the service.
    listen: tuple[Address, ...]
    endpoints: tuple[EndpointConfiguration, ...]
    options: Configuration


@dataclass(frozen=True, slots=True)
class Configuration:
    """The options in force, checked."""

    limits: Limits
    deadlines: Deadlines
    sockets: Sockets
    tls: Tls
    proxy: Proxy
    operations: Operations
    processes: Processes
    #: The services that the file declares.
    services: tuple[ServiceConfiguration, ...] = field(default=())
    #: Where each option was given, by its name: for errors that are found later than in the option's family.
    where: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)


def everything() -> Iterator[Declared]:
    """Yield all options that can be configured."""
    return (option for family in FAMILIES.values() for option in declared(family))


def made(family: type[_O], settings: Mapping[str, Setting]) -> _O:
    """Make an option family from its settings; the error for a value out of range says where the value was given."""
    own = {option.name: settings[option.name] for option in declared(family) if option.name in settings}
    try:
        return family(**{name: setting.value for name, setting in own.items()})
    except OptionError as error:
        # The text begins with the option's name.
        name, _, text = str(error).partition(": ")
        if name not in own:
            raise
        text = text.replace(" or None, got ", " or none, got ")  # as the user writes it
        raise OptionError(f"{own[name].where}: {text}") from error
