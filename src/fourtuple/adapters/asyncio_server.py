"""What ``loop.create_server()`` returns while the adapters are installed: an asyncio server with our listeners."""

from __future__ import annotations

import asyncio
import sys
from asyncio import trsock
from typing import Any

from fourtuple.adapters.binding import Bound
from fourtuple.adapters.protocol_runner import ProtocolRunner
from fourtuple.engine import Listener
from fourtuple.server import Server, core_of, listen_at

#: The time between two looks at the connections that a closed server still has.
_LOOK_SECONDS = 0.02


class InstalledServer(asyncio.AbstractServer):
    """An asyncio server that serves bound sockets by a :class:`~fourtuple.Server`, which is :attr:`server`.

    It behaves as asyncio's: ``close()`` closes the listeners, and the open connections go on.
    """

    def __init__(self, server: Server[Any, Any, Any, Any], bound: Bound, backlog: int, *, keep_files: bool) -> None:
        self.server = server
        self._loop = asyncio.get_running_loop()
        self._backlog = backlog
        self._keep_files = keep_files
        self._bound: Bound | None = bound
        self._listeners: list[Listener] = []
        self._forever: asyncio.Future[None] | None = None
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._ending: asyncio.Task[None] | None = None

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop of the server."""
        return self._loop

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The passive sockets; empty once the server is closed."""
        bound = self._bound
        if bound is None:
            return ()
        # If the program has closed its own object meanwhile, the copy goes on, as with uvloop.
        given = bound.given
        socks = bound.socks if given is None or given.fileno() < 0 else [given]
        return tuple(map(trsock.TransportSocket, socks))

    def is_serving(self) -> bool:
        """Return whether it accepts connections."""
        return bool(self._listeners) and self._bound is not None

    async def start_serving(self) -> None:
        """Begin to accept. Idempotent."""
        if self._bound is None:
            raise RuntimeError(f"server {self!r} is closed")
        if not self._listeners:
            self._listeners = [
                listen_at(self.server, sock, self._backlog, keeps_file=self._keep_files) for sock in self._bound.socks
            ]
        await asyncio.sleep(0)

    async def serve_forever(self) -> None:
        """Accept until the caller is cancelled; then close the server."""
        if self._forever is not None:
            raise RuntimeError(f"server {self!r} is already being awaited on serve_forever()")
        await self.start_serving()
        self._forever = self._loop.create_future()
        try:
            await self._forever
        except asyncio.CancelledError:
            self.close()
            await self.wait_closed()
            raise
        finally:
            self._forever = None

    # -- the end ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close the listeners. Open connections go on. Idempotent."""
        if self._bound is None:
            return
        bound, self._bound = self._bound, None
        for listener in self._listeners:
            listener.close()
        if not self._listeners:
            for sock in bound.socks:
                sock.close()
        if bound.given is not None:
            bound.given.close()
        if self._forever is not None and not self._forever.done():
            self._forever.cancel()
        if not self._loop.is_closed():
            self._loop.call_soon(self._look)

    def close_clients(self) -> None:
        """Close all connections, after what was written to them."""
        for runner in self._protocols():
            runner.transport.close()

    def abort_clients(self) -> None:
        """Close all connections at once."""
        for runner in self._protocols():
            runner.transport.abort()

    async def wait_closed(self) -> None:
        """Return when the server is closed and its connections have ended; up to Python 3.11, without the latter."""
        if sys.version_info < (3, 12):
            if self._bound is None and self._protocols():
                await asyncio.sleep(0)
                return
        await asyncio.shield(self._over)

    def _protocols(self) -> list[ProtocolRunner]:
        living = core_of(self.server).registry.living()
        return [runner for runner in living if isinstance(runner, ProtocolRunner) and not runner.is_told]

    def _look(self) -> None:
        """Stop the engine once all protocols know that their connections are lost. A timer calls this, and no task.

        A program may close its loop before that: asyncio would report a task that is left, but no timer.
        """
        if self._protocols():
            self._loop.call_later(_LOOK_SECONDS, self._look)
            return
        for runner in core_of(self.server).registry.living():
            runner.channel.abort(reset=False)  # it lingers; asyncio would have closed it
        self._ending = self._loop.create_task(self._stop())

    async def _stop(self) -> None:
        try:
            await self.server.abort()
        except asyncio.CancelledError:  # the loop closes
            await self.server.__aexit__(None, None, None)
        if not self._over.done():
            self._over.set_result(None)

    async def __aenter__(self) -> InstalledServer:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.close()
        await self.wait_closed()

    def __repr__(self) -> str:
        return f"<InstalledServer sockets={self.sockets!r}>"
