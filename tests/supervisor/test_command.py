"""``fourtuple serve --workers`` as operators run it: signals, upgrades, the service manager, deaths."""

from __future__ import annotations

import ctypes
import json
import os
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Protocol

import pytest

from cli.conftest import ENVIRONMENT, FOURTUPLE
from supervisor.scene import PROMPT, SERVICE
from supervisor.traffic import PATIENCE, Traffic, read_line

pytestmark = pytest.mark.slow  # dozens of processes

PR_SET_CHILD_SUBREAPER = 36


class Program:
    """A supervisor as a process. Its orphans, such as the supervisor after it, become children of the test."""

    def __init__(
        self, folder: Path, *flags: str, prefix: tuple[str, ...] = (), fds: tuple[int, ...] = (), **env: str
    ) -> None:
        self.process = subprocess.Popen(
            [*prefix, *FOURTUPLE, "serve", "served.py", *PROMPT, *flags],
            cwd=folder,
            env=ENVIRONMENT | env,
            pass_fds=fds,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []

    def line_with(self, text: str) -> str:
        """Return the next line with this text, on standard output or standard error."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError(f"it ended without {text!r}: {self.lines}")

    def lines_with(self, *texts: str) -> list[str]:
        """Return the next line with each text, in whatever order they come."""
        found: dict[str, str] = {}
        while len(found) < len(texts):
            line = self.line_with("")
            found.update({text: line for text in texts if text in line})
        return [found[text] for text in texts]

    def address(self) -> tuple[str, int]:
        host, _, port = self.line_with("Listening at").split()[2].rpartition(":")
        return host, int(port)

    def pids(self) -> list[int]:
        """Return the process ids of all workers that were ready up to now."""
        return [int(number) for line in self.lines for number in re.findall(r"is ready \(pid (\d+)", line)]

    def rest(self) -> str:
        """Return all lines up to the end of the last process that could write one."""
        assert self.process.stdout is not None
        return self.process.stdout.read()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class Start(Protocol):
    def __call__(self, *flags: str, prefix: tuple[str, ...] = (), fds: tuple[int, ...] = (), **env: str) -> Program: ...


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    (tmp_path / "served.py").write_text(SERVICE)
    before = children()
    adopt = ctypes.CDLL(None).prctl
    adopt(PR_SET_CHILD_SUBREAPER, 1)
    with ExitStack() as stack:

        def start(*flags: str, prefix: tuple[str, ...] = (), fds: tuple[int, ...] = (), **env: str) -> Program:
            where = () if {"--bind", "--port"} & {*flags} or prefix else ("--port", "0")
            program = Program(tmp_path, "-q", *where, *flags, prefix=prefix, fds=fds, **env)
            stack.callback(program.close)
            return program

        yield start
    left = end_all(before)
    adopt(PR_SET_CHILD_SUBREAPER, 0)
    assert not left, "processes go on, and were killed"


def children() -> set[int]:
    """Return the children of this process. Some are not this test's: commands start from a process that lives on."""
    tasks = Path("/proc/self/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


def end_all(before: set[int]) -> set[int]:
    """Wait for the end of all children but those ``before``; kill those that go on, and return their process ids.

    They are workers of a killed supervisor, and supervisors of upgraded programs: these do not end by themselves if the
    test has failed.
    """
    killed: set[int] = set()
    while ours := children() - before:
        for pid in ours:
            with suppress(ChildProcessError, ProcessLookupError):
                end = os.pidfd_open(pid)
                if not select.select([end], [], [], 20)[0]:
                    killed.add(pid)
                    os.kill(pid, signal.SIGKILL)
                os.close(end)
                os.waitpid(pid, 0)
    return killed


def wait_for_end(pid: int) -> None:
    """Wait until a process has ended, of which this one is the parent, or becomes it."""
    with suppress(ProcessLookupError):
        end = os.pidfd_open(pid)
        try:
            select.select([end], [], [])
        finally:
            os.close(end)


def ask(address: tuple[str, int]) -> int:
    with socket.create_connection(address, PATIENCE) as sock:
        sock.sendall(b"who\n")
        return int(read_line(sock).split()[1])


@pytest.mark.slow  # by default the tests below upgrade, without clients that come all the time
def test_the_program_is_upgraded_under_load_and_a_bad_one_is_not(start: Start, tmp_path: Path) -> None:
    program = start("--workers", "2", "--pidfile", "pid")
    address = program.address()
    with Traffic(address, single=2, persistent=1) as traffic:
        (tmp_path / "served.py").write_text("raise RuntimeError('broken')")
        program.process.send_signal(signal.SIGUSR2)
        program.line_with("RuntimeError: broken")
        program.line_with("the new program did not start: exit code 2; this supervisor goes on")
        (tmp_path / "served.py").write_text(SERVICE)
        program.process.send_signal(signal.SIGUSR2)
        new = int(program.line_with("a new supervisor starts").split("pid ")[1].rstrip(")\n"))
        program.lines_with(f"pid {new} has taken over", "Listening at")
        assert program.process.wait() == 0
        assert (tmp_path / "pid").read_text().strip() == str(new)
        workers = program.pids()[-2:]
        assert ask(address) in workers
        # The upgraded program is a supervisor like the first one.
        os.kill(new, signal.SIGHUP)
        program.line_with("2 workers replaced")
        assert ask(address) in program.pids()[-2:]
    assert traffic.lost == []
    assert traffic.reconnects == traffic.requeued <= 3
    os.kill(new, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(new, 0)[1]) == 0


def test_a_hangup_during_an_upgrade_reaches_the_new_supervisor(start: Start, tmp_path: Path) -> None:
    """It may have imported its code before the file was saved."""
    program = start("--workers", "2")
    program.address()
    program.process.send_signal(signal.SIGUSR2)
    new = int(program.line_with("a new supervisor starts").split("pid ")[1].rstrip(")\n"))
    program.process.send_signal(signal.SIGHUP)
    program.line_with(f"pid {new} has taken over")
    program.line_with("workers are replaced one by one: by SIGHUP")
    program.line_with("2 workers replaced")
    assert program.process.wait() == 0
    assert not [line for line in program.lines if "SIGTERM" in line or "did not start" in line]
    os.kill(new, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(new, 0)[1]) == 0


def test_a_new_supervisor_that_has_no_handlers_yet_is_not_killed_by_their_signals(start: Start, tmp_path: Path) -> None:
    """A storm of SIGHUP and SIGUSR2 at all processes of the program hits the new one from its first moment on."""
    program = start("--workers", "1")
    program.address()
    program.process.send_signal(signal.SIGUSR2)
    first = int(program.line_with("a new supervisor starts").split("pid ")[1].rstrip(")\n"))
    for number in (signal.SIGHUP, signal.SIGUSR2):
        os.kill(first, number)
    # Of these two lines each process writes one.
    begun, _ = program.lines_with("a new supervisor starts", f"pid {first} has taken over")
    second = int(begun.split("pid ")[1].rstrip(")\n"))
    program.line_with(f"pid {second} has taken over")
    assert program.process.wait() == 0
    assert os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]) == 0
    # Workers get the signals as ever.
    for line in Path(f"/proc/{second}/status").read_text().splitlines():
        if line.startswith("SigBlk:"):
            assert int(line.split()[1], 16) == 0
    os.kill(second, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(second, 0)[1]) == 0


