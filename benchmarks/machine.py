"""The facts of a run: the machine, the versions, the commit and the date."""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
import time
from collections import deque
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import fourtuple
from benchmarks.build import crate_version
from benchmarks.peers.handler import loud

PEERS = ("uvloop", "gevent", "anyio", "Twisted")


def facts() -> dict[str, str]:
    """The facts above the results, by name."""
    return {
        "Date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "Commit": commit(),
        "Machine": f"{processor()}, {os.cpu_count()} cores, Linux {platform.release()}",
        "Python": python(),
        "Handler": f"one call takes {handler_ns()} ns in a loop that does nothing else",
        "fourtuple": f"{fourtuple.__version__}, {implementation()}",
        "Peers": ", ".join(f"{name} {installed(name)}" for name in PEERS),
        "Go": _first_line(["go", "version"]).removeprefix("go version ") or "not installed",
        "Rust": rust(),
        "Compiler": _first_line(["cc", "--version"]),
    }


def python() -> str:
    """The interpreter, and whether it is the system's, which is built with optimisation."""
    own = ", the system's own" if sys.base_prefix == "/usr" else ""
    return f"{sys.implementation.name} {platform.python_version()}{own}"


def handler_ns() -> int:
    """The nanoseconds of one call of the handler, which every server spends for every message."""
    messages = [bytes(16)] * 1000
    best = math.inf
    for _ in range(200):
        before = time.perf_counter_ns()
        deque(map(loud, messages), maxlen=0)
        best = min(best, time.perf_counter_ns() - before)
    return round(best / len(messages))


def implementation() -> str:
    """The compiled modules that are installed."""
    pieces = [name for name in ("fourtuple._fast_path",) if find_spec(name)]
    return f"with {', '.join(pieces)}" if pieces else "pure Python (no C)"


def commit() -> str:
    """The commit, and whether the sources differ from it."""
    here = Path(__file__).parent
    name = _first_line(["git", "-C", str(here), "rev-parse", "--short=12", "HEAD"])
    changed = _first_line(["git", "-C", str(here), "status", "--porcelain", "--untracked-files=no", "--", "../src"])
    return f"{name}, with uncommitted changes in src" if changed else name or "unknown"


def processor() -> str:
    """The name of the processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def rust() -> str:
    """The compiler of the peer in Rust, and the versions of its libraries."""
    compiler = _first_line(["rustc", "--version"]) or "not installed"
    libraries = (f"{name} {crate_version(name) or 'not installed'}" for name in ("tokio", "rustls"))
    return ", ".join([compiler, *libraries])


def installed(name: str) -> str:
    """A package's version."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _first_line(command: list[str]) -> str:
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""
    return said.splitlines()[0].strip() if said else ""
