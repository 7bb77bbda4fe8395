"""A call that holds the loop is named while it does; here it ends when it is named."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from fourtuple import Connection, Deadlines, Server, Service, events, serve_in_thread, watching
from fourtuple.blocking import connect
from fourtuple.compiled import ASKED
from fourtuple.serving.watchdog import Watchdog
from rig import Peer

#: Short, for a machine that is quiet; on a busy one, other things are named as well.
SECONDS = 0.1


class Held(list[events.LoopHeld]):
    """An observer that remembers what held the loop, and lets it go on."""

    def __init__(self) -> None:
        super().__init__()
        self.named = threading.Event()

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, events.LoopHeld):
            self.append(event)
            self.named.set()

    def hold(self) -> None:
        """Hold the loop until that is named."""
        self.named.wait()


def holding(kind: str, held: Held) -> Service:
    """A service whose handler of that kind holds the loop until it is named."""
    service = Service("line")

    if kind == "reply":

        @service.reply
        def holds(message: bytes) -> bytes:
            held.hold()
            return message

    elif kind == "async":

        @service.reply
        async def holds_async(message: bytes) -> bytes:
            await asyncio.sleep(0)
            held.hold()
            return message

    elif kind == "conversation":

        @service.conversation
        async def holds_conversation(connection: Connection) -> None:
            async for message in connection:
                held.hold()
                await connection.send(message)

    elif kind == "generator":

        @service.reply
        def holds_generator(message: bytes) -> Any:
            held.hold()
            yield message

    else:

        @service.reply
        def answer(message: bytes) -> bytes:
            return message

        @service.opened
        def holds_hook(connection: Connection) -> None:
            held.hold()

    return service


@pytest.mark.parametrize("kind", ["reply", "async", "conversation", "generator", "hook"])
def test_a_stuck_handler_is_named_with_its_stack(run_async: Any, readiness: str, kind: str) -> None:
    async def main() -> None:
        held = Held()
        deadlines = Deadlines(stall_timeout=SECONDS)
        async with Server(holding(kind, held), observer=held, deadlines=deadlines) as server:
            with watching(server), await Peer.connect(server) as peer:
                await peer.send(b"x\n")
                assert await peer.receive(2) == b"x\n"
        named = [event for event in held if ".holds" in event.handler]
        assert len(named) == 1, held
        (event,) = named
        assert event.handler.startswith(f"{__name__}.holding.<locals>.holds")
        assert event.seconds >= SECONDS / 2
        assert "test_watchdog.py" in event.stack[0]
        assert any("held.hold()" in line for line in event.stack)
        assert "threading.py" in event.stack[-2], "the innermost call is the last"

    run_async(main())


def test_a_set_up_that_holds_the_loop_is_named_too(run_async: Any) -> None:
    async def main() -> None:
        held = Held()
        service = Service("line")
        service.reply(bytes.upper)

        @service.lifespan
        async def set_up() -> AsyncIterator[None]:
            await asyncio.sleep(0)
            held.hold()
            yield

        server = Server(service, observer=held)
        with watching(server, seconds=SECONDS, loop=asyncio.get_running_loop()):
            await asyncio.create_task(server.start())
            await server.abort()
        assert [event.handler.rpartition(".")[2] for event in held if "set_up" in event.handler] == ["set_up"]

    run_async(main())


def test_a_server_in_a_thread_is_watched_from_outside(loop: str) -> None:
    from conftest import LOOPS

    held = Held()
    with (
        serve_in_thread(holding("reply", held), observer=held, loop_factory=LOOPS[loop]) as server,
        watching(server, seconds=SECONDS),
        connect(server.address, "line") as connection,
    ):
        assert connection.request(b"x") == b"x"
    assert any(event.handler.endswith(".holds") for event in held)


def test_two_servers_on_two_loops_each_name_their_own() -> None:
    first, second = Held(), Held()
    with (
        serve_in_thread(holding("reply", first), observer=first) as one,
        serve_in_thread(holding("async", second), observer=second) as two,
        watching(one, seconds=SECONDS),
        watching(two, seconds=SECONDS),
        connect(one.address, "line") as to_one,
        connect(two.address, "line") as to_two,
    ):
        assert to_one.request(b"x") == b"x"
        assert to_two.request(b"x") == b"x"
    assert {event.handler.rpartition(".")[2] for event in first if ".holds" in event.handler} == {"holds"}
    assert {event.handler.rpartition(".")[2] for event in second if ".holds" in event.handler} == {"holds_async"}


def test_a_loop_that_has_closed_is_watched_no_longer(run_async: Any, capfd: pytest.CaptureFixture[str]) -> None:
    """Its tripwire would fire: nobody puts it off."""
    watchdogs: list[Watchdog] = []

    async def main() -> None:
        watchdog = Watchdog(asyncio.get_running_loop(), lambda event: None, SECONDS)
        watchdog.start()
        watchdogs.append(watchdog)
        await asyncio.sleep(0)

    run_async(main())
    (watchdog,) = watchdogs
    watchdog._thread.join()
    assert watchdog._tripwire is None
    watchdog.stop()
    assert capfd.readouterr().err == ""


def test_nothing_is_watched_where_that_is_switched_off(run_async: Any) -> None:
    async def main() -> None:
        service = Service("line")
        service.reply(bytes.upper)
        async with Server(service, deadlines=Deadlines(stall_timeout=None)) as server:
            with watching(server):
                assert not [each for each in threading.enumerate() if each.name == "fourtuple-watchdog"]

    run_async(main())


def test_an_observer_that_raises_is_reported_and_the_watch_goes_on(run_async: Any) -> None:
    async def main() -> None:
        held = Held()
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

        def observer(event: events.Event) -> None:
            held(event)
            if isinstance(event, events.LoopHeld):
                raise RuntimeError("no room in the log")

        async with Server(holding("reply", held), observer=observer) as server:
            with watching(server, seconds=SECONDS), await Peer.connect(server) as peer:
                await peer.send(b"x\n")
                assert await peer.receive(2) == b"x\n"
                held.named.clear()
                await peer.send(b"y\n")
                assert await peer.receive(2) == b"y\n"
        assert len([event for event in held if event.handler.endswith(".holds")]) == 2
        assert {str(context["exception"]) for context in told} == {"no room in the log"}

    run_async(main())


# -- what is held and what is busy: looks by hand, on a clock of the test's -------------------------------------


def looks(run_async: Any, *calls: Callable[[Callable[[float], None]], None]) -> list[events.LoopHeld]:
    """Make these calls in one round of a loop, each with a function that has the watchdog look at it; what it told."""
    told: list[events.LoopHeld] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        watchdog = Watchdog(loop, told.append, 1.0)
        watchdog._pulse.ask()
        await asyncio.sleep(0)
        assert watchdog._pulse.came
        began = watchdog._pulse.asked

        def look(seconds: float) -> None:
            thread = threading.Thread(target=watchdog.look, args=(began + seconds,))
            thread.start()
            thread.join()

        look(0.0)  # it asks for the next sign, which comes behind these calls
        for call in calls:
            loop.call_soon(call, look)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    run_async(main())
    return told


def test_the_same_call_at_two_looks_is_reported_once(run_async: Any) -> None:
    def holds(look: Callable[[float], None]) -> None:
        for seconds in (0.5, 1.0, 1.5, 2.0):
            look(seconds)

    (event,) = looks(run_async, holds)
    assert event.handler.endswith("test_the_same_call_at_two_looks_is_reported_once.<locals>.holds")
    assert event.seconds >= 1.0


def test_many_short_calls_are_no_stall(run_async: Any) -> None:
    def first(look: Callable[[float], None]) -> None:
        look(0.5)

    def second(look: Callable[[float], None]) -> None:
        look(1.0)

    def third(look: Callable[[float], None]) -> None:
        look(1.5)

    assert looks(run_async, first, second, third) == []


def test_a_postponed_tripwire_does_not_fire_and_neither_does_a_cut_one() -> None:
    if ASKED["signals"]:
        pytest.skip(f"the C for signals {ASKED['signals']}")
    from fourtuple.signals import Tripwire

    ours, theirs = os.pipe()
    try:
        wires = [Tripwire.stretched(0.2, theirs) for _ in range(2)]
        assert None not in wires
        one, other = (each for each in wires if each is not None)
        other.put_off()
        other.cut()
        one.put_off()
        told = os.read(ours, 1 << 20)  # the signal interrupts this very thread
        assert told.startswith(b"fourtuple: a call keeps the interpreter's lock, no other thread has run for 0.3 s:\n")
        assert b"test_watchdog.py" in told
        one.cut()
        os.set_blocking(ours, False)
        with pytest.raises(BlockingIOError):
            os.read(ours, 1)  # it fires once, and the other never
    finally:
        os.close(ours)
        os.close(theirs)
