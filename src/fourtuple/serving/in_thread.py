"""A server in a thread of its own, beside the program's other work."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Unpack

from fourtuple.address import Address
from fourtuple.errors import DeadlinePassed, ServiceError
from fourtuple.options import check_callable
from fourtuple.options.endpoint import Endpoint
from fourtuple.printable import error_text, traceback_of
from fourtuple.server import Server
from fourtuple.service import Service
from fourtuple.serving.closing import run_bounded
from fourtuple.serving.drain import ABORT_SECONDS
from fourtuple.serving.run import CANCELLED, LoopFactory, ServerOptions, retrieved
from fourtuple.serving.thread_end import ServerThread
from fourtuple.typevars import In, L, Out, S


@contextmanager
def serve_in_thread(
    service: Service[In, Out, S, L],
    *addresses: str | Address | socket.socket | Endpoint,
    loop_factory: LoopFactory | None = None,
    **options: Unpack[ServerOptions],
) -> Iterator[Server[In, Out, S, L]]:
    """Serve in a background thread while the block runs; yield the listening server, and drain it at the end.

    ::

        with serve_in_thread(service) as server:
            client = connect(server.address, service.framing)

    ``addresses`` and ``options`` are those of :class:`~fourtuple.Server`. ``loop_factory()`` makes the loop of the
    thread; by default it is that of asyncio. The server belongs to the loop of its thread. To act on it, use
    :meth:`Server.call_soon <fourtuple.Server.call_soon>`; you can read its attributes from your thread. An exception in
    the block aborts the server.

    Raises what :meth:`Server.start <fourtuple.Server.start>` raises, and :class:`~fourtuple.errors.ServiceError` if the
    program has cancelled the task that serves, or has called ``stop()`` of its loop. At the end of the block it raises
    :class:`~fourtuple.errors.DeadlinePassed` if ``drain_timeout`` has passed and a call has held the server's loop for
    5 seconds: the error names the call, and the thread is left running. Otherwise it raises what ended the server, or
    what the service's tear-down raised. If the block has raised an exception, that exception goes on, and has a note
    that tells the other error. Ctrl-C while the service is set up cancels the set-up; after ``tear_down_timeout``, one
    that goes on is abandoned with its thread, and the note says so.
    """
    check_callable("loop_factory", loop_factory)
    started = threading.Event()
    server = Server(service, *addresses, **options)
    failure: list[BaseException] = []
    starting: list[asyncio.Task[Any] | None] = []
    loops: list[asyncio.AbstractEventLoop] = []
    interrupted = threading.Event()

    async def main() -> None:
        starting.append(asyncio.current_task())
        loops.append(asyncio.get_running_loop())
        if interrupted.is_set():
            return
        async with server:
            started.set()
            await server.serve_forever()

    def work() -> None:
        try:
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                run_bounded(runner, main)
        except asyncio.CancelledError:
            if not interrupted.is_set():
                failure.append(ServiceError(CANCELLED))
        except BaseException as error:
            failure.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=work, name=f"fourtuple-server-{service.name}", daemon=True)
    running = ServerThread(
        thread, lambda: loops[0] if loops else None, work.__code__, lambda: repr(server), server.observer
    )
    try:
        thread.start()  # waits for the thread, which may be setting up the service already
        started.wait()
    except BaseException as error:  # Ctrl-C, while the service is set up
        interrupted.set()
        for task in starting:
            _cancel_from_outside(task)
        if thread.is_alive():  # otherwise it has not begun, and ends when it does
            _join_noting(running, error, failure, set_up=server.deadlines.tear_down_timeout)
        raise
    if failure:
        thread.join()
        raise failure[0]
    try:
        yield server
    except BaseException as error:
        _stop(server, server.abort)
        _join_noting(running, error, failure)
        raise
    _stop(server, server.drain)
    running.join(server.deadlines.drain_timeout)
    if failure:
        raise failure[0]


def _join_noting(
    running: ServerThread, error: BaseException, failure: list[BaseException], *, set_up: float | None = None
) -> None:
    """Wait for a server that was aborted because of ``error``, which is raised next; note on it what else failed.

    That is a server that does not end, or its ``failure``. The failure has happened in another thread, so it is neither
    the error's cause nor its context.
    """
    try:
        running.join(ABORT_SECONDS, set_up=set_up)
    except DeadlinePassed as late:
        error.add_note(f"fourtuple: {late}")
    for other in failure:
        lines = "\n".join(traceback_of(other))
        error.add_note(f"fourtuple: the server in its thread also failed: {error_text(other)}\n{lines}")


def _cancel_from_outside(task: asyncio.Task[Any] | None) -> None:
    """Cancel a task of another thread's loop."""
    if task is not None:
        with suppress(RuntimeError):  # the loop is closed
            task.get_loop().call_soon_threadsafe(task.cancel)


def _stop(server: Server, how: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """Stop a server in another thread. Its ``serve_forever()`` raises what the stop raises."""

    def begin() -> None:
        if server.stopped:
            return  # the loop may be about to close: a new task might never run to its end
        stopping.append(server.loop.create_task(how()))
        stopping[0].add_done_callback(retrieved)

    stopping: list[asyncio.Task[Any]] = []
    with suppress(RuntimeError):  # the server has stopped already, and its loop is closed
        server.call_soon(begin)
