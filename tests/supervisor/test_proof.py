"""The whole proof that nothing is lost, and that the load is even: slow. A short form is in test_supervisor.py."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import urllib.request
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from conftest import RunAsync
from fourtuple import Deadlines
from fourtuple.supervisor.events import QueueLent, WorkerDied
from fourtuple.supervisor.supervisor import Supervisor
from supervisor.scene import SERVICE, serve_command, supervised
from supervisor.test_command import Start, control, start
from supervisor.test_supervisor import at
from supervisor.traffic import Traffic, read_line

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

__all__ = ["start"]  # the fixture


def test_thousands_of_messages_through_rolls_kills_and_other_numbers_of_workers(
    run_async: RunAsync, tmp_path: Path
) -> None:
    async def main() -> None:
        async with supervised(serve_command(tmp_path), workers=2) as (supervisor, seen):
            with Traffic(at(supervisor), single=3, persistent=2) as traffic:
                for _ in range(5):
                    assert await supervisor.roll()
                await supervisor.set_workers(4)
                await supervisor.set_workers(1)
                await supervisor.set_workers(2)
                assert traffic.lost == []  # up to here nothing may be lost at all
                drained = traffic.reconnects
                for number in range(1, 6):
                    os.kill(supervisor.workers[number % 2 + 1], signal.SIGKILL)
                    await seen.wait(WorkerDied, number)
                    while len(supervisor.workers) < 2:
                        seen.changed.clear()
                        await seen.changed.wait()
            # A killed worker loses the conversations that it held: each client has one at a time.
            assert len(traffic.lost) <= 5 * 3, traffic.lost
            assert traffic.count > 5000
            assert drained <= 2 * 14  # two persistent clients, and fourteen workers that drained

    run_async(main())


def test_upgrades_one_after_the_other(start: Start, tmp_path: Path) -> None:
    program = start("--workers", "2")
    pid = program.process.pid
    with Traffic(program.address(), single=3, persistent=2) as traffic:
        for _ in range(3):
            os.kill(pid, signal.SIGUSR2)
            taken_over, _ = program.lines_with("has taken over", "Listening at")
            pid = int(re.findall(r"pid (\d+)", taken_over)[0])
    assert traffic.lost == []
    assert traffic.count > 1000
    os.kill(pid, signal.SIGTERM)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def test_the_whole_proof_with_the_command(start: Start, tmp_path: Path) -> None:
    """Five rolls, an upgrade, 2 -> 4 -> 1 -> 2 workers, and five workers that are killed, under clients that count."""

    def workers(count: int) -> None:
        assert control(tmp_path, "workers", str(count)).returncode == 0

    program = start("--workers", "2", "--control", "control.sock")
    pid = program.process.pid
    with Traffic(program.address(), single=3, persistent=2) as traffic:
        for _ in range(5):
            os.kill(pid, signal.SIGHUP)
            program.line_with("2 workers replaced")
        done = control(tmp_path, "upgrade", "--json")
        assert done.returncode == 0, done.stderr
        pid = json.loads(done.stdout)
        workers(4)
        workers(1)
        workers(2)
        assert traffic.lost == []  # up to here nothing may be lost at all
        # Two persistent clients, each once for each worker that has drained.
        assert traffic.reconnects == traffic.requeued <= 2 * (5 * 2 + 2 + 3)
        for _ in range(5):
            victim = json.loads(control(tmp_path, "status", "--json").stdout)["workers"][0]["pid"]
            os.kill(victim, signal.SIGKILL)
            program.line_with(f"(pid {victim}, killed by SIGKILL)")
            program.line_with("is ready")
    # A killed worker loses the conversations that it held: each client has one at a time.
    assert len(traffic.lost) <= 5 * 3, traffic.lost
    assert traffic.count > 5000
    os.kill(pid, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def connections_by_worker(address: tuple[str, int], count: int) -> Counter[int]:
    found: Counter[int] = Counter()
    for _ in range(count):
        with socket.create_connection(address, 20) as sock:
            sock.sendall(b"who\n")
            found[int(read_line(sock).split()[1])] += 1
    return found


def test_the_load_is_even_after_a_roll_and_after_2_to_4(run_async: RunAsync, tmp_path: Path) -> None:
    async def even(supervisor: Supervisor) -> None:
        found = await asyncio.to_thread(connections_by_worker, at(supervisor), 10_000)
        assert set(found) == set(supervisor.workers.values())
        assert max(found.values()) <= 1.25 * min(found.values()), found

    async def main() -> None:
        async with supervised(serve_command(tmp_path), workers=2) as (supervisor, _):
            await supervisor.roll()
            await even(supervisor)
            await supervisor.set_workers(4)
            await even(supervisor)

    run_async(main())


def test_the_clients_of_a_roll_do_not_all_come_back_at_once(run_async: RunAsync, tmp_path: Path) -> None:
    """Idle clients connect again when their worker drains: counted for each second."""
    clients, spread = 5000, 10.0
    returned: Counter[int] = Counter()

    async def client(address: tuple[str, int], came: asyncio.Semaphore) -> None:
        loop = asyncio.get_running_loop()
        while True:
            reader, writer = await asyncio.open_connection(*address)
            try:
                writer.write(b"hello\n")
                await reader.readline()
                came.release()
                if await reader.read(1) == b"":
                    returned[int(loop.time())] += 1
            finally:
                writer.close()

    async def main() -> None:
        flags = ("--drain-timeout", "30", "--drain-spread", f"{spread:g}", "--backlog", "4096")
        command = serve_command(tmp_path, *flags)
        async with supervised(command, workers=1, deadlines=Deadlines(drain_timeout=30.0)) as (supervisor, _):
            came = asyncio.Semaphore(0)
            tasks = [asyncio.ensure_future(client(at(supervisor), came)) for _ in range(clients)]
            for _ in range(clients):
                await came.acquire()
            assert await supervisor.roll()
            assert returned.total() == clients
            # Without a spread all of them return in one second or two: at least half of them in one. They notice it
            # late if the machine is busy, so that some seconds have more than their share.
            assert max(returned.values()) <= 2.5 * clients / spread
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    run_async(main())


def test_what_waits_for_a_dead_worker_is_served_within_two_seconds(run_async: RunAsync, tmp_path: Path) -> None:
    """Of a slot without a worker: no new one can start, and a sibling is handed what waits there."""

    async def main() -> None:
        async with supervised(serve_command(tmp_path), workers=2) as (supervisor, seen):
            (tmp_path / "served.py").write_text("raise RuntimeError('this deploy is broken')\n")
            loop = asyncio.get_running_loop()
            (slot, pid), (_, sibling) = supervisor.workers.items()
            os.kill(pid, signal.SIGSTOP)
            with ExitStack() as stack:
                socks = [stack.enter_context(socket.create_connection(at(supervisor), 20)) for _ in range(20)]
                for sock in socks:
                    sock.sendall(b"who\n")
                place = supervisor.slots.places[0]
                assert place.waiting(slot) > 0
                began = loop.time()
                os.kill(pid, signal.SIGKILL)
                replies = await asyncio.gather(*(asyncio.to_thread(read_line, sock) for sock in socks))
                waited = loop.time() - began
            assert {int(reply.split()[1]) for reply in replies} == {sibling}
            assert (await seen.wait(QueueLent)).slot == slot
            # What the issue of the slots asks for; a second of it is the time in which a new worker may come.
            assert waited < 2.0
            (tmp_path / "served.py").write_text(SERVICE)
            assert await supervisor.roll()

    run_async(main())


def page_of(port: int) -> dict[str, float]:
    """The sums of the counters of the page of metrics, by the parser of Prometheus."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as response:
        text = response.read().decode()
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0) + sample.value
    return found


def test_the_page_of_metrics_is_what_the_clients_counted_across_deaths(start: Start) -> None:
    program = start("--workers", "2", "--http", "0", "--control", "control.sock")
    http = int(re.findall(r":(\d+)/", program.line_with("Metrics at"))[0])
    address = program.address()
    asked = 0
    for death in range(4):
        workers = connections_by_worker(address, 50)
        asked += workers.total()
        page = page_of(http)
        for name in ("messages_received", "messages_sent", "connections_accepted"):
            assert page[f"fourtuple_{name}_total"] == asked
        assert page["fourtuple_worker_deaths_total"] == death
        assert page["fourtuple_octets_received_total"] == 4 * asked
        os.kill(next(iter(workers)), signal.SIGKILL)
        program.line_with("has died")
        program.line_with("is ready")
    program.process.send_signal(signal.SIGTERM)
    assert program.process.wait(20) == 0
