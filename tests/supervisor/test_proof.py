"""The whole proof that nothing is lost, and that the load is even: slow. A short form is in test_supervisor.py."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from conftest import RunAsync
from fourtuple import Deadlines
from fourtuple.supervisor.events import WorkerDied
from fourtuple.supervisor.supervisor import Supervisor
from supervisor.scene import serve_command, supervised
from supervisor.test_command import Start, start
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
            pid = int(re.findall(r"pid (\d+)", program.line_with("has taken over"))[0])
            program.line_with("Listening at")
    assert traffic.lost == []
    assert traffic.count > 1000
    os.kill(pid, signal.SIGTERM)
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


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
    clients, spread = 600, 4.0
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
        flags = ("--drain-timeout", "12", "--drain-spread", f"{spread:g}", "--backlog", "2000")
        command = serve_command(tmp_path, *flags)
        async with supervised(command, workers=1, deadlines=Deadlines(drain_timeout=12.0)) as (supervisor, _):
            came = asyncio.Semaphore(0)
            tasks = [asyncio.ensure_future(client(at(supervisor), came)) for _ in range(clients)]
            for _ in range(clients):
                await came.acquire()
            assert await supervisor.roll()
            assert returned.total() == clients
            # Without a spread all of them return in one second or two.
            assert max(returned.values()) <= 1.5 * clients / spread
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    run_async(main())
