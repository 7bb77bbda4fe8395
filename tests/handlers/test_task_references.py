"""A task that a handler has kept, cancelled or named runs no other handler, and ends when its handler has ended."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from typing import Any

import pytest

from fourtuple import Reason, Service, events
from rig import Peer, serving, turns, until

WAITS = pytest.mark.parametrize("waits", [False, True])


def own_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task


@pytest.mark.parametrize(
    "lines",
    [b"keep\nlong\n", b"wait\nkeep\nlong\n", b"keep and wait\nlong\n", b"wait\nx\nkeep and wait\nx\nlong\nx\n"],
)
def test_a_kept_task_runs_no_other_message_of_its_batch(run_async: Any, readiness: str, lines: bytes) -> None:
    async def main() -> None:
        service, kept, gate = Service("line"), list[asyncio.Task[Any]](), asyncio.Event()
        started = asyncio.Event()

        @service.reply
        async def answer(message: bytes) -> bytes:
            if message.startswith(b"keep"):
                kept.append(own_task())
            if message.endswith(b"wait"):
                await asyncio.sleep(0)
            if message == b"long":
                started.set()
                await gate.wait()
            return message

        async with serving(service, readiness) as (server, _):
            for _ in range(2):  # the first message of a server has a task of its own
                with await Peer.connect(server) as peer:
                    await peer.send(lines)
                    await started.wait()
                    for task in kept:
                        task.cancel()  # too late: it is nothing to the handler that waits now
                    await turns()
                    gate.set()
                    assert await peer.receive(len(lines)) == lines
                kept.clear()
                gate.clear()
                started.clear()

    run_async(main())


@WAITS
def test_a_kept_task_has_ended_when_its_handler_has(run_async: Any, readiness: str, waits: bool) -> None:
    async def main() -> None:
        service, kept = Service("line"), list[asyncio.Task[Any]]()

        @service.reply
        async def answer(message: bytes) -> bytes:
            kept.append(own_task())
            if waits:
                await asyncio.sleep(0)
            return message

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"a\nb\nc\n")
                assert await peer.receive(6) == b"a\nb\nc\n"
                assert await asyncio.gather(*kept) == [None] * 3  # who awaits it is not cancelled
                assert len(set(kept)) == 3

    run_async(main())


def test_a_kept_task_that_was_cancelled_ends_cancelled(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service, kept = Service("line"), list[asyncio.Task[Any]]()

        @service.reply
        async def answer(message: bytes) -> None:
            kept.append(own_task())
            await asyncio.Event().wait()

        async with serving(service, readiness) as (server, seen):
            for _ in range(2):
                with await Peer.connect(server) as peer:
                    await peer.send(b"x\n")
                    await until(lambda: kept)
                    task = kept.pop()
                    task.cancel()
                    await asyncio.wait([task])
                    assert task.cancelled()
                    await until(lambda: not server.connections)
            assert [closed.reason for closed in seen.of(events.Closed)] == [Reason.ABORTED] * 2

    run_async(main())


@WAITS
def test_a_name_and_callbacks_are_those_of_one_handler(run_async: Any, readiness: str, waits: bool) -> None:
    async def main() -> None:
        service, names, ended = Service("line"), list[str](), list[bytes]()

        @service.reply
        async def answer(message: bytes) -> bytes:
            names.append(own_task().get_name())
            if message.startswith(b"name"):
                own_task().set_name("mine")
            if message.startswith(b"call"):
                own_task().add_done_callback(lambda _: ended.append(message))
            if waits:
                await asyncio.sleep(0)
            return message

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                lines = b"name\nx\ncall 1\ncall 2\ncall 3\nname\nx\n"
                for _ in range(2):
                    await peer.send(lines)
                    assert await peer.receive(len(lines)) == lines
                    await until(lambda: len(ended) == 3)  # while the server serves
                    assert ended == [b"call 1", b"call 2", b"call 3"]
                    ended.clear()
                assert "mine" not in names

    run_async(main())


def test_each_batch_has_a_context_of_its_own_and_a_task_that_nothing_kept(run_async: Any, readiness: str) -> None:
    number: contextvars.ContextVar[int] = contextvars.ContextVar("number", default=0)

    async def main() -> None:
        service, found, kept = Service("line"), list[int](), list[asyncio.Task[Any]]()
        gate, started = asyncio.Event(), asyncio.Event()

        @service.replies
        async def answer(messages: list[bytes]) -> list[bytes]:
            found.append(number.get())
            number.set(1)
            kept.append(own_task())
            started.set()
            await gate.wait()
            return messages

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"first\n")
                await started.wait()
                await peer.send(b"second\n")  # comes while the first is handled
                await until(lambda: server.statistics.messages_in == 2)
                started.clear()
                gate.set()
                assert await peer.receive(6) == b"first\n"
                gate.clear()
                await started.wait()
                kept[0].cancel()
                await turns()
                gate.set()
                assert await peer.receive(7) == b"second\n"
        assert found == [0, 0]
        assert len(set(kept)) == 2

    run_async(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in Python 3.12")
def test_a_factory_of_eager_tasks(run_async: Any, readiness: str, loop: str, caplog: pytest.LogCaptureFixture) -> None:
    if loop == "uvloop":
        pytest.skip("uvloop passes an argument that such a factory refuses")

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        service = Service("line")

        @service.reply
        async def answer(message: bytes) -> bytes:
            async with asyncio.timeout(60):
                await asyncio.sleep(0)
            return message

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                for _ in range(3):
                    await peer.send(b"a\nb\n")
                    assert await peer.receive(4) == b"a\nb\n"
                spares = server._core.spares
                assert spares.parked is not None

    run_async(main())
    assert not caplog.records
