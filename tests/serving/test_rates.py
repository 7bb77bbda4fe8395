"""Rates over real connections: what a handler gets of each kind, of one connection and of one address."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest

from fourtuple import Limits, Proxy, Reason, Service, events
from fourtuple.blocking import wait
from fourtuple.errors import EndOfFile, WouldBlock
from rig import PATIENT, FakeClock, Peer, serving, turns, until

Register = Callable[[Service, list[bytes]], None]


def inline(service: Service, got: list[bytes]) -> None:
    @service.reply
    def reply(message: bytes) -> bytes:
        got.append(message)
        return message


def with_connection(service: Service, got: list[bytes]) -> None:
    @service.reply
    def reply(message: bytes, _connection: Any) -> bytes:
        got.append(message)
        return message


def generator(service: Service, got: list[bytes]) -> None:
    @service.reply
    def reply(message: bytes) -> Iterator[bytes]:
        got.append(message)
        yield message


def awaited(service: Service, got: list[bytes]) -> None:
    @service.reply
    async def reply(message: bytes) -> bytes:
        got.append(message)
        await asyncio.sleep(0)
        return message


def concurrent(service: Service, got: list[bytes]) -> None:
    @service.reply(concurrency=4)
    async def reply(message: bytes) -> bytes:
        got.append(message)
        await asyncio.sleep(0)
        return message


def async_generator(service: Service, got: list[bytes]) -> None:
    @service.reply
    async def reply(message: bytes) -> AsyncIterator[bytes]:
        got.append(message)
        yield message


def in_a_thread(service: Service, got: list[bytes]) -> None:
    @service.reply(threads=True)
    def reply(message: bytes) -> bytes:
        got.append(message)
        return message


def generator_in_a_thread(service: Service, got: list[bytes]) -> None:
    @service.reply(threads=True)
    def reply(message: bytes) -> Iterator[bytes]:
        got.append(message)
        yield message


def iterating(service: Service, got: list[bytes]) -> None:
    @service.conversation
    async def talk(connection: Any) -> None:
        async for message in connection:
            got.append(message)
            await connection.send(message)


def receiving(service: Service, got: list[bytes]) -> None:
    @service.conversation
    async def talk(connection: Any) -> None:
        try:
            while True:
                message = await connection.receive()
                got.append(message)
                await connection.send(message)
        except EndOfFile:
            return


def receiving_with_a_timeout(service: Service, got: list[bytes]) -> None:
    @service.conversation
    async def talk(connection: Any) -> None:
        try:
            while True:
                message = await connection.receive(timeout=1000)
                got.append(message)
                await connection.send(message)
        except EndOfFile:
            return


def not_waiting(service: Service, got: list[bytes]) -> None:
    @service.conversation
    async def talk(connection: Any) -> None:
        while True:
            try:
                message = connection.receive_nowait()
            except WouldBlock:
                await asyncio.sleep(0)
                continue
            except EndOfFile:
                return
            got.append(message)
            await connection.send(message)


def blocking(service: Service, got: list[bytes]) -> None:
    @service.conversation
    def talk(connection: Any) -> None:
        for message in connection:
            got.append(message)
            connection.send(message)


def blocking_without_waiting(service: Service, got: list[bytes]) -> None:
    @service.conversation
    def talk(connection: Any) -> None:
        while True:
            try:
                message = connection.receive_nowait()
            except WouldBlock:
                time.sleep(0)
                continue
            except EndOfFile:
                return
            got.append(message)
            connection.send(message)


def selecting(service: Service, got: list[bytes]) -> None:
    @service.conversation
    def talk(connection: Any) -> None:
        while wait([connection]):
            try:
                message = connection.receive_nowait()
            except EndOfFile:
                return
            got.append(message)
            connection.send(message)


def raw(service: Service, got: list[bytes]) -> None:
    @service.conversation
    async def talk(connection: Any) -> None:
        with suppress(EndOfFile):
            while True:
                got.append(await connection.receive_until(b"\n", 10_000))
                connection.send(got[-1][:-1])


def raw_in_a_thread(service: Service, got: list[bytes]) -> None:
    @service.conversation
    def talk(connection: Any) -> None:
        with suppress(EndOfFile):
            while True:
                got.append(connection.receive_until(b"\n", 10_000))
                connection.send(got[-1][:-1])


KINDS = [
    inline,
    with_connection,
    generator,
    awaited,
    concurrent,
    async_generator,
    in_a_thread,
    generator_in_a_thread,
    iterating,
    receiving,
    receiving_with_a_timeout,
    not_waiting,
    blocking,
    blocking_without_waiting,
    selecting,
]
EACH_KIND = pytest.mark.parametrize("kind", KINDS)


def made(kind: Register) -> tuple[Service, list[bytes]]:
    service, got = Service("line"), []
    kind(service, got)
    return service, got


def numbered(count: int, first: int = 0) -> list[bytes]:
    return [b"%d" % number for number in range(first, first + count)]


def lines(messages: list[bytes]) -> bytes:
    return b"".join(message + b"\n" for message in messages)


@EACH_KIND
def test_a_burst_is_delivered_at_the_rate_to_its_last_message(run_async: Any, readiness: str, kind: Register) -> None:
    """A client that sends all it has, and FIN, is served in the end: nothing is lost, and nothing comes too early."""

    async def main() -> None:
        (service, got), clock = made(kind), FakeClock()
        all_of_it = numbered(35)
        async with serving(service, readiness, clock=clock, limits=Limits(max_message_rate=10.0)) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(lines(all_of_it))
                peer.finish()
                for delivered in (10, 15, 20, 25, 30, 35):
                    await until(lambda count=delivered: len(got) >= count)
                    await turns(5)
                    assert got == all_of_it[:delivered]
                    clock.now += 0.5
                    server.engine.sweep()
                assert await peer.receive_all() == lines(all_of_it)
                closed = await seen.closed()
                assert closed.statistics.messages_in == 35

    run_async(main())


@EACH_KIND
def test_more_than_was_read_at_once(run_async: Any, readiness: str, kind: Register) -> None:
    """Reading stops: the kernel holds what is above the rate, not we."""

    async def main() -> None:
        (service, got), clock = made(kind), FakeClock()
        limits = Limits(max_message_rate=10.0, read_size=16)
        async with serving(service, readiness, clock=clock, limits=limits) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(lines([b"x"] * 1000))
                await until(lambda: len(got) == 10)
                await turns()
                assert server.statistics.octets_in <= 20 + 2 * 16
                clock.now += 1.0
                server.engine.sweep()
                await until(lambda: len(got) == 20)
                await turns()
                assert server.statistics.octets_in <= 40 + 2 * 16

    run_async(main())


@pytest.mark.parametrize("kind", [inline, awaited, iterating, blocking, selecting, raw, raw_in_a_thread])
def test_octets_are_delivered_at_the_rate(run_async: Any, readiness: str, kind: Register) -> None:
    async def main() -> None:
        (service, got), clock = made(kind), FakeClock()
        began = clock.now
        async with serving(service, readiness, clock=clock, limits=Limits(max_octet_rate=1000.0)) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"x" * 2999 + b"\n" + b"y" * 999 + b"\n")
                while not got or len(got) < 2:
                    allowed = min(4000, 1000 + 1000 * (clock.now - began))
                    await until(lambda octets=allowed: server.statistics.octets_in >= octets)
                    assert server.statistics.octets_in <= allowed
                    assert sum(map(len, got)) <= allowed
                    if allowed == 4000:
                        await until(lambda: len(got) == 2)
                    clock.now += 0.25
                    server.engine.sweep()
                assert await peer.receive(4000) == b"x" * 2999 + b"\n" + b"y" * 999 + b"\n"

    run_async(main())


@EACH_KIND
def test_with_the_clock_of_the_machine_and_whatever_serves_it(run_async: Any, readiness: str, kind: Register) -> None:
    """The C, where it is there, leaves those who are held to a rate; and takes them again."""

    async def main() -> None:
        service, got = made(kind)
        async with serving(service, readiness, limits=Limits(max_message_rate=0.001)) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(lines(numbered(50)))
                assert await peer.receive(2) == b"0\n"
                await turns()
                assert got == [b"0"]
                server.change_limits(max_message_rate=None)
                assert await peer.receive(len(lines(numbered(50))) - 2) == lines(numbered(50))[2:]
                server.change_limits(max_message_rate=1.0)
                await peer.send(b"a\nb\n")
                assert await peer.receive(2) == b"a\n"

    run_async(main())


@EACH_KIND
def test_a_delayed_connection_can_be_ended(run_async: Any, readiness: str, kind: Register) -> None:
    async def main() -> None:
        (service, got), clock = made(kind), FakeClock()
        async with serving(service, readiness, clock=clock, limits=Limits(max_message_rate=1.0)) as (server, seen):
            with await Peer.connect(server) as peer, await Peer.connect(server) as other:
                await peer.send(lines(numbered(10)))
                assert await peer.receive(2) == b"0\n"
                await other.send(lines(numbered(10)))
                assert await other.receive(2) == b"0\n"
                other.reset()
                for connection in server.connections.values():
                    connection.abort()
                await seen.wait(events.Closed, 2)
                assert got == [b"0", b"0"]

    run_async(main())


@EACH_KIND
@pytest.mark.parametrize("rate", ["max_message_rate", "max_message_rate_per_address"])
def test_what_waits_is_dropped_when_the_connection_is_lost(
    run_async: Any, readiness: str, kind: Register, rate: str
) -> None:
    """Its handler would answer to nobody, and its place would be taken until the last one."""

    async def main() -> None:
        service, got = made(kind)
        async with serving(service, readiness, limits=Limits(**{rate: 0.001})) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(lines(numbered(10)))
                assert await peer.receive(2) == b"0\n"
                (runner,) = server._core.registry.runners.values()
                await until(lambda: runner.stream.held_back)
                peer.reset()
                closed = await seen.closed()
                assert closed.reason is Reason.RESET
                assert closed.statistics.discarded == len(lines(numbered(10))) - 2
                assert closed.statistics.messages_in == 1
                assert got == [b"0"]
                await until(lambda: not server.connections)  # a conversation may have a last step to do

    run_async(main())


@EACH_KIND
def test_octets_that_wait_are_not_read_when_the_connection_is_lost(
    run_async: Any, readiness: str, kind: Register
) -> None:
    async def main() -> None:
        service, got = made(kind)
        async with serving(service, readiness, limits=Limits(max_octet_rate=2.0)) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(lines(numbered(1000)))
                assert await peer.receive(2) == b"0\n"
                peer.reset()
                assert (await seen.closed()).reason is Reason.RESET
                assert len(got) < 10

    run_async(main())


# -- all connections of one address -----------------------------------------------------------------------

HERE = Proxy(protocol="required")


def proxied(ip: str) -> bytes:
    family = "TCP6" if ":" in ip else "TCP4"
    ours = "2001:db8:ffff::1" if ":" in ip else "192.0.2.80"
    return f"PROXY {family} {ip} {ours} 50000 443\r\n".encode()


@EACH_KIND
def test_an_address_has_its_rate_however_many_connections(run_async: Any, readiness: str, kind: Register) -> None:
    async def main() -> None:
        (service, got), clock = made(kind), FakeClock()
        limits = Limits(max_message_rate_per_address=10.0)
        async with serving(service, readiness, clock=clock, limits=limits) as (server, _), AsyncExitStack() as stack:
            peers = [stack.enter_context(await Peer.connect(server)) for _ in range(4)]
            for number, peer in enumerate(peers):
                await peer.send(lines(numbered(10, number * 10)))
            for delivered in (10, 15, 20, 25, 30, 35, 40):
                await until(lambda count=delivered: len(got) >= count)
                await turns(5)
                assert len(got) == delivered
                clock.now += 0.5
                server.engine.sweep()
            for number, peer in enumerate(peers):
                octets = lines(numbered(10, number * 10))
                assert await peer.receive(len(octets)) == octets

    run_async(main())


def test_a_flood_does_not_starve_other_connections_of_its_address(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        (service, got), clock = made(inline), FakeClock()
        limits = Limits(max_message_rate_per_address=8.0)
        async with serving(service, readiness, clock=clock, limits=limits) as (server, _), AsyncExitStack() as stack:
            floods = [stack.enter_context(await Peer.connect(server)) for _ in range(3)]
            for flood in floods:
                await flood.send(lines([b"flood"] * 1000))
            await until(lambda: len(got) == 8)
            honest = stack.enter_context(await Peer.connect(server))
            await honest.send(b"honest\n")
            await until(lambda: sum(runner.stream.held_back for runner in server._core.registry.living()) == 4)
            clock.now += 0.25
            server.engine.sweep()
            clock.now += 0.25
            server.engine.sweep()
            assert b"honest" in got, "two tokens a look, and four who wait"
            assert await honest.receive(7) == b"honest\n"

    run_async(main())


def test_connecting_again_gives_no_new_burst(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        (service, got), clock = made(inline), FakeClock()
        limits = Limits(max_message_rate_per_address=10.0, max_octet_rate_per_address=1000.0)
        async with serving(service, readiness, clock=clock, limits=limits) as (server, seen):
            for number in range(10):
                with await Peer.connect(server) as peer:
                    await peer.send(lines([b"x"] * 5))
                    await until(lambda: server.statistics.octets_in == 10 * (number + 1))  # noqa: B023
                    await turns()
                await seen.wait(events.Accepted, number + 1)
                assert len(got) <= 10
            clock.now += 1.0
            server.engine.sweep()
            await until(lambda: len(seen.of(events.Closed)) >= 2)
            assert len(got) <= 20

    run_async(main())


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("198.51.100.7", "198.51.100.7", True),
        ("198.51.100.7", "198.51.100.8", False),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:198.51.100.7", "198.51.100.7", True),
        ("::ffff:198.51.100.7", "::ffff:198.51.100.8", False),
    ],
)
def test_addresses_that_share_a_rate(run_async: Any, readiness: str, one: str, other: str, together: bool) -> None:
    async def main() -> None:
        (service, got), clock = made(inline), FakeClock()
        limits = Limits(max_message_rate_per_address=5.0)
        async with serving(service, readiness, clock=clock, limits=limits, proxy=HERE) as (server, _):
            with await Peer.connect(server) as first, await Peer.connect(server) as second:
                await first.send(proxied(one) + lines([b"x"] * 5))
                assert await first.receive(10) == lines([b"x"] * 5)
                await second.send(proxied(other) + lines([b"y"] * 5))
                await until(lambda: len(server.connections) == 2)
                if not together:
                    await until(lambda: got.count(b"y") == 5)
                await turns()
                assert got.count(b"y") == (0 if together else 5)
                clock.now += 1.0
                server.engine.sweep()
                assert await second.receive(10) == lines([b"y"] * 5)

    run_async(main())


def test_a_balancer_is_not_held_to_the_rate_of_an_address(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        (service, _), clock = made(inline), FakeClock()
        limits = Limits(max_octet_rate_per_address=60.0)
        async with serving(service, readiness, clock=clock, limits=limits, proxy=HERE) as (server, _):
            for number in range(5):
                with await Peer.connect(server) as peer:
                    await peer.send(proxied(f"198.51.100.{number}") + b"x\n")
                    assert await peer.receive(2) == b"x\n"

    run_async(main())


def test_octets_of_an_address(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        (service, _), clock = made(inline), FakeClock()
        limits = Limits(max_octet_rate_per_address=1000.0)
        async with serving(service, readiness, clock=clock, limits=limits) as (server, _), AsyncExitStack() as stack:
            peers = [stack.enter_context(await Peer.connect(server)) for _ in range(4)]
            began = clock.now
            for peer in peers:
                await peer.send(b"x" * 999 + b"\n")
            while server.statistics.messages_in < 4:
                allowed = min(4000, 1000 + 1000 * (clock.now - began))
                await until(lambda octets=allowed: server.statistics.octets_in >= octets)
                assert server.statistics.octets_in <= allowed
                clock.now += 0.25
                server.engine.sweep()
            for peer in peers:
                assert await peer.receive(1000) == b"x" * 999 + b"\n"

    run_async(main())


def test_the_peer_of_a_unix_socket_has_no_address(run_async: Any, readiness: str, tmp_path: Any) -> None:
    async def main() -> None:
        service, _ = made(inline)
        limits = Limits(max_message_rate_per_address=1.0)
        async with serving(service, readiness, f"unix:{tmp_path}/s", clock=FakeClock(), limits=limits) as (server, _):
            with await Peer.connect(server) as peer:
                assert await peer.talk(lines([b"x"] * 20)) == lines([b"x"] * 20)

    run_async(main())


def test_delayed_connections_hold_no_thread(run_async: Any, readiness: str) -> None:
    """A blocking conversation gets its thread when there is something that it may have."""

    async def main() -> None:
        (service, got), clock = made(blocking), FakeClock()
        limits = Limits(max_message_rate_per_address=2.0, max_threads=3)
        async with serving(service, readiness, clock=clock, limits=limits) as (server, seen), AsyncExitStack() as stack:
            peers = [stack.enter_context(await Peer.connect(server)) for _ in range(6)]
            for peer in peers:
                await peer.send(b"x\n")
            await until(lambda: sum(runner.stream.held_back for runner in server._core.registry.living()) == 4)
            assert server._core.threads.busy == 2
            assert seen.of(events.AcceptPaused) == []
            for peer in peers:
                peer.finish()
            while len(got) < 6:
                clock.now += 0.25
                server.engine.sweep()
                await turns(3)
            for peer in peers:
                assert await peer.receive_all() == b"x\n"

    run_async(main())


def test_limits_that_change_and_say_nothing_of_rates_give_no_new_burst(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        (service, got), clock = made(inline), FakeClock()
        limits = Limits(max_message_rate=5.0, max_message_rate_per_address=5.0)
        async with serving(service, readiness, clock=clock, limits=limits) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(lines([b"x"] * 50))
                await until(lambda: len(got) == 5)
                for most in (100, 200, 300):
                    server.change_limits(max_connections=most)
                    await turns()
                assert len(got) == 5
                server.change_limits(max_message_rate=None, max_message_rate_per_address=None)
                await until(lambda: len(got) == 50)

    run_async(main())


@pytest.mark.parametrize("rate", ["max_message_rate", "max_message_rate_per_address"])
def test_a_rate_over_tls(run_async: Any, readiness: str, rate: str, tmp_path: Any) -> None:
    from certificates import Files, trusting
    from fourtuple import Tls

    async def main() -> None:
        (service, got), clock, files = made(inline), FakeClock(), Files(tmp_path)
        tls = Tls(certificate=files.certificate, key=files.key)
        limits = Limits(**{rate: 5.0})
        async with serving(service, readiness, clock=clock, limits=limits, tls=tls) as (server, _):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", server.port, ssl=trusting(), server_hostname="localhost"
            )
            writer.write(lines(numbered(12)))
            for delivered in (5, 10, 12):
                await until(lambda count=delivered: len(got) >= count)
                await turns()
                assert len(got) == delivered
                clock.now += 1.0
                server.engine.sweep()
            assert await reader.readexactly(len(lines(numbered(12)))) == lines(numbered(12))
            writer.close()
            await writer.wait_closed()

    run_async(main())


def test_a_delayed_client_is_not_cut_by_default(run_async: Any, readiness: str) -> None:
    """An upload is above its rate all the time, and meant well."""

    async def main() -> None:
        (service, got), clock = made(inline), FakeClock()
        deadlines = PATIENT.replace(first_message_timeout=30.0, message_timeout=30.0, idle_timeout=30.0)
        async with serving(
            service, readiness, clock=clock, limits=Limits(max_message_rate=1.0), deadlines=deadlines
        ) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(lines(numbered(300)))
                while len(got) < 300:
                    await turns(2)
                    clock.now += 1.0
                    server.engine.sweep()
                assert await peer.receive(len(lines(numbered(300)))) == lines(numbered(300))

    run_async(main())


def test_no_connection_is_left_in_the_tables(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        (service, _), clock = made(iterating), FakeClock()
        limits = Limits(max_message_rate_per_address=1.0)
        async with serving(service, readiness, clock=clock, limits=limits) as (server, seen):
            for count in range(1, 6):
                with await Peer.connect(server) as peer:
                    await peer.send(lines(numbered(10)))
                    await until(lambda: any(runner.stream.held_back for runner in server._core.registry.living()))
                    for connection in server.connections.values():
                        connection.abort()
                    await seen.wait(events.Closed, count)
            (rate,) = server._core.throttling._addresses._table._entries.values()  # type: ignore[union-attr]
            assert rate.users == 0
            assert rate.as_new(clock.now + 1.0)

    run_async(main())


def test_waiting_threads_learn_of_the_end(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service, clock, ended = Service("line"), FakeClock(), threading.Event()

        @service.conversation
        def talk(connection: Any) -> None:
            try:
                for _ in connection:
                    pass
            finally:
                ended.set()

        async with serving(service, readiness, clock=clock, limits=Limits(max_message_rate=1.0)) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(lines(numbered(10)))
                await until(lambda: server._core.threads.busy)
                runner: Any = next(iter(server._core.registry.living()))
                await until(lambda: runner.stream.held_back)
                runner.abort()
                await seen.closed()
                assert ended.is_set()

    run_async(main())
