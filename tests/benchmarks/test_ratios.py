"""The statistics of the benchmarks."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

import pytest
from benchmarks.process import ProcessError, ServerProcess, cores, cpu, family
from benchmarks.ratios import Spread, ratios, spread


def test_spread_is_median_and_quartiles() -> None:
    assert spread([5.0, 1.0, 3.0, 2.0, 4.0]) == Spread(2.0, 3.0, 4.0, 5)


def test_spread_leaves_failed_rounds_out() -> None:
    assert spread([None, 7.0, None]) == Spread(7.0, 7.0, 7.0, 1)
    assert spread([None]) is None
    assert spread([]) is None


def test_ratios_are_made_round_by_round() -> None:
    assert ratios([2.0, None, 6.0, 1.0], [1.0, 5.0, 3.0, 0.0]) == [2.0, None, 2.0, None]


def test_a_disturbed_round_falls_out_of_the_ratios() -> None:
    quiet, disturbed = [2.0, 2.0, 20.0, 2.0], [1.0, 1.0, 10.0, 1.0]
    assert spread(ratios(quiet, disturbed)) == Spread(2.0, 2.0, 2.0, 4)


def test_rounds_of_different_numbers_have_no_ratio() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


def test_cpu_is_what_the_scheduler_counts() -> None:
    me = Path("/proc/self")
    before = cpu([int(me.resolve().name)])
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    assert cpu([int(me.resolve().name)]) - before >= 50_000_000


def test_a_server_that_computes_forever_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.process.SETTLE_SECONDS", math.inf)
    command = [sys.executable, "-c", "print(1, flush=True)\nwhile True: pass"]
    with ServerProcess(command, cores()[0], never_idle=True) as server:
        server.settle()
        assert cpu(server.pids) > 0


def test_a_server_that_ended_says_how() -> None:
    with ServerProcess([sys.executable, "-c", "print(1, flush=True); exit('out of luck')"], cores()[0]) as ended:
        ended._process.wait()
        assert ended.fate == "; the server had ended, exit code 1: out of luck"
    with ServerProcess(
        [sys.executable, "-c", "print(1, flush=True); import time; time.sleep(600)"], cores()[0]
    ) as alive:
        assert alive.fate == ""


@pytest.mark.parametrize(
    ("said", "port"),
    [
        ("4321", 4321),
        ("Listening at 127.0.0.1:4322 (backlog 4096)", 4322),
        ("worker 1 is ready (pid 77, 1.6 s)\nListening at 127.0.0.1:4323 (2 workers)", 4323),
    ],
)
def test_a_port_is_found_in_what_a_server_says(said: str, port: int) -> None:
    script = f"import sys; print({said!r}, file=sys.stderr, flush=True); sys.stdin.read(); import time; time.sleep(600)"
    with ServerProcess([sys.executable, "-c", script], cores()[0], merged=True) as server:
        assert server.port == port
        assert server.start_seconds > 0


def test_a_server_that_says_no_port_is_told_by_its_last_words() -> None:
    script = "import sys; print('worker 1 has ended', file=sys.stderr)"
    with pytest.raises(ProcessError, match="worker 1 has ended"):
        ServerProcess([sys.executable, "-c", script], cores()[0], merged=True)


def test_a_family_includes_its_own_process() -> None:
    me = int(Path("/proc/self").resolve().name)
    assert family(me)[0] == me
