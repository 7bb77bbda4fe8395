"""The share of the loop: what it counts, when it asks the clock, and who goes on in which order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from fourtuple.engine import Engine, Share
from fourtuple.engine.eager_future import EagerFuture
from fourtuple.engine.share import Reference
from rig import Ends, FakeClock, Recorder, channel, engine_of, turns, until


@pytest.fixture(params=["running", "reference"])
def kind(request: pytest.FixtureRequest) -> type[Share]:
    """What runs, which is C where it was built, and its twin."""
    return Share if request.param == "running" else Reference


class CountingClock(FakeClock):
    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def __call__(self) -> float:
        self.asked += 1
        return self.now


# -- what is counted --------------------------------------------------------------------------------------


def spent(share: Share) -> int:
    """Spend to the end; return how many messages that was."""
    count = 1
    while not share.spend():
        count += 1
    return count


@pytest.mark.parametrize("messages", [1, 2, 3, 5, 6, 16, 22, 100, 512])
def test_so_many_messages_are_a_share(kind: type[Share], messages: int) -> None:
    share = kind(60.0, messages, FakeClock())
    share.begin(1000.0)
    assert spent(share) == messages
    assert share.over
    assert share.spend()  # and so it stays
    share.begin(1000.0)
    assert not share.over
    assert spent(share) == messages


def test_several_messages_at_once(kind: type[Share]) -> None:
    share = kind(60.0, 100, FakeClock())
    share.begin(1000.0)
    assert not share.spend(50)
    assert not share.spend(49)
    assert share.spend(1000)


def test_so_many_seconds_are_a_share(kind: type[Share]) -> None:
    clock = FakeClock()
    share = kind(0.005, 512, clock)
    share.begin(clock.now)
    assert not share.spend()
    clock.now += 0.006
    assert not share.over  # nobody has looked
    assert [share.spend() for _ in range(4)] == [False, False, False, True]
    share.begin(clock.now)
    assert not share.look()
    clock.now += 0.006
    assert share.look()
    assert share.over


def test_the_clock_is_not_asked_at_every_message(kind: type[Share]) -> None:
    clock = CountingClock()
    share = kind(60.0, 10_000, clock)
    share.begin(clock.now)
    looked = []
    for number in range(1, 100):
        before = clock.asked
        share.spend()
        if clock.asked > before:
            looked.append(number)
    assert looked == [1, 5, 21, 37, 53, 69, 85]


def test_a_message_that_takes_the_whole_share_is_the_only_one(kind: type[Share]) -> None:
    clock = FakeClock()
    share = kind(0.005, 512, clock)
    share.begin(clock.now)
    clock.now += 0.01
    assert share.spend()


def spent_of_slow_ones(share: Share, clock: FakeClock, seconds: float) -> int:
    """Spend a share on messages that take so long each; return how many they were."""
    share.begin(clock.now)
    count = 0
    while not share.over:
        clock.now += seconds
        share.spend()
        count += 1
    return count


def test_slow_messages_overrun_a_share_by_one(kind: type[Share]) -> None:
    """A share of 5 ms: messages of a millisecond are seen to be slow before sixteen of them run in a row."""
    clock = FakeClock()
    share = kind(0.005, 4096, clock)
    assert spent_of_slow_ones(share, clock, 0.0011) == 5
    assert spent_of_slow_ones(share, clock, 0.0008) == 7


def test_after_slow_messages_the_clock_is_asked_each_time_for_a_while(kind: type[Share]) -> None:
    clock = FakeClock()
    share = kind(0.005, 4096, clock)
    assert spent_of_slow_ones(share, clock, 0.003) == 2
    share.begin(clock.now)
    assert [share.spend() for _ in range(20)] == [False] * 20  # those that are quick are no exception
    clock.now += 0.0051
    assert share.spend()
    clock.now += 16 * 0.005
    share.begin(clock.now)
    share.spend()
    assert share.left == 4


def test_quick_messages_do_not_make_careful_when_their_share_ends(kind: type[Share]) -> None:
    clock = FakeClock()
    share = kind(0.005, 4096, clock)
    assert spent_of_slow_ones(share, clock, 0.00002) > 250
    share.begin(clock.now)
    share.spend()
    assert share.left == 4


def test_a_share_can_be_shorter(kind: type[Share]) -> None:
    clock = FakeClock()
    share = kind(0.005, 4096, clock)
    share.begin(clock.now, 0.001)
    assert not share.look()
    clock.now += 0.0011
    assert share.look()
    share.begin(clock.now)
    clock.now += 0.0049
    assert not share.look()


def test_a_clock_that_fails_is_heard(kind: type[Share]) -> None:
    def fail() -> float:
        raise ArithmeticError

    share = kind(60.0, 512, fail)
    share.begin(0.0)
    for ask in (share.spend, share.look):
        with pytest.raises(ArithmeticError):
            ask()


def test_the_twins_do_the_same() -> None:
    dice, clock = random.Random(7), FakeClock()
    acts: list[Callable[[Share], Any]] = [
        lambda share: share.spend(),
        lambda share: share.spend(),
        lambda share: share.spend(20),
        lambda share: share.look(),
        lambda share: share.begin(clock.now) if share.over else None,
        lambda share: share.begin(clock.now, 0.002) if share.over else None,
    ]
    for _ in range(200):
        seconds, messages = dice.choice([0.0, 0.005, 1.0]), dice.choice([1, 7, 64, 512])
        twins = [each(seconds, messages, clock) for each in (Share, Reference)]
        for each in twins:
            each.begin(clock.now)
        for _ in range(100):
            clock.now += dice.choice([0.0, 0.0, 0.0001, 0.001])
            act = dice.choice(acts)
            first, second = (act(each) for each in twins)
            assert first == second
            assert twins[0].left == twins[1].left
            assert twins[0].over == twins[1].over


def test_a_turn_begins_a_share_for_each_connection_it_serves(run_async: Any) -> None:
    async def main() -> None:
        clock, left = FakeClock(), []

        def work(_: Recorder) -> None:
            left.append(engine.share.over)
            clock.now += 0.004
            engine.share.look()

        async with engine_of("nested", clock=clock) as engine:
            engine.turn_seconds = 0.003
            engine._turn_events = 3
            made = [channel(engine, act=work) for _ in range(3)]
            for each in made:
                each.peer.socket.send(b"x")
            while len(left) < 3:
                engine._turn()
            assert left == [False] * 3
            assert not engine.share.over  # nor for the tasks that the loop runs next
            for each in made:
                each.peer.close()

    run_async(main())


# -- who goes behind --------------------------------------------------------------------------------------


class Pouring:
    """Tasks that do a step of work, and go behind the others, again and again."""

    def __init__(self, engine: Engine, clock: FakeClock | None = None) -> None:
        self.engine = engine
        self.clock = clock
        self.done: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    def begin(self, name: str, ends: Ends, steps: int, seconds: float = 0.0) -> None:
        self.tasks.append(self.engine.loop.create_task(self._pour(name, ends, steps, seconds)))

    async def _pour(self, name: str, ends: Ends, steps: int, seconds: float) -> None:
        for _ in range(steps):
            waiter = EagerFuture(self.engine.loop)
            self.engine.go_behind(ends.channel, waiter)
            await waiter
            self.done.append(name)
            if self.clock is not None:
                self.clock.now += seconds

    async def finish(self, *ends: Ends) -> None:
        await asyncio.gather(*self.tasks)
        for each in ends:
            each.peer.close()


def test_tasks_take_turns(run_async: Any, readiness: str) -> None:
    """One after the other where each takes all the time there is; a connection with ten tasks is one of them."""

    async def main() -> None:
        clock = FakeClock()
        async with engine_of(readiness, clock=clock) as engine:
            pouring, one, two = Pouring(engine, clock), channel(engine), channel(engine)
            for _ in range(10):
                pouring.begin("one", one, 3, seconds=0.01)
            pouring.begin("two", two, 3, seconds=0.01)
            await pouring.finish(one, two)
            assert pouring.done[:6] == ["one", "two"] * 3
            assert pouring.done[6:] == ["one"] * 27

    run_async(main())


def test_events_and_tasks_have_one_turn_together(run_async: Any) -> None:
    """When the events use up the turn, one task goes on in it, and those that the loop runs next have a fifth."""

    async def main() -> None:
        clock = FakeClock()
        async with engine_of("nested", clock=clock) as engine:
            engine.turn_seconds = 0.005
            woken = []

            def work(_: Recorder) -> None:
                clock.now += 0.006

            class Waiter:
                def wake(self, *, at_once: bool = False) -> None:
                    woken.append(at_once)
                    clock.now += 0.0011

            busy, behind = channel(engine, act=work), channel(engine)
            for _ in range(5):
                engine.go_behind(behind.channel, Waiter())
            busy.peer.socket.send(b"x")
            engine._scheduled_turn()
            assert woken == [True]
            assert not engine.share.look()
            clock.now += 0.0011
            assert engine.share.look()
            for each in (busy, behind):
                each.peer.close()

    run_async(main())


def test_handlers_that_take_little_time_each_go_on_once_in_one_turn(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        served: list[int] = []
        async with engine_of(readiness) as engine:
            engine.turn_seconds = 60.0
            pouring, made = Pouring(engine), [channel(engine) for _ in range(5)]
            for number, each in enumerate(made):
                pouring.begin(str(number), each, 3)
            while not all(task.done() for task in pouring.tasks):
                await asyncio.sleep(0)
                served.append(len(pouring.done))
            assert pouring.done == ["0", "1", "2", "3", "4"] * 3
            assert set(served) <= {0, 5, 10, 15}
            await pouring.finish(*made)

    run_async(main())


def test_octets_that_come_are_served_between(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            pouring, one, other = Pouring(engine), channel(engine), channel(engine)
            pouring.begin("one", one, 1000)
            await until(lambda: pouring.done)
            other.peer.socket.send(b"x")
            await until(lambda: other.recorder.messages)
            assert len(pouring.done) < 10
            await pouring.finish(one, other)

    run_async(main())


def test_a_cancelled_task_that_waits_its_turn_delays_no_other(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            pouring, one, two = Pouring(engine), channel(engine), channel(engine)
            pouring.begin("one", one, 1)
            pouring.begin("two", two, 1)
            await asyncio.sleep(0)
            pouring.tasks[0].cancel()
            await asyncio.wait(pouring.tasks)
            assert pouring.done == ["two"]
            one.peer.close()
            two.peer.close()

    run_async(main())


def test_without_further_turns_all_tasks_go_on(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            pouring, one = Pouring(engine), channel(engine)
            pouring.begin("one", one, 3)
            await asyncio.sleep(0)
            engine.close()
            await pouring.finish(one)
            assert pouring.done == ["one"] * 3

    run_async(main())


def test_a_task_that_goes_on_and_takes_long_is_named(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        clock = FakeClock()
        async with engine_of(readiness, clock=clock) as engine:
            pouring, one = Pouring(engine, clock), channel(engine)
            pouring.begin("one", one, 1, seconds=0.25)
            await pouring.finish(one)
            assert "slow 0.25" in one.recorder.calls

    run_async(main())


# -- outboxes ---------------------------------------------------------------------------------------------


def test_outboxes_that_take_longer_than_a_turn_are_written_in_several(run_async: Any) -> None:
    async def main() -> None:
        clock, written = FakeClock(), []
        async with engine_of("nested", clock=clock) as engine:
            made = [channel(engine) for _ in range(40)]

            def tap(stream: Any, inward: bool, _octets: bytes) -> None:
                if not inward:
                    written.append(stream)
                    clock.now += 0.001

            for each in made:
                each.stream.be_watched(tap)
                each.stream.send(b"x")
                each.channel.flush_soon()
            counts = []
            while len(written) < 40:
                engine._scheduled_turn()
                counts.append(len(written))
            assert counts == [15, 30, 40]
            assert written == [each.stream for each in made]
            await turns()
            for each in made:
                assert await each.peer.receive(1) == b"x"
                each.peer.close()

    run_async(main())
