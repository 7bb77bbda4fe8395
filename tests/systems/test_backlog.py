"""The accept loop, with a backlog of 20: what was asked for is what the kernel holds."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any

import pytest

from fourtuple import Server, Sockets, serve_in_thread
from fourtuple.blocking import connect
from fourtuple.net.backlog import AcceptQueue
from fourtuple.net.passive import accept_queue_of, somaxconn
from fourtuple.services.echo import service

RunAsync = Callable[[Coroutine[Any, Any, None]], None]


def kernel_holds(listener_fd: int) -> int:
    """The limit of the accept queue, read from the kernel on a duplicate of the passive socket."""
    with socket.socket(fileno=listener_fd) as passive:
        try:
            queue = accept_queue_of(passive)
        finally:
            passive.detach()
    assert queue is not None
    assert queue.limit is not None
    return queue.limit


@pytest.mark.parametrize("backlog", [0, 1, 20, 4096])
def test_the_kernel_holds_what_was_asked_for(run_async: RunAsync, backlog: int) -> None:
    async def main() -> None:
        async with Server(service, sockets=Sockets(backlog=backlog)) as server:
            (listener,) = server.listeners
            expected = min(backlog, somaxconn() or backlog)
            assert kernel_holds(listener.fileno()) == listener.backlog == expected
            assert listener.asked_backlog == backlog

    run_async(main())


def test_a_clamped_backlog_is_reported(run_async: RunAsync) -> None:
    async def main() -> None:
        limit = somaxconn()
        assert limit is not None
        async with Server(service, sockets=Sockets(backlog=limit + 1)) as server:
            (listener,) = server.listeners
            assert (listener.asked_backlog, listener.backlog) == (limit + 1, limit)

    run_async(main())


def test_many_clients_are_accepted_one_after_the_other() -> None:
    """Five times as many clients as the queue has room for: the accept loop keeps it short."""
    with serve_in_thread(service, sockets=Sockets(backlog=20)) as server, ExitStack() as stack:
        clients = [stack.enter_context(connect(server.address, service.framing)) for _ in range(100)]
        for number, client in enumerate(clients):
            assert client.request(b"%d" % number, timeout=100) == b"%d" % number
        assert server.statistics.accepted == 100


def test_a_connection_in_the_accept_queue_is_served_in_the_end(run_async: RunAsync) -> None:
    async def main() -> None:
        async with Server(service, sockets=Sockets(backlog=20)) as server:
            server.pause()
            streams = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(20)]
            for _, writer in streams:
                writer.write(b"hello")
            (listener,) = server.listeners
            assert listener.accept_queue == 20
            assert listener.queue() == AcceptQueue(waiting=20, limit=20)
            assert server.statistics.accepted == 0
            server.resume()
            for reader, writer in streams:
                assert await reader.readexactly(5) == b"hello"
                writer.close()
                await writer.wait_closed()
            assert listener.accept_queue == 0

    run_async(main())


def test_the_example(run_example: Callable[..., list[str]]) -> None:
    first, second, third, fourth = run_example("backlog")
    assert first == "asked for 20, the kernel holds 20"
    assert "no answer in time (waited 0.5 s)" in second
    assert third == "21 connections wait in the accept queue"
    assert fourth == "accepted again: hello, 0 are waiting"
