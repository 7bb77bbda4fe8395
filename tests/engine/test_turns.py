"""Turns: bounded, fair, guarded, and consistent whatever happens inside of one."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import pytest

from fourtuple.engine import Engine
from fourtuple.engine.readiness import IN
from rig import Ends, FakeClock, Recorder, channel, deliver, engine_of, tcp_pair, turns, until


async def ready_channels(engine: Engine, count: int, act: Any = None) -> list[Ends]:
    """Channels that all have an octet to read, before the engine has had a turn."""
    made = [channel(engine, act=act) for _ in range(count)]
    for each in made:
        deliver(each, b"x")
    return made


def hang_up(made: list[Ends]) -> None:
    for each in made:
        each.peer.close()


# -- bounds -----------------------------------------------------------------------------------------------


def test_a_turn_ends_after_so_many_events_and_the_rest_comes_first_in_the_next(run_async: Any) -> None:
    async def main() -> None:
        served: list[int] = []
        async with engine_of("nested", turn_events=4, turn_seconds=60.0) as engine:
            made = [channel(engine, act=lambda r: served.append(index[id(r)])) for _ in range(10)]
            index = {id(each.recorder): number for number, each in enumerate(made)}
            for each in made:
                deliver(each, b"x")
            engine._turn()
            first = served[:]
            assert len(first) == 4
            for number in first:  # these are ready again, and have to wait for the others
                deliver(made[number], b"y")
            engine._turn()
            engine._turn()
            assert sorted(served) == list(range(10))
            engine._turn()
            assert sorted(served[10:]) == sorted(first)
            hang_up(made)

    run_async(main())


def test_a_turn_ends_after_so_many_seconds(run_async: Any) -> None:
    async def main() -> None:
        clock = FakeClock()

        def work(_: Recorder) -> None:
            clock.now += 0.003

        async with engine_of("nested", clock=clock) as engine:
            made = await ready_channels(engine, 5, work)
            engine._turn()
            assert sum(bool(each.recorder.messages) for each in made) == 2
            engine._turn()
            assert sum(bool(each.recorder.messages) for each in made) == 4
            hang_up(made)

    run_async(main())


def test_the_rest_of_a_turn_does_not_wait_for_an_event(run_async: Any) -> None:
    async def main() -> None:
        async with engine_of("nested", turn_events=1) as engine:
            made = await ready_channels(engine, 8)
            await until(lambda: all(each.recorder.messages for each in made))
            hang_up(made)

    run_async(main())


def test_a_hundred_busy_peers_and_a_small_budget_starve_no_peer(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness, turn_events=8) as engine:
            made = [channel(engine) for _ in range(100)]

            def again(recorder: Recorder) -> None:
                peers[id(recorder)].socket.send(b"x")

            peers = {id(each.recorder): each.peer for each in made}
            for each in made:
                each.recorder.act = again
                deliver(each, b"x")
            await until(lambda: max(len(each.recorder.messages) for each in made) >= 20)
            least = min(len(each.recorder.messages) for each in made)
            assert least >= 10, f"one peer was served {least} times while another one was served 20 times"
            hang_up(made)

    run_async(main())


def test_a_channel_revisited_in_every_turn_starves_no_other(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            greedy = channel(engine, act=lambda _: engine.revisit(greedy.channel))
            other = channel(engine)
            deliver(greedy, b"x")
            await until(lambda: len(greedy.recorder.calls) > 3)
            deliver(other, b"y")
            before = len(greedy.recorder.calls)
            await until(lambda: other.recorder.messages)
            assert len(greedy.recorder.calls) - before < 20
            hang_up([greedy, other])

    run_async(main())


# -- identity ---------------------------------------------------------------------------------------------


def test_a_descriptor_is_closed_at_the_end_of_the_turn(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            opened: list[socket.socket] = []

            def kill(_: Recorder) -> None:
                victim.channel.abort()
                os.fstat(victim.channel.fd)  # still open: nobody can have its number
                opened.extend(socket.socketpair())

            victim = channel(engine)
            killer = channel(engine, act=kill)
            number = victim.channel.fd
            deliver(killer, b"x")
            await until(lambda: opened)
            assert number not in {each.fileno() for each in opened}
            await turns()
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(number)
            for each in opened:
                each.close()
            hang_up([victim, killer])

    run_async(main())


def test_a_new_peer_with_an_old_number_gets_no_stale_event(run_async: Any) -> None:
    """A and B are ready in one batch; A's handler ends B; C comes and has B's number."""

    async def main() -> None:
        async with engine_of("nested", turn_events=1) as engine:

            def kill(recorder: Recorder) -> None:
                for each in (a, b):
                    if each.recorder is not recorder and not recorder.calls[1:]:
                        each.channel.abort()

            a, b = channel(engine, act=kill), channel(engine, act=kill)
            for each in (a, b):
                deliver(each, b"x")
            spare = tcp_pair()
            engine._turn()  # one of them was served, and ended the other, whose event is left over
            victim = a if a.channel.socket is None else b
            # An end of the spare pair takes the number, and a channel of its own.
            number = victim.channel.fd
            os.dup2(spare[0].fileno(), number)
            near = socket.socket(fileno=number)
            spare[0].close()
            c = channel(engine, pair=(near, spare[1]))
            assert c.channel.fd == number
            engine._turn()
            engine._turn()
            assert c.recorder.calls == []
            deliver(c, b"now")
            await until(lambda: c.recorder.messages == [b"now"])
            hang_up([a, b, c])

    run_async(main())


def test_a_watcher_that_ended_in_this_turn_is_not_served(run_async: Any) -> None:
    async def main() -> None:
        async with engine_of("nested") as engine:
            made: list[Ends] = []

            def kill_the_others(recorder: Recorder) -> None:
                for each in made:
                    if each.recorder is not recorder:
                        each.channel.abort()

            made += await ready_channels(engine, 5, kill_the_others)
            await turns()
            assert sorted(each.recorder.messages for each in made) == [[], [], [], [], [b"x"]]
            hang_up(made)

    run_async(main())


def test_a_revisit_of_a_closed_channel_is_nothing(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            one = channel(engine)
            engine.revisit(one.channel)
            one.channel.abort()
            await turns()
            assert one.recorder.calls == ["closed"]
            hang_up([one])

    run_async(main())


# -- guarded ----------------------------------------------------------------------------------------------


def test_an_exception_in_a_turn_costs_one_connection_and_is_not_repeated(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
        async with engine_of(readiness) as engine:

            def fail(_: Recorder) -> None:
                raise RuntimeError("a defect")

            bad = channel(engine, act=fail)
            good = channel(engine)
            for each in (bad, good):
                deliver(each, b"x")
            await until(lambda: good.recorder.messages and told)
            with pytest.raises(ConnectionResetError):
                await bad.peer.receive_all()
            deliver(good, b"y")
            await until(lambda: len(good.recorder.messages) == 2)
            assert [str(each["exception"]) for each in told] == ["a defect"]
            assert bad.recorder.calls == ["readable", "closed"]
            hang_up([bad, good])

    run_async(main())


def test_an_exception_at_the_end_of_a_connection_does_not_leave_the_turn(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        told: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(str(context["exception"])))
        async with engine_of(readiness) as engine:

            def fail(*_: object) -> None:
                raise RuntimeError("a defect")

            bad = channel(engine, act=fail)
            bad.recorder.closed = fail  # type: ignore[method-assign]
            deliver(bad, b"x")
            await until(lambda: len(told) == 2)
            await turns()
            assert told == ["a defect", "a defect"]
            assert engine.channels == set()
            hang_up([bad])

    run_async(main())


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_leaves_the_turn_when_all_are_served(run_async: Any, interrupt: type[BaseException]) -> None:
    async def main() -> None:
        async with engine_of("nested", turn_seconds=60.0) as engine:

            def stop(recorder: Recorder) -> None:
                if not any(each.recorder.messages for each in made if each.recorder is not recorder):
                    raise interrupt

            made = await ready_channels(engine, 5, stop)
            with pytest.raises(interrupt):
                engine._turn()
            assert all(each.recorder.messages == [b"x"] for each in made)
            engine._turn()  # and it is raised once
            assert len(engine.channels) == 4
            hang_up(made)

    run_async(main())


def test_an_interrupt_while_an_outbox_is_flushed_is_not_lost(run_async: Any) -> None:
    async def main() -> None:
        async with engine_of("nested") as engine:

            def stop() -> None:
                raise KeyboardInterrupt

            one = channel(engine, act=lambda _: None)
            one.recorder.writable = stop  # type: ignore[method-assign]
            one.channel.expect_relief()
            one.stream.send(b"x")
            one.channel.flush_soon()
            with pytest.raises(KeyboardInterrupt):
                engine._scheduled_turn()
            hang_up([one])

    run_async(main())


def test_slow_service_is_reported(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        clock = FakeClock()

        def work(_: Recorder) -> None:
            clock.now += 0.25

        async with engine_of(readiness, clock=clock) as engine:
            one = channel(engine, act=work)
            deliver(one, b"x")
            await until(lambda: "slow 0.25" in one.recorder.calls)
            hang_up([one])

    run_async(main())


# -- flushing ---------------------------------------------------------------------------------------------


def test_what_is_sent_outside_of_a_turn_leaves_with_the_loops_next_one(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            one = channel(engine)
            one.stream.send(b"hello")
            one.channel.flush_soon()
            assert one.stream.outbox_size == 5
            await asyncio.sleep(0)
            assert one.stream.outbox_size == 0
            assert await one.peer.receive(5) == b"hello"
            hang_up([one])

    run_async(main())


def test_what_is_sent_to_another_connection_leaves_with_this_turn(run_async: Any) -> None:
    async def main() -> None:
        async with engine_of("nested") as engine:

            def forward(_: Recorder) -> None:
                target.stream.send(b"hello")
                target.channel.flush_soon()

            target, source = channel(engine), channel(engine, act=forward)
            deliver(source, b"x")
            engine._turn()
            assert target.stream.octets_out == 5
            hang_up([target, source])

    run_async(main())


# -- the end of an engine ---------------------------------------------------------------------------------


def test_closing_aborts_what_is_open_and_can_be_done_twice(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            one = channel(engine)
            engine.close()
            engine.close()
            assert one.recorder.calls == ["closed"]
            with pytest.raises(ConnectionResetError):
                await one.peer.receive_all()
            hang_up([one])

    run_async(main())


def test_closing_inside_of_a_turn(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            made = await ready_channels(engine, 3, lambda _: engine.close())
            await until(lambda: engine.closed)
            await turns()
            assert sum(len(each.recorder.messages) for each in made) == 1
            assert all(each.recorder.calls[-1] == "closed" for each in made)
            hang_up(made)

    run_async(main())


def test_a_lent_socket_that_comes_back_after_the_end_is_closed(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            one = channel(engine)
            lent = one.channel.detach()
            engine.close()
            assert lent.recv(1) == b""  # the borrower is woken
            one.channel.take_back()
            assert lent.fileno() == -1
            assert one.recorder.calls == ["closed"]
            hang_up([one])

    run_async(main())


def test_a_turn_that_was_planned_before_the_end_is_nothing(run_async: Any) -> None:
    async def main() -> None:
        async with engine_of("nested") as engine:
            made = await ready_channels(engine, 2)
            engine.revisit(made[0].channel)
            engine.close()
            engine._turn()
            engine._serve_alone(made[0].channel, IN)
            await turns()
            assert [each.recorder.calls for each in made] == [["closed"], ["closed"]]
            hang_up(made)

    run_async(main())
