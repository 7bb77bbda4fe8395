"""An async reply runs in the turn of its message, with a spare task as the current one, which runs it if it waits."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import time
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from fourtuple import Connection, Deadlines, Reason, Server, Service, Sockets, events, reply_and_close
from rig import Peer, limits, serving, turns, until

NUMBER: contextvars.ContextVar[int] = contextvars.ContextVar("NUMBER", default=0)

THINGS: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("THINGS", default=None)


class Things(list[str]):
    """A list that can be referred to weakly."""


Handler = Callable[[bytes], Coroutine[Any, Any, Any]]


async def asks(peer: Peer, octets: bytes, replies: bytes) -> None:
    """Send these octets, and get these replies."""
    await peer.send(octets)
    assert await peer.receive(len(replies)) == replies


def parked(server: Server) -> int:
    """How many tasks are parked."""
    spares = server._core.spares
    return len(spares._parked) + (spares.parked is not None)


async def warm(server: Server) -> None:
    """Let a task park: the first message of a server has a task of its own."""
    with await Peer.connect(server) as peer:
        await asks(peer, b"first\n", b"FIRST\n")
        await until(lambda: parked(server))


def tried(run_async: Any, readiness: str, handler: Handler, messages: list[bytes], replies: list[bytes]) -> None:
    """The messages of one read get these replies, before and after a task is parked, again and again."""

    async def main() -> None:
        service = Service("line")

        @service.reply
        async def answer(message: bytes) -> Any:
            return message.upper() if message == b"first" else await handler(message)

        async with serving(service, readiness) as (server, _):
            octets, wanted = (b"".join(each + b"\n" for each in some) for some in (messages, replies))
            with await Peer.connect(server) as one, await Peer.connect(server) as two:
                for peer in (one, two, one, one):
                    await peer.send(octets)
                    assert await peer.receive(len(wanted)) == wanted
                    await until(lambda: not server._core.tasks)
            await warm(server)

    run_async(main())


# -- what a coroutine may do in its first step ------------------------------------------------------------------


def test_what_does_not_wait_needs_no_task(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service, tasks = Service("line"), set[int]()

        @service.reply
        async def answer(message: bytes) -> bytes:
            tasks.add(id(asyncio.current_task()))
            return message.upper()

        async with serving(service, readiness) as (server, _):
            await warm(server)
            before = asyncio.all_tasks()
            tasks.clear()
            with await Peer.connect(server) as a, await Peer.connect(server) as b:
                for peer in (a, b, a, b):
                    await asks(peer, b"x\ny\nz\n", b"X\nY\nZ\n")
                assert len(tasks) == 1
                assert asyncio.all_tasks() == before
                assert asyncio.current_task() in before

    run_async(main())


def test_each_message_has_a_context_of_its_own(run_async: Any, readiness: str) -> None:
    async def count(message: bytes) -> bytes:
        NUMBER.set(NUMBER.get() + 1)
        if message == b"wait":
            await asyncio.sleep(0)
            NUMBER.set(NUMBER.get() + 1)
            await asyncio.create_task(asyncio.sleep(0))
        return b"%d" % NUMBER.get()

    tried(
        run_async, readiness, count, [b"a", b"wait", b"b", b"wait", b"wait", b"c"], [b"1", b"2", b"1", b"2", b"2", b"1"]
    )


@pytest.mark.parametrize("given", [None, ["given"]])
def test_messages_that_wait_see_no_change_of_another(run_async: Any, readiness: str, given: list[str] | None) -> None:
    """Those behind the first run in their task's context, until one of them has changed it."""
    things: list[weakref.ref[Things]] = []

    async def handler(message: bytes) -> bytes:
        await asyncio.sleep(0)
        seen = THINGS.get()
        if message == b"set":
            thing = Things(["given"])  # equal to what it was, and not the same
            things.append(weakref.ref(thing))
            THINGS.set(thing)
        elif message == b"back":
            THINGS.reset(THINGS.set([]))
        return b"same" if seen is given else b"other"

    async def main() -> None:
        if given is not None:
            THINGS.set(given)
        service = Service("line")

        @service.reply
        async def answer(message: bytes) -> bytes:
            return b"FIRST" if message == b"first" else await handler(message)

        async with serving(service, readiness) as (server, _):
            await warm(server)
            spares = server._core.spares
            with await Peer.connect(server) as one, await Peer.connect(server) as two:
                for peer in (one, two):
                    await asks(peer, b"get\nback\nget\nget\n", b"same\n" * 4)
                    await until(lambda: not server._core.tasks)
                assert spares.sharing
                for peer in (one, two, one, one):
                    await asks(peer, b"get\nset\nget\nset\nget\n", b"same\n" * 5)
                    await until(lambda: not server._core.tasks)
                assert not spares.sharing
                await until(lambda: not any(thing() for thing in things))  # no parked task keeps one

    run_async(main())


