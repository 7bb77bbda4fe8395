"""A task that waits for a connection: resumed at once where nothing else runs, else by way of the loop."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest

from fourtuple.waiting import Waiter

WHERE = contextvars.ContextVar("where", default="nowhere")


class Waiting:
    """A task that waits a number of times, and what it noted."""

    def __init__(self, times: int = 1) -> None:
        self.loop = asyncio.get_running_loop()
        self.waiter = Waiter(self.loop)
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


def test_a_waiter_is_a_future_by_its_shape() -> None:
    loop = asyncio.new_event_loop()
    try:
        assert asyncio.isfuture(Waiter(loop))
    finally:
        loop.close()


def test_where_no_task_runs_the_task_goes_on_at_once_in_its_own_context(run_async: Any) -> None:
    async def main() -> None:
        waiting = Waiting(times=3)
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


def test_where_another_task_runs_the_loop_resumes_it(run_async: Any) -> None:
    async def main() -> None:
        waiting = Waiting()
        await waiting.begun()
        waiting.waiter.wake(at_once=True)  # this test is a task
        assert waiting.notes == []
        assert waiting.waiter.waiting  # it was woken, and has not gone on yet
        await waiting.task
        assert waiting.notes == [WOKEN]
        assert not waiting.waiter.waiting

    run_async(main())


def test_waking_twice_or_nobody_is_waking_once_or_nobody(run_async: Any) -> None:
    async def main() -> None:
        waiting = Waiting(times=2)
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
def test_a_cancelled_task_hears_of_it_and_the_next_wait_is_as_new(run_async: Any, woken_before: bool) -> None:
    async def main() -> None:
        waiting = Waiting()
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


def test_a_wait_in_a_timeout_ends_by_it(run_async: Any) -> None:
    async def main() -> None:
        waiter = Waiter(asyncio.get_running_loop())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await waiter
        assert not waiter.waiting

    run_async(main())
