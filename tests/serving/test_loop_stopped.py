"""A program that calls stop() of the loop of run() or of serve_in_thread(): the server stops in order and says so."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from subprocess import run
from typing import Any

import pytest

from fourtuple import Service, events, serve_in_thread
from fourtuple.blocking import connect
from fourtuple.errors import ConnectionLost, ServiceError
from fourtuple.serving.closing import LOOP_STOPPED
from rig import PATIENT

PROGRAM = """
import asyncio, sys
import fourtuple
from fourtuple.errors import FourTupleError

service = fourtuple.Service("line")
where, loop = sys.argv[1:]

def stop_if(here):
    if here == where:
        asyncio.get_running_loop().stop()

@service.reply
def answer(message):
    stop_if("handler")
    return message

@service.lifespan
async def lifespan():
    stop_if("set-up")
    if where == "set-up":
        await asyncio.Event().wait()  # until it is cancelled: uvloop goes on for an iteration
    yield
    stop_if("tear-down")
    await asyncio.sleep(0)
    if where == "tear-down that fails":
        asyncio.get_running_loop().stop()
        await asyncio.sleep(0)
        raise OSError("the database is gone")
    print("torn down")

async def talk(server):
    async with fourtuple.connect(server.address, "line") as connection:
        print(await connection.request(b"hello"))
    await server.drain()

def on_start(server):
    stop_if("on_start")
    tasks.append(asyncio.ensure_future(talk(server)))

def observer(event):
    stop_if(type(event).__name__)

def loop_factory():
    if loop == "asyncio":
        return asyncio.new_event_loop()
    import uvloop
    return uvloop.new_event_loop()

tasks = []
try:
    fourtuple.run(service, on_start=on_start, observer=observer, loop_factory=loop_factory)
except (FourTupleError, OSError) as error:
    print(type(error).__name__, error, *getattr(error, "__notes__", ()))
"""


@pytest.mark.parametrize(
    "where", ["set-up", "on_start", "handler", "Listening", "Accepted", "Closed", "Draining", "tear-down"]
)
def test_run_ends_the_server_and_says_what_has_happened(loop: str, where: str) -> None:
    done = run([sys.executable, "-c", PROGRAM, where, loop], capture_output=True, text=True, check=True)
    *before, last = done.stdout.splitlines()
    assert (last, done.stderr) == (f"ServiceError {LOOP_STOPPED}", "")
    assert before[-1:] == ([] if where == "set-up" else ["torn down"])
    if where in ("handler", "Accepted"):
        assert before[0] == "b'hello'"  # it has drained


def test_a_tear_down_that_fails_afterwards_is_raised(loop: str) -> None:
    command = [sys.executable, "-c", PROGRAM, "tear-down that fails", loop]
    done = run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"OSError the database is gone fourtuple: {LOOP_STOPPED}"


@pytest.mark.parametrize("where", ["set-up", "handler"])
def test_a_server_in_a_thread_says_the_same(loop: str, where: str) -> None:
    from conftest import LOOPS

    factory: Callable[[], asyncio.AbstractEventLoop] | None = LOOPS[loop]
    service: Service[Any, Any, Any, Any] = Service("line")
    seen: list[events.Event] = []

    @service.lifespan
    async def lifespan() -> AsyncIterator[None]:
        if where == "set-up":
            asyncio.get_running_loop().stop()
            await asyncio.Event().wait()
        yield

    @service.reply
    def answer(message: bytes) -> bytes:
        asyncio.get_running_loop().stop()
        return message

    def talk() -> None:
        with (
            serve_in_thread(service, loop_factory=factory, observer=seen.append, deadlines=PATIENT) as server,
            connect(server.address, "line") as connection,
            suppress(ConnectionLost),  # it is aborted, perhaps before it has read its reply
        ):
            connection.request(b"hello")

    with pytest.raises(ServiceError) as raised:
        talk()
    assert str(raised.value) == LOOP_STOPPED
    assert where == "set-up" or isinstance(seen[-1], events.Drained)