@pytest.mark.parametrize(
    ("number", "told"), [(signal.SIGTERM, "stopped by SIGTERM"), (signal.SIGKILL, "killed by SIGKILL")]
)
def test_a_new_supervisor_that_is_ended_while_it_starts_is_no_fault_of_its_code(
    start: Start, tmp_path: Path, number: signal.Signals, told: str
) -> None:
    program = start("--workers", "1")
    address = program.address()
    (tmp_path / "served.py").write_text("open('begun', 'w')\nimport time\ntime.sleep(1000)\n")
    program.process.send_signal(signal.SIGUSR2)
    new = int(program.line_with("a new supervisor starts").split("pid ")[1].rstrip(")\n"))
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    os.kill(new, number)
    assert program.line_with("this supervisor goes on").endswith(
        f"upgrade: the new program was {told} before it was ready; this supervisor goes on\n"
    )
    assert ask(address) in program.pids()


def test_a_hangup_while_the_workers_start_replaces_them_then(start: Start, tmp_path: Path) -> None:
    (tmp_path / "served.py").write_text(
        SERVICE + "\nimport os, time\nopen('begun', 'w')\nwhile not os.path.exists('go'): time.sleep(0.01)\n"
    )
    program = start("--workers", "1")
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    program.process.send_signal(signal.SIGHUP)
    (tmp_path / "go").touch()
    program.line_with("1 worker replaced")


