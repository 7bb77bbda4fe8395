"""A lifespan or on_start that raises CancelledError by itself is no cancellation of the task that serves."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from subprocess import run
from typing import Any

import pytest

from fourtuple import Server, Service, serve_in_thread
from fourtuple.errors import HandlerFailed
from rig import PATIENT, echo

PHASES = ["set-up", "tear-down"]


async def wait_for_something_cancelled() -> None:
    other = asyncio.ensure_future(asyncio.Event().wait())
    other.cancel()
    await other


def awaits_a_cancelled(phase: str) -> Service:
    service = echo()

    @service.lifespan
    async def lifespan() -> AsyncIterator[None]:
        if phase == "set-up":
            await wait_for_something_cancelled()
        yield
        await wait_for_something_cancelled()

    return service


def text(phase: str) -> str:
    return rf"the {phase} in .*lifespan raised CancelledError; its own task was not cancelled"


@pytest.mark.parametrize("phase", PHASES)
def test_async_with_says_that_it_was_the_lifespan(run_async: Any, phase: str) -> None:
    async def main() -> None:
        with pytest.raises(HandlerFailed, match=text(phase)) as raised:
            async with Server(awaits_a_cancelled(phase), deadlines=PATIENT) as server:
                pass
        assert isinstance(raised.value.__cause__, asyncio.CancelledError)
        if phase == "tear-down":
            with pytest.raises(HandlerFailed, match=text(phase)):
                await server.drain()
            assert server.stopped

    run_async(main())


@pytest.mark.parametrize("phase", PHASES)
def test_a_thread_says_that_it_was_the_lifespan(phase: str) -> None:
    with (
        pytest.raises(HandlerFailed, match=text(phase)),
        serve_in_thread(awaits_a_cancelled(phase), deadlines=PATIENT),
    ):
        pass


def test_a_body_that_raises_it_is_not_taken_for_the_lifespan(run_async: Any) -> None:
    async def main() -> None:
        with pytest.raises(asyncio.CancelledError):
            async with awaits_a_cancelled("").running():
                await wait_for_something_cancelled()

    run_async(main())


def test_a_cancellation_of_the_task_that_serves_stays_one(run_async: Any) -> None:
    async def main() -> None:
        waits = asyncio.Event()
        service = echo()

        @service.lifespan
        async def lifespan() -> AsyncIterator[None]:
            waits.set()
            await asyncio.Event().wait()
            yield

        async def serve() -> None:
            async with Server(service, deadlines=PATIENT):
                pass

        serving = asyncio.ensure_future(serve())
        await waits.wait()
        serving.cancel()
        await asyncio.wait([serving])
        assert serving.cancelled()

    run_async(main())


PROGRAM = """
import asyncio, sys
import fourtuple
from fourtuple.errors import FourTupleError

service = fourtuple.Service("line")
service.reply(bytes.upper)
where = sys.argv[1]

async def wait_for_something_cancelled():
    other = asyncio.ensure_future(asyncio.sleep(1000))
    other.cancel()
    await other

@service.lifespan
async def lifespan():
    if where == "set-up":
        await wait_for_something_cancelled()
    yield
    if where == "tear-down":
        await wait_for_something_cancelled()

def on_start(server):
    if where == "on_start":
        raise asyncio.CancelledError
    server.loop.call_later(0, lambda: tasks.append(server.loop.create_task(stop(server))))

async def stop(server):
    try:
        await server.drain()
    except FourTupleError:
        pass  # run() raises it, too

tasks = []
try:
    fourtuple.run(service, on_start=on_start)
except FourTupleError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("set-up", "HandlerFailed lifespan: the set-up in __main__.lifespan raised CancelledError; its own task"),
        ("tear-down", "HandlerFailed lifespan: the tear-down in __main__.lifespan raised CancelledError; its own task"),
        ("on_start", "HandlerFailed on_start raised CancelledError"),
    ],
)
def test_run_says_who_raised_it(where: str, told: str) -> None:
    done = run([sys.executable, "-c", PROGRAM, where], capture_output=True, text=True, check=True)
    assert (done.stdout[: len(told)].strip(), done.stderr) == (told, "")
