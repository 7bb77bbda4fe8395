"""A server that connects by itself, and serves the connection: a reverse connection, which calls home.

The life of a call::

    [wait for a place] --> connecting --> serving, until the connection has ended --+
             ^                 | failed                                             |
             +---- back-off ---+<---------------------------------------------------+
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fourtuple import events
from fourtuple.address import Address
from fourtuple.backoff import WORKED_SECONDS, Backoff
from fourtuple.client import take
from fourtuple.connection import Connection
from fourtuple.errors import ConnectionEnded
from fourtuple.net.connecting import Connected, Steps, connecting
from fourtuple.options import Sockets
from fourtuple.serving.accept import Acceptor
from fourtuple.serving.core import ServerCore
from fourtuple.stream import Layer, Stream
from fourtuple.tls.certificates import TlsChoice
from fourtuple.tls.start import check_client, host_of, tls_layer, tls_wanted
from fourtuple.typevars import Generic, In_co, L, Out_contra, S

#: Seconds between two looks for a place, while the server has ``max_connections``.
_PLACE_SECONDS = 0.25


class Dial(Generic[In_co, Out_contra, S, L]):
    """A connection that a server makes, and makes again when it has ended: see :meth:`fourtuple.Server.dial`.

    ``core`` and ``acceptor`` are parts of the server. ``address``, ``timeout``, ``local_address``, ``sockets``,
    ``tls``, ``server_hostname`` and ``backoff`` are those of :meth:`fourtuple.Server.dial`, which makes this object;
    ``timeout`` is in seconds.
    """

    def __init__(
        self,
        core: ServerCore,
        acceptor: Acceptor,
        address: Address | str,
        *,
        timeout: float | None,
        local_address: Address | str | None,
        sockets: Sockets,
        tls: TlsChoice | None,
        server_hostname: str | None,
        backoff: Backoff | None = None,
    ) -> None:
        check_client(tls, server_hostname, None)
        #: The address that is called.
        self.address: Address = Address.parse(address)
        #: The open connection; None while there is none.
        self.connection: Connection[In_co, Out_contra, S, L] | None = None
        #: The number of calls that failed since the last connection that worked.
        self.failures: int = 0
        self._core = core
        self._acceptor = acceptor
        self._tls = tls
        self._hostname = server_hostname or host_of(self.address)
        self._backoff = backoff or Backoff()

        def steps() -> Steps[Connected]:
            return connecting(self.address, timeout=timeout, local_address=local_address, sockets=sockets)

        steps().close()  # raises for arguments that cannot work
        self._steps: Callable[[], Steps[Connected]] = steps
        self._task = core.loop.create_task(self._call_again_and_again())

    @property
    def active(self) -> bool:
        """Whether it calls, or will call again when its connection has ended."""
        return not self._task.done() and not self._task.cancelling()

    def cancel(self) -> None:
        """Call no more; a call that has begun is given up. The open connection goes on. Idempotent.

        Call it on the server's loop.
        """
        engine = self._core.engine
        if threading.get_ident() != engine.thread:
            engine.check_thread(repr(self), "dial.cancel", "server.call_soon(dial.cancel)")
        self._task.cancel()

    @property
    def task(self) -> asyncio.Task[None]:
        """The task that calls; it ends when it is cancelled."""
        return self._task

    # -- calling ------------------------------------------------------------------------------------------

    async def _call_again_and_again(self) -> None:
        clock = self._core.engine.clock
        with suppress(asyncio.CancelledError):
            while True:
                await self._until_there_is_a_place()
                began = clock()
                again = await self._call(began)
                await asyncio.sleep(max(0.0, again - clock()))

    async def _until_there_is_a_place(self) -> None:
        while len(self._core.registry) >= self._core.max_connections:
            await asyncio.sleep(_PLACE_SECONDS)

    async def _call(self, began: float) -> float:
        """Call once, and wait for the end of the connection. Return when the next call may begin."""
        clock = self._core.engine.clock
        try:
            connection = await self._connected()
        except Exception as error:  # nothing may end the calls: a name server, a port or memory comes back
            return self._failed(began, error)
        opened = clock()
        self.connection = connection
        try:
            await connection.wait_closed()
        finally:
            if connection.closed:
                self.connection = None
        ended = clock()
        self.failures = 0 if ended - opened >= WORKED_SECONDS else self.failures + 1
        return self._backoff.ended(began, opened, ended)

    def _failed(self, began: float, error: Exception) -> float:
        self.failures += 1
        again = self._backoff.failed(began)
        seconds = max(0.0, again - self._core.engine.clock())
        self._core.observer(events.DialFailed(self.address, error, self.failures, seconds))
        return again

    async def _connected(self) -> Connection[In_co, Out_contra, S, L]:
        """Connect, and begin to serve. Raises ConnectionEnded if the server refuses the connection."""
        connected = await take(self._steps())
        runner = self._acceptor.adopt(connected.socket, connected.name, self._layer)
        if runner is None:
            raise ConnectionEnded(f"{connected.name}: the server's own limits refuse it")
        connection: Connection[Any, Any, Any, Any] = runner.connection
        connection.host = self._hostname
        return connection

    def _layer(self, stream: Stream, now: float) -> Layer | None:
        """Make the layer of TLS, as a client, with which the connection begins; None without TLS."""
        if not tls_wanted(self._tls):
            return None
        return tls_layer(stream, self._tls, now, server_side=False, server_hostname=self._hostname)

    def __repr__(self) -> str:
        state = "over" if not self.active else "connected" if self.connection else f"calling, {self.failures} failures"
        return f"<Dial {self.address} {state}>"
