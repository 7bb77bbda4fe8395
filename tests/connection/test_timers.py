"""Timers of a connection: every() and later(), ended with it, and a raise costs that connection."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

import pytest

from fourtuple import Connection, Reason, Service, Timer, connect, events
from fourtuple.connection.timers import MOST_TIMERS
from fourtuple.errors import HandlerFailed, OptionError, TooManyTimers, WrongThread
from rig import PATIENT, FakeClock, Peer, serving, turns, until

KINDS = ["opened", "reply", "async reply", "conversation"]


def service_of(kind: str, begin: Callable[[Connection], None]) -> Service:
    """A service that echoes lines, and calls ``begin(connection)`` at the first moment that its handler has one."""
    service = Service("line", state=lambda: False)

    def first(connection: Connection) -> None:
        if not connection.state:
            connection.state = True
            begin(connection)

    if kind == "conversation":

        @service.conversation
        async def talk(connection: Connection) -> None:
            first(connection)
            async for message in connection:
                await connection.send(message)

        return service
    if kind == "opened":
        service.opened(first)
        service.reply(lambda message: message)
    elif kind == "reply":

        @service.reply
        def reply(message: bytes, connection: Connection) -> bytes:
            first(connection)
            return message

    else:

        @service.reply
        async def later(message: bytes, connection: Connection) -> bytes:
            first(connection)
            return message

    return service


@pytest.mark.parametrize("kind", KINDS)
def test_every_calls_again_and_again_until_the_connection_ends(run_async: Any, readiness: str, kind: str) -> None:
    async def main() -> None:
        made: list[Timer] = []
        service = service_of(kind, lambda each: made.append(each.every(0.001, each.send, b"tick")))
        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"hello\n")
                got = b""
                while got.count(b"tick\n") < 5:
                    got += await peer.receive(1)
                assert got.count(b"hello\n") == 1
                (timer,) = made
                assert timer.active
                assert repr(timer) == "<Timer every 0.001 s, active>"
            await seen.closed()
            await until(lambda: not timer.active)
            assert repr(timer) == "<Timer every 0.001 s, over>"
            assert seen.of(events.HandlerRaised) == []

    run_async(main())


@pytest.mark.parametrize("kind", KINDS)
def test_later_calls_once(run_async: Any, readiness: str, kind: str) -> None:
    async def main() -> None:
        called: list[str] = []
        made: list[Timer] = []

        def begin(connection: Connection) -> None:
            made.append(connection.later(0.0, called.append, "once"))
            made.append(connection.later(0.002, connection.close))

        async with serving(service_of(kind, begin), readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"hello\n")
                assert await peer.receive_all() in (b"hello\n", b"")
            await seen.closed()
        assert called == ["once"]
        assert not any(timer.active for timer in made)

    run_async(main())


def test_a_deadline_of_the_protocol_that_goes_away(run_async: Any, readiness: str) -> None:
    """AUTH within a second, or the connection is closed; the clock is the engine's."""

    async def main() -> None:
        service = Service("line")
        clock = FakeClock()

        @service.opened
        def wait_for_login(connection: Connection) -> None:
            connection.state = connection.later(1.0, connection.close)

        @service.reply
        def login(message: bytes, connection: Connection) -> bytes:
            connection.state.cancel()
            return b"welcome"

        async with serving(service, readiness, clock=clock) as (server, seen):
            with await Peer.connect(server) as known, await Peer.connect(server) as unknown:
                await known.send(b"me\n")
                assert await known.receive(8) == b"welcome\n"
                await seen.wait(events.Accepted, 2)
                clock.now += 0.9
                server.engine.sweep()
                assert len(server.connections) == 2
                clock.now += 0.2
                server.engine.sweep()
                assert await unknown.receive_all() == b""
                unknown.close()
                await seen.closed()
                await known.send(b"again\n")
                assert await known.receive(8) == b"welcome\n"

    run_async(main())


