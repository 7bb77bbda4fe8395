"""Listing 10,000 sockets with TCP_INFO: ``python -m benchmarks.sockets``, some ten seconds. It writes SOCKETS.md.

The sockets are both ends of 5,000 connections on loopback, in a network namespace of their own if that is allowed:
otherwise the sockets of the machine are counted, too. Each row is the median and the least of some rounds.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

from benchmarks import machine
from fourtuple.inspector import parse_filter, sockets
from fourtuple.inspector.reading import snapshot
from fourtuple.inspector.window import Window

HERE = Path(__file__).parent
PAIRS = 5000
ROUNDS = 5
#: What must hold: seconds for the whole list in the library.
BOUND = 0.5
#: And of one core, for ``fourtuple top`` at one look a second, which is watched for so long.
TOP_SHARE, TOP_SECONDS = 0.2, 10.0

Row = tuple[str, float, float]


def main() -> int:
    """Measure in a namespace of one's own; write the page."""
    if len(sys.argv) < 2:
        return alone()
    with ExitStack() as stack:
        count = opened(stack)
        rows = [timed(name, call) for name, call in work()]
        share = asyncio.run(top_share())
    page = rendered(count, rows, share)
    (HERE / "SOCKETS.md").write_text(page)
    print(page)
    return 0


def alone() -> int:
    """Run again in a network namespace of one's own, where nobody else has sockets."""
    again = [sys.executable, "-m", "benchmarks.sockets", "here"]
    if shutil.which("unshare") and shutil.which("ip"):
        inside = 'ip link set lo up && exec "$@"'
        done = subprocess.run(["unshare", "--net", "--map-root-user", "sh", "-c", inside, "sh", *again], check=False)
        if done.returncode == 0:
            return 0
    return subprocess.run(again, check=False).returncode


def opened(stack: ExitStack) -> int:
    """Open both ends of all connections; return the number of sockets that the kernel lists."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=4096))
    for _ in range(PAIRS):
        stack.enter_context(socket.create_connection(listener.getsockname()))
        stack.enter_context(listener.accept()[0])
    return len(snapshot().sockets)


def work() -> list[tuple[str, Callable[[], object]]]:
    """What is measured, beside the programs that do the same."""
    command = [sys.executable, "-m", "fourtuple", "sockets"]
    some: list[tuple[str, Callable[[], object]]] = [
        ("fourtuple.inspector.sockets(owners=False), every tcp_info decoded", lambda: sockets(owners=False)),
        ("fourtuple.inspector.sockets(), with owners", sockets),
        ("fourtuple sockets --no-owners, a whole process", lambda: ran([*command, "--no-owners"])),
        ("fourtuple sockets --no-owners --json", lambda: ran([*command, "--no-owners", "--json"])),
    ]
    if shutil.which("ss"):
        some.append(("ss -tinmo, a whole process", lambda: ran(["ss", "-tainmo"])))
        some.append(("ss -tinmpo, with owners", lambda: ran(["ss", "-tainmpo"])))
    return some


async def top_share() -> float | None:
    """Return the part of one core that ``fourtuple top`` takes, at one look a second; None without textual."""
    if find_spec("textual") is None:
        return None
    from fourtuple.cli.top_app import Top

    async with Top(Window().look, parse_filter("")).run_test(size=(120, 40)):
        await asyncio.sleep(2)  # the first look finds the owners
        began, spent = time.monotonic(), time.process_time()
        await asyncio.sleep(TOP_SECONDS)
        return (time.process_time() - spent) / (time.monotonic() - began)


def ran(command: list[str]) -> None:
    """Run a program to its end."""
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env={**os.environ, "PYTHONWARNINGS": "ignore"})


def timed(name: str, call: Callable[[], object]) -> Row:
    """Return the median and the least seconds of some rounds."""
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return name, statistics.median(seconds), min(seconds)


def rendered(count: int, rows: list[Row], share: float | None = None) -> str:
    """Return the page."""
    facts = "\n".join(f"- {name}: {json.dumps(text) if not isinstance(text, str) else text}"
                      for name, text in machine.facts().items() if name in _FACTS)  # fmt: skip
    table = "\n".join(f"| {name} | {middle:.3f} s | {least:.3f} s |" for name, middle, least in rows)
    kept = "kept" if rows[0][1] < BOUND else "NOT kept"
    return (
        "# Listing sockets\n\nWritten by `python -m benchmarks.sockets`; do not edit.\n\n"
        f"{facts}\n- Sockets: {count:,}, both ends of {PAIRS:,} connections\n- Rounds: {ROUNDS}\n\n"
        f"| what | median | least |\n|---|---:|---:|\n{table}\n\n"
        f"The bar: 10,000 sockets with TCP_INFO in less than {BOUND} s, in the library: {kept}.\n" + _of_top(share)
    )


def _of_top(share: float | None) -> str:
    if share is None:
        return ""
    kept = "kept" if share < TOP_SHARE else "NOT kept"
    return f"\n`fourtuple top` at one look a second takes {share:.1%} of a core; the bar is {TOP_SHARE:.0%}: {kept}.\n"


_FACTS = ("Date", "Commit", "Machine", "Python")

if __name__ == "__main__":
    sys.exit(main())
