"""What the calls of a connection return can be given to asyncio.create_task(), with C and without."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fourtuple import Connection, Limits, Server, Service, connect
from fourtuple.connection.awaitables import DONE, Done, Failed, Later
from fourtuple.errors import ConnectionEnded, DeadlinePassed

RunAsync = Callable[[Coroutine[Any, Any, Any]], Any]
service = Service("line")


@service.conversation
async def repeat(connection: Connection) -> None:
    async for message in connection:
        await connection.send(message)


def test_every_call_of_a_connection_can_be_a_task(run_async: RunAsync) -> None:
    async def main() -> None:
        async with Server(service, "127.0.0.1:0") as server:
            connection = await connect(server.address, "line")
            assert await asyncio.create_task(connection.request(b"one")) == b"one"
            await asyncio.create_task(connection.send(b"two"))
            assert await asyncio.create_task(connection.receive()) == b"two"
            await asyncio.create_task(connection.send_many([b"three"]))
            assert await asyncio.create_task(connection.receive()) == b"three"
            await asyncio.create_task(connection.send_octets(b"four\n"))
            assert await asyncio.create_task(connection.receive()) == b"four"
            await asyncio.create_task(connection.send_eof())
            await asyncio.create_task(connection.close())
            await asyncio.create_task(connection.wait_closed())

    run_async(main())


def test_a_task_that_waits_for_the_end_can_be_cancelled(run_async: RunAsync) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as passive:  # a peer that never reads
            limits = Limits(high_water=1 << 16, max_outbox=1 << 27)
            connection = await connect(f"127.0.0.1:{passive.getsockname()[1]}", "line", limits=limits)
            sending = asyncio.create_task(connection.send(bytes(1 << 26)))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(sending, 0.05)
            assert sending.cancelled()
            connection.abort()

    run_async(main())


def test_a_failure_and_a_result_go_through_a_task(run_async: RunAsync) -> None:
    async def seven() -> int:
        await asyncio.sleep(0)
        return 7

    async def nothing() -> None: ...

    async def main() -> None:
        assert await asyncio.create_task(Later(seven)) == 7
        assert await Later(seven) == 7
        with pytest.raises(ConnectionEnded):
            await asyncio.create_task(Failed(ConnectionEnded("over"), nothing))
        Later(seven).close()

    run_async(main())


@pytest.mark.parametrize("done", [DONE, Done()])
def test_done_is_a_coroutine_that_has_ended(done: Any) -> None:
    assert asyncio.iscoroutine(done)
    assert inspect.isawaitable(done)
    with pytest.raises(StopIteration):
        done.send(None)
    with pytest.raises(DeadlinePassed):
        done.throw(DeadlinePassed("request", 1.0))
    with pytest.raises(KeyError):
        done.throw(KeyError)
    assert done.close() is None
