"""Running a server: until a signal, or beside the program's own work in a thread."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fourtuple.address import Address
from fourtuple.server import Server
from fourtuple.service import Service

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def run(
    service: Service,
    *addresses: str | Address,
    loop_factory: LoopFactory | None = None,
    on_start: Callable[[Server], None] | None = None,
    **options: Any,
) -> int:
    """Serve until SIGINT or SIGTERM, then drain; return how many connections had to be aborted.

    A second signal aborts what still drains. Must be called in the main thread, where signals are delivered.

    Parameters
    ----------
    service, addresses, options
        As for :class:`~fourtuple.Server`.
    loop_factory
        Makes the event loop: ``uvloop.new_event_loop``, for example. Default: asyncio's own.
    on_start
        Called with the server once it listens.
    """

    async def main() -> int:
        server = Server(service, *addresses, **options)
        async with server:
            with draining_signals(server):
                if on_start is not None:
                    on_start(server)
                await server.serve_forever()
        return server.statistics.aborted

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main())


@contextmanager
def draining_signals(server: Server) -> Iterator[None]:
    """On the first SIGINT or SIGTERM drain the server, on the second abort it."""
    loop = server.loop
    tasks: list[asyncio.Task[Any]] = []

    def stop() -> None:
        tasks.append(loop.create_task(server.abort() if tasks else server.drain()))

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


@contextmanager
def serve_in_thread(
    service: Service, *addresses: str | Address, loop_factory: LoopFactory | None = None, **options: Any
) -> Iterator[Server]:
    """Serve in a background thread while the block runs; yields the listening server, drains at the end.

    ::

        with serve_in_thread(service) as server:
            client = connect(server.address, service.framing)

    The server belongs to its thread's loop: use :meth:`Server.call_soon <fourtuple.Server.call_soon>` to act on
    it; reading its attributes is fine. Raises what :meth:`Server.start <fourtuple.Server.start>` raises.
    """
    started = threading.Event()
    server = Server(service, *addresses, **options)
    failure: list[BaseException] = []

    async def main() -> None:
        await server.start()
        started.set()
        await server.serve_forever()

    def work() -> None:
        try:
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(main())
        except BaseException as error:
            failure.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=work, name=f"fourtuple-server-{service.name}", daemon=True)
    thread.start()
    started.wait()
    if failure:
        thread.join()
        raise failure[0]
    try:
        yield server
    finally:
        if thread.is_alive():
            asyncio.run_coroutine_threadsafe(server.drain(), server.loop)
        thread.join()
    if failure:
        raise failure[0]
