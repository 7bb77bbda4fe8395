"""Configuration: flags override the environment, which overrides ``fourtuple.toml``, which overrides the defaults.

Each option is declared once, in :mod:`fourtuple.options`. Its flag, variable and key follow from that::

    fourtuple serve echo --max-connections 500
    FOURTUPLE_MAX_CONNECTIONS=500 fourtuple serve echo
    [limits]                                               # fourtuple.toml
    max_connections = 500

A service that the file declares has the options of its own tables (``[services.mail.limits]``) and those of the file;
a flag or a variable overrides them for all services. See :mod:`fourtuple.config.services`.

An invalid value or an unknown option raises an :class:`~fourtuple.errors.OptionError` that says where it was given.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from fourtuple.config.file import FILE_NAME as FILE_NAME
from fourtuple.config.file import SERVICES as SERVICES
from fourtuple.config.file import convert, parsed, settings_of
from fourtuple.config.file import default_file as default_file
from fourtuple.config.file import read_file as read_file
from fourtuple.config.model import FAMILIES as FAMILIES
from fourtuple.config.model import OF_A_SERVICE as OF_A_SERVICE
from fourtuple.config.model import OF_AN_ENDPOINT as OF_AN_ENDPOINT
from fourtuple.config.model import Configuration as Configuration
from fourtuple.config.model import EndpointConfiguration as EndpointConfiguration
from fourtuple.config.model import ServiceConfiguration as ServiceConfiguration
from fourtuple.config.model import Setting as Setting
from fourtuple.config.model import Source, everything, made
from fourtuple.config.services import EndpointTable, ServiceTable, services_of
from fourtuple.errors import OptionError
from fourtuple.options import Deadlines, Limits, Operations, Processes, Proxy, Sockets, Tls, declared, nearest

#: The prefix of the options' variables, and the variables of fourtuple that are not options: see
#: :mod:`fourtuple.compiled`.
PREFIX = "FOURTUPLE_"
NO_OPTIONS = ("FOURTUPLE_C", "FOURTUPLE_CHECKS", "FOURTUPLE_FUZZ_CASES", "FOURTUPLE_PEERS", "FOURTUPLE_SITE")
#: Kubernetes sets these variables in pods if a service is called fourtuple; FOURTUPLE_PORT is a URL then.
_OF_KUBERNETES = re.compile(r"FOURTUPLE_(SERVICE_(HOST|PORT\w*)|PORT(_[0-9]+_(TCP|UDP|SCTP)\w*)?)\Z")


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """An endpoint of a service, and all settings that hold there, by option name."""

    table: EndpointTable
    settings: Mapping[str, Setting]


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """A service of the file, and all settings that hold for it, by option name."""

    table: ServiceTable
    settings: Mapping[str, Setting]
    endpoints: tuple[EndpointSettings, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings that are not defaults: those of the whole program, by option name, and those of its services."""

    whole: Mapping[str, Setting]
    services: tuple[ServiceSettings, ...] = ()


