"""The services that a configuration file declares: ``[services.NAME]`` and the tables in it.

::

    [services.mail]                            what it serves, and where
    target = "mail.py:service"
    listen = ["*:2525"]
    [services.mail.limits]                     its options; those that it does not set are the file's own
    max_connections = 500
    [[services.mail.endpoints]]                more addresses, with options of their own
    listen = ["*:4650"]
    [services.mail.endpoints.tls]
    certificate = "mail.pem"
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fourtuple.address import Address
from fourtuple.config.file import SERVICES, File, home_of, options_in
from fourtuple.config.model import FAMILIES, OF_A_SERVICE, OF_AN_ENDPOINT, Setting
from fourtuple.errors import AddressError, OptionError
from fourtuple.net.beside import is_taken_with
from fourtuple.options import OF_THE_SERVER, nearest, seen

#: What a service is called in lines, in metrics and in the names of kept sockets.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}\Z")
#: The keys of a service that are texts, and all keys.
_TEXTS = ("target", "exec", "framing")
_OF_A_SERVICE = (*_TEXTS, "listen", "endpoints", *OF_A_SERVICE)
_OF_AN_ENDPOINT = ("listen", *OF_AN_ENDPOINT)


@dataclass(frozen=True, slots=True)
class EndpointTable:
    """What one of ``[[services.NAME.endpoints]]`` says."""

    listen: Setting
    settings: Mapping[str, Setting]
    #: The families that have a table here, or were turned off.
    families: frozenset[str]
    #: The families that were turned off: ``tls = false``. Nothing of them is inherited.
    off: Mapping[str, Setting]


@dataclass(frozen=True, slots=True)
class ServiceTable:
    """What ``[services.NAME]`` says."""

    name: str
    where: str
    #: The values of ``target``, ``exec``, ``framing`` and ``listen``, as far as they are given.
    words: Mapping[str, Setting]
    settings: Mapping[str, Setting]
    off: Mapping[str, Setting]
    endpoints: tuple[EndpointTable, ...]


def services_of(file: File) -> tuple[ServiceTable, ...]:
    """Return what a file says of its services. Raises :class:`~fourtuple.errors.OptionError`."""
    tables = file.tables.get(SERVICES, {})
    services = tuple(_Reading(file, name, keys).service() for name, keys in tables.items())
    _check_addresses(services)
    return services


class _Reading:
    """Reads the tables of one service."""

    def __init__(self, file: File, name: str, keys: Any) -> None:
        self._file = file
        self._name = name
        self._keys = keys
        self._path = (SERVICES, name)
        self._shown = f"[{SERVICES}.{name}]"

    def service(self) -> ServiceTable:
        if not isinstance(self._keys, dict):
            hint = f"expected a table, [{SERVICES}.NAME], got {seen(self._keys)}"
            home = self._name if self._name in _OF_A_SERVICE else home_of(self._name)
            if home is not None:
                hint = f"it belongs to one service, in [{SERVICES}.NAME]"
            raise self._file.error(f"[{SERVICES}] {self._name}: {hint}")
        if not _NAME.match(self._name):
            raise self._file.error(
                f"{self._shown}: the name of a service has 1 to 32 letters, digits, - and _ of ASCII"
            )
        self._check_keys(self._keys, _OF_A_SERVICE, self._shown)
        words = {key: self._text(key) for key in _TEXTS if key in self._keys}
        endpoints = tuple(self._endpoints())
        if "listen" in self._keys:
            words["listen"] = self._listen(self._keys, f"{self._shown} listen", self._path)
        self._check_words(words, endpoints)
        settings, _, off = self._options(self._keys, OF_A_SERVICE, f"[{SERVICES}.{self._name}.{{}}] ", self._path)
        return ServiceTable(self._name, f"{self._file.path}: {self._shown}", words, settings, off, endpoints)

    def _check_keys(self, keys: Mapping[str, Any], known: tuple[str, ...], shown: str) -> None:
        for key in keys:
            if key in known:
                continue
            home = home_of(key)
            if key in FAMILIES:
                whose = "the whole program" if key not in OF_A_SERVICE else "the whole service"
                table = key if key not in OF_A_SERVICE else f"{SERVICES}.{self._name}.{key}"
                hint = f"no table that can stand here; it is one of {whose}, [{table}]"
            elif home is not None:
                at = home if home not in OF_A_SERVICE else f"{SERVICES}.{self._name}.{home}"
                hint = f"there is no such key here; it belongs in [{at}]"
            else:
                near = nearest(key, known)
                hint = "there is no such key" + (near or f"; there are {', '.join(known)}")
            raise self._file.error(f"{shown} {key}: {hint}")

    def _check_words(self, words: Mapping[str, Setting], endpoints: tuple[EndpointTable, ...]) -> None:
        given = [key for key in ("target", "exec") if key in words]
        if len(given) != 1:
            what = "both are given" if given else "none is given"
            example = f', as in target = "{self._name}.py:service"' if not given else ""
            raise self._file.error(f"{self._shown}: a target or an exec is needed, {what}{example}")
        if "exec" in words and "framing" in words:
            raise self._file.error(
                f"{self._shown} framing: it does not work with exec: the program reads the octets itself"
            )
        if "listen" not in words and not endpoints:
            raise self._file.error(f'{self._shown}: listen is missing, as in listen = ["127.0.0.1:9999"]')

    def _text(self, key: str) -> Setting:
        value = self._keys[key]
        if not isinstance(value, str) or not value.strip():
            raise self._file.error(f"{self._shown} {key}: expected a text, got {seen(value)}")
        return self._file.setting(value, f"{self._shown} {key}", (*self._path, key))

    def _listen(self, keys: Mapping[str, Any], shown: str, path: tuple[str, ...]) -> Setting:
        value = keys["listen"]
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not texts or not all(isinstance(each, str) for each in texts):
            raise self._file.error(
                f'{shown}: expected a list of addresses, as in ["127.0.0.1:9999"], got {seen(value)}'
            )
        try:
            addresses = tuple(Address.parse(each) for each in texts)
        except AddressError as error:
            raise self._file.error(f"{shown}: {error}") from error
        return self._file.setting(addresses, shown, (*path, "listen"))

    def _options(
        self, keys: Mapping[str, Any], families: tuple[str, ...], shown: str, path: tuple[str, ...]
    ) -> tuple[dict[str, Setting], frozenset[str], dict[str, Setting]]:
        """Return the options of the tables in a table, the families that it has, and those that it turns off.

        ``shown`` is what errors say of a table, with {} for its name.
        """
        settings: dict[str, Setting] = {}
        there = frozenset(table for table in families if table in keys)
        off: dict[str, Setting] = {}
        if keys.get("tls") is False:
            off["tls"] = self._file.setting(False, shown.format("tls").rstrip(" ."), (*path, "tls"))
        for table in families:
            if table not in there or table in off:
                continue
            if not isinstance(keys[table], dict):
                or_false = ", or false for no TLS" if table == "tls" else ""
                raise self._file.error(
                    f"{shown.format(table).rstrip(' .')}: expected a table{or_false}, got {seen(keys[table])}"
                )
            settings |= options_in(self._file, table, keys[table], shown.format(table), (*path, table))
        return settings, there, off

    # -- endpoints ----------------------------------------------------------------------------------------

    def _endpoints(self) -> Iterator[EndpointTable]:
        tables = self._keys.get("endpoints", [])
        if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
            raise self._file.error(
                f"{self._shown} endpoints: expected tables, [[{SERVICES}.{self._name}.endpoints]], got {seen(tables)}"
            )
        for number, keys in enumerate(tables):
            shown = f"[[{SERVICES}.{self._name}.endpoints]] number {number + 1}"
            path = (*self._path, "endpoints", str(number))
            self._check_keys(keys, _OF_AN_ENDPOINT, shown)
            if "listen" not in keys:
                raise self._file.error(f'{shown}: listen is missing, as in listen = ["127.0.0.1:9999"]')
            listen = self._listen(keys, f"{shown}, listen", path)
            settings, families, off = self._options(keys, OF_AN_ENDPOINT, f"{shown}, {{}}.", path)
            for name in OF_THE_SERVER:
                if name in settings:
                    raise OptionError(
                        f"{settings[name].where}: it is a limit of the whole service; "
                        f"it belongs in [{SERVICES}.{self._name}.limits]"
                    )
            yield EndpointTable(listen, settings, families, off)


def _check_addresses(services: tuple[ServiceTable, ...]) -> None:
    """Refuse addresses that cannot all be bound; with port 0 the kernel chooses another one each time."""
    found: list[_Declared] = []
    for service in services:
        own = [(service.words["listen"], service.settings)] if "listen" in service.words else []
        for listen, settings in (*own, *((each.listen, each.settings) for each in service.endpoints)):
            # At one interface alone, an address may be free that is taken at another one.
            everywhere = not ("interface" in settings or "interface" in service.settings)
            for address in listen.value:
                if address.port or address.is_unix or address.fd is not None:
                    each = _Declared(address, service.name, everywhere)
                    _check_beside(found, each, listen.where)
                    found.append(each)


@dataclass(frozen=True, slots=True)
class _Declared:
    """An address of a service, and whether it is one of all interfaces."""

    address: Address
    owner: str
    everywhere: bool


def _check_beside(found: list[_Declared], new: _Declared, where: str) -> None:
    for each in found:
        if each.address == new.address:
            raise OptionError(f"{where}: {new.address} is an address of [{SERVICES}.{each.owner}] already")
        if each.everywhere and new.everywhere and is_taken_with(each.address, new.address):
            raise OptionError(
                f"{where}: {new.address} cannot be bound beside {each.address}, an address of [{SERVICES}.{each.owner}]"
            )
