"""The open loop: latencies count from the moment that a request was meant for, so that a stall shows.

The clock is the test's own. It moves when the test says so, and what is due is sent when the test says so; the peer
is a plain socket that answers when the test says so. Nothing here depends on how fast the machine is.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from conftest import RunAsync
from fourtuple import events
from fourtuple.address import Address
from fourtuple.framing import Fixed
from fourtuple.load import Histogram, Interval, Load, Phase, Run
from fourtuple.load.alarm import Alarm
from fourtuple.load.payload import Payload
from fourtuple.load.plan import Plan
from fourtuple.load.worker import Worker
from fourtuple.options import Sockets
from load.conftest import bench, echo, echoing, load, scripted
from rig import serving, until

MS = 1_000_000


class Clock:
    """Nanoseconds, by hand."""

    def __init__(self) -> None:
        self.now = 1_000_000_000_000

    def __call__(self) -> int:
        return self.now


class Silent(Alarm):
    """An alarm that never rings: the test looks what is due."""

    def __init__(self, *_: Any) -> None:
        self.moment: int | None = None

    def set(self, moment: int | None) -> None:
        self.moment = moment

    def close(self) -> None:
        pass


class Script:
    """A load whose time, and whose peer, are the test's."""

    def __init__(self, worker: Worker, clock: Clock, peer: socket.socket) -> None:
        self.worker = worker
        self.clock = clock
        self.peer = peer

    async def pass_time(self, milliseconds: int) -> None:
        """Let time pass in steps of a millisecond; what is due is sent at each."""
        for _ in range(milliseconds):
            self.clock.now += MS
            if self.worker.pacer is not None:
                self.worker.pacer.tick()
        await asyncio.sleep(0)

    async def answer(self) -> int:
        """Answer every request that has come, and let the replies arrive; return how many there were."""
        count = 0
        loop = asyncio.get_running_loop()
        requester = self.worker.requesters[0]
        while True:
            # Not before the engine has sent what it has.
            await until(lambda: requester.channel is not None and not requester.channel.stream.outbox_size)
            before = requester.in_flight
            octets = b""
            while len(octets) < before:
                octets += await loop.sock_recv(self.peer, 65536)
            if not octets:
                return count
            came = requester.channel.stream.messages_in
            count += len(octets)
            await loop.sock_sendall(self.peer, octets)
            await until(lambda came=came, octets=octets: requester.channel.stream.messages_in == came + len(octets))

    def row(self) -> Interval:
        for requester in self.worker.requesters:
            requester.count_requests()
        return self.worker.meter.roll(0)


@asynccontextmanager
async def scripted_time(options: Load) -> AsyncIterator[Script]:
    """One connection, messages of one octet."""
    clock = Clock()
    framing = Fixed(1)
    with socket.create_server(("127.0.0.1", 0)) as passive:
        passive.setblocking(False)
        address = Address("127.0.0.1", passive.getsockname()[1])
        plan = Plan(address, framing, options, Payload.of(options, framing), Sockets())
        worker = Worker(plan, lambda _: None, clock, Silent)
        try:
            await worker.open()
            peer, _ = await asyncio.get_running_loop().sock_accept(passive)
            with peer:
                peer.setblocking(False)
                worker.meter.roll(1)
                worker.meter.enter(Phase.MEASURED)
                worker._go()
                yield Script(worker, clock, peer)
        finally:
            await worker.end()


def milliseconds(histogram: Histogram) -> list[float]:
    """All values."""
    found: list[float] = []
    for bucket in sorted(histogram.buckets):
        found += [Histogram({bucket: 1}).maximum / MS] * histogram.buckets[bucket]
    return found


def about(*wanted: float) -> Any:
    """These milliseconds, as well as a histogram can tell them."""
    return pytest.approx(list(wanted), rel=1 / 256)


def test_a_stall_shows_in_all_requests_that_it_held_up(run_async: RunAsync) -> None:
    async def main() -> None:
        # Ten a second, one in flight: while the server is silent, nothing can leave.
        async with scripted_time(load(rate=10.0, depth=1)) as script:
            assert await script.answer() == 1, "the first one is due at once"
            await script.pass_time(100)
            assert await script.answer() == 1
            ordinary = script.row().tally
            assert milliseconds(ordinary.latency) == about(0, 0)
            assert milliseconds(ordinary.lateness) == about(0, 0)

            await script.pass_time(100)  # the third one leaves ...
            await script.pass_time(1000)  # ... and has no reply for a second, in which ten more were due
            assert await script.answer() == 11
            stalled = script.row().tally
        # The one that waited for its reply, and the ten that waited for it.
        assert milliseconds(stalled.latency) == about(0, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000)
        assert milliseconds(stalled.lateness) == about(0, 0, 100, 200, 300, 400, 500, 600, 700, 800, 900)
        assert stalled.requests == 11

    run_async(main())


def test_the_same_stall_in_a_closed_loop_is_one_slow_reply(run_async: RunAsync) -> None:
    """What coordinated omission is; why the open loop exists."""

    async def main() -> None:
        async with scripted_time(load(requests=12)) as script:
            await script.pass_time(1000)
            assert await script.answer() == 12
            tally = script.row().tally
        assert milliseconds(tally.latency) == about(*[0] * 11, 1000)

    run_async(main())


