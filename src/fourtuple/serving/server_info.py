"""What a server tells of itself: where it listens, its connections, its counters and its certificates."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

from fourtuple.address import Address
from fourtuple.connection import Connection
from fourtuple.engine import Engine, Listener
from fourtuple.errors import ServiceError
from fourtuple.four_tuple import FourTuple, Name, UnixName
from fourtuple.options import Limits, check_type
from fourtuple.serving.core import ServerCore
from fourtuple.serving.lifecycle import Lifecycle
from fourtuple.serving.values import ServerStatistics
from fourtuple.tls.certificates import Certificates
from fourtuple.typevars import Generic, In_co, L, Out_contra, S


class ServerInfo(Generic[In_co, Out_contra, S, L]):
    """The read-only attributes of a :class:`~fourtuple.Server`."""

    _core: ServerCore
    _life: Lifecycle

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """The listeners."""
        return tuple(self._life.listeners)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop on which the server runs; available once it is started."""
        return self._core.loop

    @property
    def engine(self) -> Engine:
        """The engine that moves the octets; available once the server is started."""
        return self._core.engine

    @property
    def limits(self) -> Limits:
        """The limits in force; :meth:`change_limits` changes them."""
        return self._core.limits

    @property
    def stopped(self) -> bool:
        """Whether the server has stopped, including the service's tear-down: there is nothing left to :meth:`drain`."""
        return self._life.drain.gone

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The addresses at which the server listens, with the ports that the kernel chose."""
        return tuple(listener.name for listener in self.listeners)

    @property
    def address(self) -> Address:
        """The first of :attr:`addresses`. Raises :class:`~fourtuple.errors.ServiceError` if it has none."""
        if not self.listeners:
            raise ServiceError(f"{self!r} has no address; it listens once it is started, unless with listen=False")
        return self.listeners[0].name

    @property
    def port(self) -> int:
        """The port of the first listener."""
        return self.address.port

    @property
    def connections(self) -> Mapping[int, Connection[In_co, Out_contra, S, L]]:
        """The open connections by id: a snapshot. It does not have those whose preamble is not complete."""
        inside = (runner for registry in self._life.registries for runner in registry.inside())
        return MappingProxyType({runner.channel.id: runner.connection for runner in inside})

    def find(self, name: Name | str) -> Connection[In_co, Out_contra, S, L] | None:
        """Return the open connection with this name; None if there is none.

        ``name`` is a FourTuple, a UnixName, or the text form of a four-tuple.
        """
        check_type("name", name, str, FourTuple, UnixName, optional=False)
        wanted = FourTuple.parse(name) if isinstance(name, str) else name
        runners = (registry.find(wanted) for registry in self._life.registries)
        runner = next(filter(None, runners), None)
        return None if runner is None else runner.connection

    @property
    def max_connections(self) -> int:
        """The limit in force: the option, or less if the limit on descriptors is lower.

        It does not include endpoints with limits of their own.
        """
        return self._core.max_connections

    @property
    def statistics(self) -> ServerStatistics:
        """An immutable snapshot of the counters."""
        each = [
            group.registry.statistics(
                refused=group.admission.refused.total(),
                limited=guard.ended,
                accept_failures=sum(listener.failures for listener in group.listeners),
            )
            for group, guard in zip(self._life.groups, self._life.buffer_guards, strict=True)
        ]
        return each[0] if len(each) == 1 else ServerStatistics.sum(each)

    @property
    def refused(self) -> Mapping[str, int]:
        """The number of refused connections, by the option that refused them: a snapshot."""
        counts = Counter[str]()
        for group in self._life.groups:
            counts.update(group.admission.refused)
        return MappingProxyType(dict(counts))

    @property
    def certificates(self) -> Certificates | None:
        """The certificates in force; None without TLS. Endpoints may have others."""
        return self._core.certificates

    def _certificates_of(self, id: int) -> Certificates | None:
        """The certificates that the connection with this id uses: those of its endpoint, or the server's."""
        runners = (registry.runners.get(id) for registry in self._life.registries)
        runner = next(filter(None, runners), None)
        return self.certificates if runner is None else runner.host.certificates

    @property
    def _uses_certificates(self) -> bool:
        """Whether there are certificates here or at an endpoint, which :meth:`reload_certificates` reads again."""
        return any(core.certificates is not None for core in self._life.cores)