def configure(
    flags: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Configuration:
    """Combine the options from all sources, check them, and return them.

    Parameters
    ----------
    flags
        The texts of the flags that were given, by option name (``max_connections``).
    environment
        Variables. Those whose names do not begin with ``FOURTUPLE_`` are ignored.
    file
        A configuration file, see :func:`read_file`. Default: None, no file.

    Raises :class:`~fourtuple.errors.OptionError`.
    """
    return configured(given_settings(flags, environment, file))


def given_settings(
    flags: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Settings:
    """Return the settings in force that are not defaults, as :func:`configure` combines them.

    Raises :class:`~fourtuple.errors.OptionError`.
    """
    check_variables(environment or {})
    known = [option.name for option in everything()]
    for name in flags or {}:
        if name not in known:
            raise OptionError(f"{name}: there is no such option{nearest(name, known)}")
    over = _converted(flags or {}, environment or {})
    if file is None:
        return Settings(over)
    content = parsed(file)
    below = settings_of(content)
    return Settings(below | over, tuple(_of_service(table, below, over) for table in services_of(content)))


def _converted(flags: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, Setting]:
    """Return the settings of flags and variables: a flag wins."""
    settings: dict[str, Setting] = {}
    for option in everything():
        sources: list[tuple[str | None, str, Source]] = [
            (environment.get(option.variable), option.variable, "environment"),
            (flags.get(option.name), option.flag, "flag"),
        ]
        for given, where, source in sources:
            if given is not None:
                settings[option.name] = Setting(convert(option, given, where), where, source)
    return settings


def _of_service(table: ServiceTable, below: Mapping[str, Setting], over: Mapping[str, Setting]) -> ServiceSettings:
    """Return the settings of a service: its own override those of the file, ``over`` overrides both."""
    own = _layered(below, table.settings, table.off)
    endpoints = tuple(
        EndpointSettings(each, {**_layered(own, each.settings, each.off), **over}) for each in table.endpoints
    )
    return ServiceSettings(table, {**own, **over}, endpoints)


def _layered(below: Mapping[str, Setting], own: Mapping[str, Setting], off: Collection[str]) -> dict[str, Setting]:
    """Return the settings of a table: its own, and those inherited. A certificate comes with the key of its table."""
    left_out = {option.name for family in off for option in declared(FAMILIES[family])}
    if "certificate" in own:
        left_out |= {"key", "key_password"}
    return {**{name: setting for name, setting in below.items() if name not in left_out}, **own}


def configured(settings: Settings) -> Configuration:
    """Make the options from settings. Raises :class:`~fourtuple.errors.OptionError` for one out of range."""
    return _configuration(settings.whole, tuple(map(_service, settings.services)))


def _configuration(settings: Mapping[str, Setting], services: tuple[ServiceConfiguration, ...] = ()) -> Configuration:
    return Configuration(
        made(Limits, settings),
        made(Deadlines, settings),
        made(Sockets, settings),
        made(Tls, settings),
        made(Proxy, settings),
        made(Operations, settings),
        made(Processes, settings),
        services,
        _where(settings),
    )


def _service(service: ServiceSettings) -> ServiceConfiguration:
    words = {key: setting.value for key, setting in service.table.words.items()}
    return ServiceConfiguration(
        service.table.name,
        service.table.where,
        words.get("target", ""),
        words.get("exec", ""),
        words.get("framing", ""),
        words.get("listen", ()),
        tuple(map(_endpoint, service.endpoints)),
        _configuration(service.settings),
    )


def _endpoint(endpoint: EndpointSettings) -> EndpointConfiguration:
    there, settings = endpoint.table.families, endpoint.settings
    return EndpointConfiguration(
        endpoint.table.listen.value,
        made(Limits, settings) if "limits" in there else None,
        made(Sockets, settings) if "sockets" in there else None,
        made(Tls, settings) if "tls" in there else None,
        made(Proxy, settings) if "proxy" in there else None,
        _where(settings),
    )


def _where(settings: Mapping[str, Setting]) -> dict[str, str]:
    return {name: setting.where for name, setting in settings.items()}


def check_variables(environment: Mapping[str, str]) -> None:
    """Reject variables with the options' prefix that are not options: a mistyped limit would have no effect.

    Raises :class:`~fourtuple.errors.OptionError`.
    """
    known = [option.variable.removeprefix(PREFIX) for option in everything()]
    for name, value in environment.items():
        own = name.removeprefix(PREFIX)
        if own == "PORT" and "://" not in value:
            raise OptionError(f"{name}: there is no such option; give the address with --bind, or --host and --port")
        if own != name and own not in known and name not in NO_OPTIONS and not _OF_KUBERNETES.match(name):
            raise OptionError(f"{name}: there is no such option{nearest(own, known, PREFIX)}")
