"""Runs a row: all its servers are started, and every round measures each of them in turn."""

from __future__ import annotations

import json
import math
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.build import PEERS, BuildError
from benchmarks.model import Load, Measure, Row, Subject
from benchmarks.process import ProcessError, ServerProcess, cores, cpu, last_line, resident, start

SERVICES = Path(__file__).parent / "services"
#: About the rate of redis-server on one core, so that its rounds also have about the given length.
REDIS_REQUESTS_PER_SECOND = {1: 50_000, 32: 600_000}


#: Of these, every round starts its servers.
STARTED_ANEW = (Measure.MEMORY, Measure.START, Measure.RUN)
#: The most µs by which the client of an open loop may be late, p99.
MOST_LAG = 100.0
#: With fewer rounds than this, a run is a quick one.
MANY_ROUNDS = 7


@dataclass(frozen=True, slots=True)
class Bench:
    """The settings of a run: the folder of the compiled programs, the length and number of rounds."""

    programs: Path
    certificate: Path | None
    seconds: float
    rounds: int
    say: Callable[[str], None]
    #: The most connections of a row, for a quick run; None means no bound.
    most_connections: int | None = None
    #: By program of a peer that was asked for: why it could not be compiled; None if it could.
    compiled: dict[str, str | None] = field(default_factory=dict)


