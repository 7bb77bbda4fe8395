"""Several processes: one result, and one error."""

from __future__ import annotations

import pytest

from conftest import RunAsync
from fourtuple import events
from fourtuple.errors import ConnectRefused, OptionError
from fourtuple.framing import custom
from fourtuple.load import Load, Phase, Run
from fourtuple.load.patterns import pattern
from fourtuple.load.processes import WorkerFailed
from load.conftest import bench, echo, load
from rig import serving


def test_numbers_of_several_processes_add_up(run_async: RunAsync) -> None:
    async def main() -> None:
        async with serving(echo("line")) as (server, seen):
            options = load(processes=3, connections=5, requests=100, expect="same", idle=2)
            result = await bench(server.address, "line", options)
            assert result.ok, result.total
            assert (result.total.requests, result.total.replies, result.total.connects) == (100, 100, 5)
            assert result.total.others == {"idle: opened": 2}
            closed = await seen.wait(events.Closed, 7)
            assert sum(each.statistics.messages_in for each in closed) == 100
            assert result.series[0].phase is Phase.OPENING
            assert result.series[0].open == 7
            starts = [row.start for row in result.series if row.phase is not Phase.OPENING]
            assert starts == sorted(starts)

    run_async(main())


def test_an_open_loop_is_shared(run_async: RunAsync) -> None:
    async def main() -> None:
        async with serving(echo("line")) as (server, _):
            result = await bench(server.address, "line", load(processes=2, connections=2, requests=50, rate=1000.0))
            assert (result.total.requests, result.total.replies, result.total.lateness.count) == (50, 50, 50)

    run_async(main())


def test_pushes_are_left_out_in_all_processes(run_async: RunAsync) -> None:
    async def main() -> None:
        async with serving(echo("line")) as (server, _):
            options = load(processes=2, connections=2, requests=50, replies=0)
            result = await bench(server.address, "line", options, is_push=pattern("is_push", "size:64"))
            assert result.total.requests == 50
            with pytest.raises(OptionError, match="or is_push cannot be sent to other processes"):
                await bench(server.address, "line", options, is_push=lambda _: True)

    run_async(main())


def test_a_stop_ends_all_processes_with_their_results(run_async: RunAsync) -> None:
    async def main() -> None:
        async with serving(echo("line")) as (server, _):
            run = Run(str(server.address), "line", Load(processes=2, connections=2, duration=600, interval=0.02))
            run._on_row = lambda row: (run._rows, run.stop() if row.tally.replies else None)
            result = await run.result()
            assert result.interrupted
            assert result.total.replies > 0

    run_async(main())


def test_the_error_is_that_of_one_process(run_async: RunAsync, closed_port: str) -> None:
    async def main() -> None:
        with pytest.raises(ConnectRefused, match=f"cannot connect to {closed_port}: refused"):
            await bench(closed_port, "line", load(processes=2, connections=2))

    run_async(main())


def test_a_process_that_dies_is_said(run_async: RunAsync) -> None:
    async def main() -> None:
        async with serving(echo("line")) as (server, _):
            run = Run(str(server.address), "line", Load(processes=2, connections=2, duration=600, interval=0.02))

            def kill(row: object) -> None:
                if not killed:
                    killed.append(row)
                    run._worker._workers[0].kill()  # type: ignore[union-attr]
                    run.stop()

            killed: list[object] = []
            run._on_row = kill
            with pytest.raises(WorkerFailed, match="ended early, with exit code -9"):
                await run.result()

    run_async(main())


def test_a_framing_that_cannot_be_sent() -> None:
    framing = custom(lambda buffer, seen: None, lambda message: message, max_message=100)
    run = Run("127.0.0.1:1", framing, Load(processes=2), messages=[b"a"])
    with pytest.raises(OptionError, match="cannot be sent to other processes"):
        run._made()
