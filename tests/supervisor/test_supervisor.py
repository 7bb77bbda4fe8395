"""A supervisor and its workers: what DESIGN says of processes, counted with real ones."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from conftest import RunAsync
from fourtuple import Deadlines, Limits
from fourtuple.backoff import Backoff
from fourtuple.errors import ListenError, OptionError, WorkerNotStarted
from fourtuple.options import Processes
from fourtuple.supervisor.events import (
    QueueLent,
    RollAbandoned,
    RollBegun,
    RollDone,
    SocketShared,
    Supervising,
    WorkerAnswers,
    WorkerDied,
    WorkerEnded,
    WorkerKilled,
    WorkerNotReady,
    WorkerReady,
    WorkerReplaced,
    WorkerSilent,
)
from fourtuple.supervisor.process import Worker
from fourtuple.supervisor.subject import Supervised
from fourtuple.supervisor.supervisor import Supervisor
from supervisor.scene import SERVICE, Seen, bare_command, serve_command, supervised
from supervisor.traffic import PATIENCE, Traffic, read_line

#: A worker that has ended by itself, before or after it was ready.
CRASHES = (WorkerDied, WorkerNotReady)
#: What comes beside a roll; on a busy machine a worker may be silent for a while.
NOT_OF_A_ROLL = (Supervising, WorkerSilent, QueueLent, WorkerAnswers)
BROKEN = "raise RuntimeError('this deploy is broken')\n"


def at(supervisor: Supervisor) -> tuple[str, int]:
    name = supervisor.addresses[0]
    return name.host, name.port


def ask(address: tuple[str, int] | str) -> int:
    """Return the process id of the worker that answers a new connection."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(address)
        sock.sendall(b"who\n")
        return int(read_line(sock).split()[1])


async def asked(address: tuple[str, int] | str, times: int) -> Counter[int]:
    return Counter([await asyncio.to_thread(ask, address) for _ in range(times)])


# -- nothing is lost ---------------------------------------------------------------------------------------


def test_rolls_and_other_numbers_of_workers_lose_nothing(run_async: RunAsync, tmp_path: Path) -> None:
    async def main() -> None:
        async with supervised(serve_command(tmp_path), workers=2) as (supervisor, seen):
            with Traffic(at(supervisor), single=2, persistent=1) as traffic:
                first = set(supervisor.workers.values())
                assert await supervisor.roll()
                assert not first & set(supervisor.workers.values())
                await supervisor.set_workers(3)
                await supervisor.set_workers(1)
                assert len(supervisor.workers) == 1
                last = set(supervisor.workers.values())
                while not set(traffic.replies) & last:
                    await asyncio.sleep(0.01)
            assert traffic.lost == []
            # A persistent client is drained with its worker, at most once in each of the four that ended.
            assert traffic.reconnects == traffic.requeued <= 5
            assert set(await asked(at(supervisor), 10)) == last
            order = [type(event) for event in seen.events if not isinstance(event, NOT_OF_A_ROLL)]
            # Each new worker is ready before the one before it ends, one after the other.
            assert order[2:10] == [
                RollBegun,
                *(WorkerReady, WorkerReplaced, WorkerEnded) * 2,
                RollDone,
            ]

    run_async(main())


@pytest.mark.slow
def test_a_killed_worker_loses_only_what_it_held(run_async: RunAsync, tmp_path: Path) -> None:
    async def main() -> None:
        async with supervised(serve_command(tmp_path), workers=2) as (supervisor, seen):
            with Traffic(at(supervisor), single=2, persistent=0) as traffic:
                for number in (1, 2):
                    os.kill(supervisor.workers[1], signal.SIGKILL)
                    died = await seen.wait(WorkerDied, number)
                    await seen.wait(WorkerReady, 2 + number)
                    assert died.why == "killed by SIGKILL"
            # Each client has one conversation at a time, and a killed worker held at most that.
            assert len(traffic.lost) <= 4, traffic.lost
            assert len(await asked(at(supervisor), 20)) == 2

    run_async(main())


