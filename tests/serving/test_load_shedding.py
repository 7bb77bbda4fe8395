"""The connections that hold most are ended when all hold too much, and one that holds too much alone."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest

from fourtuple import Connection, Service, events
from fourtuple.engine import Engine, ReadinessChoice
from fourtuple.errors import ConnectionEnded
from fourtuple.framing import u32
from fourtuple.stream import Reason
from rig import FakeClock, until
from serving.support import client, serving


def silent() -> Service:
    """A service that swallows everything: what a peer announces and begins stays in the buffers."""
    service = Service(u32(), name="silent")
    service.reply(lambda message: None)
    return service


def test_the_heaviest_is_ended_when_all_hold_too_much(run_async: Any, readiness: ReadinessChoice) -> None:
    async def main() -> None:
        clock = FakeClock()
        engine = Engine(clock=clock, readiness=readiness)
        async with (
            serving(silent(), engine=engine, max_buffered=300_000) as (server, heard),
            AsyncExitStack() as stack,
        ):
            sizes = [50_000, 250_000, 100_000]
            talks = [await stack.enter_async_context(client(server)) for _ in sizes]
            for (_, writer), size in zip(talks, sizes, strict=True):
                writer.write((1_000_000).to_bytes(4) + b"x" * size)
            await until(lambda: server.statistics.octets_in == 400_012)
            clock.now += 1
            engine.sweep()
            (limit,) = heard.of(events.LimitExceeded)
            assert limit.limit == "max_buffered"
            assert limit.why.endswith(
                " holds 250004 octets of 400012, more than any other; 300000 are allowed for all connections"
            ), limit.why
            assert [event.reason for event in heard.of(events.Closed)] == [Reason.LIMIT]
            with pytest.raises(ConnectionError):
                await talks[1][0].read()
            assert heard.of(events.AcceptPaused)[0].why == "max_buffered reached: 400012 octets are held"
            clock.now += 1
            engine.sweep()
            assert len(heard.of(events.AcceptResumed)) == 1
            assert (server.statistics.limited, server.statistics.active) == (1, 2)

    run_async(main())


def test_one_connection_that_holds_too_much(run_async: Any) -> None:
    async def main() -> None:
        clock = FakeClock()
        engine = Engine(clock=clock)
        async with (
            serving(silent(), engine=engine, max_buffered_per_connection=1000) as (server, heard),
            client(server) as (_, writer),
        ):
            writer.write((1_000_000).to_bytes(4) + b"x" * 1001)
            await until(lambda: server.statistics.octets_in == 1005)
            clock.now += 1
            engine.sweep()
            (limit,) = heard.of(events.LimitExceeded)
            assert limit.limit == "max_buffered_per_connection"
            assert limit.why.endswith(" holds 1005 octets, 1000 are allowed"), limit.why

    run_async(main())


def test_a_limit_is_the_reason_in_the_calls_that_wait(run_async: Any) -> None:
    async def main() -> None:
        clock, said = FakeClock(), []
        engine = Engine(clock=clock)
        service = Service("u32")

        @service.conversation
        async def talk(connection: Connection) -> None:
            for call in (connection.receive, connection.receive, lambda: connection.send(b"x")):
                try:
                    await call()
                except ConnectionEnded as error:
                    said.append(str(error))

        async with (
            serving(service, engine=engine, max_buffered_per_connection=1000) as (server, heard),
            client(server) as (_, writer),
        ):
            writer.write((1_000_000).to_bytes(4) + b"x" * 1001)
            await until(lambda: server.statistics.octets_in == 1005)
            clock.now += 1
            engine.sweep()
            await until(lambda: len(said) == 3)
            assert not heard.of(events.HandlerRaised)
        (text,) = set(said)
        assert text.startswith("aborted by this side (max_buffered_per_connection): ")
        assert text.endswith("holds 1005 octets, 1000 are allowed")

    run_async(main())