def test_workers_end_when_the_supervisor_is_killed(start: Start, tmp_path: Path) -> None:
    """Also the one that imports for long."""
    (tmp_path / "served.py").write_text(SERVICE + "\nimport time, os\nif os.path.exists('slow'): time.sleep(1000)\n")
    program = start("--workers", "2", "--linger-timeout", "0.5")  # the client that is connected does not answer a FIN
    address = program.address()
    (tmp_path / "slow").write_text("")
    with socket.create_connection(address) as sock:
        sock.sendall(b"one\n")
        read_line(sock)
        program.process.send_signal(signal.SIGHUP)
        program.line_with("workers are replaced one by one")
        program.process.kill()
        program.process.wait()
        # All writers of the pipe have ended: also the worker that is being imported.
        program.rest()
    with pytest.raises(ConnectionRefusedError):
        ask(address)


def test_a_service_that_cannot_be_imported_ends_the_start_with_its_error(start: Start, tmp_path: Path) -> None:
    (tmp_path / "served.py").write_text("raise RuntimeError('no such table')")
    program = start("--workers", "3")
    told = program.rest()
    assert program.process.wait() == 2
    assert told.count("RuntimeError: no such table") == 1
    assert told.endswith("fourtuple: worker 1 did not start: exit code 2\n")


def test_a_signal_during_a_slow_start_stops_it(start: Start, tmp_path: Path) -> None:
    (tmp_path / "served.py").write_text("print('importing', flush=True)\nimport time; time.sleep(1000)")
    program = start("--workers", "2")
    program.line_with("importing")
    program.process.send_signal(signal.SIGTERM)
    assert program.rest().endswith("fourtuple: stopped by SIGTERM before all workers listened\n")
    assert program.process.wait() == 128 + signal.SIGTERM


#: A set-up that does not end when it is cancelled.
STUBBORN = """
@service.lifespan
async def stubborn():
    print("setting up", os.getpid(), flush=True)
    while True:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            print("not now", flush=True)
    yield
"""


def test_a_second_signal_during_the_start_leaves_no_worker(start: Start, tmp_path: Path) -> None:
    (tmp_path / "served.py").write_text("import asyncio\n" + SERVICE + STUBBORN)
    program = start("--workers", "2", "--tear-down-timeout", "600", "--drain-timeout", "600")
    worker = int(program.line_with("setting up").split()[2])
    program.process.send_signal(signal.SIGINT)
    program.line_with("not now")
    program.process.send_signal(signal.SIGTERM)
    assert program.process.wait() == 128 + signal.SIGINT
    assert worker not in children(), "it would be a child of this process, and hold the port"


def test_a_worker_whose_set_up_does_not_end_does_not_outlive_a_killed_supervisor(start: Start, tmp_path: Path) -> None:
    (tmp_path / "served.py").write_text("import asyncio\n" + SERVICE + STUBBORN)
    program = start("--workers", "1", "--tear-down-timeout", "0.2")
    worker = int(program.line_with("setting up").split()[2])
    program.process.kill()
    program.process.wait()
    program.line_with("the set-up of service served.who ignores its cancellation: ended at once")
    assert os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) == 128 + signal.SIGTERM


def test_the_second_signal_aborts(start: Start) -> None:
    program = start("--workers", "1", "--drain-timeout", "600")
    with socket.create_connection(program.address(), 20) as sock:
        sock.sendall(b"one\nhalf a mess")
        assert read_line(sock).startswith(b"one ")
        program.process.send_signal(signal.SIGTERM)
        program.line_with("Stopping 1 worker; Ctrl-C again aborts")
        program.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
        program.line_with("Stopped, 1 worker aborted")
        assert program.process.wait(20) == 1


def test_one_signal_to_all_processes_drains(start: Start) -> None:
    """As systemd sends it by default (KillMode=control-group): the worker's own one is not the first of two."""
    program = start("--workers", "1", "--drain-timeout", "600")
    address = program.address()
    (worker,) = program.pids()
    with socket.create_connection(address, 20) as sock, socket.create_connection(address, 20) as idle:
        for each in (sock, idle):
            each.sendall(b"one\n")
            assert read_line(each).startswith(b"one ")
        sock.sendall(b"half a mess")
        os.kill(worker, signal.SIGTERM)
        assert idle.recv(1) == b"", "the worker has taken its signal"
        program.process.send_signal(signal.SIGTERM)
        program.line_with("Stopping 1 worker")
        sock.sendall(b"age\n")
        assert read_line(sock).startswith(b"half a message ")
    assert program.line_with("Stopped") == "Stopped\n"
    assert program.process.wait(20) == 0


