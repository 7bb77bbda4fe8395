"""The gate: who waits in the kernel's queue, who is turned away, and what they get to read."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import AsyncExitStack
from typing import Any

import pytest

from fourtuple import Server, events
from fourtuple.engine import Engine, ReadinessChoice
from fourtuple.errors import EncodeError
from fourtuple.framing import Line
from fourtuple.gate import MAX_LINGERING
from fourtuple.options import Limits
from limits.serving import Clock, Heard, client, echo, says, serving, until


def why(heard: Heard) -> list[str]:
    return [event.limit for event in heard.of(events.Refused)]


def test_max_connections_makes_wait_and_drops_nobody(run_async: Any, readiness: ReadinessChoice) -> None:
    async def main() -> None:
        async with serving(max_connections=2, readiness=readiness) as (server, heard):
            answers = await asyncio.gather(*(one(server, number) for number in range(20)))
            assert answers == [b"%d\n" % number for number in range(20)]
            assert server.statistics.accepted == 20
            assert why(heard) == []
            assert heard.of(events.AcceptPaused)[0].why == "max_connections reached: 2 connections"
            await until(lambda: not server.connections)

    async def one(server: Server, number: int) -> bytes:
        async with client(server) as talk:
            return await says(talk, b"%d\n" % number)

    run_async(main())


def test_one_address_too_many_reads_why(run_async: Any, readiness: ReadinessChoice) -> None:
    async def main() -> None:
        async with (
            serving(max_connections_per_address=1, refusal="busy, come back later", readiness=readiness) as (
                server,
                heard,
            ),
            client(server) as first,
        ):
            assert await says(first, b"hello\n") == b"hello\n"
            async with client(server) as (reader, writer):
                # What it says before it listens must not bring an RST that eats the message.
                writer.write(b"let me in\n" * 10)
                assert await reader.read() == b"busy, come back later\n"
            async with client(server, local_addr=("127.0.0.2", 0)) as other:
                assert await says(other, b"hello\n") == b"hello\n"
            assert why(heard) == ["max_connections_per_address"]
            assert heard.of(events.Refused)[0].why == "127.0.0.1 has 1 connections, 1 are allowed"
            assert (server.statistics.refused, server.statistics.accepted) == (1, 2)
            assert dict(server.gate.refused) == {"max_connections_per_address": 1}
            assert await says(first, b"still here\n") == b"still here\n"

    run_async(main())


def test_an_address_may_return_when_its_connection_has_ended(run_async: Any) -> None:
    async def main() -> None:
        async with serving(max_connections_per_address=1, max_connections_per_network=1) as (server, _):
            for _ in range(3):
                async with client(server) as talk:
                    assert await says(talk, b"x\n") == b"x\n"
                await until(lambda: not server.connections)

    run_async(main())


def test_deny_and_allow(run_async: Any) -> None:
    async def main() -> None:
        async with serving(allow="127.0.0.0/8", deny="127.0.0.2") as (server, heard):
            async with client(server) as talk:
                assert await says(talk, b"x\n") == b"x\n"
            async with client(server, local_addr=("127.0.0.2", 0)) as talk:
                assert await says(talk, b"x\n") == b""
            assert why(heard) == ["deny"]

    run_async(main())


def test_accept_rate_makes_wait_and_drops_nobody(run_async: Any, readiness: ReadinessChoice) -> None:
    async def main() -> None:
        clock = Clock()
        engine = Engine(readiness=readiness, clock=clock)
        async with serving(accept_rate=10.0, engine=engine) as (server, heard), AsyncExitStack() as stack:
            talks = [await stack.enter_async_context(client(server)) for _ in range(15)]
            assert [await says(talk, b"x\n") for talk in talks[:10]] == [b"x\n"] * 10, "a second's worth at once"
            for arrived in range(10, 15):
                assert server.statistics.accepted == arrived
                clock.now += 0.1001
                assert await says(talks[arrived], b"x\n") == b"x\n"
            assert why(heard) == []
            assert [event.why for event in heard.of(events.AcceptDelayed)] == ["more than accept_rate, 10 a second"]
            assert heard.of(events.AcceptPaused) == [], "an event for each would be a flood"

    run_async(main())


def test_accept_rate_per_address_refuses(run_async: Any) -> None:
    async def main() -> None:
        clock = Clock()
        async with serving(accept_rate_per_address=1.0, engine=Engine(clock=clock)) as (server, heard):
            async with client(server) as talk:
                assert await says(talk, b"x\n") == b"x\n"
            async with client(server) as talk:
                assert await says(talk, b"x\n") == b""
            clock.now += 1.0
            async with client(server) as talk:
                assert await says(talk, b"x\n") == b"x\n"
            async with client(server, local_addr=("127.0.0.3", 0)) as talk:
                assert await says(talk, b"x\n") == b"x\n"
            assert why(heard) == ["accept_rate_per_address"]

    run_async(main())


def test_the_refused_that_linger_are_bounded(run_async: Any) -> None:
    async def main() -> None:
        async with serving(deny="127.0.0.1", refusal="no") as (server, heard):
            socks = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(MAX_LINGERING + 5)]
            try:
                await until(lambda: len(heard.of(events.Refused)) == MAX_LINGERING + 5)
                assert len(server.engine.channels) == MAX_LINGERING
                assert server.statistics.active == 0
            finally:
                for sock in socks:
                    sock.close()
            await until(lambda: not server.engine.channels)

    run_async(main())


def test_a_refusal_that_the_framing_cannot_carry_is_found_at_once() -> None:
    with pytest.raises(EncodeError):
        Server(echo("fixed:16"), limits=Limits(refusal="no"))


def test_unix_peers_are_not_subject_to_networks(run_async: Any, tmp_path: Any) -> None:
    async def main() -> None:
        async with Server(
            echo(), f"unix:{tmp_path}/s", limits=Limits(allow="192.0.2.1", max_connections_per_address=1)
        ) as server:
            for _ in range(2):
                reader, writer = await asyncio.open_unix_connection(f"{tmp_path}/s")
                writer.write(b"x\n")
                assert await reader.readline() == b"x\n"
                writer.close()
            await server.abort()

    run_async(main())


def test_what_cannot_be_made_costs_its_connection_alone(run_async: Any, readiness: ReadinessChoice) -> None:
    async def main() -> None:
        made = Line.decoder
        lacks = [MemoryError("no room")] * 2

        class Costly(Line):
            def decoder(self) -> Any:
                if lacks:
                    raise lacks.pop()
                return made(self)

        complaints: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: complaints.append(context["exception"]))
        async with serving(echo(Costly()), max_connections_per_address=1, readiness=readiness) as (server, heard):
            for _ in range(2):
                async with client(server) as talk:
                    assert await says(talk, b"x\n") == b""
            async with client(server) as talk:
                assert await says(talk, b"x\n") == b"x\n"
                statistics = server.statistics
            assert [event.why for event in heard.of(events.Refused)] == ["MemoryError: no room"] * 2
            assert (statistics.accepted, statistics.active, statistics.refused) == (1, 1, 2)
            assert [type(error) for error in complaints] == [MemoryError] * 2

    run_async(main())


def test_a_peer_that_would_begin_with_tls_is_told_nothing(run_async: Any) -> None:
    async def main() -> None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        async with serving(deny="127.0.0.1", refusal="no", tls=tls) as (server, _), client(server) as (reader, _writer):
            assert await reader.read() == b""

    run_async(main())
