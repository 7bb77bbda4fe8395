"""What does not end is let go of: a loop's default executor, and tasks."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest

from fourtuple.serving.abandon import BoundedExecutor, disown


@pytest.fixture
def executor() -> Any:
    made = BoundedExecutor()
    yield made
    made.shutdown()
    for worker in made._workers:
        worker.join()


def test_results_and_errors_come_back(executor: BoundedExecutor) -> None:
    assert executor.submit(divmod, 7, 3).result() == (2, 1)
    assert list(executor.map(str, range(100))) == [str(number) for number in range(100)]
    with pytest.raises(ZeroDivisionError):
        executor.submit(divmod, 1, 0).result()
    with pytest.raises(SystemExit):
        executor.submit(exit).result()
    assert executor.submit(len, "abc").result() == 3, "its thread lives on"


def test_threads_are_reused_bounded_and_daemons(executor: BoundedExecutor) -> None:
    for _ in range(10):
        executor.submit(int).result()
    assert len(executor._workers) == 1
    gate = threading.Event()
    most = executor._max_workers
    calls = [executor.submit(gate.wait) for _ in range(2 * most)]
    assert len(executor._workers) == most
    assert all(worker.daemon for worker in executor._workers)
    gate.set()
    assert all(call.result() for call in calls)


def test_a_call_that_is_cancelled_before_its_turn_does_not_run(executor: BoundedExecutor) -> None:
    gate, ran = threading.Event(), threading.Event()
    calls = [executor.submit(gate.wait) for _ in range(executor._max_workers)]
    late = executor.submit(ran.set)
    assert late.cancel()
    gate.set()
    assert all(call.result() for call in calls)
    assert executor.submit(int).result() == 0
    assert not ran.is_set()


def test_closing_an_executor_does_not_wait_for_calls_that_do_not_return(
    executor: BoundedExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fourtuple.serving.abandon.EXECUTOR_SECONDS", 0.05)
    gate = threading.Event()
    try:
        stuck = executor.submit(gate.wait)
        executor.shutdown(cancel_futures=True)
        assert not stuck.done()
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            executor.submit(int)
    finally:
        gate.set()


def test_a_loop_takes_the_executor_and_closes_it(run_async: Any) -> None:
    executor = BoundedExecutor()

    async def main() -> int:
        asyncio.get_running_loop().set_default_executor(executor)
        return await asyncio.to_thread(len, "abc")

    assert run_async(main()) == 3
    with pytest.raises(RuntimeError):
        executor.submit(int)
    for worker in executor._workers:
        worker.join()


def test_a_disowned_task_is_kept_until_it_is_done(run_async: Any) -> None:
    async def main() -> None:
        gate = asyncio.Event()
        closed: list[BaseException] = []

        async def stubborn() -> None:
            try:
                await gate.wait()
            except BaseException as error:
                closed.append(error)
                raise

        disown(asyncio.ensure_future(stubborn()))
        await asyncio.sleep(0)
        gc.collect()
        assert closed == []
        assert all("stubborn" not in repr(task) for task in asyncio.all_tasks())
        assert [each.name for each in threading.enumerate()].count("fourtuple-abandoned") == 1
        gate.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [each.name for each in threading.enumerate()].count("fourtuple-abandoned") == 0

    run_async(main())