def test_the_death_of_a_supervisor_that_stops_is_no_second_stop(start: Start) -> None:
    program = start("--workers", "1", "--drain-timeout", "600")
    address = program.address()
    (worker,) = program.pids()
    with socket.create_connection(address, 20) as sock, socket.create_connection(address, 20) as idle:
        for each in (sock, idle):
            each.sendall(b"one\n")
            assert read_line(each).startswith(b"one ")
        sock.sendall(b"half a mess")
        program.process.send_signal(signal.SIGTERM)
        assert idle.recv(1) == b"", "the worker drains"
        program.process.kill()
        program.process.wait()
        os.kill(worker, signal.SIGTERM)
        sock.sendall(b"age\n")
        assert read_line(sock).startswith(b"half a message ")
    assert os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) == 0


def test_the_supervisor_imports_nothing_of_the_users_and_answers_whatever_the_workers_do(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "served.py").write_text(SERVICE + "\nprint(os.getpid(), file=open('imported', 'a'))\n")
    program = start("--workers", "2", "--control", "control.sock")
    program.address()
    workers = program.pids()
    assert sorted(map(int, (tmp_path / "imported").read_text().split())) == sorted(workers)
    assert program.process.pid not in workers
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        done = control(tmp_path, "status", "--json")
        status = json.loads(done.stdout)
        assert status["pid"] == program.process.pid
        assert [worker["pid"] for worker in status["workers"]] == workers
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
    program.process.send_signal(signal.SIGTERM)
    assert program.process.wait(20) == 0


def test_the_third_signal_ends_supervisor_and_workers_at_once(start: Start, tmp_path: Path) -> None:
    source = "import time\nservice.reply(lambda message: time.sleep(1000))\n"
    (tmp_path / "served.py").write_text(SERVICE.partition("@service")[0] + source)
    program = start("--workers", "1", "--stall-timeout", "none")
    with socket.create_connection(program.address()) as sock:
        sock.sendall(b"stuck\n")
        program.process.send_signal(signal.SIGINT)
        program.line_with("Stopping 1 worker")
        # Two equal ones could be one to the process.
        program.process.send_signal(signal.SIGINT)
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait() in (128 + signal.SIGINT, 128 + signal.SIGTERM)
    assert "ended at once" in program.rest()