def test_requests_leave_in_their_time_while_there_is_room(run_async: RunAsync) -> None:
    async def main() -> None:
        async with scripted_time(load(rate=10.0, depth=5)) as script:
            await script.pass_time(350)
            assert script.worker.requesters[0].in_flight == 4, "at 0, 100, 200 and 300 ms"
            await script.pass_time(650)
            assert script.worker.requesters[0].in_flight == 5, "and no more than that"
            assert script.worker.pacer is not None
            assert script.worker.pacer.stop() == 5, "of the ten of a second"
            tally = script.row().tally
            assert milliseconds(tally.lateness) == about(0, 0, 0, 0, 0)
            assert await script.answer() == 5
            assert milliseconds(script.row().tally.latency) == about(600, 700, 800, 900, 1000)

    run_async(main())


def test_the_alarm_is_set_to_the_next_request(run_async: RunAsync) -> None:
    async def main() -> None:
        async with scripted_time(load(rate=10.0, depth=2)) as script:
            alarm = script.worker.pacer._alarm  # type: ignore[union-attr]
            assert alarm.moment == script.clock.now + 100 * MS
            await script.pass_time(100)
            assert alarm.moment is None, "no room: a reply makes some"
            await script.answer()
            assert alarm.moment == script.clock.now + 100 * MS

    run_async(main())


def test_a_real_alarm_rings_and_can_be_set_anew(run_async: RunAsync) -> None:
    import time

    async def main() -> None:
        loop = asyncio.get_running_loop()
        rung: list[int] = []
        alarm = Alarm(loop, lambda: rung.append(time.perf_counter_ns()))
        try:
            began = time.perf_counter_ns()
            alarm.set(began + 3600 * 1000 * MS)
            alarm.set(began + 2 * MS)
            await until(lambda: rung)
            assert rung[0] >= began + 2 * MS, "never early"
            alarm.set(1)
            await until(lambda: len(rung) == 2)
            alarm.set(time.perf_counter_ns() + MS)
            alarm.set(None)
            await asyncio.sleep(0.005)
            assert len(rung) == 2
        finally:
            alarm.close()
            alarm.close()

    run_async(main())


@pytest.mark.parametrize("options", [{}, {"churn": 5}, {"depth": 1}, {"expect": "same"}, {"ramp": 0.05}])
def test_every_request_has_its_reply(run_async: RunAsync, options: dict[str, Any]) -> None:
    async def main() -> None:
        async with serving(echo("line")) as (server, seen):
            result = await bench(server.address, "line", load(rate=2000.0, requests=100, connections=4, **options))
            total = result.total
            assert (total.requests, total.replies, total.lateness.count, total.unsent) == (100, 100, 100, 0)
            assert (total.failures, total.mismatches, total.timeouts, total.unanswered) == ({}, 0, 0, 0)
            closed = await seen.wait(events.Closed, total.connects)
            assert sum(each.statistics.messages_in for each in closed) == 100
            if "churn" in options:
                assert total.connects >= 20
                assert all(each.statistics.messages_in <= 5 for each in closed)
            else:
                assert sum(each.statistics.messages_in > 0 for each in closed) == 4, "all take their turns"

    run_async(main())


def test_a_lost_connection_does_not_stop_the_schedule(run_async: RunAsync) -> None:
    def hang_up(sock: socket.socket) -> None:
        sock.sendall(sock.recv(100))

    async def main() -> None:
        with scripted(hang_up, echoing) as address:
            result = await bench(address, "line", load(rate=500.0, requests=50))
        total = result.total
        assert total.requests == 50
        assert total.replies + total.unanswered == 50
        assert total.connects == 2

    run_async(main())


def test_a_rate_that_cannot_be_kept_is_said(run_async: RunAsync) -> None:
    def silent(sock: socket.socket) -> None:
        try:
            while sock.recv(65536):
                pass
        except ConnectionResetError:
            pass

    async def main() -> None:
        with scripted(silent) as address:
            options = Load(rate=1000.0, depth=1, duration=0.1, warmup=0, timeout=0.3)
            result = await Run(address, "line", options).result()
        assert not result.kept_up
        assert result.asked == pytest.approx(1000, rel=0.02)
        assert result.total.requests == 1
        assert result.total.unsent >= 98
        assert not result.ok

    run_async(main())


def test_requests_without_replies_keep_their_rate(run_async: RunAsync) -> None:
    """Syslog and the like: requests at their rate, or as fast as the peer takes them."""

    async def main() -> None:
        service = echo("line")
        service.handler = None
        service.reply(lambda message: None)
        async with serving(service) as (server, seen):
            for options in ({"rate": 2000.0, "requests": 50}, {"requests": 5000}):
                result = await bench(server.address, "line", load(replies=0, connections=2, **options))
                assert (result.total.requests, result.total.replies) == (options["requests"], 0)
                assert result.ok, result.total
            closed = await seen.wait(events.Closed, 4)
            assert sum(each.statistics.messages_in for each in closed) == 5050

    run_async(main())