def test_a_bad_deploy_leaves_the_old_workers(
    run_async: RunAsync, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def main() -> None:
        async with supervised(serve_command(tmp_path), workers=2) as (supervisor, seen):
            with Traffic(at(supervisor), single=2, persistent=1) as traffic:
                before = supervisor.workers
                (tmp_path / "served.py").write_text(BROKEN)
                assert not await supervisor.roll()
                assert supervisor.workers == before
                (abandoned,) = seen.of(RollAbandoned)
                assert abandoned.why == "worker 1 did not start: exit code 2"
                with pytest.raises(WorkerNotStarted):
                    await supervisor.set_workers(3)
                assert supervisor.workers == before
                assert set(await asked(at(supervisor), 20)) == set(before.values())
            assert traffic.lost == []
            assert traffic.requeued == 0

    run_async(main())
    assert "this deploy is broken" in capfd.readouterr().err


def test_a_slot_without_a_worker_keeps_nobody_waiting(run_async: RunAsync, tmp_path: Path) -> None:
    """Its worker is stopped in the middle of its work: what waits in its queue goes to a sibling."""

    async def main() -> None:
        async with supervised(serve_command(tmp_path), workers=2) as (supervisor, seen):
            (tmp_path / "served.py").write_text(BROKEN)
            number, pid = next(iter(supervisor.workers.items()))
            other = next(each for each in supervisor.workers.values() if each != pid)
            os.kill(pid, signal.SIGSTOP)
            # Some of these come to the stopped worker's queue, before it is known to be silent.
            waiting = [asyncio.ensure_future(asyncio.to_thread(ask, at(supervisor))) for _ in range(12)]
            silent = await seen.wait(WorkerSilent)
            assert (silent.slot, silent.pid) == (number, pid)
            assert set(await asyncio.gather(*waiting)) == {other}
            assert (await seen.wait(QueueLent)).slot == number
            assert await asked(at(supervisor), 20) == {other: 20}
            # It was never killed for it, and serves again.
            os.kill(pid, signal.SIGCONT)
            await seen.wait(WorkerAnswers)
            assert set(await asked(at(supervisor), 30)) == {pid, other}
            # Now it dies, and no new worker can start: the sibling serves both.
            os.kill(pid, signal.SIGKILL)
            assert (await seen.wait(WorkerNotReady)).why == "exit code 2"
            assert await asked(at(supervisor), 20) == {other: 20}
            await seen.wait(QueueLent, 2)
            (tmp_path / "served.py").write_text(SERVICE)
            assert await supervisor.roll()
            assert len(set(await asked(at(supervisor), 30))) == 2

    run_async(main())


# -- starting and crashing ---------------------------------------------------------------------------------


def test_a_worker_that_cannot_start_ends_the_start(run_async: RunAsync, tmp_path: Path) -> None:
    async def main() -> None:
        supervisor = Supervisor("127.0.0.1:0", command=bare_command(tmp_path, "sys.exit(5)"), observer=Seen())
        with pytest.raises(WorkerNotStarted) as raised:
            await supervisor.start()
        assert str(raised.value) == "worker 1 did not start: exit code 5"
        assert raised.value.code == 5

    run_async(main())


#: Takes its signals when it is told to, one after the other, and prints each.
TAKES_SIGNALS = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print("ready", flush=True)
sys.stdin.readline()
while True:
    print(signal.sigwait([signal.SIGTERM]).name, flush=True)
"""


def test_two_stops_reach_a_worker_that_does_not_run_between_them(run_async: RunAsync) -> None:
    async def main() -> None:
        with subprocess.Popen(
            [sys.executable, "-c", TAKES_SIGNALS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            worker = Worker(1, process, 0.0)
            worker.stop(1)
            worker.stop(2)  # the kernel would keep one of two signals
            process.stdin.write(b"\n")
            process.stdin.flush()
            for _ in range(2):
                assert await asyncio.to_thread(process.stdout.readline) == b"SIGTERM\n"
            process.kill()

    run_async(main())


def test_a_worker_that_is_not_ready_in_time_is_killed(run_async: RunAsync, tmp_path: Path) -> None:
    async def main() -> None:
        command = bare_command(tmp_path, "signal.signal(15, signal.SIG_IGN); time.sleep(1000)")
        with pytest.raises(WorkerNotStarted, match="it was not ready within start_timeout"):
            async with supervised(command, start_timeout=0.3):
                pass

    run_async(main())


def test_a_command_that_does_not_exist_is_an_error_of_the_start(run_async: RunAsync, tmp_path: Path) -> None:
    async def main() -> None:
        command = bare_command(tmp_path, "")
        gone = type(command)(("/no/such/program",), command.directory, command.environment)
        with pytest.raises(WorkerNotStarted, match="No such file or directory"):
            async with supervised(gone):
                pass

    run_async(main())


def test_a_crash_loop_backs_off(run_async: RunAsync, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    failed = Backoff.failed

    def recorded(self: Backoff, began: float) -> float:
        following = failed(self, began)
        pauses.append(following - began)
        return following

    monkeypatch.setattr(Backoff, "failed", recorded)
    source = """
first = not os.path.exists("first")
open("first", "w").close()
os.write(seat["ready"], b"!")
time.sleep(0.3 if first else 0)
"""

    async def main() -> None:
        async with supervised(bare_command(tmp_path, source), workers=1) as (_, seen):
            while len(left := [event.seconds for event in seen.events if isinstance(event, CRASHES)]) < 6:
                seen.changed.clear()
                await seen.changed.wait()
            # The first one lived longer than the first pause. Then: 0.1 s x 1.6, each 20 % longer or shorter, from the
            # beginning of an attempt.
            assert left[0] == 0
            assert pauses[1] < pauses[3] < pauses[5]
            for seconds, pause in zip(left, pauses, strict=True):
                assert seconds is not None
                assert seconds <= pause

    run_async(main())


def test_a_worker_that_dies_while_it_is_asked_does_no_harm(run_async: RunAsync, tmp_path: Path) -> None:
    """It closes its channel, and writes what is not a message: the supervisor goes on."""
    source = (
        "os.write(seat['channel'], b'\\xff' * 8); os.write(seat['ready'], b'!'); os.close(seat['channel']); "
        "time.sleep(1000)"
    )

    async def main() -> None:
        async with supervised(bare_command(tmp_path, source), workers=2) as (supervisor, seen):
            await seen.wait(WorkerSilent, 2)
            assert await supervisor.ask("ping") == {}
            assert len(supervisor.workers) == 2

    run_async(main())


def test_an_address_in_use_is_never_shared(run_async: RunAsync, tmp_path: Path) -> None:
    async def main() -> None:
        command = bare_command(tmp_path, "os.write(seat['ready'], b'!'); time.sleep(1000)")
        async with supervised(command, workers=2) as (supervisor, _):
            with pytest.raises(ListenError, match="address already in use"):
                async with supervised(command, f"127.0.0.1:{at(supervisor)[1]}"):
                    pass

    run_async(main())


@pytest.mark.slow
def test_workers_are_recycled_by_age_and_not_all_at_once(run_async: RunAsync, tmp_path: Path) -> None:
    async def main() -> None:
        command = serve_command(tmp_path)
        async with supervised(command, workers=3, recycle_after=3.0, recycle_jitter=0.5) as (supervisor, seen):
            lifetimes = [slot.lifetime.seconds for slot in supervisor.slots]
            assert len(set(lifetimes)) == 3
            assert all(seconds is not None and 1.5 <= seconds <= 4.5 for seconds in lifetimes)
            first = dict(supervisor.workers)
            await seen.wait(WorkerReplaced, 3)
            replaced = seen.of(WorkerReplaced)[:3]
            assert {event.slot: event.old for event in replaced} == first
            assert all(re.fullmatch(r"after \d+ s", event.why) for event in replaced)
            # One after the other: the next one is replaced when the one before it has ended.
            order = [type(event) for event in seen.events if isinstance(event, WorkerReplaced | WorkerEnded)][:6]
            assert order[::2] == [WorkerReplaced] * 3

    run_async(main())


@pytest.mark.slow
def test_workers_are_recycled_by_messages(run_async: RunAsync, tmp_path: Path) -> None:
    async def main() -> None:
        async with supervised(serve_command(tmp_path), workers=1, recycle_messages=20) as (supervisor, seen):
            before = supervisor.workers[1]
            while not seen.of(WorkerReplaced):
                await asked(at(supervisor), 1)
            (replaced,) = seen.of(WorkerReplaced)
            assert replaced.old == before
            # How many it had at the heartbeat that noticed; the limit varies by recycle_jitter.
            assert int(replaced.why.removeprefix("after ").removesuffix(" messages")) >= 16
            # The old one serves beside the new one until it hears that it is to end.
            await seen.wait(WorkerEnded)
            assert set(await asked(at(supervisor), 3)) == {replaced.new}

    run_async(main())


def test_a_stop_ends_a_roll_and_none_begins_after_it(run_async: RunAsync, tmp_path: Path) -> None:
    source = """
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
if os.path.exists("slow"):
    open("began", "w").close()
    time.sleep(1000)
os.write(seat["ready"], b"!")
time.sleep(1000)
"""

    async def main() -> None:
        async with supervised(bare_command(tmp_path, source), workers=2) as (supervisor, seen):
            (tmp_path / "slow").write_text("")
            rolling = asyncio.ensure_future(supervisor.roll())
            while not (tmp_path / "began").exists():
                await asyncio.sleep(0.01)
            supervisor.begin_stop()
            assert not await rolling
            assert not await supervisor.roll()
            await supervisor.wait()
            assert len(seen.of(RollAbandoned)) == 1
            # Both workers, and the one that was starting.
            assert len(seen.of(WorkerEnded)) == 3

    run_async(main())


@pytest.mark.parametrize("how", ["drain", "abort"])
def test_a_worker_whose_loop_is_held_is_killed_at_the_end_of_its_drain(
    run_async: RunAsync, tmp_path: Path, how: str
) -> None:
    """Not after the deadline of a tear-down that it cannot begin: a stop ends within drain_timeout."""
    source = "import time\n" + SERVICE.partition("def who")[0] + "def who(message): time.sleep(1000)\n"

    async def main() -> None:
        drain = 2.4 if how == "drain" else 1000.0
        seen = Seen()
        supervisor = Supervisor(
            "127.0.0.1:0",
            processes=Processes(workers=1),
            deadlines=Deadlines(drain_timeout=drain, tear_down_timeout=1000.0),
            observer=seen,
            command=serve_command(tmp_path, "--stall-timeout", "none", source=source),
        )
        await supervisor.start()
        with socket.create_connection(at(supervisor)) as sock:
            sock.sendall(b"hold\n")
            silent = await seen.wait(WorkerSilent)
            await (supervisor.drain() if how == "drain" else supervisor.abort())
        (killed,) = seen.of(WorkerKilled)
        assert (killed.pid, killed.seconds) == (silent.pid, 2.4 if how == "drain" else 2.0)
        assert supervisor.unclean == 1

    run_async(main())


def test_an_abort_does_not_drain_first(run_async: RunAsync, tmp_path: Path) -> None:
    source = (
        "import asyncio\n" + SERVICE.partition("def who")[0] + "async def who(message): await asyncio.sleep(1000)\n"
    )

    async def main() -> None:
        seen = Seen()
        supervisor = Supervisor(
            "127.0.0.1:0",
            deadlines=Deadlines(drain_timeout=1000.0),
            observer=seen,
            command=serve_command(tmp_path, "--drain-timeout", "1000", source=source),
        )
        await supervisor.start()
        with socket.create_connection(at(supervisor)) as sock:
            sock.sendall(b"wait\n")
            while (await supervisor.ask("ping")).get(1, {"connections": 0})["connections"] == 0:
                pass
            await supervisor.abort()
        assert not seen.of(WorkerKilled)
        assert [event.why for event in seen.of(WorkerEnded)] == ["exit code 1"]

    run_async(main())


@pytest.mark.slow
def test_a_tear_down_that_holds_the_loop_is_not_killed_with_the_drain(run_async: RunAsync, tmp_path: Path) -> None:
    source = (
        SERVICE
        + """
import time

@service.lifespan
async def around():
    yield
    time.sleep(3.5)
    open("torn down", "w").close()
"""
    )

    async def main() -> None:
        deadlines = Deadlines(drain_timeout=2.5)
        async with supervised(serve_command(tmp_path, source=source), workers=1, deadlines=deadlines):
            pass
        assert (tmp_path / "torn down").exists()

    run_async(main())


# -- addresses ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_both_families_and_a_shared_unix_socket(run_async: RunAsync, tmp_path: Path) -> None:
    path = str(tmp_path / "shared.sock")

    async def main() -> None:
        async with supervised(serve_command(tmp_path), "*:0", f"unix:{path}", workers=2) as (supervisor, seen):
            names = [str(name) for name in supervisor.addresses]
            assert [name.rpartition(":")[0] for name in names] == ["0.0.0.0", "[::]", "unix"]
            assert [str(event.address) for event in seen.of(SocketShared)] == [f"unix:{path}"]
            port = supervisor.addresses[0].port
            with socket.create_connection(("::1", port)) as sock:
                sock.sendall(b"who\n")
                assert int(read_line(sock).split()[1]) in supervisor.workers.values()
            assert len(await asked(("127.0.0.1", port), 20)) == 2
            await supervisor.set_workers(1)
            assert set(await asked(path, 5)) == set(supervisor.workers.values())

    run_async(main())


@pytest.mark.parametrize("when", ["before it starts", "while it starts"])
def test_a_new_worker_is_as_the_others_before_it_accepts(run_async: RunAsync, tmp_path: Path, when: str) -> None:
    """What waits in its queue is accepted in its first turn: it must know before that what is in force."""
    source = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\n" + SERVICE

    async def main() -> None:
        (tmp_path / "go").touch()
        async with supervised(serve_command(tmp_path, source=source), workers=1) as (supervisor, seen):
            subject = Supervised(supervisor, {"": Limits()})

            async def change(times: int) -> None:
                if times == 1:
                    await subject.suspend()
                else:
                    await subject.set_limits({"deny": "127.0.0.0/8"})
                    await subject.resume()

            for times in (1, 2):
                (tmp_path / "go").unlink()
                if when == "before it starts":
                    await change(times)
                os.kill(supervisor.workers[1], signal.SIGKILL)
                await seen.wait(WorkerDied, times)
                slot = supervisor.slots.find(1)
                assert slot is not None
                while slot.starting is None:
                    await asyncio.sleep(0.01)
                with socket.create_connection(at(supervisor)) as sock:
                    sock.sendall(b"who\n")
                    if when == "while it starts":
                        await change(times)
                    (tmp_path / "go").touch()
                    await seen.wait(WorkerReady, 1 + times)
                    totals = (await subject.status())["services"][0]["totals"]
                    assert totals["messages_in"] == 0
                    if times == 1:
                        assert totals["accepted"] == 0
                    else:
                        with pytest.raises(ConnectionResetError):
                            await asyncio.to_thread(sock.recv, 100)

    run_async(main())


# -- what it is asked --------------------------------------------------------------------------------------


def test_limits_are_divided_and_changed_for_all(run_async: RunAsync, tmp_path: Path) -> None:
    async def main() -> None:
        command = serve_command(tmp_path, "--max-connections", "9")
        async with supervised(command, workers=2) as (supervisor, _):
            subject = Supervised(supervisor, {"": Limits(max_connections=9)})

            async def limits() -> list[int]:
                told = await supervisor.ask("status")
                return sorted(each["services"][0]["max_connections"] for each in told.values())

            assert await limits() == [4, 5]
            assert await subject.set_limits({"max-connections": "21"}) == {"max_connections": "21"}
            assert await limits() == [10, 11]
            await supervisor.set_workers(3)
            assert await limits() == [7, 7, 7]
            status = await subject.status()
            assert status["services"][0]["max_connections"] == 21
            assert [worker["pid"] for worker in status["workers"]] == list(supervisor.workers.values())
            assert len(status["listeners"]) == 3
            await subject.suspend()
            waiting = asyncio.ensure_future(asyncio.to_thread(ask, at(supervisor)))
            assert not subject.ready
            await subject.resume()
            assert await waiting in supervisor.workers.values()
            with pytest.raises(OptionError, match=", got 0"):
                await supervisor.set_workers(0)

    run_async(main())


def test_the_numbers_of_workers_that_ended_are_kept(run_async: RunAsync, tmp_path: Path) -> None:
    async def main() -> None:
        async with supervised(serve_command(tmp_path), workers=2) as (supervisor, seen):
            subject = Supervised(supervisor, {"": Limits()})

            async def messages() -> float:
                return (await subject.metrics()).total("fourtuple_messages_received_total")

            await asked(at(supervisor), 10)
            await supervisor.roll()
            await asked(at(supervisor), 10)
            assert await messages() == 20
            os.kill(supervisor.workers[1], signal.SIGKILL)
            await seen.wait(WorkerDied)
            await asked(at(supervisor), 10)
            assert await messages() == 30
            await seen.wait(WorkerReady, 5)
            (service,) = (await subject.status())["services"]
            assert (service["totals"]["messages_in"], service["totals"]["accepted"]) == (30, 30)
            assert service["connections"] == service["totals"]["active"]
            assert service["max_connections"] == 10_000
            assert (await subject.metrics()).total("fourtuple_worker_deaths_total") == 1

    run_async(main())
