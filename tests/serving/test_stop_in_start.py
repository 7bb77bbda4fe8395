"""Stopping a server while its service is set up: the set-up is cancelled, and it cannot keep the stop from ending."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator
from subprocess import PIPE, Popen
from typing import Any

import pytest

from fourtuple import Server, Service, events, serve_in_thread
from fourtuple.errors import DeadlinePassed, ListenAddressInUse, ServiceError
from fourtuple.serving import lifecycle
from fourtuple.serving.group import Group
from rig import PATIENT, echo


class SetUp:
    """A service whose set-up waits for ``done``, through the first ``deaf`` cancellations."""

    def __init__(self, deaf: int = 0) -> None:
        self.service: Service[Any, Any, Any, Any] = Service("line")
        self.service.reply(bytes.upper)
        self.service.lifespan(self._lifespan)
        self.began = asyncio.Event()
        self.done = asyncio.Event()
        self.told: list[str] = []
        self.fails = False
        self._deaf = deaf

    async def _lifespan(self) -> AsyncIterator[None]:
        self.began.set()
        try:
            while not self.done.is_set():
                try:
                    await self.done.wait()
                except asyncio.CancelledError:
                    self.told.append("cancelled")
                    self._deaf -= 1
                    if self._deaf < 0:
                        raise
                    if self._deaf == 0:
                        break
            self.told.append("set up")
            yield
        finally:
            self.told.append("torn down")
            if self.fails:
                raise OSError("no database")


@pytest.mark.parametrize("how", ["drain", "abort"])
@pytest.mark.parametrize(("deaf", "told"), [(0, ["cancelled"]), (1, ["cancelled", "set up"])])
def test_a_stop_during_the_set_up_ends_the_start(run_async: Any, how: str, deaf: int, told: list[str]) -> None:
    async def main() -> None:
        set_up = SetUp(deaf)
        server = Server(set_up.service, deadlines=PATIENT)
        start = asyncio.ensure_future(server.start())
        await set_up.began.wait()
        assert not await getattr(server, how)()
        with pytest.raises(ServiceError, match="while the service was set up"):
            await start
        assert set_up.told == [*told, "torn down"]
        assert server.stopped
        await server.serve_forever()

    run_async(main())


def test_a_set_up_that_ignores_its_cancellation_does_not_keep_the_stop(
    run_async: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "LAST_SECONDS", 0.05)

    async def main() -> None:
        set_up = SetUp(deaf=1000)
        server = Server(set_up.service, deadlines=PATIENT.replace(tear_down_timeout=0.05))
        start = asyncio.ensure_future(server.start())
        await set_up.began.wait()
        with pytest.raises(DeadlinePassed, match="on the service's set-up: it ignores its cancellation"):
            await server.abort()
        assert server.stopped
        assert set_up.told == ["cancelled"] * 2
        set_up.done.set()
        with pytest.raises(ServiceError):
            await start
        assert set_up.told[-2:] == ["set up", "torn down"]

    run_async(main())


def test_a_set_up_that_stops_its_own_server(run_async: Any) -> None:
    async def main() -> None:
        service: Service[Any, Any, Any, Any] = Service("line")
        service.reply(bytes.upper)

        @service.lifespan
        async def lifespan() -> AsyncIterator[None]:
            await server.drain()
            yield

        server = Server(service, deadlines=PATIENT)
        with pytest.raises(ServiceError, match="while the service was set up"):
            await server.start()
        await server.serve_forever()

    run_async(main())


def test_a_start_that_is_cancelled_by_others_is_cancelled(run_async: Any) -> None:
    async def main() -> None:
        set_up = SetUp()
        server = Server(set_up.service, deadlines=PATIENT)
        start = asyncio.ensure_future(server.start())
        await set_up.began.wait()
        stop = asyncio.ensure_future(server.abort())
        start.cancel()
        await stop
        with pytest.raises(asyncio.CancelledError):
            await start
        assert start.cancelled()

    run_async(main())


#: A set-up that never ends: a loop that connects again, and catches too much.
ENDLESS = """
import asyncio, sys
import fourtuple
from fourtuple import Deadlines, Service

service = Service("line")
service.reply(bytes.upper)

