"""A server with what operates it: counting, the control socket, the HTTP server, the process's file and its user."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any, TypeAlias

from fourtuple import events
from fourtuple.address import Address
from fourtuple.errors import AddressError, OperationError, OptionError
from fourtuple.net.users import check_can_drop, drop_privileges
from fourtuple.observe.combine import each_of
from fourtuple.observe.metrics import Meter
from fourtuple.operations.measuring import LoopMeter, measured
from fourtuple.operations.pidfile import PidFile
from fourtuple.operations.servers import Servers
from fourtuple.operations.subject import Subject
from fourtuple.options import Operations
from fourtuple.server import Server
from fourtuple.service import Service
from fourtuple.typevars import In, L, Out, S

AnyService: TypeAlias = Service[Any, Any, Any, Any]
AnyServer: TypeAlias = Server[Any, Any, Any, Any]


class Operated:
    """What ``fourtuple serve`` adds to its servers, as the options say; without them, nothing.

    Make it before the servers, which get its :attr:`services`, and observers from :meth:`observing`, in the same order.
    Raises :class:`~fourtuple.errors.OptionError` for options that cannot work.
    """

    def __init__(self, options: Operations, services: Sequence[AnyService], *, counts: bool | None = None) -> None:
        check(options)
        self._options = options
        self.pidfile: PidFile = PidFile(options.pidfile)
        #: Whether the servers are counted: by default, if something shows it.
        self.counts: bool = options.counts if counts is None else counts
        #: They count the events and the handlers' calls; none if nothing is counted.
        self._meters: list[Meter] = []
        #: The services to serve.
        self.services: list[AnyService] = []
        for service in services:
            self.add(service)

    def add(self, service: Service[In, Out, S, L]) -> Service[In, Out, S, L]:
        """Return the service to serve instead of this one. Its place is the number of those added before."""
        options = self._options
        if self.counts:
            meter = Meter(service.name)
            self._meters.append(meter)
            service = measured(service, meter)
        if not self.services and (options.user is not None or options.group is not None):
            # In the first set-up: the sockets are bound, and the user's code of a set-up has no more rights than later.
            service = service._with_first(partial(drop_privileges, options.user, options.group))
        self.services.append(service)
        return service

    def forget_last(self) -> None:
        """Undo the last :meth:`add`: there will be no server of that service."""
        self.services.pop()
        if self.counts:
            self._meters.pop()

    def observing(self, place: int, observer: events.Observer) -> events.Observer:
        """Return the observer of the server at this place, which tells ``observer``."""
        return each_of(observer, self._meters[place]) if self._meters else observer

    def hearing(self, observer: events.Observer) -> events.Observer:
        """Return an observer of what is of all servers, a call that holds the loop: it tells ``observer``."""
        return each_of(observer, *self._meters) if self._meters else observer

    def subject(
        self,
        servers: Sequence[AnyServer],
        loop_meter: LoopMeter | None,
        *,
        listeners: bool,
        divide: Mapping[AnyServer, int | None] | None = None,
    ) -> Servers:
        """Return the servers as what can be operated; ``listeners`` is False in a worker.

        ``divide`` is that of :class:`~fourtuple.operations.servers.Servers`.
        """
        meters = dict(zip(servers, self._meters, strict=True)) if self._meters else {}
        return Servers(servers, meters=meters, loop_meter=loop_meter, listeners=listeners, divide=divide)

    def begun(self) -> None:
        """Write the process's file: the server listens."""
        self.pidfile.write()

    @asynccontextmanager
    async def around(
        self, servers: Sequence[AnyServer], tell: events.Observer, divide: Mapping[AnyServer, int | None]
    ) -> AsyncIterator[None]:
        """Run everything while the block runs. Enter it before the servers start, on their loop.

        ``divide`` is that of :class:`~fourtuple.operations.servers.Servers`.
        """
        with self.pidfile, counting(self.counts) as loop_meter:
            subject = self.subject(servers, loop_meter, listeners=True, divide=divide)
            name = control_name([service.name for service in self.services])
            async with operating(subject, self._options, name, tell):
                yield


def control_name(services: Sequence[str]) -> str:
    """Return the name of the control socket, if it is chosen, for services with these names."""
    return "-".join(services)


@contextmanager
def counting(wanted: bool) -> Iterator[LoopMeter | None]:
    """Measure the running loop while the block runs, if ``wanted``; give the meter, or None."""
    if not wanted:
        yield None
        return
    meter = LoopMeter(asyncio.get_running_loop())
    meter.start()
    try:
        yield meter
    finally:
        meter.stop()


def check(options: Operations) -> None:
    """Raise :class:`~fourtuple.errors.OptionError` for options that cannot work here."""
    check_can_drop(options.user, options.group)
    if options.http is not None:
        http_address(options.http)
        missing = [name for name in ("h11", "prometheus_client") if find_spec(name) is None]
        if missing:
            raise OptionError(f"http: {' and '.join(missing)} not installed: pip install 'fourtuple[metrics]'")


def http_address(text: str) -> Address:
    """Read the address of the HTTP server; a port alone is one of 127.0.0.1."""
    try:
        return Address.parse(text)
    except AddressError as error:
        raise OptionError(f"http: {error}") from error


@asynccontextmanager
async def operating(subject: Subject, options: Operations, name: str, tell: events.Observer) -> AsyncIterator[None]:
    """Serve the control socket and the pages of a subject while the block runs, as the options say.

    ``name`` is for the path of the socket, if it is chosen; ``tell`` gets an :class:`~fourtuple.events.Operating` for
    each. Raises :class:`~fourtuple.errors.ListenError` if one of them cannot listen.
    """
    async with AsyncExitStack() as stack:
        if options.control is not None:
            from fourtuple.operations.control import ControlServer  # imported here: it is off by default

            control = ControlServer(subject, control_path(options.control, name), _owner(options))
            await control.start()
            stack.push_async_callback(control.stop)
            tell(events.Operating("control", control.server.address))
        if options.http is not None:
            from fourtuple.operations.http import HttpServer  # imported here: it needs h11 and prometheus-client
            from fourtuple.operations.pages import Pages

            pages = Pages(subject, dashboard=options.dashboard)
            http = HttpServer(pages, http_address(options.http), options.hosts)
            await http.start()
            stack.push_async_callback(http.stop)
            tell(events.Operating("http", http.server.address))
        yield


def control_path(given: str, name: str) -> str:
    """Return the path of the control socket, as it was given or chosen for a server of this name.

    Raises :class:`~fourtuple.errors.OptionError` if none can be chosen.
    """
    if given != "auto":
        return given.removeprefix("unix:")
    from fourtuple.operations.control_client import automatic_path  # imported here: it imports the blocking client

    try:
        return automatic_path(name, os.environ)
    except OperationError as error:
        raise OptionError(f"control: {error}") from error


def _owner(options: Operations) -> str | None:
    """The user that the process will become must also be able to connect."""
    return options.user if os.geteuid() == 0 else None
