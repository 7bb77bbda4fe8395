"""The commands at a running ``fourtuple serve``; who it becomes, and the file with its number."""

from __future__ import annotations

import json
import os
import pwd
import resource
import select
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from fourtuple import Limits
from fourtuple.options import declared
from operations.commands import COMMAND, ENVIRONMENT, Done, served
from prefork import Prefork


class Command(Protocol):
    def __call__(self, *arguments: str, **environment: str) -> Done: ...


@pytest.fixture(scope="module", autouse=True)
def prefork() -> Iterator[Prefork]:
    """A process that has done its imports, of which each command is a fork: an interpreter takes a second to start."""
    server = Prefork(ENVIRONMENT)
    yield server
    server.close()


@pytest.fixture
def command(prefork: Prefork, tmp_path: Path) -> Command:
    """`command("status", "--json")` runs the command to its end."""

    def command(*arguments: str, **environment: str) -> Done:
        with prefork.start([*arguments], tmp_path, ENVIRONMENT | environment) as process:
            out, err = process.communicate(b"")
        return Done(process.wait(), out.decode(), err.decode())

    return command


def test_the_life_of_a_server(command: Command, tmp_path: Path) -> None:
    with served(tmp_path, "upper", "--framing", "line") as server:
        at = ("--control", server.control)
        done = command("status", *at)
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith(f"upper: serving, pid {server.process.pid}, up ")
        assert server.address in done.out
        with server.connect() as sock:
            sock.sendall(b"hello\n")
            assert sock.recv(100) == b"HELLO\n"
            (row,) = json.loads(command("connections", "--json", *at).out)
            assert (row["messages_in"], row["octets_out"]) == (1, 6)
            assert row["remote"] in command("connections", *at).out
            assert command("suspend", *at).code == 0
            done = command("status", FOURTUPLE_CONTROL=server.control)
            assert (done.code, "suspended" in done.out, "paused: by request" in done.out) == (1, True, True)
            assert command("resume", "--json", *at).out == "null\n"
            assert "  # --max-connections, the default\n" in command("limits", "show", *at).out
            done = command("limits", "set", "max_connections=5", "accept-rate=none", *at)
            assert (done.code, done.out) == (0, "max_connections = 5\naccept_rate = none\n")
            shown = command("limits", "show", *at).out.splitlines()
            assert shown[:2] == [f"# upper at {server.address}", "max_connections = 5  # --max-connections"]
            assert "max_batch = 512  # --max-batch, the default" in shown
            assert {line.partition(" = ")[0] for line in shown[1:]} == {option.name for option in declared(Limits)}
            done = command("close", row["id"], *at)
            assert (done.code, done.out) == (0, f"Closed {row['id']}\n")
            assert sock.recv(1) == b""
        assert command("drain", "--timeout", "5", *at).out == "Draining\n"
        assert server.process.wait() == 0
        assert command("status", *at).code == 3


def test_every_command_answers_in_json(command: Command, tmp_path: Path) -> None:
    with served(tmp_path, "upper", "--framing", "line", "--workers", "1") as server:
        with server.connect() as sock:
            sock.sendall(b"hello\n")
            assert sock.recv(100) == b"HELLO\n"

            def answer(*arguments: str) -> Any:
                done = command(*arguments, "--json", "--control", server.control)
                assert (done.code, done.err) == (0, "")
                return json.loads(done.out)

            status = answer("status")
            assert (status["pid"], status["state"], status["ready"]) == (server.process.pid, "serving", True)
            (row,) = answer("connections", "--most", "5")
            assert row["id"] == f"1/{row['id'].partition('/')[2]}"
            assert answer("suspend") is None
            assert answer("resume") is None
            assert answer("limits", "set", "max_connections=5") == {"max_connections": {"value": 5}}
            assert answer("workers", "2") == 2
            changes = ("max_connections=1", "max_connections_per_address=5", "accept_rate=none", "max_batch=3")
            now = answer("limits", "set", *changes)
            assert now["max_connections"] == {"value": 1, "each_worker": [1, 1], "all_workers": 2}
            assert now["max_connections_per_address"] == {"value": 5, "all_workers": 10}
            assert now["accept_rate"]["value"] is None
            assert now["max_batch"] == {"value": 3}
            assert command("limits", "set", *changes, "--control", server.control).out == (
                "max_connections = 1, 1 in each of 2 workers, 2 in all\n"
                "max_connections_per_address = 5, 10 in 2 workers\naccept_rate = none\nmax_batch = 3\n"
            )
            (told,) = answer("limits", "show", "--service", "upper")
            assert (told["service"], told["addresses"], told["max_connections"]) == ("upper", [server.address], 1)
            assert told["limits"]["max_connections"] == {
                "value": 1,
                "option": "--max-connections",
                "default": False,
                "each_worker": [1, 1],
                "all_workers": 2,
            }
            assert told["limits"]["max_batch"] == {"value": 3, "option": "--max-batch", "default": False}
            assert answer("close", row["id"]) is True
            assert sock.recv(1) == b""
        pid = answer("upgrade")
        assert server.process.wait() == 0
        assert answer("status")["pid"] == pid
        assert answer("drain") is None


