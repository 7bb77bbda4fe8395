"""What one run of ``fourtuple serve`` serves: the service of its command line, or those that its file declares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fourtuple.cli.failure import Exit, Failure
from fourtuple.cli.serve_addresses import Where
from fourtuple.cli.to_serve import ToServe, of_command_line, of_file
from fourtuple.config import FILE_NAME, Configuration, EndpointConfiguration, ServiceConfiguration
from fourtuple.framing import Framing
from fourtuple.options import Deadlines, Limits, Sockets, Tls, nearest
from fourtuple.supervisor.listen_address import ListenAddress, label_of

if TYPE_CHECKING:
    from fourtuple.options.endpoint import Endpoint
    from fourtuple.service import Service
    from fourtuple.supervisor.worker import WorkerEnd


class Program(ABC):
    """What is served, and with which options; nothing of it is imported before :meth:`to_serve`."""

    options: Configuration

    @property
    @abstractmethod
    def name(self) -> str:
        """What the control socket is called, if its path is chosen."""

    @property
    @abstractmethod
    def listen_on(self) -> tuple[ListenAddress, ...]:
        """Where to listen, with the label of each address."""

    @property
    @abstractmethod
    def limits(self) -> Mapping[str, Limits]:
        """The limits of each service, and of each endpoint with its own, by its label."""

    @property
    @abstractmethod
    def tls(self) -> Sequence[tuple[str, Tls]]:
        """The TLS options in force, of each service and each endpoint with its own; a label says whose they are."""

    @property
    @abstractmethod
    def refuses(self) -> bool:
        """Whether a service sends a refusal, which its framing has to carry."""

    @property
    def deadlines(self) -> Deadlines:
        """The deadlines of the whole process: the longest ones."""
        return self.options.deadlines

    @property
    def named_on_machine(self) -> list[tuple[str, Sockets]]:
        """The options of sockets with a name that the machine has to know, such as an owner, each with a label."""
        found = [("", self.options.sockets), *((each.label, each.sockets) for each in self.listen_on)]
        return [
            (label, options)
            for label, options in dict.fromkeys(found)
            if options.unix_owner is not None or options.interface is not None or options.congestion is not None
        ]

    @abstractmethod
    def given_at(self, label: str) -> Mapping[str, str]:
        """Return where each option that is not a default was given for a service or an endpoint, by its name."""

    @abstractmethod
    def to_serve(self) -> list[ToServe]:
        """Import the services, to be served at their addresses. Raises a :class:`Failure`."""

    @abstractmethod
    def in_worker(self, end: WorkerEnd) -> list[ToServe]:
        """Import the services, to be served at the passive sockets of a worker, with its share of the limits."""


@dataclass(frozen=True)
class OneService(Program):
    """The service of a command line."""

    target: str | None
    command: str | None
    framing: Framing | None
    options: Configuration
    where: Where

    @property
    def name(self) -> str:
        first = str(self.target or self.command).partition(":")[0].split()
        return Path(first[0]).stem if first else ""

    @property
    def listen_on(self) -> tuple[ListenAddress, ...]:
        return tuple(ListenAddress(address, self.options.sockets) for address in self.where.addresses)

    @property
    def limits(self) -> Mapping[str, Limits]:
        return {"": self.options.limits}

    @property
    def tls(self) -> Sequence[tuple[str, Tls]]:
        return [] if self.options.tls.off else [("", self.options.tls)]

    @property
    def refuses(self) -> bool:
        return bool(self.options.limits.refusal)

    def given_at(self, label: str) -> Mapping[str, str]:
        return self.options.where

    def to_serve(self) -> list[ToServe]:
        return [ToServe(self._loaded(), self.where.addresses, self.options)]

    def in_worker(self, end: WorkerEnd) -> list[ToServe]:
        options = replace(self.options, limits=end.shares(self.limits)[""])
        return [ToServe(self._loaded(), end.sockets(), options)]

    def _loaded(self) -> Service:
        return of_command_line(self.target, self.command, self.framing, self.options)


@dataclass(frozen=True)
class OfFile(Program):
    """The services that a file declares."""

    options: Configuration
    services: tuple[ServiceConfiguration, ...]

    @property
    def name(self) -> str:
        return "-".join(service.name for service in self.services)

    @property
    def listen_on(self) -> tuple[ListenAddress, ...]:
        found: list[ListenAddress] = []
        for service in self.services:
            sockets = service.options.sockets
            found += [ListenAddress(address, sockets, service.name) for address in service.listen]
            for number, each in enumerate(service.endpoints, 1):
                label = label_of(service.name, number)
                found += [ListenAddress(address, each.sockets or sockets, label) for address in each.listen]
        return tuple(found)

    @property
    def limits(self) -> dict[str, Limits]:
        return {service.name: service.options.limits for service in self.services} | {
            label_of(service.name, number): each.limits
            for service in self.services
            for number, each in enumerate(service.endpoints, 1)
            if each.limits is not None
        }

    @property
    def tls(self) -> Sequence[tuple[str, Tls]]:
        found = [(each.name, each.options.tls) for each in self.services]
        for service in self.services:
            for number, each in enumerate(service.endpoints, 1):
                found.append((label_of(service.name, number), each.tls or service.options.tls))
        return [(label, tls) for label, tls in found if not tls.off]

    @property
    def refuses(self) -> bool:
        return any(limits.refusal for limits in self.limits.values())

    @property
    def deadlines(self) -> Deadlines:
        return longest([service.options.deadlines for service in self.services])

    def given_at(self, label: str) -> Mapping[str, str]:
        for service in self.services:
            if label == service.name:
                return service.options.where
            for number, each in enumerate(service.endpoints, 1):
                if label == label_of(service.name, number):
                    return each.where
        return {}

    def to_serve(self) -> list[ToServe]:
        found = []
        for service in self.services:
            places = [_endpoint(service.listen)] if service.listen else []
            places += [_endpoint(each.listen, each, each.limits) for each in service.endpoints]
            found.append(ToServe(of_file(service), places, service.options, service.name))
        return found

    def in_worker(self, end: WorkerEnd) -> list[ToServe]:
        opened = [(each.label, each.address) for each in end.seat.sockets]
        changed = difference(opened, [(each.label, str(each.address)) for each in self.listen_on])
        if changed:
            raise Failure(changed, Exit.USAGE)
        shares = end.shares(self.limits)
        return [_in_worker(service, end, shares) for service in self.services]


def _in_worker(service: ServiceConfiguration, end: WorkerEnd, shares: Mapping[str, Limits]) -> ToServe:
    options = replace(service.options, limits=shares[service.name])
    labels = [service.name] if service.listen else []
    places = [_endpoint(end.sockets(service.name))] if service.listen else []
    for number, each in enumerate(service.endpoints, 1):
        label = label_of(service.name, number)
        places.append(_endpoint(end.sockets(label), each, shares.get(label)))
        labels.append(label)
    return ToServe(of_file(service), places, options, service.name, labels)


def _endpoint(places: Any, options: EndpointConfiguration | None = None, limits: Limits | None = None) -> Endpoint:
    from fourtuple.options.endpoint import Endpoint  # imported here: a supervisor serves nothing, and --help neither

    if options is None:
        return Endpoint(places)
    return Endpoint(places, tls=options.tls, proxy=options.proxy, limits=limits, sockets=options.sockets)


def difference(before: Sequence[tuple[str, str]], now: Sequence[tuple[str, str]]) -> str:
    """Return how addresses in the file, each with its label, differ from those that are open; empty if they do not."""
    told = []
    for whose in dict.fromkeys(label for label, _ in (*before, *now)):
        old, new = (", ".join(address for label, address in those if label == whose) for those in (before, now))
        if sorted(old.split(", ")) != sorted(new.split(", ")):
            told.append(f"{whose} at {new or 'none'} instead of {old or 'none'}")
    if not told:
        return ""
    return (
        f"the file has other addresses: {'; '.join(told)}. New workers get the sockets that are open: an upgrade "
        "(SIGUSR2, or fourtuple upgrade) opens and closes addresses"
    )


def longest(all_deadlines: Sequence[Deadlines]) -> Deadlines:
    """Return deadlines with the longest time that a drain and a tear-down may take; None is longer than all."""
    changes: dict[str, float | None] = {}
    for name in ("drain_timeout", "tear_down_timeout"):
        values = [getattr(each, name) for each in all_deadlines]
        changes[name] = None if None in values else max(values)
    return all_deadlines[0].replace(**changes)  # type: ignore[arg-type]


def check_only(only: Sequence[str], target: str | None, command: str | None) -> None:
    """Raise a usage error for --only beside a TARGET or --exec."""
    if only and (target is not None or command is not None):
        raise click.UsageError(f"--only is for the services of {FILE_NAME}, not for TARGET or --exec.")


def of_file_named(options: Configuration, only: Sequence[str]) -> OfFile:
    """Return the services of the file, or ``only`` those with these names. Raises a usage error for unknown ones."""
    names = [each.name for each in options.services]
    if only and not names:
        raise click.UsageError(
            f"--only is for the services of {FILE_NAME}, and no service is declared: [services.NAME]."
        )
    for name in only:
        if name not in names:
            there = nearest(name, names) or f"; it has {', '.join(names)}"
            raise click.UsageError(f"--only {name}: the file has no such service{there}")
    return OfFile(options, tuple(each for each in options.services if not only or each.name in only))