def test_what_a_message_that_fails_has_set_is_not_kept(run_async: Any, readiness: str) -> None:
    service = Service("line")

    @service.reply
    async def answer(message: bytes) -> bytes:
        await asyncio.sleep(0)
        if message == b"fail":
            THINGS.set(["left"])
            raise ValueError("a mistake")
        return message.upper() if THINGS.get() is None else b"other"

    async def main() -> None:
        async with serving(service, readiness) as (server, _):
            await warm(server)
            for _ in range(3):
                with await Peer.connect(server) as peer:
                    await peer.send(b"a\nb\nfail\nc\n")
                    assert await peer.receive_all() == b"A\nB\n"
                await until(lambda: not server._core.tasks)
            assert not server._core.spares.sharing
            with await Peer.connect(server) as peer:
                await asks(peer, b"a\nb\nc\n", b"A\nB\nC\n")

    run_async(main())


def test_a_token_is_reset_in_its_context(run_async: Any, readiness: str) -> None:
    async def reset(message: bytes) -> bytes:
        token = NUMBER.set(1)
        if message == b"wait":
            await asyncio.sleep(0)
        NUMBER.reset(token)
        return message

    tried(run_async, readiness, reset, [b"a", b"wait", b"b"], [b"a", b"wait", b"b"])


@pytest.mark.parametrize("waits", [False, True])
def test_timeouts_and_groups_work_from_the_first_line(run_async: Any, readiness: str, waits: bool) -> None:
    async def use(message: bytes) -> bytes:
        task = asyncio.current_task()
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            if waits:
                child = group.create_task(asyncio.sleep(0, message))
        if message == b"late":
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await asyncio.sleep(60)
        if message == b"never":
            async with asyncio.timeout(0):
                pass
        assert asyncio.current_task() is task
        assert task is not None
        assert not task.cancelling()
        return child.result() if waits else message

    tried(run_async, readiness, use, [b"a", b"late", b"never", b"b"], [b"a", b"late", b"never", b"b"])


def test_a_child_that_fails_cancels_what_waits_for_it(run_async: Any, readiness: str) -> None:
    async def fail(message: bytes) -> bytes:
        async def child() -> None:
            raise ValueError(message)

        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(child())
                await asyncio.sleep(60)
        except ExceptionGroup as errors:
            return bytes(errors.exceptions[0].args[0]) + b"!"
        return b"not reached"

    tried(run_async, readiness, fail, [b"a", b"b"], [b"a!", b"b!"])


def test_what_is_done_already_does_not_wait(run_async: Any, readiness: str) -> None:
    async def done(message: bytes) -> bytes:
        future = asyncio.get_running_loop().create_future()
        future.set_result(message + b"!")
        return await future  # type: ignore[no-any-return]

    tried(run_async, readiness, done, [b"a", b"b"], [b"a!", b"b!"])