def test_what_control_does_not_name_is_told(command: Command, tmp_path: Path) -> None:
    folder = str(tmp_path)
    (tmp_path / "fourtuple").mkdir(0o700)
    with served(tmp_path / "fourtuple", "upper") as server:
        path = server.control
        named = {"FOURTUPLE_CONTROL": path}
        for environment, why in (
            (named, "of FOURTUPLE_CONTROL"),
            ({"XDG_RUNTIME_DIR": folder}, "the only one there"),
            ({"XDG_RUNTIME_DIR": folder, "FOURTUPLE_CONTROL": "auto"}, "the only one there"),
        ):
            assert command("resume", **environment).out == f"Accepting (unix:{path}, {why})\n"
        assert command("resume", "--json", **named).out == "null\n"
        assert command("resume", "--control", path, **named).out == "Accepting\n"
        done = command("limits", "set", "max_batch=3", **named)
        assert done.out == f"# unix:{path}, of FOURTUPLE_CONTROL\nmax_batch = 3\n"
        for arguments in (
            ("serve", "echo", "--bind", "127.0.0.1:0"),
            ("serve", "echo", "--bind", "127.0.0.1:0", "--workers", "1"),
            ("relay", "127.0.0.1:0", "127.0.0.1:1"),
        ):
            done = command(*arguments, **named)
            assert (done.code, done.out) == (3, "")
            assert done.err.endswith("; the variable FOURTUPLE_CONTROL says so, for this program too\n"), done.err
        assert command("drain", **named).out == f"Draining (unix:{path}, of FOURTUPLE_CONTROL)\n"
        assert server.process.wait() == 0
        done = command("drain", **named)
        assert done.code == 3
        assert done.err.startswith(f"fourtuple: no server answers at unix:{path}, of FOURTUPLE_CONTROL: ")


def test_what_is_refused_says_why(command: Command, tmp_path: Path) -> None:
    with served(tmp_path, "echo") as server:
        at = ("--control", server.control)
        for arguments, code, text in (
            (("workers", "2"), 1, "start it with --workers"),
            (("limits", "set", "max_conections=5"), 1, "max_connections"),
            (("limits", "set", "idle_timeout=3"), 1, "idle_timeout: there is no such limit; it is a deadline: set it"),
            (("limits", "set", "max_connections"), 2, "KEY=VALUE is needed"),
            (
                ("limits", "show", "--service", "eco"),
                1,
                "service eco: the server has no such service; did you mean echo",
            ),
            (("close", "4711"), 1, "there is no open connection 4711"),
            (("close", "here"), 1, "neither the id nor the name"),
            (("workers", "0"), 2, "0 is not in the range"),
            (("workers", "257"), 2, "257 is not in the range 1<=x<=256"),
        ):
            done = command(*arguments, *at)
            assert (done.code, done.out) == (code, "")
            assert text in done.err.replace("\n", " ")
        done = command("status", "--control", str(tmp_path / "nothing"))
        assert (done.code, "no server answers at unix:" in done.err) == (3, True)
        with socket.create_server(str(tmp_path / "other"), family=socket.AF_UNIX) as other:
            with subprocess.Popen([*COMMAND, "status", "--control", str(tmp_path / "other")], env=ENVIRONMENT,
                                  stderr=subprocess.PIPE, text=True) as process:  # fmt: skip
                sock, _ = other.accept()
                with sock:
                    sock.recv(100)
                    sock.sendall(b"220 smtp\n")
                    _, err = process.communicate()
            assert (process.returncode, "does not answer as a control socket" in err) == (1, True)


