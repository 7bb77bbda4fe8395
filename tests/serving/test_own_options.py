"""Deadlines and limits of one connection, changed by its handler."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fourtuple import Connection, Limits, Reason, Service, connect, events
from fourtuple.errors import DeadlinePassed, OptionError, WrongThread
from fourtuple.options.own import DEADLINES, LIMITS
from fourtuple.stream import Half
from rig import PATIENT, FakeClock, Peer, limits, serving, until


def service_of(begin: Any) -> Service:
    """Echoes lines; ``begin(connection)`` is called when a connection is opened."""
    service = Service("line")
    service.opened(lambda connection: begin(connection) and None)
    service.reply(lambda message: message)
    return service


def test_an_idle_timeout_that_only_this_connection_has(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        clock = FakeClock()
        service = Service("line")

        @service.reply
        def keep_alive(message: bytes, connection: Connection) -> bytes:
            connection.change_deadlines(idle_timeout=float(message))
            return b"ok"

        async with serving(service, readiness, clock=clock) as (server, seen):
            with await Peer.connect(server) as keen, await Peer.connect(server) as calm:
                await keen.send(b"10\n")
                assert await keen.receive(3) == b"ok\n"
                await seen.wait(events.Accepted, 2)
                clock.now += 9.0
                server.engine.sweep()
                assert len(server.connections) == 2
                clock.now += 2.0
                server.engine.sweep()
                assert await keen.receive_all() == b""
                keen.close()
                assert (await seen.closed()).reason is Reason.DEADLINE
                (missed,) = seen.of(events.DeadlineMissed)
                assert (missed.error.which, missed.error.seconds) == ("idle_timeout", 10.0)
                await calm.send(b"1000\n")
                assert await calm.receive(3) == b"ok\n"

    run_async(main())


def test_a_deadline_that_has_begun_is_changed_too(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        clock = FakeClock()
        deadlines = PATIENT.replace(first_message_timeout=5.0)
        changed: list[Any] = []
        service = service_of(lambda each: changed.append(each.change_deadlines(first_message_timeout=60)))
        async with serving(service, readiness, clock=clock, deadlines=deadlines) as (server, seen):
            with await Peer.connect(server) as peer:
                await seen.wait(events.Accepted)
                clock.now += 59.0
                server.engine.sweep()
                await peer.send(b"late\n")
                assert await peer.receive(5) == b"late\n"
        assert changed == [deadlines.replace(first_message_timeout=60)]

    run_async(main())


def test_connections_with_equal_options_share_them(run_async: Any) -> None:
    async def main() -> None:
        kept: list[Any] = []

        def begin(connection: Connection) -> None:
            kept.append((connection.change_deadlines(idle_timeout=7.25), connection.change_limits(max_batch=11)))

        async with serving(service_of(begin)) as (server, seen):
            with await Peer.connect(server), await Peer.connect(server):
                await seen.wait(events.Accepted, 2)
        (one, other) = kept
        assert one[0] is other[0]
        assert one[1] is other[1]

    run_async(main())


def test_a_small_outbox_for_one_connection(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")

        @service.conversation
        async def flood(connection: Connection) -> None:
            await connection.receive()
            connection.change_limits(high_water=1000, low_water=100)
            while True:
                await connection.send(b"x" * 99)

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server, receive_buffer=4096) as peer:
                await peer.send(b"go\n")
                (connection,) = await connections(server)
                before = -1
                while connection.statistics.octets_out != before or not before:
                    before = connection.statistics.octets_out
                    await asyncio.sleep(0.02)
                assert 1000 <= connection.statistics.outbox < 1100

    run_async(main())


async def connections(server: Any, count: int = 1) -> list[Connection]:
    await until(lambda: len(server.connections) == count)
    return list(server.connections.values())


def test_a_sender_that_waits_goes_on_when_the_marks_are_raised(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        sent = asyncio.Event()

        @service.conversation
        async def send(connection: Connection) -> None:
            await connection.receive()
            while not connection._stream.crowded:
                connection.send(b"x" * 9_999)
                connection._channel.flush()
            await connection.send(b"y")
            sent.set()
            await connection.receive()

        async with serving(service, readiness, limits=limits(high_water=20_000)) as (server, _):
            with await Peer.connect(server, receive_buffer=4096) as peer:
                await peer.send(b"go\n")
                (connection,) = await connections(server)
                await until(lambda: connection._waiting.senders)
                assert not sent.is_set()
                connection.change_limits(high_water=1 << 20, low_water=1 << 19)
                await sent.wait()

    run_async(main())


def test_a_rate_for_one_connection_and_none_again(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        clock = FakeClock()
        service = service_of(lambda connection: None)
        async with serving(service, readiness, clock=clock) as (server, _):
            with await Peer.connect(server) as slow, await Peer.connect(server) as quick:
                both = await connections(server, 2)
                port = slow.socket.getsockname()[1]
                (slowed,) = (each for each in both if each.name.remote.port == port)
                slowed.change_limits(max_message_rate=2)
                await quick.send(b"q\n" * 10)
                assert await quick.receive(20) == b"q\n" * 10
                await slow.send(b"s\n" * 10)
                assert await slow.receive(4) == b"s\n" * 2
                clock.now += 1.0
                server.engine.sweep()
                assert await slow.receive(4) == b"s\n" * 2
                slowed.change_limits(max_message_rate=None)
                assert await slow.receive(12) == b"s\n" * 6

    run_async(main())


def test_the_rates_of_an_address_stay(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        clock = FakeClock()
        shared = Limits(max_message_rate_per_address=4)
        async with serving(service_of(lambda _: None), readiness, clock=clock, limits=shared) as (server, seen):
            with await Peer.connect(server) as peer:
                (connection,) = await connections(server)
                for rate in (100, None, 100, 100):
                    connection.change_limits(max_message_rate=rate)
                await peer.send(b"x\n" * 10)
                assert await peer.receive(8) == b"x\n" * 4
                clock.now += 1.0
                server.engine.sweep()
                assert await peer.receive(8) == b"x\n" * 4
                clock.now += 1.0
                server.engine.sweep()
                assert await peer.receive(4) == b"x\n" * 2
                peer.reset()
                await seen.closed()
            throttling = server._core.throttling
            assert throttling._addresses is not None
            assert [each.users for each in throttling._addresses._table._entries.values()] == [0]

    run_async(main())


def test_they_stay_when_the_server_changes_its_limits(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(service_of(lambda _: None), readiness) as (server, _):
            with await Peer.connect(server), await Peer.connect(server):
                own, other = await connections(server, 2)
                own.change_limits(max_batch=3)
                own.change_limits(high_water=50_000)
                server.change_limits(max_batch=100, read_size=1000)
                assert (own._stream.limits.max_batch, own._stream.limits.read_size) == (3, 1000)
                assert own._stream.limits.high_water == 50_000
                assert (other._stream.limits.max_batch, other._stream.limits.read_size) == (100, 1000)
                # These do not fit the connection's own high mark: it keeps all of its limits.
                server.change_limits(high_water=100_000, low_water=60_000, read_size=2000)
                assert (own._stream.limits.high_water, own._stream.limits.low_water) == (50_000, 16_384)
                assert own._stream.limits.read_size == 1000
                assert other._stream.limits == server.limits

    run_async(main())


def test_own_rates_stay_when_the_server_changes_its_rates(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        clock = FakeClock()
        async with serving(service_of(lambda _: None), readiness, clock=clock) as (server, _):
            with await Peer.connect(server) as peer:
                (connection,) = await connections(server)
                connection.change_limits(max_message_rate=2)
                server.change_limits(max_message_rate=50)
                server.change_limits(max_message_rate=None)
                await peer.send(b"x\n" * 10)
                assert await peer.receive(4) == b"x\n" * 2
                await asyncio.sleep(0)
                assert connection.statistics.messages_in == 2

    run_async(main())


def test_what_one_connection_may_hold(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        clock = FakeClock()
        service = service_of(lambda _: None)
        async with serving(service, readiness, clock=clock) as (server, seen):
            with await Peer.connect(server) as peer, await Peer.connect(server) as other:
                await peer.send(b"x" * 5000)
                await other.send(b"x" * 5000)
                both = await connections(server, 2)
                await until(lambda: all(each._stream.buffered == 5000 for each in both))
                both[0].change_limits(max_buffered_per_connection=4000)
                clock.now += 2.0
                server.engine.sweep()
                (exceeded,) = await seen.wait(events.LimitExceeded)
                assert (exceeded.id, exceeded.limit) == (both[0].id, "max_buffered_per_connection")
                assert both[1]._stream.writing is Half.OPEN

    run_async(main())


@pytest.mark.parametrize(
    ("call", "changes", "text"),
    [
        ("change_deadlines", {"idel_timeout": 1}, "idel_timeout: .*did you mean idle_timeout?"),
        ("change_deadlines", {"drain_timeout": 1}, "drain_timeout: an option of the server, not of one connection"),
        ("change_deadlines", {"stall_timeout": 1}, "stall_timeout: an option of the server"),
        ("change_deadlines", {"idle_timeout": 0}, ", got 0 seconds"),
        ("change_limits", {"max_bach": 1}, "max_bach: .*did you mean max_batch?"),
        ("change_limits", {"max_connections": 1}, "max_connections: an option of the server, not of one connection"),
        ("change_limits", {"max_message_rate_per_address": 1}, "max_message_rate_per_address: an option of the server"),
        ("change_limits", {"high_water": 10}, ", got 16384 octets"),
        ("change_limits", {"max_batch": True}, ", got True"),
    ],
)
def test_what_cannot_be_changed_is_named_and_nothing_is(run_async: Any, call: str, changes: Any, text: str) -> None:
    async def main() -> None:
        async with serving(service_of(lambda _: None)) as (server, _):
            with await Peer.connect(server):
                (connection,) = await connections(server)
                before = connection._stream.limits, connection._channel.deadlines
                with pytest.raises(OptionError, match=text):
                    getattr(connection, call)(**changes)
                assert (connection._stream.limits, connection._channel.deadlines) == before
                with pytest.raises(WrongThread):
                    await asyncio.to_thread(getattr(connection, call))

    run_async(main())


def test_the_names_are_options() -> None:
    assert set(DEADLINES) <= set(PATIENT.__dataclass_fields__)
    assert set(LIMITS) <= set(Limits.__dataclass_fields__)


def test_of_a_client(run_async: Any) -> None:
    async def main() -> None:
        async with serving(service_of(lambda _: None)) as (server, _), connect(server.address, "line") as client:
            client.change_deadlines(message_timeout=0.01)
            assert client.change_limits(max_batch=1).max_batch == 1
            await client.send(b"x")
            assert await client.receive() == b"x"
            client.change_deadlines(idle_timeout=0.01)
            with pytest.raises(DeadlinePassed, match="idle_timeout"):
                await client.receive()

    run_async(main())