def test_anyio_finds_its_task(run_async: Any, readiness: str) -> None:
    anyio = pytest.importorskip("anyio")

    async def use(message: bytes) -> bytes:
        with anyio.fail_after(60):
            if message == b"wait":
                await anyio.sleep(0)
        with anyio.move_on_after(0) as scope:
            await anyio.sleep(60)
        assert scope.cancelled_caught
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 0)
        return message

    tried(run_async, readiness, use, [b"a", b"wait", b"b"], [b"a", b"wait", b"b"])


def test_any_awaitable_may_be_returned(run_async: Any, readiness: str) -> None:
    class Answer:
        async def __call__(self, message: bytes) -> bytes:
            await asyncio.sleep(0)
            return message.upper()

    async def main() -> None:
        service = Service("line")
        service.reply(Answer())
        async with serving(service, readiness) as (server, _):
            await warm(server)
            with await Peer.connect(server) as peer:
                await asks(peer, b"a\nb\n", b"A\nB\n")

    run_async(main())


# -- a handler and its task -------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before it waits", "and takes it back", "and cancels a child"])
def test_a_handler_cancels_itself(run_async: Any, readiness: str, when: str) -> None:
    async def main() -> None:
        service, children = Service("line"), list[asyncio.Task[None]]()

        @service.reply
        async def answer(message: bytes) -> bytes:
            task = asyncio.current_task()
            assert task is not None
            if message == b"cancel":
                task.cancel()
                if when == "before it waits":
                    await asyncio.sleep(60)
                elif when == "and cancels a child":
                    children.append(asyncio.create_task(asyncio.sleep(60)))
                    await children[-1]
                elif when == "and takes it back":
                    try:
                        await asyncio.sleep(60)
                    except asyncio.CancelledError:
                        assert task.uncancel() == 0
            return message.upper()

        async with serving(service, readiness) as (server, seen):
            for _ in range(2):  # the first one has a task of its own
                with await Peer.connect(server) as peer, await Peer.connect(server) as other:
                    await peer.send(b"cancel\n")
                    if when == "and takes it back":
                        assert await peer.receive(7) == b"CANCEL\n"
                    else:
                        with pytest.raises(ConnectionResetError):
                            await peer.receive_all()
                        assert (await seen.closed()).reason is Reason.ABORTED
                    await asks(other, b"a\nb\n", b"A\nB\n")
                await until(lambda: not server._core.tasks)
                await warm(server)
            await turns()
            assert all(child.cancelled() for child in children)
            assert not seen.of(events.HandlerRaised)

    run_async(main())


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("kind", ["reply", "generator", "batches"])
def test_a_handler_that_cancels_itself_and_returns_has_replied(
    run_async: Any, readiness: str, waits: bool, kind: str
) -> None:
    """Its cancellation reaches neither its reply nor the next message, nor the wait for a peer that does not read."""

    async def main() -> None:
        service = Service("line")
        # More than the buffers of both sides take.
        large, narrow = b"x" * 200_000, Sockets(send_buffer=4096)

        async def answer(message: bytes) -> bytes:
            if waits:
                await asyncio.sleep(0)
            if message.startswith(b"cancel"):
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
            else:
                await asyncio.sleep(0)
            return message.upper() + (large if message.endswith(b"large") else b"")

        if kind == "reply":
            service.reply(answer)
        elif kind == "generator":

            @service.reply
            async def generate(message: bytes) -> AsyncIterator[bytes]:
                yield await answer(message)

        else:

            @service.replies
            async def batch(messages: list[bytes]) -> list[bytes]:
                return [await answer(message) for message in reversed(messages)][::-1]

        async with serving(service, readiness, limits=limits(high_water=1000), sockets=narrow) as (server, seen):
            for _ in range(2):  # the first one has a task of its own
                with await Peer.connect(server, receive_buffer=8192) as peer, await Peer.connect(server) as other:
                    await asks(peer, b"cancel\n", b"CANCEL\n")
                    await asks(other, b"a\nb\n", b"A\nB\n")
                    if kind != "batches":
                        await asks(peer, b"cancel\nc\n", b"CANCEL\nC\n")
                    if kind == "reply":
                        await asks(peer, b"cancel large\nc\n", b"CANCEL LARGE" + large + b"\nC\n")
                    elif kind == "batches":
                        await asks(peer, b"cancel large\n", b"CANCEL LARGE" + large + b"\n")
                    peer.finish()
                    assert await peer.receive_all() == b""
                await until(lambda: not server._core.tasks)
                if kind != "batches":
                    await warm(server)
            await turns()
            assert not seen.of(events.HandlerRaised)

    run_async(main())


