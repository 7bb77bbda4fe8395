"""Admission: who waits in the kernel's queue, who is turned away, and what they get to read."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from certificates import Files, tls_of, trusting
from fourtuple import Deadlines, Server, Service, events
from fourtuple.engine import Engine, ReadinessChoice
from fourtuple.errors import EncodeError
from fourtuple.framing import Line
from fourtuple.net.tcpinfo import TcpInfo
from fourtuple.options import Limits
from fourtuple.serving.admission import MAX_HANDSHAKES, MAX_LINGERING
from rig import FakeClock, Seen, echo, until
from serving.support import client, says, serving


def why(heard: Seen) -> list[str]:
    return [event.limit for event in heard.of(events.Refused)]


def test_max_connections_delays_connections_and_drops_none(run_async: Any, readiness: ReadinessChoice) -> None:
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
            assert heard.of(events.Refused)[0].why == "127.0.0.1 has 1 connections, no more than 1 are allowed"
            assert (server.statistics.refused, server.statistics.accepted) == (1, 2)
            assert dict(server._core.admission.refused) == {"max_connections_per_address": 1}
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


def test_accept_rate_delays_connections_and_drops_none(run_async: Any, readiness: ReadinessChoice) -> None:
    async def main() -> None:
        clock = FakeClock()
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
        clock = FakeClock()
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


# -- over TLS ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["always", "detect"])
def test_a_refusal_is_delivered_behind_the_handshake(
    run_async: Any, readiness: ReadinessChoice, tmp_path: Path, mode: str
) -> None:
    async def main() -> None:
        tls = tls_of(Files(tmp_path), mode=mode)
        async with serving(deny="127.0.0.1", refusal="no", tls=tls, readiness=readiness) as (server, heard):
            for _ in range(3):
                async with client(server, ssl=trusting(), server_hostname="localhost") as (reader, writer):
                    writer.write(b"let me in\n")
                    assert await reader.read() == b"no\n"
            assert why(heard) == ["deny"] * 3
            assert heard.of(events.Accepted) == heard.of(events.Closed) == heard.of(events.TlsStarted) == []
            statistics = server.statistics
            assert (statistics.accepted, statistics.probes, statistics.handshakes) == (0, 0, 0)
            await until(lambda: not server.engine.channels)

    run_async(main())


def test_a_plain_peer_at_a_port_for_both_is_reported_behind_its_first_octet(run_async: Any, tmp_path: Path) -> None:
    async def main() -> None:
        tls = tls_of(Files(tmp_path), mode="detect")
        async with serving(deny="127.0.0.1", refusal="no", tls=tls) as (server, _), client(server) as talk:
            assert await says(talk, b"let me in\n") == b"no\n"

    run_async(main())


@pytest.mark.parametrize("mode", ["always", "detect"])
@pytest.mark.parametrize("timeout", [10.0, None])
def test_the_handshakes_of_the_refused_are_bounded_in_number_and_time(
    run_async: Any, readiness: ReadinessChoice, tmp_path: Path, mode: str, timeout: float | None
) -> None:
    async def main() -> None:
        engine = Engine(readiness=readiness, clock=(clock := FakeClock()))
        deadlines = Deadlines(handshake_timeout=timeout, first_message_timeout=None)
        options = {"deny": "127.0.0.1", "refusal": "no", "deadlines": deadlines, "engine": engine}
        async with serving(tls=tls_of(Files(tmp_path), mode=mode), **options) as (server, heard):
            stalled = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(MAX_HANDSHAKES + 5)]
            try:
                await until(lambda: len(why(heard)) == MAX_HANDSHAKES + 5)
                assert len(engine.channels) == MAX_HANDSHAKES
                assert server.statistics.active == 0
                async with client(server) as (reader, _):
                    assert await reader.read() == b"", "one more is closed at once"
                clock.now += 9.9
                engine.sweep()
                assert len(engine.channels) == MAX_HANDSHAKES
                clock.now += 0.2
                engine.sweep()
                for sock in stalled[:MAX_HANDSHAKES]:
                    sock.setblocking(False)
                    assert await asyncio.get_running_loop().sock_recv(sock, 1) == b""
            finally:
                for sock in stalled:
                    sock.close()
            await until(lambda: not engine.channels)
            async with client(server, ssl=trusting(), server_hostname="localhost") as (reader, _):
                assert await reader.read() == b"no\n", "there is room again"
            assert heard.of(events.DeadlineMissed) == []

    run_async(main())


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello"])
def test_a_failed_handshake_of_a_refused_connection_is_not_reported(
    run_async: Any, tmp_path: Path, said: bytes
) -> None:
    async def main() -> None:
        async with serving(deny="127.0.0.1", refusal="no", tls=tls_of(Files(tmp_path))) as (server, heard):
            async with client(server) as (reader, writer):
                writer.write(said)
                assert b"no" not in await reader.read()
            assert why(heard) == ["deny"]
            assert heard.of(events.TlsFailed) == []
            await until(lambda: not server.engine.channels)

    run_async(main())


# -- who waited for too long ------------------------------------------------------------------------------


def silent_for(sock: socket.socket, seconds: float) -> bool:
    """Whether a client has sent nothing for so long, by the kernel's clock, by which its age is measured, too."""
    info = TcpInfo.of(sock)
    return info.last_data_sent / 1000 >= seconds


