"""The pool of threads: short jobs share the calls that wake, and a slow one among them holds no other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fourtuple.handlers.threads import Threads
from rig import turns

MANY = 32


def nothing() -> None:
    """Do nothing."""


@asynccontextmanager
async def pool(limit: int = MANY) -> AsyncIterator[Threads]:
    """Yield a pool whose threads have all started, and whose jobs were short lately."""
    threads = Threads(asyncio.get_running_loop(), limit, nothing, nothing)
    together = threading.Barrier(limit)
    await asyncio.gather(*[threads.run(lambda: together.wait(60)) for _ in range(limit)])
    while threads._average >= 0.0001:
        await threads.run(nothing)
    try:
        yield threads
    finally:
        threads.close()
        assert await threads.join(60)


def test_many_short_jobs_wake_one_thread_and_the_loop_few_times(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a busy machine a short job takes long, too, and more threads are woken for those that wait.
    monkeypatch.setattr("fourtuple.handlers.threads.monotonic", lambda: 0.0)
    monkeypatch.setattr("fourtuple.handlers.threads._LOOK_SECONDS", 3600.0)

    async def main() -> None:
        async with pool() as threads:
            woken, told = list[int](), list[int]()
            wake, tell = threads._wake, threads._loop.call_soon_threadsafe

            def noted() -> None:
                woken.append(1)
                wake()

            def told_so(call: Callable[..., object], *arguments: Any, **options: Any) -> Any:
                told.append(1)
                return tell(call, *arguments, **options)

            monkeypatch.setattr(threads, "_wake", noted)
            monkeypatch.setattr(threads._loop, "call_soon_threadsafe", told_so)
            for _ in range(20):
                await asyncio.gather(*[threads.run(nothing) for _ in range(MANY)])
            monkeypatch.setattr(threads, "_wake", wake)
            monkeypatch.setattr(threads._loop, "call_soon_threadsafe", tell)
            assert len(told) < 20 * MANY / 2
            assert len(woken) < 20 * MANY / 2

    asyncio.run(main())  # uvloop's methods cannot be replaced


def test_jobs_that_wait_for_each_other_each_get_a_thread(run_async: Any) -> None:
    async def main() -> None:
        async with pool() as threads:
            for _ in range(20):
                together = threading.Barrier(MANY)
                await asyncio.gather(*[threads.run(lambda it=together: it.wait(60)) for _ in range(MANY)])
                await asyncio.gather(*[threads.run(nothing) for _ in range(100)])

    run_async(main())


@pytest.mark.parametrize("before", [0, 1, 5])
def test_a_slow_job_does_not_hold_those_around_it(run_async: Any, before: int) -> None:
    async def main() -> None:
        async with pool() as threads:
            gate = threading.Event()
            earlier = [threads.run(nothing) for _ in range(before)]
            slow = threads.run(lambda: gate.wait(60))
            later = [threads.run(nothing) for _ in range(5)]
            await asyncio.gather(*earlier, *later)
            assert not slow.done()
            await threads.run(nothing)  # one that comes while the thread that was woken is at the slow one
            gate.set()
            assert await slow

    run_async(main())


def test_a_job_whose_end_raises_does_not_hold_the_others(run_async: Any) -> None:
    async def main() -> None:
        loop, seen = asyncio.get_running_loop(), list[object]()
        loop.set_exception_handler(lambda _, context: seen.append(context["exception"]))

        def fails() -> None:
            raise ValueError("on purpose")

        async with pool() as threads:
            jobs = [threads.run(nothing, ended=fails if number % 2 else None) for number in range(10)]
            await asyncio.gather(*jobs)
            await turns()
            assert threads.busy == 0
        assert [str(error) for error in seen] == ["on purpose"] * 5

    run_async(main())


def test_a_job_that_still_waits_is_dropped_at_the_end(run_async: Any) -> None:
    async def main() -> None:
        threads, gate, ended = Threads(asyncio.get_running_loop(), 1, nothing, nothing), threading.Event(), list[int]()
        running = threads.run(lambda: gate.wait(60))
        waiting = threads.run(nothing, ended=lambda: ended.append(1))
        threads.close()
        assert waiting.cancelled()
        assert ended == [1]
        gate.set()
        assert await running
        assert await threads.join(60)

    run_async(main())


@pytest.mark.slow
def test_no_job_is_forgotten(run_async: Any) -> None:
    """Threads go to sleep while jobs come: thousands of times, each with one or a few at once."""

    async def main() -> None:
        async with pool(4) as threads:
            for number in range(20_000):
                await asyncio.gather(*[threads.run(nothing) for _ in range(number % 3 + 1)])

    run_async(main())