def control(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command at the control socket of this folder, to its end."""
    command = [*FOURTUPLE, *arguments, "--control", str(folder / "control.sock")]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)


def test_the_command_upgrades_and_says_why_it_cannot(start: Start, tmp_path: Path) -> None:
    slow = "import os, time\nwhile os.path.exists('slow'): time.sleep(0.01)\n" + SERVICE
    program = start("--workers", "1", "--control", "control.sock")
    address = program.address()
    (tmp_path / "served.py").write_text("raise RuntimeError('broken')")
    done = control(tmp_path, "upgrade")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the new program did not start: exit code 2" in done.stderr
    program.line_with("this supervisor goes on")
    # A second one meanwhile is refused, and so is what the new program would not know of.
    (tmp_path / "served.py").write_text(slow)
    (tmp_path / "slow").touch()
    with ExitStack() as stack:
        first = stack.enter_context(
            subprocess.Popen(
                [*FOURTUPLE, "upgrade", "--json", "--control", "control.sock"],
                cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
        program.line_with("a new supervisor starts")
        for what, text in (
            (("upgrade",), "an upgrade is under way already"),
            (("suspend",), "suspend: an upgrade is under way"),
            (("workers", "2"), "workers: an upgrade is under way"),
        ):
            done = control(tmp_path, *what)
            assert (done.returncode, text in done.stderr.replace("\n", " ")) == (1, True)
        (tmp_path / "slow").unlink()
        out, _ = first.communicate()
    assert first.returncode == 0
    new = int(out)
    # The new program answers at the control socket when the command has returned.
    status = json.loads(control(tmp_path, "status", "--json").stdout)
    assert (status["pid"], status["ready"]) == (new, True)
    assert ask(address) in [worker["pid"] for worker in status["workers"]]
    assert program.process.wait() == 0
    os.kill(new, signal.SIGTERM)
    os.waitpid(new, 0)


@pytest.mark.slow
def test_a_suspended_server_is_suspended_after_an_upgrade(start: Start, tmp_path: Path) -> None:
    program = start("--workers", "1", "--control", "control.sock")
    address = program.address()
    assert control(tmp_path, "suspend").returncode == 0
    new = int(control(tmp_path, "upgrade", "--json").stdout)
    with socket.create_connection(address, PATIENCE) as sock:
        sock.sendall(b"waits\n")
        status = json.loads(control(tmp_path, "status", "--json").stdout)
        assert (status["pid"], status["state"], status["services"][0]["totals"]["accepted"]) == (new, "suspended", 0)
        assert control(tmp_path, "resume").returncode == 0
        assert read_line(sock).startswith(b"waits ")
    assert program.process.wait() == 0
    os.kill(new, signal.SIGTERM)
    os.waitpid(new, 0)


def test_the_file_of_a_unix_socket_is_removed_at_the_end_but_not_by_an_upgrade(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "served.sock"
    program = start("--workers", "2", "--bind", f"unix:{path}")
    program.line_with("Listening at")
    program.process.send_signal(signal.SIGUSR2)
    new = int(re.findall(r"pid (\d+)", program.line_with("has taken over"))[0])
    assert program.process.wait() == 0
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.sendall(b"who\n")
        assert read_line(sock).startswith(b"who ")
    os.kill(new, signal.SIGTERM)
    os.waitpid(new, 0)
    assert not path.exists()
    # One that another server has made meanwhile stays.
    program = start("--workers", "1", "--bind", f"unix:{path}")
    program.line_with("Listening at")
    path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        program.process.send_signal(signal.SIGTERM)
        assert program.process.wait() == 0
        assert path.exists()


def test_a_failed_start_leaves_no_file_of_a_unix_socket(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "served.sock"
    (tmp_path / "served.py").write_text("raise RuntimeError('broken')")
    program = start("--workers", "1", "--bind", f"unix:{path}")
    assert program.process.wait() == 2
    assert not path.exists()


def test_a_second_supervisor_with_the_same_pidfile_opens_nothing(start: Start, tmp_path: Path) -> None:
    """It is locked before all else, and written when the workers serve."""
    source = "import os, time\nopen('begun', 'w')\nwhile not os.path.exists('go'): time.sleep(0.01)\n" + SERVICE
    (tmp_path / "served.py").write_text(source)
    first = start("--workers", "1", "--pidfile", "pid")
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    second = start("--workers", "1", "--pidfile", "pid", "--bind", f"unix:{tmp_path}/second.sock")
    assert second.process.wait() == 3
    assert "pidfile pid: a process that starts runs with it" in second.rest()
    assert not (tmp_path / "second.sock").exists()
    assert (tmp_path / "pid").read_text() == ""
    (tmp_path / "go").touch()
    first.address()
    assert (tmp_path / "pid").read_text() == f"{first.process.pid}\n"
    first.process.send_signal(signal.SIGTERM)
    assert first.process.wait() == 0
    assert not (tmp_path / "pid").exists()


def test_an_upgraded_program_serves_without_its_number_if_the_pidfile_cannot_be_written(
    start: Start, tmp_path: Path
) -> None:
    program = start("--workers", "1", "--pidfile", "pid", "--control", "c")
    address = program.address()
    resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE, (0, 0))  # as a full disk; the next program inherits it
    program.process.send_signal(signal.SIGUSR2)
    new = int(program.line_with("a new supervisor starts").split("pid ")[1].rstrip(")\n"))
    program.line_with("pidfile pid: File too large")
    assert program.process.wait() == 0
    assert ask(address) == program.pids()[-1]
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(str(tmp_path / "c"))
    os.kill(new, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(new, 0)[1]) == 0


# -- the service manager -----------------------------------------------------------------------------------


class Manager:
    """A stand-in for systemd: sd_notify(3), with an abstract name."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("")  # the kernel chooses an abstract name
        self.socket.settimeout(PATIENCE)
        self.name = "@" + self.socket.getsockname()[1:].decode()
        self.fds: dict[str, int] = {}

    def next(self) -> dict[str, str]:
        octets, fds, _, _ = socket.recv_fds(self.socket, 4096, 8)
        told = dict(line.split("=", 1) for line in octets.decode().split("\n"))
        for fd in fds:
            assert told["FDNAME"] not in self.fds
            self.fds[told["FDNAME"]] = fd
        if "FDSTOREREMOVE" in told:
            os.close(self.fds.pop(told["FDNAME"]))
        return told

    def until(self, name: str) -> dict[str, str]:
        while name not in (told := self.next()):
            pass
        return told

    def close(self) -> None:
        self.socket.close()
        for fd in self.fds.values():
            os.close(fd)


@pytest.fixture
def manager() -> Iterator[Manager]:
    manager = Manager()
    yield manager
    manager.close()


def test_systemd_is_notified_of_start_reload_upgrade_and_stop(start: Start, manager: Manager) -> None:
    program = start("--workers", "1", NOTIFY_SOCKET=manager.name, WATCHDOG_USEC="200000")
    assert manager.until("READY") == {"READY": "1", "STATUS": "1 workers"}
    assert manager.until("WATCHDOG") == {"WATCHDOG": "1"}
    program.process.send_signal(signal.SIGHUP)
    reloading = manager.until("RELOADING")
    assert 0 < int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    assert manager.until("READY")["READY"] == "1"
    program.process.send_signal(signal.SIGUSR2)
    new = int(manager.until("MAINPID")["MAINPID"])
    assert manager.until("READY")["READY"] == "1"
    assert program.process.wait() == 0
    assert manager.until("WATCHDOG") == {"WATCHDOG": "1"}
    os.kill(new, signal.SIGTERM)
    assert manager.until("STOPPING") == {"STOPPING": "1"}
    os.waitpid(new, 0)


def test_systemd_keeps_the_sockets_of_a_killed_supervisor(start: Start, manager: Manager) -> None:
    program = start("--workers", "2", NOTIFY_SOCKET=manager.name, FDSTORE="9")
    address = program.address()
    manager.until("READY")
    assert len(manager.fds) == 2
    program.process.kill()
    program.process.wait()
    program.rest()
    # It waits at a socket that only the manager has.
    with socket.create_connection(address, PATIENCE) as sock:
        sock.sendall(b"early\n")
        names = ":".join(manager.fds)
        listen = f'exec 3<&{{0}} 4<&{{1}}; export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES={names}; exec "$@"'
        first, second = manager.fds.values()
        again = start(
            *("--workers", "2", "--port", str(address[1])),
            prefix=("bash", "-c", listen.format(first, second), "bash"),
            fds=(first, second),
        )
        assert again.address() == address
        assert int(read_line(sock).split()[1]) in again.pids()
    again.process.send_signal(signal.SIGTERM)
    assert again.process.wait() == 0


def test_systemd_forgets_a_socket_at_which_the_next_supervisor_does_not_listen(start: Start, manager: Manager) -> None:
    """Clients would wait there forever: nobody accepts, and the manager has the socket."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        kept, dropped = (sock.getsockname() for sock in (one, two))
    binds = [("--bind", f"{host}:{port}") for host, port in (kept, dropped)]
    program = start("--workers", "1", *binds[0], *binds[1], NOTIFY_SOCKET=manager.name, FDSTORE="9")
    manager.until("READY")
    program.process.kill()
    program.process.wait()
    program.rest()
    first, second = manager.fds.values()
    listen = (
        f"exec 3<&{first} 4<&{second}; export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES={':'.join(manager.fds)}; "
        'exec "$@"'
    )
    again = start(
        *("--workers", "1", *binds[0]), prefix=("bash", "-c", listen, "bash"), fds=(first, second),
        NOTIFY_SOCKET=manager.name, FDSTORE="9",
    )  # fmt: skip
    assert again.address() == kept
    with pytest.raises(ConnectionRefusedError):
        ask(dropped)
    assert ask(kept) in again.pids()
    manager.until("READY")
    assert len(manager.fds) == 1
    again.process.send_signal(signal.SIGTERM)
    assert again.process.wait() == 0


@pytest.mark.slow
def test_systemd_keeps_the_sockets_of_as_many_workers_as_there_are(
    start: Start, manager: Manager, tmp_path: Path
) -> None:
    program = start("--workers", "2", "--control", "control.sock", NOTIFY_SOCKET=manager.name, FDSTORE="9")
    program.address()
    manager.until("READY")
    for count in (3, 1, 2):
        assert control(tmp_path, "workers", str(count)).returncode == 0
        while len(manager.fds) != count:
            manager.next()
        # The names tell the order in the kernel, and the slots.
        assert sorted(name.split("-")[2:] for name in manager.fds) == [[str(n), str(n + 1)] for n in range(count)]
    program.process.send_signal(signal.SIGTERM)
    assert program.process.wait() == 0


@pytest.mark.slow
def test_the_file_of_a_unix_socket_that_systemd_keeps_stays(start: Start, manager: Manager, tmp_path: Path) -> None:
    path = tmp_path / "served.sock"
    program = start("--workers", "1", "--bind", f"unix:{path}", NOTIFY_SOCKET=manager.name, FDSTORE="9")
    program.line_with("Listening at")
    program.process.send_signal(signal.SIGTERM)
    assert program.process.wait() == 0
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))  # it waits for the next start


def test_a_single_process_tells_systemd_too(start: Start, manager: Manager) -> None:
    program = start(NOTIFY_SOCKET=manager.name, WATCHDOG_USEC="200000")
    assert manager.until("READY")["STATUS"].startswith("serving ")
    assert manager.until("WATCHDOG") == {"WATCHDOG": "1"}
    program.process.send_signal(signal.SIGTERM)
    assert manager.until("STOPPING") == {"STOPPING": "1"}
    assert program.process.wait() == 0


@pytest.mark.peers
def test_systemd_socket_activate(start: Start) -> None:
    activate = shutil.which("systemd-socket-activate") or pytest.skip("systemd-socket-activate is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = start("--workers", "2", prefix=(activate, "-l", f"127.0.0.1:{port}"))
    program.line_with("Listening on")
    assert ask(("127.0.0.1", port))
    program.line_with("all workers accept at one socket")
    assert program.address() == ("127.0.0.1", port)
    program.process.send_signal(signal.SIGTERM)
    assert program.process.wait() == 0


# -- development -------------------------------------------------------------------------------------------


def test_a_saved_file_replaces_the_worker(start: Start, tmp_path: Path, require_package: Any) -> None:
    require_package("watchfiles")
    program = start("--reload")
    address = program.address()
    with socket.create_connection(address, PATIENCE) as sock:
        # A message that has begun keeps this connection through the drain.
        sock.sendall(b"old\nla")
        assert read_line(sock).startswith(b"old ")
        # The thread that watches may not have begun yet: save until it is seen.
        saved = threading.Event()
        writer = threading.Thread(target=save_again, args=(tmp_path / "served.py", saved))
        writer.start()
        program.line_with("served.py was saved")
        saved.set()
        writer.join()
        sock.sendall(b"st\n")
        assert read_line(sock).startswith(b"last ")
        assert sock.recv(1) == b""
    program.line_with("1 worker replaced")
    assert read_line_of(address) == b"new\n"


def save_again(path: Path, saved: threading.Event) -> None:
    while not saved.wait(0.3):
        path.write_text(SERVICE.replace('message + b" %d" % pid', 'b"new"'))


def read_line_of(address: tuple[str, int]) -> bytes:
    with socket.create_connection(address, PATIENCE) as sock:
        sock.sendall(b"who\n")
        return read_line(sock)


@pytest.mark.peers
def test_the_units_of_the_documentation_are_valid(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze") or pytest.skip("systemd-analyze is not installed")
    page = (Path(__file__).parents[2] / "docs/how-to/systemd.md").read_text()
    units = re.findall(r"```ini\n# /etc/systemd/system/(\S+)\n(.*?)```", page, re.DOTALL)
    assert [name for name, _ in units] == ["app.socket", "app.service"]
    for name, text in units:
        (tmp_path / name).write_text(text.replace("/srv/app/venv/bin/fourtuple", "/bin/true"))
    # It says nothing of a unit in good order, and names unknown keys and values.
    done = subprocess.run(
        [analyze, "verify", *(str(tmp_path / name) for name, _ in units)], capture_output=True, text=True
    )
    told = [line for line in done.stderr.splitlines() if "app.s" in line]
    told = [line for line in told if "notify-reload" not in line]  # before systemd 253
    assert not told