@dataclass(slots=True)
class Result:
    """The result of a row: for each subject one value per round, or the reason why there is none."""

    samples: dict[str, list[float | None]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    why_not: str | None = None
    #: If the row was measured again later: the facts that differ, by name.
    again: dict[str, str] = field(default_factory=dict)


def why_not(row: Row, bench: Bench, tls_load: bool) -> str | None:
    """Why a row cannot be run on this machine; None if it can."""
    if row.load.tls and not tls_load:
        return "the load speaks TLS only where OpenSSL's headers are installed"
    if row.load.tls and bench.certificate is None:
        return "no openssl to make a certificate with"
    if row.measure is Measure.REDIS and shutil.which("redis-benchmark") is None:
        return "redis-benchmark is not installed"
    return None


def run(row: Row, bench: Bench) -> Result:
    """Run all rounds of a row."""
    result = Result()
    load = row.load
    parts = [f", {part}" for part in row.parts] or [""]
    rounds = rounds_of(row, bench.rounds)
    with ExitStack() as stack:
        servers: dict[str, ServerProcess] = {}
        subjects = {subject.name: subject for subject in row.subjects}
        for name, subject in subjects.items():
            try:
                if row.measure in STARTED_ANEW:  # a first time, which does not count: files come from the disk
                    anew(row.measure, subject, replace(load, connections=1), bench)
                else:
                    servers[name] = stack.enter_context(serve(subject, bench))
            except (ProcessError, OSError) as error:
                result.skipped[name] = str(error)
                continue
            result.samples |= {name + part: [] for part in parts}
        names = [name for name in subjects if name not in result.skipped]
        if row.paced_by and names:
            load = replace(load, rate=half_rate(row, servers, bench))
        loads = {name: load_of(subject, load, bench) for name, subject in subjects.items()}
        for turn in range(rounds):
            # The order of servers changes from round to round.
            at = turn % len(names) if names else 0
            for name in names[at:] + names[:at]:
                if name in result.skipped:
                    continue
                bench.say(f"{row.name}: round {turn + 1} of {rounds}, {name}")
                try:
                    if row.measure is Measure.TAIL:
                        values = tail(servers[name], loads[name], bench)
                    elif row.measure in STARTED_ANEW:
                        values = [anew(row.measure, subjects[name], loads[name], bench)]
                    else:
                        values = [measure(row.measure, servers[name], loads[name], bench)]
                except (ProcessError, OSError) as error:
                    result.skipped[name] = str(error) + (servers[name].fate if name in servers else "")
                    for part in parts:
                        del result.samples[name + part]
                    continue
                for part, value in zip(parts, values, strict=True):
                    result.samples[name + part].append(value)
    return result


def load_of(subject: Subject, load: Load, bench: Bench) -> Load:
    """The row's load for one server: with its own number of connections, and no more than the run allows."""
    connections = load.connections if subject.connections is None else subject.connections
    few = math.inf if bench.most_connections is None else bench.most_connections
    return replace(load, connections=min(connections, few), idle=min(load.idle, few))


def rounds_of(row: Row, rounds: int) -> int:
    """How many rounds a row has. A row that needs many gets them, except in a quick run."""
    fewest = row.min_rounds if rounds >= MANY_ROUNDS else 0
    return max(min(rounds, row.max_rounds or rounds), fewest)


def half_rate(row: Row, servers: dict[str, ServerProcess], bench: Bench) -> int:
    """Half of the best rate of the server that paces the row."""
    name = next((name for name in row.paced_by if name in servers), next(iter(servers)))
    bench.say(f"{row.name}: the best rate of {name}")
    closed = Load(connections=row.load.connections)
    return round(median(measure(Measure.RATE, servers[name], closed, bench) for _ in range(3)) / 2)


def tail(server: ServerProcess, load: Load, bench: Bench) -> list[float | None]:
    """The percentiles of an open loop, and the client's lag. If it lagged, the percentiles are None."""
    server.settle()
    seen = apply_load(server, load, bench)
    late = seen["lag99"] / 1e3
    return [None if late > MOST_LAG else seen[name] / 1e3 for name in ("p50", "p99", "p999")] + [late]


def anew(kind: Measure, subject: Subject, load: Load, bench: Bench) -> float:
    """A value of a server that is started for it."""
    if kind is Measure.RUN:
        return run_time(subject)
    with serve(subject, bench) as server:
        return idle_memory(server, load, bench) if kind is Measure.MEMORY else server.start_seconds * 1e3


def run_time(subject: Subject) -> float:
    """The milliseconds that a command of the interpreter takes."""
    began = time.monotonic()
    process = start([sys.executable, *subject.arguments], cores()[0], stderr=subprocess.PIPE)
    _, errors = _communicate(process, 60)
    if process.returncode:
        raise ProcessError(last_line(errors))
    return (time.monotonic() - began) * 1e3


def serve(subject: Subject, bench: Bench) -> ServerProcess:
    """Start the server of a subject."""
    core = cores()[0]
    if subject.program == "redis-server":
        return _serve_redis(core)
    arguments = [str(bench.certificate) if each == "CERTIFICATE" else each for each in subject.arguments]
    merged = subject.program == "command"
    if subject.program in PEERS:
        command = [str(compiled(subject.program, bench))]
    elif subject.program.startswith("c:"):
        command = [str(bench.programs / subject.program[2:])]
    elif merged:
        file, *arguments = arguments
        command = [sys.executable, "-m", "fourtuple", "serve", str(SERVICES / f"{file}.py"), "--bind", "127.0.0.1:0"]
    else:
        command = [sys.executable, "-m", f"benchmarks.peers.{subject.program}"]
    never_idle = "--beside-thread" in subject.arguments
    return ServerProcess(
        command + arguments, core, environment=dict(subject.environment), never_idle=never_idle, merged=merged
    )


def compiled(program: str, bench: Bench) -> Path:
    """Compile a peer when it is first asked for. Raises ProcessError if that fails."""
    if program not in bench.compiled:
        bench.say(f"compiling the peer in {program}")
        bench.compiled[program] = None
        try:
            PEERS[program](bench.programs)
        except BuildError as error:
            bench.compiled[program] = last_line(error.args[0])
    why = bench.compiled[program]
    if why is not None:
        raise ProcessError(why)
    return bench.programs / program


def _serve_redis(core: int) -> ServerProcess:
    program = shutil.which("redis-server")
    if program is None:
        raise ProcessError("redis-server is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    server = ServerProcess(command, core, port)
    until = time.monotonic() + 5
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return server
        time.sleep(0.05)
    server.stop()
    raise ProcessError("redis-server did not listen")


def measure(kind: Measure, server: ServerProcess, load: Load, bench: Bench) -> float:
    """Measure one value of one server."""
    server.settle()
    if kind is Measure.REDIS:
        return redis_cpu(server, load, bench)
    if kind is Measure.GROWTH:
        return growth(server, load, bench)
    if kind is Measure.WAIT:
        return longest_wait(server, bench)
    seen = apply_load(server, load, bench)
    match kind:
        case Measure.CPU | Measure.CONNECT_CPU:
            return float(seen["cpu"] / seen["count"] / 1e3)
        case Measure.LATENCY:
            return float(seen["p50"] / 1e3)
        case Measure.OCTETS:
            return float(seen["octets"] / seen["seconds"] / 2**20)
        case Measure.RATE:
            return float(seen["count"] / seen["seconds"])
    raise AssertionError(kind)


def growth(server: ServerProcess, load: Load, bench: Bench) -> float:
    """CPU per message among idle connections, divided by that without them, before and after, to cancel a drift."""
    alone = replace(load, idle=0)
    before, among, after = (measure(Measure.CPU, server, each, bench) for each in (alone, load, alone))
    return among / ((before + after) / 2)


def longest_wait(server: ServerProcess, bench: Bench) -> float:
    """The longest wait, in milliseconds, of a client beside a greedy one."""
    command = [sys.executable, "-m", "benchmarks.bystander", "--port", str(server.port)]
    process = start(
        [*command, "--seconds", str(bench.seconds)], cores()[1], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, errors = _communicate(process, bench.seconds * 2 + 60)
    if process.returncode:
        raise ProcessError(errors.strip().splitlines()[-1] if errors.strip() else f"exit code {process.returncode}")
    return float(json.loads(out)["longest"] / 1e6)


def _load_command(server: ServerProcess, load: Load, bench: Bench) -> list[str]:
    program = bench.programs / ("load-tls" if load.tls else "load")
    pids = ",".join(map(str, server.pids))
    times = ["--seconds", str(bench.seconds), "--warmup", str(bench.seconds / 5)]
    return [str(program), "--port", str(server.port), "--pids", pids, *times, *load.arguments()]


def apply_load(server: ServerProcess, load: Load, bench: Bench) -> dict[str, Any]:
    """Run the load generator; return its report."""
    process = start(_load_command(server, load, bench), cores()[1], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, errors = _communicate(process, bench.seconds * 2 + 60)
    if process.returncode:
        raise ProcessError(errors.strip().splitlines()[-1] if errors.strip() else f"exit code {process.returncode}")
    seen: dict[str, Any] = json.loads(out)
    return seen


def _communicate(process: subprocess.Popen[str], seconds: float) -> tuple[str, str]:
    try:
        return process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise ProcessError(f"the load did not end within {seconds:.0f} s") from None


def idle_memory(server: ServerProcess, load: Load, bench: Bench) -> float:
    """The memory of each held connection, in KiB."""
    # Memory that only the first connections load or grow does not count.
    apply_load(server, Load(connections=16), replace(bench, seconds=0.1))
    server.settle()
    before = resident(server.pids)
    process = start(
        _load_command(server, load, bench), cores()[1],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    held = process.stdout.readline()
    server.settle()
    after = resident(server.pids)
    _, errors = _communicate(process, 60)
    if held.strip() != "held":
        raise ProcessError(errors.strip() or "the connections were not held")
    return (after - before) / 1024 / load.connections


def redis_cpu(server: ServerProcess, load: Load, bench: Bench) -> float:
    """CPU per request under redis-benchmark, in microseconds; half of the requests are GET, half SET."""
    each = math.ceil(REDIS_REQUESTS_PER_SECOND[load.depth] * bench.seconds / 2)
    options = f"-p {server.port} -c {load.connections} -P {load.depth} -n {each} -t get,set -q".split()
    before = cpu(server.pids)
    process = start(["redis-benchmark", *options], cores()[1], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, errors = _communicate(process, bench.seconds * 20 + 60)
    if process.returncode or "requests per second" not in out:
        raise ProcessError((errors or out).strip()[-200:])
    return (cpu(server.pids) - before) / (2 * each) / 1e3
