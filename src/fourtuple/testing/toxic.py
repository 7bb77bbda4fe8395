"""A proxy on loopback that simulates a bad network: delay, low bandwidth, small segments, resets, silence.

It runs a separate loop in a thread.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from fourtuple.address import Address, from_sockaddr
from fourtuple.errors import OptionError
from fourtuple.forking import ours
from fourtuple.options import by_keyword, check_type, check_whole
from fourtuple.relay.toxics import Toxics, check_toxics
from fourtuple.server import Server
from fourtuple.testing.toxic_links import Link, Network


class Toxic:
    """A TCP proxy in front of ``target`` that applies toxics to each direction. You can change them at any time::

        with Toxic(server, downstream=Toxics(slice=1)) as proxy:
            with connect(proxy.address, "line") as connection:
                proxy.upstream = Toxics(latency=0.2, jitter=0.1)
                proxy.downstream = Toxics(reset_after=100)

    It runs in a thread, so that plain and async tests can use it. Leaving the block resets all open connections.

    Parameters
    ----------
    target
        A started :class:`~fourtuple.Server`, or an address.
    upstream, downstream
        What happens on the way from client to server, and back. To change them, assign others. The change applies to
        open connections at once; octets already held keep the moment at which they are due.
    buffer
        The most octets that each direction of a connection holds. When it is full, the proxy stops reading, and TCP's
        window slows the sender down. In octets; default: 64 KiB.
    seed
        The seed of the jitter. Default: 0, so that each run is the same.

    Raises :class:`~fourtuple.errors.OptionError` for an argument of another type, and for a ``buffer`` below 1.
    """

    @by_keyword()
    def __init__(
        self,
        target: Server | Address | str,
        *,
        upstream: Toxics | None = None,
        downstream: Toxics | None = None,
        buffer: int = 65536,
        seed: int = 0,
    ) -> None:
        check_type("target", target, Server, Address, str, optional=False, hint="Toxic(server)")
        check_toxics("upstream", upstream)
        check_toxics("downstream", downstream)
        check_whole("buffer", buffer, 1, "octets")
        check_type("seed", seed, int, optional=False)
        self.target: Address = target.address if isinstance(target, Server) else Address.parse(target)
        self._network = Network(self.target, upstream or Toxics(), downstream or Toxics(), buffer=buffer, seed=seed)
        self._runner: asyncio.Runner | None = None
        self._thread: threading.Thread | None = None
        self._accepted = 0

    # -- what can be seen and changed ---------------------------------------------------------------------

    @property
    def upstream(self) -> Toxics:
        """What happens on the way from clients to the server; assign others to change it."""
        return self._network.toxics[True]

    @upstream.setter
    def upstream(self, toxics: Toxics) -> None:
        self._change(True, toxics)

    @property
    def downstream(self) -> Toxics:
        """What happens on the way from the server to clients; assign others to change it."""
        return self._network.toxics[False]

    @downstream.setter
    def downstream(self, toxics: Toxics) -> None:
        self._change(False, toxics)

    def _change(self, up: bool, toxics: Toxics) -> None:
        check_toxics("upstream" if up else "downstream", toxics, optional=False)
        self._network.toxics[up] = toxics
        self._call(self._network.wake)

    def reset(self) -> None:
        """End all open connections with RST, at both ends."""
        self._call(self._network.reset)

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._network.links)

    @property
    def accepted(self) -> int:
        """The number of connections accepted so far."""
        return self._accepted

    @property
    def octets_up(self) -> int:
        """The number of octets sent to the server so far."""
        return self._network.passed[True]

    @property
    def octets_down(self) -> int:
        """The number of octets sent to clients so far."""
        return self._network.passed[False]

    # -- life ---------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if self._runner is not None:
            raise OptionError("a proxy can be entered once; create another one")
        self._listener = ours(socket.create_server(("127.0.0.1", 0)))
        self._listener.setblocking(False)
        #: The address to which clients connect.
        self.address: Address = from_sockaddr(self._listener.getsockname())
        # A selector loop has sock_recv() and the other methods; the event loop policy, perhaps uvloop's, is not used.
        self._runner = asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)
        self._loop = self._runner.get_loop()
        self._stopped = asyncio.Event()
        self._thread = threading.Thread(target=self._work, name=f"toxic-{self.address}", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call(self._stopped.set)
        if self._thread is not None:
            self._thread.join()

    def _call(self, act: Callable[[], object]) -> None:
        """Call ``act`` in the loop's thread. Before and after the block, do nothing."""
        if self._runner is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(act)

    def _work(self) -> None:
        assert self._runner is not None
        with self._runner, self._listener:
            self._runner.run(self._serve())

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            # Not sock_accept(): when it is cancelled, it may lose the accepted socket.
            self._loop.add_reader(self._listener, self._accept, group)
            await self._stopped.wait()
            self._loop.remove_reader(self._listener)
            self._network.reset()

    def _accept(self, group: asyncio.TaskGroup) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:  # it was reset in the accept queue; another error comes again with the next call
            return
        self._accepted += 1
        link = Link(self._network, client)
        self._network.links.add(link)
        group.create_task(link.run())

    def __repr__(self) -> str:
        return f"<Toxic to {self.target}, {self.connections} connections, up {self.upstream}, down {self.downstream}>"
