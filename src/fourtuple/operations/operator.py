"""What ``fourtuple serve`` has beside its servers, for a program that makes its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext, suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from fourtuple import events
from fourtuple.address import Address
from fourtuple.errors import ServiceError
from fourtuple.ignored import Ignored
from fourtuple.observe.combine import each_of
from fourtuple.observe.log import log_failures
from fourtuple.operations.running import AnyServer, Operated, control_name, counting, operating
from fourtuple.operations.servers import Servers
from fourtuple.options import Operations, by_keyword, call_plain, check_callable, check_function, check_type
from fourtuple.options.endpoint import Endpoint
from fourtuple.server import Server
from fourtuple.service import Service
from fourtuple.serving.closing import run_bounded
from fourtuple.serving.group import Group
from fourtuple.serving.guarding import guarded
from fourtuple.serving.run import (
    LoopFactory,
    ServerOptions,
    StoppedEarly,
    check_no_loop,
    serve_until_stopped,
)
from fourtuple.signals import stop_signals
from fourtuple.typevars import In, L, Out, S

if TYPE_CHECKING:
    from prometheus_client.registry import CollectorRegistry


class Operator:
    """Makes the servers of a program, counts what they do, and serves what ``fourtuple serve`` serves beside them.

    ::

        operator = Operator(Operations(http="127.0.0.1:9101", control="service.sock"))
        operator.server(service, "127.0.0.1:9999")
        operator.run()

    Instead of :meth:`run`, which handles signals, ``async with operator:`` starts all servers on the running loop and
    drains them at the end of the block; ``await operator.serve_forever()`` waits inside it.

    Parameters
    ----------
    operations
        The HTTP server with ``/live``, ``/ready``, ``/metrics`` and the dashboard, the control socket, the pidfile and
        the user. Default: none of them.
    registry
        A registry of prometheus-client, such as ``prometheus_client.REGISTRY``: while the servers run, their metrics
        are among its own, for a page of metrics that the program serves already. Default: none. A registry takes one
        operator at a time.

    Without both, nothing is counted. Raises :class:`~fourtuple.errors.OptionError` for options that cannot work.
    """

    @by_keyword()
    def __init__(self, operations: Operations | None = None, *, registry: CollectorRegistry | None = None) -> None:
        check_type("operations", operations, Operations)
        self._options = operations or Operations()
        self._registry = registry
        self._operated = Operated(self._options, (), counts=registry is not None or self._options.counts)
        self._servers: list[AnyServer] = []
        self._observers: list[events.Observer] = []
        self._running: AsyncExitStack | None = None
        self._begun = False
        #: Where the HTTP server is while it listens, with the port that the kernel chose for port 0; otherwise None.
        self.http_address: Address | None = None
        #: Where the control socket is while it listens; otherwise None.
        self.control_address: Address | None = None

    @property
    def servers(self) -> tuple[AnyServer, ...]:
        """The servers that :meth:`server` has made."""
        return tuple(self._servers)

    def server(
        self,
        service: Service[In, Out, S, L],
        *addresses: str | Address | socket.socket | Endpoint,
        **options: Unpack[ServerOptions],
    ) -> Server[In, Out, S, L]:
        """Return a new server of ``service``, which starts and stops with the others.

        ``addresses`` and ``options`` are those of :class:`~fourtuple.Server`. Raises
        :class:`~fourtuple.errors.ServiceError` once the operator runs, and what :class:`~fourtuple.Server` raises.
        """
        if self._begun:
            raise ServiceError("the operator runs already: make all servers before run() or async with")
        place = len(self._servers)
        given = options.get("observer") or log_failures
        own = self._operated.add(service)
        options["observer"] = self._operated.observing(place, self._hearing(given))
        try:
            server = Server(own, *addresses, **options)
        except BaseException:
            self._operated.forget_last()
            raise
        self._servers.append(server)
        self._observers.append(given)
        return server

    def _hearing(self, given: events.Observer) -> events.Observer:
        """Return an observer that tells ``given``, and writes the pidfile when a server listens."""

        def observer(event: events.Event) -> None:
            if isinstance(event, events.Listening):
                self._operated.begun()
            given(event)

        return observer

    # -- running -------------------------------------------------------------------------------------------

    def run(
        self,
        *,
        loop_factory: LoopFactory | None = None,
        on_start: Callable[[Operator], Ignored] | None = None,
    ) -> int:
        """Serve until SIGINT or SIGTERM, then drain; return how many connections had to be aborted.

        As :func:`fourtuple.run`, for all servers. ``loop_factory`` makes the event loop. Default: asyncio's event loop.
        ``on_start`` is called with the operator once all servers listen. Raises
        :class:`~fourtuple.errors.ServiceError` in any other thread than the main thread, where an event loop runs
        already, and after a drain, if the program has cancelled the task that serves.
        """
        check_no_loop("operator.run()", "async with operator: await operator.serve_forever()")
        check_callable("loop_factory", loop_factory)
        check_function("on_start", on_start, "operator")
        begun = None if on_start is None else partial(call_plain, "on_start", on_start, self)
        with stop_signals() as signals, asyncio.Runner(loop_factory=loop_factory) as runner:

            async def main() -> int:
                async with self._around() as group:
                    with suppress(StoppedEarly):
                        await serve_until_stopped(group, signals, begun)
                    return sum(server.statistics.aborted for server in self._servers)

            return run_bounded(runner, main, signals)

    async def serve_forever(self) -> None:
        """Return when all servers have stopped. If one stops by itself, the others drain.

        Raises :class:`~fourtuple.errors.ServiceError` outside ``async with``, and what a service's tear-down raised.
        """
        if self._running is None:
            raise ServiceError("the operator does not run: call serve_forever() inside async with")
        await self._group().serve_forever()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            group = await stack.enter_async_context(self._around())
            await stack.enter_async_context(group)
            self._running = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._running is not None
        running, self._running = self._running, None
        await running.__aexit__(kind, error, trace)

    def _group(self) -> Group:
        return Group(self._servers, tell=self._operated.hearing(each_of(*self._observers)))

    @asynccontextmanager
    async def _around(self) -> AsyncIterator[Group]:
        """Run everything but the servers while the block runs."""
        if not self._servers:
            raise ServiceError("the operator has no server: call server(service, address) first")
        if self._begun:
            raise ServiceError("the operator has run already: make another one")
        self._begun = True
        group = self._group()
        name = control_name([server.service.name for server in self._servers])
        with self._operated.pidfile, counting(self._operated.counts) as loop_meter:
            try:
                subject = self._operated.subject(self._servers, loop_meter, listeners=True)
                async with operating(subject, self._options, name, self._tell):
                    with self._registered(subject):
                        yield group
            finally:
                self.http_address = self.control_address = None

    def _tell(self, event: events.Event) -> None:
        if isinstance(event, events.Operating) and event.what == "http":
            self.http_address = event.address
        elif isinstance(event, events.Operating):
            self.control_address = event.address
        for observer in self._observers:
            guarded(observer)(event)

    def _registered(self, subject: Servers) -> Any:
        if self._registry is None:
            return nullcontext()
        from fourtuple.operations.exposition import registered  # imported here: it needs prometheus-client

        return registered(self._registry, subject.snapshot, asyncio.get_running_loop())
