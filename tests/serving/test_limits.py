"""Limits of rates; failures of accept; and limits that change while the server serves."""

from __future__ import annotations

import asyncio
import errno
import threading
from contextlib import AsyncExitStack
from typing import Any

import pytest

from fourtuple import Deadlines, Service, events
from fourtuple.engine import Engine, ReadinessChoice
from fourtuple.engine.channel import Channel
from fourtuple.engine.readiness import IN
from fourtuple.engine.throttled import ThrottledChannel
from fourtuple.errors import DeadlinePassed, EncodeError, OptionError
from fourtuple.framing import Line
from fourtuple.stream import Reason
from fourtuple.testing import FlakyListener
from rig import FakeClock, echo, until
from serving.support import client, says, serving


def channel_of(server: Any) -> Channel:
    (runner,) = server._core.registry.runners.values()
    channel: Channel = runner.channel
    return channel


def test_beyond_the_rate_reading_is_delayed(run_async: Any, readiness: ReadinessChoice) -> None:
    async def main() -> None:
        clock = FakeClock()
        engine = Engine(readiness=readiness, clock=clock)
        async with serving(engine=engine, max_message_rate=10.0) as (server, _), client(server) as (reader, writer):
            writer.write(b"x\n" * 15)
            assert await reader.readexactly(20) == b"x\n" * 10
            writer.write(b"y\n")
            connection = channel_of(server)
            await until(lambda: not connection.mask & IN)
            clock.now += 0.4
            engine.sweep()
            assert await reader.readexactly(8) == b"x\n" * 4
            assert not connection.mask & IN, "what was read is not delivered yet"
            clock.now += 0.2
            engine.sweep()
            assert await reader.readexactly(4) == b"x\ny\n"

    run_async(main())


def test_one_large_burst_is_read_at_the_rate_and_not_held_against_the_peer(run_async: Any) -> None:
    async def main() -> None:
        clock = FakeClock()
        engine = Engine(clock=clock)
        async with (
            serving(engine=engine, max_octet_rate=1000.0, deadlines=Deadlines(rate_timeout=60.0)) as (server, heard),
            client(server) as (reader, writer),
        ):
            writer.write(b"x" * 19_999 + b"\n")
            began = clock.now
            while server.statistics.octets_in < 20_000:
                await until(lambda: server.statistics.octets_in == 20_000 or not channel_of(server).mask & IN)
                assert server.statistics.octets_in <= 1000 * (clock.now - began + 2)
                clock.now += 1
                engine.sweep()
            assert len(await reader.readline()) == 20_000
            assert heard.of(events.DeadlineMissed) == []

    run_async(main())


def test_above_the_rate_for_long_is_the_end(run_async: Any) -> None:
    async def main() -> None:
        clock = FakeClock()
        engine = Engine(clock=clock)
        deadlines = Deadlines(rate_timeout=5.0)
        async with (
            serving(engine=engine, max_octet_rate=10.0, deadlines=deadlines) as (server, heard),
            client(server) as (reader, writer),
        ):
            while not heard.of(events.Closed):
                if not writer.is_closing():
                    writer.write(b"0123456789\n")
                await asyncio.sleep(0.001)
                clock.now += 0.25
                engine.sweep()
            assert await reader.read() != b""
            (missed,) = heard.of(events.DeadlineMissed)
            assert isinstance(missed.error, DeadlinePassed)
            assert missed.error.which == "rate_timeout"
            assert heard.of(events.Closed)[0].reason is Reason.DEADLINE

    run_async(main())


def test_without_rates_channels_are_not_throttled(run_async: Any) -> None:
    async def main() -> None:
        async with serving() as (server, _), client(server) as talk:
            assert await says(talk, b"x\n") == b"x\n"
            assert type(channel_of(server)) is Channel
            server.change_limits(max_message_rate=1000.0)
            assert type(channel_of(server)) is ThrottledChannel
            assert await says(talk, b"x\n") == b"x\n"
            server.change_limits(max_message_rate=None)
            assert type(channel_of(server)) is Channel
            assert await says(talk, b"x\n") == b"x\n"

    run_async(main())


def test_a_rate_that_is_lifted_lets_go_at_once(run_async: Any) -> None:
    async def main() -> None:
        clock = FakeClock()
        async with (
            serving(engine=Engine(clock=clock), max_message_rate=1.0) as (server, _),
            client(server) as (reader, writer),
        ):
            writer.write(b"x\n" * 100)
            assert await reader.readline() == b"x\n"
            writer.write(b"y\n")
            await until(lambda: not channel_of(server).mask & IN)
            server.change_limits(max_message_rate=None)
            assert await reader.readexactly(200) == b"x\n" * 99 + b"y\n"

    run_async(main())


