"""A server behind balancers: whom it believes, what it calls its connections, and what it does with lies."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from certificates import Files, trusting
from fourtuple import Deadlines, FourTuple, Proxy, Service, Tls, events, serve_in_thread
from fourtuple import connect as connect_async
from fourtuple.blocking import connect
from fourtuple.engine import Engine
from fourtuple.errors import OptionError
from fourtuple.framing import Line
from fourtuple.proxy import UNIQUE_ID, ProxyHeader
from fourtuple.server import Server
from fourtuple.serving.admission import MAX_HANDSHAKES
from fourtuple.stream import Reason
from rig import FakeClock, echo, until
from serving.support import client, says, serving

CLIENT = FourTuple("192.0.2.80", 443, "198.51.100.7", 56324)
V1 = b"PROXY TCP4 198.51.100.7 192.0.2.80 56324 443\r\n"
V2 = ProxyHeader(CLIENT, tlvs=((UNIQUE_ID, b"seven"),)).encode()
HEADERS = [V1, V2]
REQUIRED = Proxy(protocol="required")
OPTIONAL = Proxy(protocol="optional")
# Loopback is not among them: the tests' own clients are not believed.
ELSEWHERE = "10.0.0.0/8, 2001:db8::/32"


def who() -> Service:
    """Answers every line with the names that the handler sees."""
    service = Service(Line())

    @service.reply
    def reply(_message: bytes, connection: Any) -> bytes:
        transport = "same" if connection.transport_name == connection.name else "other"
        return f"{connection.name}, transport {transport}".encode()

    return service


def at_the_door(server: Server) -> list[int]:
    """The octets that each connection has sent that has not said for whom it comes."""
    return [runner.stream.octets_in for runner in server._core.registry.runners.values() if not runner.stream.ready]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("proxy", [REQUIRED, OPTIONAL])
def test_the_handler_and_the_events_see_the_real_client(
    run_async: Any, readiness: Any, header: bytes, proxy: Proxy
) -> None:
    async def main() -> None:
        async with serving(who(), proxy=proxy, readiness=readiness) as (server, heard):
            async with client(server) as talk:
                assert await says(talk, header + b"?\n") == f"{CLIENT}, transport other\n".encode()
                (connection,) = server.connections.values()
                assert connection.name == CLIENT
                assert server.find(CLIENT) is connection
                assert connection.transport_name.remote_ip == "127.0.0.1"
                assert connection.proxy_header is not None
            await until(lambda: heard.of(events.Closed))
            (accepted,) = heard.of(events.Accepted)
            assert (accepted.name, accepted.transport) == (CLIENT, connection.transport_name)
            assert heard.of(events.Closed)[0].name == CLIENT

    run_async(main())


def test_of_several_that_claim_one_name_the_eldest_is_found(run_async: Any, readiness: Any) -> None:
    """The kernel gives a name once. Two balancers, or one that lies, may say the same one twice."""

    async def main() -> None:
        async with serving(who(), proxy=REQUIRED, readiness=readiness) as (server, _), AsyncExitStack() as stack:
            talks = [await stack.enter_async_context(client(server)) for _ in range(4)]
            for talk in talks:
                await says(talk, V1 + b"?\n")
            ids = sorted(server.connections)

            def found() -> int | None:
                connection = server.find(CLIENT)
                return None if connection is None else connection.id

            async def end(number: int) -> None:
                talks[number][1].close()
                await until(lambda: ids[number] not in server.connections)

            assert found() == ids[0]
            await end(1)
            assert found() == ids[0]
            await end(0)
            assert found() == ids[2]
            await end(2)
            assert found() == ids[3]
            await end(3)
            assert found() is None

    run_async(main())


@pytest.mark.parametrize("header", [b"PROXY UNKNOWN\r\n", ProxyHeader(local=True).encode()])
def test_local_and_unknown_keep_the_transports_name(run_async: Any, readiness: Any, header: bytes) -> None:
    async def main() -> None:
        async with serving(who(), proxy=REQUIRED, readiness=readiness) as (server, heard), client(server) as talk:
            answer = await says(talk, header + b"?\n")
            assert answer.endswith(b", transport same\n")
            assert heard.of(events.Accepted)[0].transport is None

    run_async(main())


def test_a_header_octet_by_octet(run_async: Any, readiness: Any) -> None:
    async def main() -> None:
        async with serving(who(), proxy=REQUIRED, readiness=readiness) as (server, heard), client(server) as talk:
            for number, octet in enumerate(V2, 1):
                talk[1].write(bytes([octet]))
                await until(lambda expected=number: at_the_door(server) == [expected] or heard.of(events.Accepted))
            await until(lambda: heard.of(events.Accepted))
            assert await says(talk, b"?\n") == f"{CLIENT}, transport other\n".encode()

    run_async(main())


def test_with_proxy_off_a_header_is_data(run_async: Any, readiness: Any) -> None:
    async def main() -> None:
        async with serving(echo(), readiness=readiness) as (server, _), client(server) as talk:
            assert await says(talk, V1) == V1.replace(b"\r", b"")

    run_async(main())


def test_with_an_optional_header_plain_clients_are_served(run_async: Any, readiness: Any) -> None:
    async def main() -> None:
        async with serving(who(), proxy=OPTIONAL, readiness=readiness) as (server, heard), client(server) as talk:
            assert (await says(talk, b"?\n")).endswith(b"transport same\n")
            assert heard.of(events.Accepted)[0].transport is None

    run_async(main())


def test_a_peer_that_is_not_trusted_is_refused_where_a_header_is_required(run_async: Any, readiness: Any) -> None:
    async def main() -> None:
        proxy = Proxy(protocol="required", trusted=ELSEWHERE)
        async with serving(who(), proxy=proxy, readiness=readiness) as (server, heard):
            async with client(server) as talk:
                assert await says(talk, V1 + b"?\n") == b""
            (refused,) = heard.of(events.Refused)
            assert refused.limit == "proxy_trusted"
            assert f"is not in a trusted network ({ELSEWHERE})" in refused.why
            assert heard.of(events.Accepted) == []
            assert server.statistics.refused == 1

    run_async(main())


def test_a_peer_that_is_not_trusted_has_no_header_to_say_where_it_is_optional(run_async: Any, readiness: Any) -> None:
    async def main() -> None:
        proxy = Proxy(protocol="optional", trusted=ELSEWHERE)
        async with serving(echo(), proxy=proxy, readiness=readiness) as (server, heard), client(server) as talk:
            assert await says(talk, V1) == V1.replace(b"\r", b"")
            assert heard.of(events.Accepted)[0].name.remote_ip == "127.0.0.1"

    run_async(main())


@pytest.mark.parametrize("lie", [b"hello, who are you?\n", b"PROXY TCP4 1.2.3.4\r\n", V2[:-1] + b"x"])
def test_what_is_no_header_is_refused_with_the_reason(run_async: Any, readiness: Any, lie: bytes) -> None:
    async def main() -> None:
        async with serving(who(), proxy=REQUIRED, readiness=readiness) as (server, heard):
            async with client(server) as talk:
                assert await says(talk, lie) == b""
            await until(lambda: heard.of(events.Refused))
            (refused,) = heard.of(events.Refused)
            assert refused.limit == "proxy_protocol"
            assert "PROXY header" in refused.why
            assert heard.of(events.Accepted) == heard.of(events.Closed) == []
            statistics = server.statistics
            assert (statistics.refused, statistics.accepted, statistics.active, statistics.octets_in) == (1, 0, 0, 0)

    run_async(main())


def test_a_header_has_a_deadline(run_async: Any, readiness: Any) -> None:
    async def main() -> None:
        clock = FakeClock()
        engine = Engine(readiness=readiness, clock=clock)
        async with serving(who(), proxy=REQUIRED, engine=engine) as (server, heard), client(server) as talk:
            talk[1].write(V1[:20])
            await until(lambda: at_the_door(server) == [20])
            clock.now += 4.9
            engine.sweep()
            assert heard.of(events.DeadlineMissed) == []
            clock.now += 0.2
            engine.sweep()
            assert await talk[0].read() == b""
            (missed,) = heard.of(events.DeadlineMissed)
            assert str(missed.error).startswith("proxy_header_timeout deadline of 5 s passed")
            talk[1].close()
            await until(lambda: heard.of(events.Refused))
            assert heard.of(events.Refused)[0].limit == "proxy_header_timeout"

    run_async(main())


def test_limits_are_those_of_the_real_client(run_async: Any, readiness: Any) -> None:
    async def main() -> None:
        options = {"proxy": REQUIRED, "readiness": readiness, "max_connections_per_address": 1, "refusal": "no"}
        async with serving(who(), **options) as (server, heard):
            other = V1.replace(b"100.7", b"100.8")
            async with client(server) as first, client(server) as second, client(server) as third:
                assert (await says(first, V1 + b"?\n")).startswith(str(CLIENT).encode())
                assert (await says(second, other + b"?\n")).startswith(b"192.0.2.80:443 <- 198.51.100.8:")
                assert await says(third, V1 + b"?\n") == b"no\n"
                assert await third[0].read() == b""
                (refused,) = heard.of(events.Refused)
                assert refused.limit == "max_connections_per_address"
                assert refused.why == "198.51.100.7 has 1 connections, no more than 1 are allowed"
            await until(lambda: not server.statistics.active)
            assert server._core.admission.policy.count("198.51.100.7") == 0
            assert server._core.admission.policy.count("127.0.0.1") == 0
            assert len(heard.of(events.Closed)) == 2

    run_async(main())


@pytest.mark.parametrize("mode", ["always", "detect"])
def test_the_real_client_reads_its_refusal_over_tls(run_async: Any, readiness: Any, tmp_path: Path, mode: str) -> None:
    async def main() -> None:
        files = Files(tmp_path)
        tls = Tls(certificate=files.certificate, key=files.key, mode=mode)
        engine = Engine(readiness=readiness, clock=(clock := FakeClock()))
        options = {"proxy": REQUIRED, "engine": engine, "tls": tls, "deny": "198.51.100.7", "refusal": "no"}
        async with serving(who(), **options) as (server, heard):
            async with client(server) as (reader, writer):
                writer.write(V1)
                await writer.start_tls(trusting(), server_hostname="localhost")
                assert await reader.read() == b"no\n"
            await until(lambda: not engine.channels)
            stalled = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(MAX_HANDSHAKES + 3)]
            for _, writer in stalled:
                writer.write(V2)
            await until(lambda: len(heard.of(events.Refused)) == 1 + MAX_HANDSHAKES + 3)
            await until(lambda: sum(not each.stream.closing for each in engine.channels) == MAX_HANDSHAKES)
            clock.now += 10.1
            engine.sweep()
            for reader, writer in stalled:
                assert await reader.read() == b""
                writer.close()
            await until(lambda: not engine.channels)
            assert {event.limit for event in heard.of(events.Refused)} == {"deny"}
            assert len(heard.of(events.Refused)) == 1 + MAX_HANDSHAKES + 3
            assert {type(event) for event in heard} == {events.Listening, events.Refused}
            statistics = server.statistics
            assert (statistics.accepted, statistics.probes, statistics.tls_failures, statistics.handshakes) == (0,) * 4

    run_async(main())


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("mode", ["always", "detect"])
def test_the_client_hello_may_come_with_the_header(
    run_async: Any, readiness: Any, tmp_path: Path, header: bytes, mode: str
) -> None:
    files = Files(tmp_path)

    async def main() -> None:
        tls = Tls(certificate=files.certificate, key=files.key, mode=mode)
        async with serving(who(), proxy=REQUIRED, tls=tls, readiness=readiness) as (server, heard):
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            secure = trusting().wrap_bio(incoming, outgoing, server_hostname="localhost")
            async with client(server) as (reader, writer):

                async def through(call: Any) -> Any:
                    while True:
                        try:
                            result = call()
                        except ssl.SSLWantReadError:
                            writer.write(outgoing.read())
                            incoming.write(await reader.read(65536))
                            continue
                        writer.write(outgoing.read())
                        return result

                with pytest.raises(ssl.SSLWantReadError):
                    secure.do_handshake()
                writer.write(header + outgoing.read())
                await through(secure.do_handshake)
                secure.write(b"?\n")
                assert await through(lambda: secure.read(1000)) == f"{CLIENT}, transport other\n".encode()
            assert heard.of(events.TlsStarted)[0].name == CLIENT

    run_async(main())


def test_a_health_check_that_says_nothing_is_a_quiet_probe(run_async: Any, readiness: Any) -> None:
    async def main() -> None:
        async with serving(who(), proxy=REQUIRED, readiness=readiness) as (server, heard):
            async with client(server):
                await until(lambda: at_the_door(server))
                assert not server.connections
                assert server.statistics.active == 0
                assert server.broadcast(b"x").sent == 0
            await until(lambda: server.statistics.probes)
            assert server.statistics.probes == 1
            assert [type(event) for event in heard] == [events.Listening]

    run_async(main())


@pytest.mark.parametrize("header", [V1, V2, b"PROXY UNKNOWN\r\n", ProxyHeader(local=True).encode()])
@pytest.mark.parametrize("reset", [False, True])
def test_a_header_and_nothing_behind_it_is_a_probe(run_async: Any, readiness: Any, header: bytes, reset: bool) -> None:
    """The health check of HAProxy: version 2, LOCAL, then FIN or RST."""

    async def main() -> None:
        async with serving(who(), proxy=REQUIRED, readiness=readiness) as (server, heard):
            async with client(server) as (_, writer):
                writer.write(header)
                await until(lambda: server.connections)
                if reset:
                    writer.transport.abort()
            await until(lambda: heard.of(events.Closed))
            (closed,) = heard.of(events.Closed)
            assert (closed.probe, closed.side) == (True, "peer")
            assert closed.statistics.octets_in == len(header), "they are counted, and make nobody a visitor"
            assert server.statistics.probes == 1

    run_async(main())


@pytest.mark.parametrize("words", [b"?\n", b"?"])
def test_one_octet_behind_the_header_is_no_probe(run_async: Any, readiness: Any, words: bytes) -> None:
    async def main() -> None:
        async with serving(who(), proxy=REQUIRED, readiness=readiness) as (server, heard):
            async with client(server) as (_, writer):
                writer.write(V2 + words)
            await until(lambda: heard.of(events.Closed))
            assert not heard.of(events.Closed)[0].probe
            assert server.statistics.probes == 0

    run_async(main())


def test_a_client_greeted_after_its_header_is_not_a_probe(run_async: Any, readiness: Any) -> None:
    service = who()
    service.opened(lambda _: b"welcome")

    async def main() -> None:
        async with serving(service, proxy=REQUIRED, readiness=readiness) as (server, heard):
            async with client(server) as talk:
                assert await says(talk, V2) == b"welcome\n"
            await until(lambda: heard.of(events.Closed))
            assert not heard.of(events.Closed)[0].probe

    run_async(main())


def test_a_service_that_speaks_first_speaks_behind_the_header(run_async: Any, readiness: Any) -> None:
    service = who()
    service.opened(lambda connection: f"welcome {connection.name.remote_ip}".encode())

    async def main() -> None:
        async with serving(service, proxy=REQUIRED, readiness=readiness) as (server, _), client(server) as talk:
            assert await says(talk, V1) == b"welcome 198.51.100.7\n"

    run_async(main())


def test_the_first_message_has_its_time_from_the_header_on(run_async: Any, readiness: Any) -> None:
    async def main() -> None:
        clock = FakeClock()
        engine = Engine(readiness=readiness, clock=clock)
        deadlines = Deadlines(first_message_timeout=10.0)
        async with (
            serving(who(), proxy=REQUIRED, engine=engine, deadlines=deadlines) as (server, heard),
            client(server) as talk,
        ):
            clock.now += 4
            talk[1].write(V1)
            await until(lambda: heard.of(events.Accepted))
            clock.now += 9.5
            engine.sweep()
            assert heard.of(events.DeadlineMissed) == []
            clock.now += 1
            engine.sweep()
            assert "first_message_timeout" in str(heard.of(events.DeadlineMissed)[0].error)
            assert await talk[0].read() == b""

    run_async(main())


def test_a_drain_before_the_proxy_header(run_async: Any, readiness: Any) -> None:
    async def main() -> None:
        deadlines = Deadlines(drain_timeout=0.2)
        async with (
            serving(who(), proxy=REQUIRED, readiness=readiness, deadlines=deadlines) as (server, _),
            client(server) as talk,
        ):
            talk[1].write(V1[:5])
            await until(lambda: at_the_door(server) == [5])
            assert await server.drain() == 1

    run_async(main())


def test_a_balancer_over_a_unix_socket_is_trusted(run_async: Any, readiness: Any, tmp_path: Path) -> None:
    async def main() -> None:
        path = f"{tmp_path}/server.sock"
        proxy = Proxy(protocol="required", trusted="")
        heard: list[events.Event] = []
        async with Server(who(), path, proxy=proxy, readiness=readiness, observer=heard.append):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(V1 + b"?\n")
            assert await reader.readline() == f"{CLIENT}, transport other\n".encode()
            writer.close()
            await writer.wait_closed()

    run_async(main())


def test_networks_that_cannot_work() -> None:
    with pytest.raises(OptionError, match=r"trusted: .*10\.0\.0\.1/8"):
        Proxy(trusted="10.0.0.1/8")
    with pytest.raises(OptionError, match="protocol: expected one of off, optional, required, got 'maybe'"):
        Proxy(protocol="maybe")


# --- our clients say it ---------------------------------------------------------------------------


@pytest.mark.parametrize("choice", [1, 2, True, ProxyHeader(CLIENT), ProxyHeader(CLIENT, 1)])
def test_our_clients_send_it(run_async: Any, readiness: Any, choice: Any) -> None:
    async def main() -> None:
        async with serving(who(), proxy=REQUIRED, readiness=readiness) as (server, heard):
            async with connect_async(server.address, "line", proxy_header=choice) as connection:
                answer = await connection.request(b"?", timeout=10)
                expected = CLIENT if isinstance(choice, ProxyHeader) else connection.name.reversed
                same = "other" if isinstance(choice, ProxyHeader) else "same"
                assert answer == f"{expected}, transport {same}".encode()
            await until(lambda: heard.of(events.Closed))

    run_async(main())


def test_the_blocking_client_sends_a_header_and_then_speaks_tls(tmp_path: Path) -> None:
    files = Files(tmp_path)
    heard: list[events.Event] = []
    tls = Tls(certificate=files.certificate, key=files.key)
    with serve_in_thread(who(), proxy=REQUIRED, tls=tls, observer=heard.append) as server:
        address = f"localhost:{server.port}"
        with connect(address, "line", tls=trusting(), proxy_header=ProxyHeader(CLIENT)) as connection:
            assert connection.request(b"?", timeout=10) == f"{CLIENT}, transport other".encode()
    (closed,) = [event for event in heard if isinstance(event, events.Closed)]
    assert closed.reason is Reason.PEER_CLOSED
    with serve_in_thread(echo()) as server, pytest.raises(OptionError, match=", got 3"):
        connect(server.address, "line", proxy_header=3)
