"""A task that waits for a connection: resumed at once where nothing else runs, else by way of the loop."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import weakref
from typing import Any

import pytest

from fourtuple.engine.eager_future import EagerFuture, Reference

WHERE = contextvars.ContextVar("where", default="nowhere")


@pytest.fixture(params=["running", "reference"])
def kind(request: pytest.FixtureRequest) -> type[EagerFuture]:
    """What runs, which is C where it was built, and its twin."""
    return EagerFuture if request.param == "running" else Reference


class Waiting:
    """A task that waits a number of times, and what it noted."""

    def __init__(self, kind: type[EagerFuture], times: int = 1) -> None:
        self.loop = asyncio.get_running_loop()
        self.waiter = kind(self.loop)
        self.notes: list[Any] = []
        self.task = self.loop.create_task(self._work(times))

    async def _work(self, times: int) -> None:
        WHERE.set("in the task")
        for _ in range(times):
            await self.waiter
            self.notes.append((asyncio.current_task() is self.task, WHERE.get()))

    async def begun(self) -> None:
        while not self.waiter.waiting:
            await asyncio.sleep(0)
        await asyncio.sleep(0)


WOKEN = (True, "in the task")


async def outside_of_tasks(call: Any) -> None:
    """Let the loop call something, as it calls the engine."""
    done = asyncio.get_running_loop().create_future()

    def run() -> None:
        call()
        done.set_result(None)

    asyncio.get_running_loop().call_soon(run)
    await done


def test_a_waiter_is_a_future_by_its_shape(kind: type[EagerFuture]) -> None:
    loop = asyncio.new_event_loop()
    try:
        assert asyncio.isfuture(kind(loop))
    finally:
        loop.close()


def test_where_no_task_runs_the_task_goes_on_at_once_in_its_own_context(
    run_async: Any, kind: type[EagerFuture]
) -> None:
    async def main() -> None:
        waiting = Waiting(kind, times=3)
        await waiting.begun()
        seen: list[int] = []

        def wake() -> None:
            for _ in range(3):
                waiting.waiter.wake(at_once=True)
                seen.append(len(waiting.notes))

        await outside_of_tasks(wake)
        assert seen == [1, 2, 3]
        assert waiting.notes == [WOKEN] * 3
        await waiting.task

    run_async(main())


def test_where_another_task_runs_the_loop_resumes_it(run_async: Any, kind: type[EagerFuture]) -> None:
    async def main() -> None:
        waiting = Waiting(kind)
        await waiting.begun()
        waiting.waiter.wake(at_once=True)  # this test is a task
        assert waiting.notes == []
        assert waiting.waiter.waiting  # it was woken, and has not gone on yet
        await waiting.task
        assert waiting.notes == [WOKEN]
        assert not waiting.waiter.waiting

    run_async(main())


def test_waking_twice_is_waking_once_and_waking_without_a_waiter_does_nothing(
    run_async: Any, kind: type[EagerFuture]
) -> None:
    async def main() -> None:
        waiting = Waiting(kind, times=2)
        waiting.waiter.wake()
        await waiting.begun()
        assert waiting.notes == []
        waiting.waiter.wake()
        waiting.waiter.wake()
        await outside_of_tasks(lambda: None)
        await outside_of_tasks(lambda: None)
        assert waiting.notes == [WOKEN]
        waiting.waiter.wake()
        await waiting.task

    run_async(main())


@pytest.mark.parametrize("woken_before", [False, True])
def test_a_cancelled_task_is_told_and_its_next_wait_works(
    run_async: Any, kind: type[EagerFuture], woken_before: bool
) -> None:
    async def main() -> None:
        waiting = Waiting(kind)
        await waiting.begun()
        if woken_before:
            waiting.waiter.wake()
        waiting.task.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await waiting.task
        assert waiting.notes == []
        assert not waiting.waiter.waiting

        async def again() -> str:
            await waiting.waiter
            return "woken"

        task = asyncio.get_running_loop().create_task(again())
        while not waiting.waiter.waiting:
            await asyncio.sleep(0)
        await outside_of_tasks(lambda: waiting.waiter.wake(at_once=True))
        assert await task == "woken"

    run_async(main())


def test_a_wait_in_a_timeout_ends_by_it(run_async: Any, kind: type[EagerFuture]) -> None:
    async def main() -> None:
        waiter = kind(asyncio.get_running_loop())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await waiter
        assert not waiter.waiting

    run_async(main())


def test_a_waiter_is_bound_to_its_loop(run_async: Any, kind: type[EagerFuture]) -> None:
    other = asyncio.new_event_loop()

    async def main() -> None:
        waiter = kind(other)
        with pytest.raises(RuntimeError, match="attached to a different loop"):
            await asyncio.create_task(wait(waiter))
        assert not waiter.waiting

    async def wait(waiter: EagerFuture) -> None:
        await waiter

    try:
        run_async(main())
    finally:
        other.close()


def test_an_error_of_a_task_that_goes_on_at_once_is_raised_in_the_waker(
    run_async: Any, kind: type[EagerFuture]
) -> None:
    """SystemExit and KeyboardInterrupt leave a task's step, and so does this one."""

    async def main() -> None:
        waiter = kind(asyncio.get_running_loop())
        ended: list[BaseException] = []

        async def exit_when_woken() -> None:
            await waiter
            raise SystemExit(3)

        def wake() -> None:
            try:
                waiter.wake(at_once=True)
            except SystemExit as error:
                ended.append(error)

        task = asyncio.ensure_future(exit_when_woken())
        while not waiter.waiting:
            await asyncio.sleep(0)
        await outside_of_tasks(wake)
        assert [each.args for each in ended] == [(3,)]
        with pytest.raises(SystemExit):
            task.result()

    run_async(main())


def test_a_cycle_through_a_waiter_is_found(kind: type[EagerFuture]) -> None:
    class Loop:
        waiter: EagerFuture

        def wake_up(self, _waiter: EagerFuture) -> None: ...

    loop = Loop()
    loop.waiter = kind(loop)  # type: ignore[arg-type]
    loop.waiter.add_done_callback(loop.wake_up, context=contextvars.Context())
    gone = weakref.ref(loop)
    del loop
    gc.collect()
    assert gone() is None