def test_every_keeps_its_pace_and_leaves_out_what_it_missed(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        clock, called = FakeClock(), list[float]()

        def begin(connection: Connection) -> None:
            connection.every(10.0, lambda: called.append(clock.now - 1000.0))

        async with serving(service_of("opened", begin), readiness, clock=clock) as (server, seen):
            with await Peer.connect(server):
                await seen.wait(events.Accepted)
                for moment in (9.9, 10.1, 19.9, 20.5, 65.0, 69.0, 75.0):
                    clock.now = 1000.0 + moment
                    server.engine.sweep()
        assert called == pytest.approx([10.1, 20.5, 65.0, 75.0])

    run_async(main())


def test_an_async_function_is_not_called_again_before_it_is_done(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        clock, go_on = FakeClock(), asyncio.Event()
        begun = ended = 0

        async def slow() -> None:
            nonlocal begun, ended
            begun += 1
            await go_on.wait()
            ended += 1

        service = service_of("opened", lambda connection: connection.every(1.0, slow) and None)
        async with serving(service, readiness, clock=clock) as (server, seen):
            with await Peer.connect(server):
                await seen.wait(events.Accepted)
                for _ in range(3):
                    clock.now += 1.0
                    server.engine.sweep()
                    await turns()
                assert (begun, ended) == (1, 0)
                go_on.set()
                await until(lambda: ended)
                await turns()  # the task ends an iteration later
                clock.now += 1.0
                server.engine.sweep()
                await until(lambda: ended == 2)

    run_async(main())


@pytest.mark.parametrize("how", ["close", "reset", "abort"])
def test_a_coroutine_is_cancelled_with_its_connection(run_async: Any, readiness: str, how: str) -> None:
    async def main() -> None:
        begun, cancelled = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        service = service_of("opened", lambda connection: connection.later(0, wait) and None)
        async with serving(service, readiness) as (server, seen):
            peer = await Peer.connect(server)
            await begun.wait()
            if how == "close":
                peer.close()
            elif how == "reset":
                peer.reset()
            else:
                next(iter(server.connections.values())).abort()
            await cancelled.wait()
            await seen.closed()
            assert seen.of(events.HandlerRaised) == []
            peer.close()

    run_async(main())


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize("error", [ValueError("no"), asyncio.CancelledError()])
def test_a_raise_costs_that_connection_with_an_event(
    run_async: Any, readiness: str, kind: str, error: BaseException
) -> None:
    async def main() -> None:
        def fail() -> None:
            raise error

        async def fail_later() -> None:
            await asyncio.sleep(0)
            raise error

        function: Any = fail if kind == "def" else fail_later
        others: list[Timer] = []

        def begin(connection: Connection) -> None:
            if connection.id == min(server.connections):
                connection.every(0.001, function)
                others.append(connection.every(1000, connection.send, b"never"))

        service = service_of("opened", begin)
        service.failed(lambda error, _: b"sorry: %d" % isinstance(error, HandlerFailed))
        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer, await Peer.connect(server) as bystander:
                assert await peer.receive_all() == b"sorry: 1\n"
                (raised,) = seen.of(events.HandlerRaised)
                assert type(raised.error) is type(error)
                assert raised.handler.endswith("fail" if kind == "def" else "fail_later")
                peer.close()
                assert (await seen.closed()).reason is Reason.HANDLER_ERROR
                assert not others[0].active
                assert await bystander.talk(b"still here\n") == b"still here\n"

    run_async(main())


def test_it_is_no_fault_that_the_connection_ends_under_a_timer(run_async: Any, readiness: str) -> None:
    """A ping that is due while this side closes, lingering."""

    async def main() -> None:
        clock = FakeClock()
        service = service_of("opened", lambda connection: connection.every(1.0, connection.send, b"ping") and None)
        async with serving(service, readiness, clock=clock) as (server, seen):
            with await Peer.connect(server) as peer:
                await seen.wait(events.Accepted)
                (connection,) = server.connections.values()
                connection.close()
                clock.now += 1.0
                server.engine.sweep()
                assert await peer.receive_all() == b""
            await seen.closed()
            assert seen.of(events.HandlerRaised) == []

    run_async(main())


def test_their_number_is_bounded_and_a_cancelled_one_makes_room(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(service_of("opened", lambda _: None), readiness) as (server, seen):
            with await Peer.connect(server):
                await seen.wait(events.Accepted)
                (connection,) = server.connections.values()
                timers = [connection.later(1000, print) for _ in range(MOST_TIMERS)]
                with pytest.raises(TooManyTimers, match=rf"{connection.name} has 64 timers, no more are allowed"):
                    connection.every(1000, print)
                timers[0].cancel()
                timers[0].cancel()
                connection.every(1000, print)
        assert not any(timer.active for timer in timers)

    run_async(main())


def test_a_timer_may_cancel_itself(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        calls, done = 0, asyncio.Event()
        timers: list[Timer] = []

        async def thrice() -> None:
            nonlocal calls
            calls += 1
            if calls == 3:
                timers[0].cancel()
                await asyncio.sleep(0)
                done.set()

        service = service_of("opened", lambda connection: timers.append(connection.every(0.0005, thrice)))
        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await done.wait()
                assert await peer.talk(b"hello\n") == b"hello\n"
        assert calls == 3

    run_async(main())


def test_what_raises_after_it_cancelled_its_timer_is_reported(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        timers: list[Timer] = []

        async def fail() -> None:
            timers[0].cancel()
            await asyncio.sleep(0)
            raise ValueError("after all")

        service = service_of("opened", lambda connection: timers.append(connection.every(0.0005, fail)))
        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                assert await peer.receive_all() == b""
            assert [str(event.error) for event in await seen.wait(events.HandlerRaised)] == ["after all"]

    run_async(main())


def test_it_runs_in_the_context_in_which_it_was_set(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        user = contextvars.ContextVar("user", default="nobody")
        heard: list[str] = []

        async def hear() -> None:
            heard.append(user.get())

        def begin(connection: Connection) -> None:
            user.set("alice")
            connection.later(0, lambda: heard.append(user.get()))
            connection.later(0, hear)

        async with serving(service_of("conversation", begin), readiness) as (server, _):
            with await Peer.connect(server):
                await until(lambda: len(heard) == 2)
        assert heard == ["alice", "alice"]

    run_async(main())


def test_a_drain_ends_them(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        deadlines = PATIENT.replace(linger_timeout=0.05, drain_timeout=5.0)
        service = service_of("conversation", lambda connection: connection.every(0.001, connection.send, b"x") and None)
        async with serving(service, readiness, deadlines=deadlines) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"hello\n")
                await peer.receive(2)
                draining = asyncio.ensure_future(server.drain())
                await peer.discard()
                peer.close()
                assert await draining == 0
            assert seen.of(events.HandlerRaised) == []

    run_async(main())


def test_of_a_client(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        async with serving(service_of("opened", lambda _: None), readiness) as (server, _):
            async with connect(server.address, "line") as client:
                client.every(0.001, client.send, b"ping")
                assert [await client.receive() for _ in range(3)] == [b"ping"] * 3
                with pytest.raises(OptionError):
                    client.every(0, client.send, b"ping")
            async with connect(server.address, "line") as client:

                def fail() -> None:
                    raise ValueError("no")

                client.later(0, fail)
                with pytest.raises(HandlerFailed, match=r"fail raised ValueError: no") as caught:
                    await client.receive()
                assert isinstance(caught.value.__cause__, ValueError)
            assert [type(context["exception"]) for context in told] == [ValueError]

    run_async(main())


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "1", None, True])
@pytest.mark.parametrize("call", ["every", "later"])
def test_impossible_seconds_are_refused(run_async: Any, call: str, seconds: Any) -> None:
    async def main() -> None:
        async with serving(service_of("opened", lambda _: None)) as (server, seen):
            with await Peer.connect(server):
                await seen.wait(events.Accepted)
                (connection,) = server.connections.values()
                with pytest.raises(OptionError, match="seconds: "):
                    getattr(connection, call)(seconds, print)
                with pytest.raises(OptionError, match=rf"{call}: expected a function, got 3"):
                    getattr(connection, call)(1, 3)

    run_async(main())


def test_on_an_ended_connection_a_timer_is_over_at_once(run_async: Any) -> None:
    async def main() -> None:
        async with serving(service_of("opened", lambda _: None)) as (server, seen):
            with await Peer.connect(server):
                await seen.wait(events.Accepted)
                (connection,) = server.connections.values()
                connection.abort()
                assert not connection.every(1, print).active

    run_async(main())


def test_in_another_thread_they_are_refused(run_async: Any) -> None:
    async def main() -> None:
        async with serving(service_of("opened", lambda _: None)) as (server, seen):
            with await Peer.connect(server):
                await seen.wait(events.Accepted)
                (connection,) = server.connections.values()
                for call in (connection.every, connection.later):
                    with pytest.raises(WrongThread, match="call_soon"):
                        await asyncio.to_thread(call, 1, print)
                timer = connection.later(1000, print)
                with pytest.raises(WrongThread, match=r"loop\.call_soon_threadsafe\(timer\.cancel\)"):
                    await asyncio.to_thread(timer.cancel)
                assert timer.active

    run_async(main())
