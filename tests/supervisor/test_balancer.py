"""A rolling restart behind a real HAProxy, as the page about balancers shows it: no client notices."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from cli.conftest import ENVIRONMENT, FOURTUPLE
from fourtuple.operations.control_client import called
from supervisor.scene import SERVICE
from supervisor.traffic import Traffic

pytestmark = [pytest.mark.peers, pytest.mark.slow, pytest.mark.timeout(120)]

PAGE = Path(__file__).parents[2] / "docs/how-to/balancers.md"


class Instance:
    """One of the servers behind the balancer, with its pages."""

    def __init__(self, folder: Path, name: str, port: int = 0, http: int = 0) -> None:
        self.control = str(folder / f"{name}.sock")
        command = [*FOURTUPLE, "serve", "served.py", "-q", "--drain-timeout", "4", "--control", self.control]
        self.process = subprocess.Popen(
            [*command, "--port", str(port), "--http", str(http)],
            cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        found: dict[str, int] = {}
        assert self.process.stdout is not None
        while len(found) < 2:
            line = self.process.stdout.readline()
            assert line, "it did not start"
            if match := re.match(r"(Listening|Metrics) at \S*?:(\d+)\b", line.replace("http://", "")):
                found[match[1]] = int(match[2])
        self.port, self.http = found["Listening"], found["Metrics"]

    def stop(self) -> None:
        called(self.control, "drain")
        with self.process:
            assert self.process.wait(30) == 0


def configuration(front: int, first: Instance, second: Instance) -> str:
    """The configuration of the page, with these ports."""
    found = re.search(r"```text\n(frontend app.*?)```", PAGE.read_text(), re.DOTALL)
    assert found
    shown = found[1].replace("bind :9999", f"bind fd@{front}")
    for name, each in (("one", first), ("two", second)):
        shown, count = re.subn(
            rf"server {name} [\d.]+:9999 (.*?)port 9101",
            lambda match, name=name, each=each: f"server {name} 127.0.0.1:{each.port} {match[1]}port {each.http}",
            shown,
        )
        assert count == 1
    return f"defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 30s\n    timeout server 30s\n{shown}"


def state_of(stats: Path, server: str) -> str:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(stats))
        sock.sendall(b"show stat\n")
        text = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
    lines = [line.split(",") for line in text.splitlines() if line]
    return next(line[17] for line in lines if line[0] == "app" and line[1] == server)


def until(stats: Path, server: str, state: str) -> None:
    """Wait until the health checks have seen it: they come each half a second."""
    while not state_of(stats, server).startswith(state):
        time.sleep(0.05)


def test_a_rolling_restart_behind_haproxy_loses_nothing(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    program = require_program("haproxy")
    (tmp_path / "served.py").write_text(SERVICE)
    stats = tmp_path / "stats.sock"
    with ExitStack() as stack:
        front = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        one, two = Instance(tmp_path, "one"), Instance(tmp_path, "two")
        text = f"global\n    stats socket {stats}\n" + configuration(front.fileno(), one, two)
        (tmp_path / "haproxy.cfg").write_text(text)
        balancer = stack.enter_context(
            subprocess.Popen(
                [program, "-db", "-f", "haproxy.cfg"], cwd=tmp_path, pass_fds=[front.fileno()], stderr=subprocess.PIPE
            )
        )
        stack.callback(balancer.terminate)
        while not stats.exists():
            time.sleep(0.05)
        before = {one.process.pid, two.process.pid}
        with Traffic(front.getsockname(), single=2, persistent=1) as traffic:
            for name in ("one", "two"):
                old = one if name == "one" else two
                called(old.control, "suspend")
                until(stats, name, "DOWN")
                old.stop()
                new = Instance(tmp_path, name, old.port, old.http)
                stack.callback(new.stop)
                until(stats, name, "UP")
                assert new.process.pid not in before
            while len(set(traffic.replies) - before) < 2:  # the new ones take part
                time.sleep(0.05)
        # No client has lost a message; a persistent one was half-closed, and came back.
        assert traffic.lost == []
        assert traffic.requeued <= 2
