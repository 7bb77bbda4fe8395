"""Running a server: until a signal, or beside the program's own work in a thread."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from fourtuple.address import Address
from fourtuple.errors import OptionError
from fourtuple.options import check_callable
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

    A second signal aborts what still drains, a third ends the process. Must be called in the main thread, where
    signals are delivered.

    Parameters
    ----------
    service, addresses, options
        As for :class:`~fourtuple.Server`.
    loop_factory
        Makes the event loop: ``uvloop.new_event_loop``, for example. Default: asyncio's own.
    on_start
        Called with the server once it listens.
    """

    check_callable("loop_factory", loop_factory)
    check_callable("on_start", on_start)

    async def main() -> int:
        server = Server(service, *addresses, **options)
        async with server, draining_signals(server):
            if on_start is not None:
                on_start(server)
            await server.serve_forever()
        return server.statistics.aborted

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main())


@asynccontextmanager
async def draining_signals(server: Server) -> AsyncIterator[list[signal.Signals]]:
    """On the first SIGINT or SIGTERM drain the server, on the second abort it; a third ends the process.

    On SIGHUP a server with TLS reads its certificates again.

    Yields the list of the signals that came. Raises what the service's tear-down raised.
    """
    loop = asyncio.get_running_loop()
    came: list[signal.Signals] = []
    tasks: list[asyncio.Task[Any]] = []

    def stop(number: signal.Signals) -> None:
        came.append(number)
        task = loop.create_task(server.drain() if len(came) == 1 else server.abort())
        task.add_done_callback(_seen)
        tasks.append(task)
        if len(came) == 2:
            # An abort waits for threads that never come back, too: the third signal has its usual effect.
            restore()

    def restore() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    if server.certificates is not None:
        loop.add_signal_handler(signal.SIGHUP, reread, server)
    try:
        yield came
        for task in tasks:
            await task
    finally:
        restore()
        loop.remove_signal_handler(signal.SIGHUP)


def reread(server: Server) -> None:
    """SIGHUP: read the certificates again. What cannot be used the observer has heard; the old ones stay."""
    with suppress(OptionError):
        server.reload_certificates()


@contextmanager
def serve_in_thread(
    service: Service, *addresses: str | Address, loop_factory: LoopFactory | None = None, **options: Any
) -> Iterator[Server]:
    """Serve in a background thread while the block runs; yields the listening server, drains at the end.

    ::

        with serve_in_thread(service) as server:
            client = connect(server.address, service.framing)

    The server belongs to its thread's loop: use :meth:`Server.call_soon <fourtuple.Server.call_soon>` to act on
    it; reading its attributes is fine. An exception in the block aborts the server. Raises what
    :meth:`Server.start <fourtuple.Server.start>` raises.
    """
    check_callable("loop_factory", loop_factory)
    started = threading.Event()
    server = Server(service, *addresses, **options)
    failure: list[BaseException] = []

    async def main() -> None:
        async with server:
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
    except BaseException:
        _stop(server, server.abort)
        raise
    else:
        _stop(server, server.drain)
    finally:
        thread.join()
    if failure:
        raise failure[0]


def _seen(task: asyncio.Task[Any]) -> None:
    """What a stop raises ``serve_forever()`` raises, too: the loop need not report it a second time."""
    task.cancelled() or task.exception()


def _stop(server: Server, how: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """End a server in another thread; what comes of it, its ``serve_forever()`` tells."""

    def begin() -> None:
        if server.stopped:
            return  # and its loop may be in its last turns: a task would never run to its end
        stopping.append(server.loop.create_task(how()))
        stopping[0].add_done_callback(_seen)

    stopping: list[asyncio.Task[Any]] = []
    with suppress(RuntimeError):  # it has stopped by itself, and its loop is closed
        server.call_soon(begin)