@pytest.mark.parametrize("how", ["fin", "reset"])
def test_a_server_that_ends_before_it_answers(tmp_path: Path, how: str) -> None:
    path = str(tmp_path / "control")
    with (
        socket.create_server(path, family=socket.AF_UNIX) as dying,
        subprocess.Popen(
            [*COMMAND, "status", "--control", path], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
        ) as process,
    ):
        sock, _ = dying.accept()
        with sock:
            if how == "fin":
                sock.recv(100)  # with an unread request, close(2) resets (unix(7))
            else:
                select.select([sock], [], [])
        _, err = process.communicate()
    assert (process.returncode, err) == (3, f"fourtuple: the server at unix:{path} has ended, and did not answer\n")


def test_a_second_server_at_the_same_socket(command: Command, tmp_path: Path) -> None:
    with served(tmp_path, "echo") as server:
        done = command("serve", "echo", "--port", "0", "--control", server.control)
        assert (done.code, f"address already in use (by pid {server.process.pid}, " in done.err) == (3, True)
        assert command("status", "--control", server.control).code == 0


def test_the_socket_of_a_killed_server_is_replaced(command: Command, tmp_path: Path) -> None:
    with served(tmp_path, "echo") as server:
        server.process.kill()
        server.process.wait()
        assert stat.S_ISSOCK(os.stat(server.control).st_mode)
    with served(tmp_path, "echo") as server:
        assert command("status", "--control", server.control).code == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--dashboard",), "--dashboard: on, but there is no HTTP server"),
        (("--http", "nowhere:port"), "--http: "),
        (("--control", ""), "--control: expected a text or none, got an empty text"),
        (("--user", "no-such-user-here"), "there is no user 'no-such-user-here'"),
        (("--user", "9" * 5000), "--user: expected a name, or a number of no more than 4294967294, got "),
        (("--group", "4294967295"), "--group: expected a name, or a number of no more than 4294967294, got "),
        (("--http", "9" * 5000), "http: "),
        (("--group", "no-such-group"), "there is no group 'no-such-group'"),
        (("--unix-mode", "999"), "expected permissions in octal, from 000 to 777, as in 0660, got '999'"),
        (("--control", f"/tmp/{'a' * 120}"), "the path has 125 octets, no more than 107 are allowed"),
        (("--idle-timeout", "inf"), "--idle-timeout: expected a finite number of seconds or none, got inf"),
        (("--unix-mode", "worldwide"), "expected permissions in octal, from 000 to 777, as in 0660, got "),
    ],
)
def test_options_that_cannot_work_are_usage_errors(
    command: Command, tmp_path: Path, arguments: tuple[str, ...], text: str
) -> None:
    done = command("serve", "echo", "--port", "0", *arguments)
    assert (done.code, done.out) == (2, "")
    assert text in done.err


# -- who it is --------------------------------------------------------------------------------------------

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

WHO = """\
import os
from contextlib import asynccontextmanager
from fourtuple import Service

@asynccontextmanager
async def lifespan():
    yield [*os.getresuid(), *os.getresgid(), len(os.getgroups())]

service = Service("line", lifespan=lifespan)

@service.reply
def who(message, connection):
    if message == b"root":
        try:
            os.setuid(0)
        except PermissionError:
            return b"refused"
    return f"{connection.service_state} {[*os.getresuid(), *os.getresgid()]}".encode()
"""


