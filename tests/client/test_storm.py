"""A storm of cancels, time-outs and resets, over real sockets: nothing stays in use or waits, no reply is wrong."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import fourtuple.blocking
from client.conftest import AT_ONCE
from fourtuple import Client, Connection, Pool, Service, serve_in_thread
from fourtuple.errors import FourTupleError

RunAsync = Callable[[Coroutine[Any, Any, Any]], Any]


def moody(seed: int) -> Service:
    """An echo that sometimes answers late, resets, finishes, or goes in the middle of a reply."""
    service = Service("line")
    chance = random.Random(seed)

    @service.conversation
    async def serve(connection: Connection) -> None:
        async for message in connection:
            mood = 0.5 if message.startswith(b"last") else chance.random()
            if mood < 0.02:
                connection.abort()
                return
            if mood < 0.04:
                return
            if mood > 0.97:
                await asyncio.sleep(chance.random() * 0.02)
            await connection.send(b"=" + message)

    return service


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("key", [None, lambda message: message.removeprefix(b"=")], ids=["by order", "by key"])
def test_a_storm_over_the_async_client(run_async: RunAsync, seed: int, key: Any) -> None:
    chance = random.Random(seed)
    outcomes = Counter[str]()

    async def ask(client: Client, message: bytes) -> None:
        try:
            reply = await client.request(
                message, timeout=0.005 + chance.random() * 0.2, idempotent=chance.random() < 0.5
            )
            assert reply == b"=" + message, "a reply at a wrong place"
            outcome = "reply"
        except FourTupleError as error:
            outcome = str(error.fate)
        except asyncio.CancelledError:
            outcome = "cancelled"
        outcomes[outcome] += 1

    async def storm(address: str) -> None:
        pool = Pool(max_connections=3, max_pipelined=4, max_abandoned=4, request_timeout=0.1)
        async with Client(address, "line", pool=pool, retries=AT_ONCE, key=key) as client:
            numbers = itertools.count()
            while min(outcomes["reply"], outcomes["cancelled"]) <= 100:  # on a busy machine most are too late
                tasks = []
                for number in itertools.islice(numbers, 1500):
                    tasks.append(asyncio.ensure_future(ask(client, b"%d" % number)))
                    if chance.random() < 0.3:
                        chance.choice(tasks).cancel()
                    if chance.random() < 0.01:
                        client.expire()
                    if number % 7 == 0:
                        await asyncio.sleep(0)
                await asyncio.gather(*tasks, return_exceptions=True)
            counts = client.statistics
            assert (counts.in_use, counts.waiting) == (0, 0)
            assert counts.open <= 3
            assert await client.request(b"last", timeout=30, idempotent=True) == b"=last"
        assert client.statistics.open == 0
        assert not client._readers

    with serve_in_thread(moody(seed), "127.0.0.1:0") as server:
        run_async(storm(str(server.address)))
    assert set(outcomes) <= {"reply", "cancelled", "not_sent", "perhaps_sent"}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("key", [None, lambda message: message.removeprefix(b"=")], ids=["by order", "by key"])
def test_a_storm_over_the_blocking_client(seed: int, key: Any) -> None:
    outcomes: list[str] = []
    wrong: list[BaseException] = []

    def work(client: fourtuple.blocking.Client, thread: int) -> None:
        chance = random.Random(seed * 100 + thread)
        for number in range(150):
            message = b"%d-%d" % (thread, number)
            try:
                timeout = 0.005 + chance.random() * 0.2
                reply = client.request(message, timeout, idempotent=chance.random() < 0.5)
                assert reply == b"=" + message, "a reply at a wrong place"
                outcomes.append("reply")
            except FourTupleError as error:
                outcomes.append(str(error.fate))
            except BaseException as error:
                wrong.append(error)
                raise
            if chance.random() < 0.02:
                client.expire()

    pool = Pool(max_connections=3, max_pipelined=4, max_abandoned=4, request_timeout=0.1)
    with (
        serve_in_thread(moody(seed), "127.0.0.1:0") as server,
        fourtuple.blocking.Client(str(server.address), "line", pool=pool, retries=AT_ONCE, key=key) as client,
    ):
        threads = [threading.Thread(target=work, args=(client, number)) for number in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        counts = client.statistics
        assert (counts.in_use, counts.waiting) == (0, 0)
        assert client.request(b"last", timeout=30, idempotent=True) == b"=last"
    assert not wrong
    assert set(outcomes) <= {"reply", "not_sent", "perhaps_sent"}
    assert outcomes.count("reply") > 100