def test_a_conversation_in_a_thread_that_is_above_the_rate_for_long_is_ended_too(run_async: Any) -> None:
    async def main() -> None:
        service, clock = Service(Line()), FakeClock()

        @service.conversation
        def talk(connection: Any) -> None:
            for message in connection:
                connection.send(message)

        engine = Engine(clock=clock)
        async with (
            serving(service, engine=engine, max_octet_rate=10.0, deadlines=Deadlines(rate_timeout=5.0)) as (
                server,
                heard,
            ),
            client(server) as (_, writer),
        ):
            while not heard.of(events.Closed):
                if not writer.is_closing():
                    writer.write(b"0123456789\n")
                await asyncio.sleep(0.001)
                clock.now += 0.25
                engine.sweep()
            assert [str(event.error).partition(" on ")[0] for event in heard.of(events.DeadlineMissed)] == [
                "rate_timeout deadline of 5 s passed"
            ]

    run_async(main())


def test_failures_of_accept_are_counted_and_survived(run_async: Any, readiness: ReadinessChoice) -> None:
    async def main() -> None:
        async with serving(readiness=readiness) as (server, heard):
            script = errno.ENOMEM, errno.EPROTO, errno.EMFILE, errno.ECONNABORTED
            with FlakyListener(server, *script) as flaky:
                async with client(server) as talk:
                    assert await says(talk, b"x\n") == b"x\n"
                assert flaky.left == 0
            assert server.statistics.accept_failures == 4
            told = [errno.errorcode[event.error.errno] for event in heard.of(events.AcceptFailed) if not event.fatal]
            assert told == ["ENOMEM", "EPROTO", "ECONNABORTED"], "one lack of resources, said once"

    run_async(main())


def test_limits_change_while_running(run_async: Any) -> None:
    async def main() -> None:
        async with serving(max_connections=1) as (server, _), client(server) as first:
            assert await says(first, b"x\n") == b"x\n"
            async with client(server) as second:
                waiting = asyncio.ensure_future(says(second, b"y\n"))
                await until(lambda: server.listeners[0].paused == {"max_connections"})
                server.change_limits(max_connections=2)
                assert await waiting == b"y\n"
                assert server.max_connections == 2
                server.change_limits(max_connections=1, deny="127.0.0.1", refusal="no")
                assert await says(second, b"z\n") == b"z\n", "nobody who is here is ended"
            await until(lambda: not server.connections or len(server.connections) == 1)
            server.change_limits(max_connections=5)
            async with client(server) as third:
                assert await says(third, b"x\n") == b"no\n"
            assert server.limits.deny == "127.0.0.1"

    run_async(main())


def test_an_invalid_change_changes_nothing(run_async: Any) -> None:
    async def main() -> None:
        async with serving(echo("fixed:16")) as (server, _):
            before = server.limits
            with pytest.raises(OptionError, match="max_connections: expected at least 1, got 0 connections"):
                server.change_limits(max_connections=0, deny="127.0.0.1")
            with pytest.raises(OptionError, match="nosuch: there is no such option in Limits; Limits has"):
                server.change_limits(nosuch=1, deny="127.0.0.1")
            with pytest.raises(EncodeError):
                server.change_limits(refusal="not sixteen", deny="127.0.0.1")
            assert server.limits is before is server._core.admission.limits

    run_async(main())


def test_threads_are_allowed_while_running(run_async: Any) -> None:
    async def main() -> None:
        service, hold = Service(Line()), threading.Event()

        @service.reply(threads=True)
        def slow(message: bytes) -> bytes:
            hold.wait()
            return message

        try:
            async with serving(service, max_threads=1) as (server, _), AsyncExitStack() as stack:
                talks = [await stack.enter_async_context(client(server)) for _ in range(2)]
                for _, writer in talks:
                    writer.write(b"x\n")
                await until(lambda: server.listeners[0].paused == {"max_threads"})
                server.change_limits(max_threads=3)
                await until(lambda: server._core.threads.busy == 2)
                assert not server.listeners[0].paused
                server.change_limits(max_threads=1)
                assert server.listeners[0].paused == {"max_threads"}
                hold.set()
                assert [await reader.readline() for reader, _ in talks] == [b"x\n"] * 2
                await until(lambda: not server.listeners[0].paused)
        finally:
            hold.set()

    run_async(main())