@pytest.mark.parametrize("waits", [False, True])
def test_a_task_that_a_handler_has_kept_runs_no_other(run_async: Any, readiness: str, waits: bool) -> None:
    async def main() -> None:
        service, kept = Service("line"), list[asyncio.Task[Any]]()
        gate = asyncio.Event()

        @service.reply
        async def answer(message: bytes) -> bytes:
            task = asyncio.current_task()
            assert task is not None
            if message == b"keep":
                assert not any(each is task for each in kept)
                kept.append(task)
                if waits:
                    await asyncio.sleep(0)
            if message == b"wait":
                await gate.wait()
            return message.upper()

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as a, await Peer.connect(server) as b:
                for _ in range(4):
                    await asks(a, b"keep\nx\n", b"KEEP\nX\n")
                    await warm(server)
                await b.send(b"wait\n")
                await until(lambda: server._core.tasks)
                for task in kept:
                    task.cancel()  # too late: it is nothing to the handler that waits now
                await turns()
                gate.set()
                assert await b.receive(5) == b"WAIT\n"
            await until(lambda: all(task.done() for task in kept))
            assert len(kept) == 4

    run_async(main())


def test_tasks_are_used_again(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service, tasks = Service("line"), list[int]()

        @service.reply
        async def answer(message: bytes) -> bytes:
            tasks.append(id(asyncio.current_task()))
            await asyncio.sleep(0)
            return message.upper()

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                for _ in range(40):
                    await asks(peer, b"x\n", b"X\n")
                assert len(set(tasks)) <= 4
                assert parked(server) <= 4

    run_async(main())


def test_parked_tasks_are_gone_with_the_server(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        gate = asyncio.Event()

        @service.reply
        async def answer(message: bytes) -> bytes:
            if message == b"wait":
                await gate.wait()
            return message.upper()

        before = asyncio.all_tasks()
        async with serving(service, readiness) as (server, _):
            await warm(server)
            peers = [await Peer.connect(server) for _ in range(80)]
            for peer in peers:
                await peer.send(b"wait\n")
            await until(lambda: len(server._core.tasks) == 80)
            gate.set()
            for peer in peers:
                assert await peer.receive(5) == b"WAIT\n"
                peer.close()
            await until(lambda: not server._core.tasks)
            await turns()
            assert 0 < parked(server) <= 65
        assert asyncio.all_tasks() == before

    run_async(main())


# -- order, the end, deadlines ----------------------------------------------------------------------------------


def test_a_message_behind_one_that_waits_waits_too(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service, handled = Service("line"), list[bytes]()
        gates = {b"w": asyncio.Event(), b"v": asyncio.Event()}

        @service.reply
        async def answer(message: bytes) -> bytes:
            handled.append(message)
            if message in gates:
                await gates[message].wait()
            return message.upper()

        async with serving(service, readiness) as (server, _):
            await warm(server)
            handled.clear()
            with await Peer.connect(server) as peer:
                await peer.send(b"a\nw\nb\n")
                assert await peer.receive(2) == b"A\n"
                await peer.send(b"c\nv\nd\n")
                await turns()
                assert handled == [b"a", b"w"]
                gates[b"w"].set()
                assert await peer.receive(6) == b"W\nB\nC\n"
                assert handled == [b"a", b"w", b"b", b"c", b"v"]
                gates[b"v"].set()
                assert await peer.receive(4) == b"V\nD\n"

    run_async(main())


@pytest.mark.parametrize("how", ["goodbye", "close", "abort", "goodbye behind a wait"])
def test_nothing_runs_behind_a_goodbye(run_async: Any, readiness: str, how: str) -> None:
    async def main() -> None:
        service, handled = Service("line"), list[bytes]()

        @service.reply
        async def answer(message: bytes, connection: Connection) -> Any:
            handled.append(message)
            if message != b"end":
                return message.upper()
            if how.endswith("wait"):
                await asyncio.sleep(0)
            if how == "close":
                connection.close()
                await asyncio.sleep(0)
            elif how == "abort":
                connection.abort()
                await asyncio.sleep(0)
            return reply_and_close(b"bye")

        async with serving(service, readiness) as (server, seen):
            await warm(server)
            handled.clear()
            with await Peer.connect(server) as peer:
                await peer.send(b"a\nend\nb\nc\n")
                if how == "abort":
                    with pytest.raises(ConnectionResetError):
                        await peer.receive_all()
                else:
                    assert await peer.receive_all() == (b"A\n" if how == "close" else b"A\nbye\n")
            await until(lambda: not server.connections and not server._core.tasks)
            assert handled == [b"a", b"end"]
            assert not seen.of(events.HandlerRaised)

    run_async(main())


def test_the_hook_of_the_end_comes_behind_the_handler(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service, order = Service("line"), list[str]()

        @service.reply
        async def answer(message: bytes, connection: Connection) -> bytes:
            if message == b"first":
                return b"FIRST"
            connection.abort()
            order.append("step")
            if message == b"wait":
                await asyncio.sleep(0)
            order.append("end")
            return message

        service.closed(lambda _: order.append("closed"))
        async with serving(service, readiness) as (server, _):
            await warm(server)
            for message in (b"at once\n", b"wait\n"):
                await until(lambda: not server.connections)
                order.clear()
                with await Peer.connect(server) as peer:
                    await peer.send(message)
                    await until(lambda: "closed" in order)
                assert order == ["step", "end", "closed"]

    run_async(main())


def test_it_is_cancelled_with_its_connection(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service, ends = Service("line"), list[str]()

        @service.reply
        async def answer(message: bytes) -> bytes:
            if message == b"first":
                return b"FIRST"
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ends.append("cancelled")
                raise
            return message

        async with serving(service, readiness) as (server, seen):
            await warm(server)
            with await Peer.connect(server) as peer:
                await peer.send(b"a\nb\n")
                await until(lambda: server._core.tasks)
                peer.reset()
                await until(lambda: ends)
            await until(lambda: not server._core.tasks)
            assert ends == ["cancelled"]
            assert not seen.of(events.HandlerRaised)
            await warm(server)

    run_async(main())


def test_a_drain_waits_for_what_waits(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service, gate = Service("line"), asyncio.Event()

        @service.reply
        async def answer(message: bytes) -> bytes:
            if message == b"wait":
                await gate.wait()
            return message.upper()

        async with serving(service, readiness) as (server, _):
            await warm(server)
            with await Peer.connect(server) as peer:
                await peer.send(b"a\nwait\nb\n")
                assert await peer.receive(2) == b"A\n"
                draining = asyncio.create_task(server.drain(60))
                await turns()
                assert not draining.done()
                gate.set()
                assert await peer.receive_all() == b"WAIT\nB\n"
            await draining

    run_async(main())


def test_the_deadline_of_a_handler_begins_at_its_first_wait(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")

        @service.reply
        async def answer(message: bytes) -> bytes:
            if message == b"wait":
                await asyncio.sleep(60)
            return message.upper()

        async with serving(service, readiness, deadlines=Deadlines(handler_timeout=0.05)) as (server, seen):
            await warm(server)
            with await Peer.connect(server) as peer:
                await asks(peer, b"a\n", b"A\n")
                assert not server._core.handler_timeouts._at_work
                await peer.send(b"wait\n")
                assert await peer.receive_all() == b""
            assert (await seen.wait(events.Closed, 2))[1].reason is Reason.DEADLINE

    run_async(main())


def test_an_async_generator_is_closed_in_mid_way(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service, ends = Service("line"), list[bytes]()

        @service.reply
        async def answers(message: bytes, connection: Connection) -> AsyncIterator[bytes]:
            try:
                yield message.upper()
                if message == b"first":
                    return
                if message == b"wait":
                    await asyncio.sleep(0)
                connection.close()
                yield b"not sent"
                yield b"not pulled"
            finally:
                ends.append(message)

        async with serving(service, readiness) as (server, seen):
            await warm(server)
            ends.clear()
            for message in (b"at once", b"wait"):
                with await Peer.connect(server) as peer:
                    await peer.send(message + b"\nb\n")
                    assert await peer.receive_all() == message.upper() + b"\n"
            assert ends == [b"at once", b"wait"]
            assert not seen.of(events.HandlerRaised)

    run_async(main())


@pytest.mark.parametrize("waits", [False, True])
def test_the_framing_changes_in_the_middle_of_a_batch(run_async: Any, readiness: str, waits: bool) -> None:
    async def main() -> None:
        service = Service("line")

        @service.reply
        async def answer(message: bytes, connection: Connection) -> bytes:
            if waits and message != b"first":
                await asyncio.sleep(0)
            if message == b"change":
                connection.change_framing("fixed:2")
            return message.upper()

        async with serving(service, readiness) as (server, _):
            await warm(server)
            with await Peer.connect(server) as peer:
                await peer.send(b"a\nchange\nbbccd")
                assert await peer.receive(13) == b"A\nCHANGE\nBBCC"
                await asks(peer, b"d", b"DD")

    run_async(main())


@pytest.mark.parametrize("waits", [False, True])
def test_a_handler_receives_by_itself(run_async: Any, readiness: str, waits: bool) -> None:
    async def main() -> None:
        service = Service("line")

        @service.reply
        async def answer(message: bytes, connection: Connection) -> bytes:
            if message == b"first":
                return b"FIRST"
            if waits:
                await asyncio.sleep(0)
            return message + (await connection.receive()).upper()

        async with serving(service, readiness) as (server, _):
            await warm(server)
            with await Peer.connect(server) as peer:
                await asks(peer, b"a\nb\nc\nd\n", b"aB\ncD\n")
                await peer.send(b"e\n")
                await turns()
                await asks(peer, b"f\ng\n", b"eF\n")
                await asks(peer, b"h\n", b"gH\n")

    run_async(main())


def test_nothing_of_a_connection_is_left(run_async: Any, readiness: str) -> None:
    """No reference cycle keeps what a connection had until the garbage collector comes."""

    async def main() -> None:
        service = Service("line")

        @service.reply
        async def answer(message: bytes, connection: Connection) -> bytes:
            if message == b"wait":
                await asyncio.sleep(0)
            return message.upper()

        async with serving(service, readiness) as (server, _):
            await warm(server)
            for message in (b"a\n", b"wait\n"):
                with await Peer.connect(server) as peer:
                    await asks(peer, message, message.upper())
                await until(lambda: not server.connections)
            await turns()
            gc.collect()
            assert not [each for each in gc.get_objects() if type(each) is Connection]

    run_async(main())


@pytest.mark.parametrize("twin", ["as built", "python"])
def test_one_task_stands_in_for_many_messages(twin: str, run_async: Any, readiness: str) -> None:
    """It is replaced only if a handler has kept or cancelled it."""

    async def main() -> None:
        service, seen = Service("line"), set()

        @service.reply
        async def answer(message: bytes) -> bytes:
            seen.add(id(asyncio.current_task()))
            return message.upper()

        clock = time.monotonic if twin == "as built" else lambda: time.monotonic()  # another clock: not the C
        async with serving(service, readiness, clock=clock) as (server, _):
            await warm(server)
            seen.clear()
            with await Peer.connect(server) as peer:
                for _ in range(3):
                    await asks(peer, b"a\nb\nc\nd\n", b"A\nB\nC\nD\n")
        assert len(seen) == 1

    run_async(main())
