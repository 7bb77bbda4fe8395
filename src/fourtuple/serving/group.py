"""Several servers that start and stop together, on one loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Self

from fourtuple import events
from fourtuple.errors import OptionError
from fourtuple.net.beside import check_beside
from fourtuple.net.given import check_given
from fourtuple.printable import error_text
from fourtuple.server import Server, core_of, lifecycle_of

AnyServer = Server[Any, Any, Any, Any]


class Group:
    """Servers that accept connections only when all of them can, and of which none outlives the others.

    Parameters
    ----------
    servers
        At least one. None of them is started yet.
    tell
        Called with the events of the loop, which are those of no single server:
        :class:`~fourtuple.events.LoopHeld`. Default: the observer of the first server.

    Raises :class:`~fourtuple.errors.OptionError` if one socket or address is given to two servers.
    """

    def __init__(self, servers: Iterable[AnyServer], tell: events.Observer | None = None) -> None:
        self.servers: tuple[AnyServer, ...] = tuple(servers)
        sites = [site for server in self.servers for site in lifecycle_of(server).sites]
        check_given([site.place for site in sites])
        check_beside([(site.place, site.sockets) for site in sites])
        self.tell: events.Observer = core_of(self.servers[0]).given_observer if tell is None else tell
        #: The server that has made the start fail, or whose stop was the first to fail.
        self.failed: AnyServer | None = None
        #: The server whose service is set up now.
        self.setting_up: AnyServer | None = None

    @property
    def tearing_down(self) -> AnyServer | None:
        """The first server whose service is torn down now, or was when the interpreter ended."""
        return next((server for server in self.servers if lifecycle_of(server).tearing_down), None)

    @property
    def stall_timeout(self) -> float | None:
        """How long a call may hold the loop: the shortest time of a server; None if none of them has one."""
        given = (server.deadlines.stall_timeout for server in self.servers)
        return min((seconds for seconds in given if seconds is not None), default=None)

    @property
    def drain_timeout(self) -> float | None:
        """How long a stop may last, without the tear-down: the longest time of a server; None without a bound."""
        return _longest(server.deadlines.drain_timeout for server in self.servers)

    @property
    def tear_down_timeout(self) -> float | None:
        """How long the tear-downs may last: the longest time of a server; None without a bound."""
        return _longest(server.deadlines.tear_down_timeout for server in self.servers)

    @property
    def living(self) -> dict[Any, Any] | None:
        """The open connections, as a dict that changes with them: those of the engine that the servers share.

        They are those of all endpoints, including those with limits of their own. None if the servers have engines of
        their own.
        """
        engines = {server.engine for server in self.servers}
        return engines.pop().places[0] if len(engines) == 1 else None

    @property
    def max_connections(self) -> int:
        """How many connections all servers allow together, with those of endpoints that have limits of their own."""
        return sum(each.max_connections for server in self.servers for each in lifecycle_of(server).groups)

    # -- life ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open all passive sockets, then set all services up, then accept.

        Raises what :meth:`Server.start <fourtuple.Server.start>` raises; then nothing is left open, and :attr:`failed`
        is the server.
        """
        lives = [lifecycle_of(server) for server in self.servers]
        done: list[Any] = []
        for server, life in zip(self.servers, lives, strict=True):
            await self._step(server, life.open(repr(server)), done)
            done.append(life)
        for server, life in zip(self.servers, lives, strict=True):
            await self._step(server, self._set_up(server), [each for each in lives if each is not life])
        try:
            for life in lives:
                life.accept()
        except BaseException as error:
            for life in reversed(lives):
                await life.undo(error)
            raise

    async def _set_up(self, server: AnyServer) -> None:
        self.setting_up = server
        try:
            await lifecycle_of(server).set_up()
        finally:
            self.setting_up = None

    async def _step(self, server: AnyServer, step: Awaitable[None], others: list[Any]) -> None:
        try:
            await step
        except BaseException as error:
            self.failed = server
            # Backwards, as the single server closes its own parts.
            for life in reversed(others):
                try:
                    await life.give_up()
                except Exception as later:
                    error.add_note(f"fourtuple: the tear-down of another service also failed: {error_text(later)}")
            raise

    async def serve_forever(self) -> None:
        """Return when all servers have stopped. If one stops by itself, the others drain.

        Raises what a service's tear-down raised.
        """
        serving = [asyncio.ensure_future(server.serve_forever()) for server in self.servers]
        try:
            # A process that serves a part of its services would look healthy to its service manager.
            await asyncio.wait(serving, return_when=asyncio.FIRST_COMPLETED)
            await self.drain()
            await asyncio.gather(*serving)
        finally:
            for task in serving:
                task.cancel()
            await asyncio.gather(*serving, return_exceptions=True)

    async def drain(self) -> None:
        """Drain all servers, at the same time."""
        await self._all(lambda server: server.drain())

    async def abort(self) -> None:
        """Abort all servers."""
        await self._all(lambda server: server.abort())

    async def _all(self, call: Callable[[AnyServer], Coroutine[Any, Any, Any]]) -> None:
        """Call something of each server; raise the first error when all have ended."""
        # All are awaited first: gather() without this would raise at once, and leave the other stops running.
        results = await asyncio.gather(*map(call, self.servers), return_exceptions=True)
        raised = [
            (server, result)
            for server, result in zip(self.servers, results, strict=True)
            if isinstance(result, BaseException)
        ]
        if not raised:
            return
        server, error = raised[0]
        if not isinstance(error, asyncio.CancelledError):
            self.failed = server
        for other, later in raised[1:]:
            note = f"fourtuple: the stop of {other.service.name} also failed: {error_text(later)}"
            if note not in getattr(error, "__notes__", ()):  # each caller that waits for the stop comes here
                error.add_note(note)
        raise error

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._all(lambda server: server.__aexit__(kind, error, trace))

    # -- certificates -------------------------------------------------------------------------------------

    @property
    def uses_certificates(self) -> bool:
        """Whether a server has certificates."""
        return any(server._uses_certificates for server in self.servers)

    def reload_certificates(self) -> None:
        """Read the certificates of all servers again. Each that fails keeps its old ones, and tells its observer."""
        for server in self.servers:
            try:
                if server._uses_certificates:
                    server.reload_certificates()
            except OptionError:
                pass  # its observer has got an event


def _longest(times: Iterable[float | None]) -> float | None:
    """Return the longest of these times; None, which is no bound, if one of them is that."""
    longest = 0.0
    for seconds in times:
        if seconds is None:
            return None
        longest = max(longest, seconds)
    return longest