@service.lifespan
async def lifespan():
    while True:
        try:
            print("setting up", flush=True)
            await asyncio.sleep(1000)
        except BaseException:
            pass
    yield

deadlines = Deadlines(drain_timeout=600, tear_down_timeout=float(sys.argv[2]))
if sys.argv[1] == "run":
    fourtuple.run(service, deadlines=deadlines)
else:
    try:
        with fourtuple.serve_in_thread(service, deadlines=deadlines):
            pass
    except KeyboardInterrupt as interrupt:
        print(*interrupt.__notes__, flush=True)
"""


@pytest.mark.parametrize("numbers", [[signal.SIGTERM], [signal.SIGTERM, signal.SIGINT]])
def test_an_endless_set_up_does_not_outlive_the_signals(numbers: list[signal.Signals]) -> None:
    """One signal and tear_down_timeout, or two signals, and a second: whatever the set-up catches."""
    timeout = "0.2" if len(numbers) == 1 else "600"
    with Popen([sys.executable, "-c", ENDLESS, "run", timeout], stdout=PIPE, stderr=PIPE, text=True) as process:
        assert process.stdout is not None
        for number in numbers:
            assert process.stdout.readline() == "setting up\n"
            process.send_signal(number)
        _, err = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert re.fullmatch(
        r"fourtuple: SIGTERM came \d+\.\d s ago, and the set-up of service \S+ ignores its cancellation: "
        r"ended at once, before it listened\n",
        err,
    )


def test_an_endless_set_up_in_a_thread_is_abandoned_after_ctrl_c() -> None:
    with Popen([sys.executable, "-c", ENDLESS, "thread", "0.2"], stdout=PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "setting up\n"
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate()
    assert "on the service's set-up: it ignores its cancellation; its thread is abandoned" in out
    assert process.returncode == 0


def test_the_repr_of_a_start_that_is_under_way_and_of_one_that_failed(run_async: Any) -> None:
    async def main() -> None:
        set_up = SetUp()
        server = Server(set_up.service, deadlines=PATIENT)
        assert repr(server) == "<Server bytes.upper not started>"
        start = asyncio.ensure_future(server.start())
        await set_up.began.wait()
        assert repr(server) == f"<Server bytes.upper starting at {server.address}, 0 connections>"
        start.cancel()
        await asyncio.wait([start])
        assert repr(server) == "<Server bytes.upper failed to start>"

        set_up.done.set()
        async with Server(set_up.service, deadlines=PATIENT) as first:
            assert repr(first) == f"<Server bytes.upper serving at {first.address}, 0 connections>"
            second = Server(set_up.service, first.address, deadlines=PATIENT)
            with pytest.raises(ListenAddressInUse):
                await second.start()
            assert repr(second) == "<Server bytes.upper failed to start>"

    run_async(main())


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("several", [False, True])
def test_an_observer_that_ends_the_interpreter_at_listening_leaves_nothing_open(
    run_async: Any, fails: bool, several: bool
) -> None:
    async def main() -> None:
        set_up, other = SetUp(), SetUp()
        set_up.done.set()
        other.done.set()

        def leave(event: events.Event) -> None:
            if isinstance(event, events.Listening):
                raise SystemExit(3)

        servers = [Server(other.service), Server(set_up.service, observer=leave)]
        if fails:
            other.fails = set_up.fails = True
        with pytest.raises(SystemExit) as raised:
            await (Group(servers).start() if several else servers[1].start())
        assert set_up.told == ["set up", "torn down"]
        assert other.told == (["set up", "torn down"] if several else [])
        assert repr(servers[1]).startswith("<Server bytes.upper stopped at ")
        notes = getattr(raised.value, "__notes__", [])
        text = "fourtuple: the tear-down also failed: OSError: no database"
        assert notes == [text] * (1 + several) * fails

    run_async(main())


def test_serve_in_thread_says_that_the_program_has_cancelled_its_task() -> None:
    def cancel(server: Server) -> None:
        for task in asyncio.all_tasks(server.loop):
            task.cancel()

    def serve() -> None:
        with serve_in_thread(echo(), deadlines=PATIENT) as server:
            server.call_soon(cancel, server)
            while not server.stopped:
                pass

    with pytest.raises(ServiceError, match="the program has cancelled the task that serves"):
        serve()