@root
def test_privileges_are_dropped_before_the_set_up_and_for_ever(command: Command, tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    tmp_path.chmod(0o755)
    (tmp_path / "who.py").write_text(WHO)
    pid = tmp_path / "pid"
    with served(tmp_path, "who.py", "--user", "nobody", "--http", "0", "--pidfile", str(pid)) as server:
        with server.connect() as sock:
            sock.sendall(b"who\nroot\n")
            expected = [nobody.pw_uid] * 3 + [nobody.pw_gid] * 3
            groups = len(os.getgrouplist("nobody", nobody.pw_gid))
            with sock.makefile() as lines:
                assert lines.readline() == f"{[*expected, groups]} {expected}\n"
                assert lines.readline() == "refused\n"
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        assert f"Uid:\t{nobody.pw_uid}\t{nobody.pw_uid}\t{nobody.pw_uid}\t{nobody.pw_uid}" in status
        for task in Path(f"/proc/{server.process.pid}/task").iterdir():
            assert f"Uid:\t{nobody.pw_uid}" in (task / "status").read_text(), "every thread"
        assert os.stat(server.control).st_uid == nobody.pw_uid
        assert command("status", "--control", server.control).code == 0
        assert pid.read_text() == f"{server.process.pid}\n"


@root
def test_workers_drop_privileges_and_the_supervisor_keeps_them_for_binding(command: Command, tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    tmp_path.chmod(0o755)
    (tmp_path / "who.py").write_text(WHO)
    with served(tmp_path, "who.py", "--user", "nobody", "--workers", "1") as server:
        for count in (1, 2):  # a worker that is started later has its socket opened by the supervisor
            assert command("workers", str(count), "--control", server.control).code == 0
            status = json.loads(command("status", "--json", "--control", server.control).out)
            assert len(status["workers"]) == count
            for worker in status["workers"]:
                assert f"Uid:\t{nobody.pw_uid}\t" in Path(f"/proc/{worker['pid']}/status").read_text()
        with server.connect() as sock:
            sock.sendall(b"root\n")
            with sock.makefile() as lines:
                assert lines.readline() == "refused\n"
        assert "Uid:\t0\t" in Path(f"/proc/{server.process.pid}/status").read_text()


@root
def test_only_root_can_become_another_user(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    script = (
        "import os\nfrom fourtuple.net.users import drop_privileges\nfrom fourtuple.errors import OptionError\n"
        "drop_privileges('nobody', None)\ndrop_privileges('nobody', None)\n"
        "try:\n    drop_privileges('root', None)\nexcept OptionError as error:\n    print(error)\n"
    )
    done = subprocess.run([COMMAND[0], "-c", script], capture_output=True, text=True, check=False, cwd="/")
    assert done.stdout == "user: only root can become another user or group; this process is not root\n", done.stderr


@root
def test_a_unix_socket_has_its_mode_and_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "service.sock"
    before = os.umask(0o077)
    try:
        process = subprocess.Popen(
            [*COMMAND, "serve", "echo", "--bind", f"unix:{path}", "--unix-mode", "0660", "--unix-owner", "nobody:0"],
            stdout=subprocess.PIPE, text=True, env=ENVIRONMENT,
        )  # fmt: skip
    finally:
        os.umask(before)
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        status = os.stat(path)
        assert stat.S_IMODE(status.st_mode) == 0o660
        assert (status.st_uid, status.st_gid) == (pwd.getpwnam("nobody").pw_uid, 0)
        process.terminate()


# -- the pidfile ------------------------------------------------------------------------------------------


def test_a_pidfile_is_locked_replaced_and_removed(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("1\n")  # of a process that has ended; its number may be another one's now
    with served(tmp_path, "echo", "--pidfile", str(path)) as server:
        assert path.read_text() == f"{server.process.pid}\n"
        done = command("serve", "echo", "--port", "0", "--pidfile", str(path))
        assert (done.code, f"process {server.process.pid} runs with it" in done.err) == (3, True)
        assert path.read_text() == f"{server.process.pid}\n"
        server.process.send_signal(signal.SIGTERM)
        server.process.wait()
        assert not path.exists()


def test_a_pidfile_follows_no_link_and_overwrites_nothing_else(command: Command, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "link").symlink_to(precious)
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "fifo", "no/such/folder"):
        done = command("serve", "echo", "--port", "0", "--pidfile", str(tmp_path / name))
        assert (done.code, f"pidfile {tmp_path / name}: " in done.err) == (3, True)
    assert precious.read_text() == "precious"


def test_a_pidfile_costs_no_file_of_the_users(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "service.py"
    for content in ("service = 1\n", "1" * 33, "12 34\n"):
        path.write_text(content)
        for arguments in (("serve", "echo", "--port", "0"), ("check", "echo", "--files")):
            done = command(*arguments, "--pidfile", str(path))
            assert done.code == 3
            assert f"pidfile {path}: the file exists, and does not contain the number of a process" in done.err
        assert path.read_text() == content
    path.write_text("")  # of a process that was killed while it started
    with served(tmp_path, "echo", "--pidfile", str(path)) as server:
        assert int(path.read_text()) == server.process.pid


@pytest.mark.parametrize("workers", [(), ("--workers", "1")])
def test_a_pidfile_that_cannot_be_written_ends_the_start_and_is_named(tmp_path: Path, workers: tuple[str, ...]) -> None:
    path = tmp_path / "pid"
    done = subprocess.run(
        [*COMMAND, "serve", "echo", "--port", "0", "--pidfile", str(path), *workers],
        capture_output=True, text=True, env=ENVIRONMENT, timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),  # as a full disk: no file may grow
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (3, f"fourtuple: pidfile {path}: File too large\n")
    assert "Listening" not in done.stdout
    assert not path.exists()