async def waiting(server: Server, *said: bytes) -> list[socket.socket]:
    """Clients in the accept queue of a server that pauses."""
    socks = []
    for octets in said:
        sock = socket.create_connection(("127.0.0.1", server.port))
        sock.setblocking(False)
        if octets:
            sock.send(octets)
        socks.append(sock)
    return socks


async def read(sock: socket.socket) -> bytes:
    found = b""
    with suppress(ConnectionResetError):
        while data := await asyncio.get_running_loop().sock_recv(sock, 4096):
            found += data
    return found


def test_a_connection_queued_for_too_long_is_turned_away(run_async: Any, readiness: ReadinessChoice) -> None:
    """Its client may have given up: what it asked for would be done for nobody."""

    async def main() -> None:
        done: list[bytes] = []
        service = Service(Line())
        service.reply(lambda message: done.append(message) or message)
        async with serving(service, max_queue_age=0.05, refusal="late", readiness=readiness) as (server, heard):
            server.pause()
            socks = await waiting(server, b"work\n", b"", b"work\n", b"work\n")
            socks[2].shutdown(socket.SHUT_WR)
            await until(lambda: all(silent_for(sock, 0.1) for sock in socks))
            socks[3].send(b"still here\n")
            server.change_limits(max_queue_age=0.05)
            server.resume()
            await until(lambda: len(why(heard)) >= 3)
            assert [await read(sock) for sock in socks[:3]] == [b"late\n"] * 3
            assert why(heard)[:3] == ["max_queue_age"] * 3
            assert heard.of(events.Refused)[0].why.endswith(
                " s ago in the accept queue, no more than 0.05 s are allowed"
            )
            assert server._core.admission.refused["max_queue_age"] >= 3
            for sock in socks:
                sock.close()

    run_async(main())


def test_a_connection_that_speaks_or_comes_in_time_is_accepted_even_after_its_fin(
    run_async: Any, readiness: ReadinessChoice
) -> None:
    async def main() -> None:
        async with serving(max_queue_age=3600.0, readiness=readiness) as (server, heard):
            server.pause()
            socks = await waiting(server, b"one\n", b"two\n")
            socks[1].shutdown(socket.SHUT_WR)  # as nc -N does, and waits for the answer
            server.resume()
            assert await read(socks[1]) == b"two\n"
            assert await asyncio.get_running_loop().sock_recv(socks[0], 10) == b"one\n"
            assert why(heard) == []
            for sock in socks:
                sock.close()

    run_async(main())


def test_by_default_a_queued_connection_is_served_whatever_its_age(run_async: Any, readiness: ReadinessChoice) -> None:
    async def main() -> None:
        async with serving(readiness=readiness) as (server, heard):
            server.pause()
            (sock,) = await waiting(server, b"one\n")
            await until(lambda: silent_for(sock, 0.1))
            server.resume()
            assert await asyncio.get_running_loop().sock_recv(sock, 10) == b"one\n"
            assert why(heard) == []
            sock.close()

    run_async(main())


def test_a_drain_turns_away_connections_queued_for_too_long(run_async: Any, readiness: ReadinessChoice) -> None:
    async def main() -> None:
        async with serving(max_queue_age=0.05, readiness=readiness) as (server, heard):
            server.pause()
            socks = await waiting(server, b"one\n", b"two\n")
            await until(lambda: all(silent_for(sock, 0.1) for sock in socks))
            await server.drain()
            assert why(heard) == ["max_queue_age"] * 2
            assert server.statistics.accepted == 0
            for sock in socks:
                sock.close()

    run_async(main())


def test_peers_of_unix_sockets_have_no_age(run_async: Any, readiness: ReadinessChoice, tmp_path: Path) -> None:
    async def main() -> None:
        limits = Limits(max_queue_age=0.001)
        async with Server(echo(), f"unix:{tmp_path}/s", limits=limits, readiness=readiness) as server:
            reader, writer = await asyncio.open_unix_connection(f"{tmp_path}/s")
            writer.write(b"x\n")
            assert await reader.readline() == b"x\n"
            writer.close()
            await server.abort()

    run_async(main())
