"""Alarms: what they call, how often, and which cannot be."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from fourtuple import Alarm, events
from fourtuple.engine import Engine
from fourtuple.errors import OptionError
from rig import FakeClock, until
from serving.support import client, says, serving


@pytest.mark.parametrize("kind", [RuntimeError, asyncio.CancelledError])
def test_alarms_call_and_cool_down(run_async: Any, kind: type[BaseException]) -> None:
    async def main() -> None:
        clock, called = FakeClock(), []
        engine = Engine(clock=clock)

        def failing(_event: events.AlarmRaised) -> None:
            raise kind("a callback's own defect")

        complaints: list[Any] = []
        engine.loop.set_exception_handler(lambda _loop, context: complaints.append(context["message"]))
        alarms = [Alarm(2, interval=10.0, callback=called.append), Alarm(1, "buffered", callback=failing)]
        async with (
            serving(engine=engine, alarms=alarms, alarm_connections=3) as (server, heard),
            AsyncExitStack() as stack,
        ):
            for count in (1, 2, 2, 3):
                while len(server.connections) < count:
                    talk = await stack.enter_async_context(client(server))
                    await says(talk, b"x\n")
                clock.now += 1
                engine.sweep()
            raised = [(alarm.gauge, alarm.value, alarm.threshold) for alarm in heard.of(events.AlarmRaised)]
            assert raised == [("connections", 2, 2), ("connections", 3, 3)]
            assert [alarm.value for alarm in called] == [2]
            clock.now += 10
            engine.sweep()
            assert [alarm.value for alarm in called] == [2, 3]
            talk[1].write(b"half a line")
            await until(lambda: server._life.gauges()["buffered"]())
            engine.sweep()
            assert len(complaints) == 1
            assert "failed" in complaints[0]

    run_async(main())


@pytest.mark.parametrize(("threshold", "gauge"), [(0, "connections"), (1, "weather")])
def test_alarms_that_cannot_be(threshold: int, gauge: str) -> None:
    with pytest.raises(OptionError):
        Alarm(threshold, gauge)
