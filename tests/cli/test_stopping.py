"""`fourtuple serve` and signals: whatever holds the loop, and in every phase of a server's life."""

from __future__ import annotations

import fcntl
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import ENVIRONMENT, FOURTUPLE, Serve, Served
from fourtuple.compiled import ASKED

#: Handlers that do not return, by what the client sends.
STUCK = """
import asyncio, re, time
from fourtuple import Service

service = Service("line")

@service.reply
def stuck_for_ever(message):
    if message == b"a loop":
        while True:
            pass
    elif message == b"a sleep":
        time.sleep(1000)
    elif message == b"a pattern":
        re.match(rb"(a+)+$", b"a" * 60 + b"b")
    elif message == b"a set":
        set([number * (2**61 - 1) for number in range(300_000)])
    return message
"""


@pytest.fixture
def stuck(tmp_path: Path) -> str:
    path = tmp_path / "stuck.py"
    path.write_text(STUCK)
    return str(path)


def needs_c(choice: str) -> None:
    if choice == "auto" and ASKED["signals"]:
        pytest.skip(f"the C for signals {ASKED['signals']}")


def lines_up_to(server: Served, text: str) -> None:
    """Read standard error, up to a line with ``text`` in it."""
    assert server.process.stderr is not None
    told = ""
    for line in server.process.stderr:
        told += line
        if text in line:
            return
    raise AssertionError(f"it ended without {text!r}: {told}")


HOLDS = [("a loop", "auto"), ("a sleep", "auto"), ("a pattern", "auto"), ("a set", "auto"),
         ("a loop", "off"), ("a sleep", "off")]  # fmt: skip


@pytest.mark.parametrize(
    ("what", "choice", "loop"),
    [
        *((*each, "asyncio") for each in HOLDS),
        # With the other loop, what comes from the interpreter and what comes from C; CI tries the others.
        *((*each, "uvloop") for each in HOLDS[:1] + HOLDS[2:3]),
        *(pytest.param(*each, "uvloop", marks=pytest.mark.slow) for each in HOLDS[1:2] + HOLDS[3:]),
    ],
)
def test_what_holds_the_loop_is_named_meanwhile_and_ended_by_the_third_signal(
    serve: Serve, stuck: str, what: str, choice: str, loop: str, require_package: Any
) -> None:
    needs_c(choice)
    if loop == "uvloop":
        require_package("uvloop")
    server = serve(stuck, "--stall-timeout", "0.2", "--loop", loop, FOURTUPLE_C=choice)
    with server.connect() as sock:
        sock.sendall(what.encode() + b"\n")
        keeps = "a call keeps the interpreter's lock" if what in ("a pattern", "a set") else "has held the loop for"
        lines_up_to(server, keeps)
        lines_up_to(server, "in stuck_for_ever")
        end_by_signals(server.process)
    assert server.process.stderr is not None
    last = server.process.stderr.read().splitlines()[-1]
    assert last.endswith("): ended at once, 1 connection cut, the tear-down not finished")


def end_by_signals(process: subprocess.Popen[str]) -> None:
    """Send signals until it has ended: on a busy machine two of the same number may be one to the process."""
    for number in itertools.cycle((signal.SIGTERM, signal.SIGINT)):
        process.send_signal(number)
        try:
            code = process.wait(0.3)
        except subprocess.TimeoutExpired:
            continue
        assert code in (128 + signal.SIGINT, 128 + signal.SIGTERM)
        return


@pytest.mark.parametrize("what", ["a loop", "a sleep"])
def test_a_call_that_holds_the_loop_does_not_outlive_the_time_for_the_stop(serve: Serve, stuck: str, what: str) -> None:
    """One signal is enough: what drains and aborts is the loop, so another thread ends the process."""
    server = serve(stuck, "--drain-timeout", "0.5", "--stall-timeout", "0.2")
    with server.connect() as client:
        client.sendall(what.encode() + b"\n")
        lines_up_to(server, "still holds it")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait() == 128 + signal.SIGTERM
    assert server.process.stderr is not None
    last = server.process.stderr.read().splitlines()[-1]
    assert re.fullmatch(
        r"fourtuple: SIGTERM came \d+\.\d s ago, and a call has held the loop for \d+\.\d s: ended at once, "
        r"1 connection cut, the tear-down not finished",
        last,
    )


def test_a_stall_is_printed_once_and_in_json_too(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "slow.py"
    path.write_text(
        "import os, time\n"
        "from fourtuple import Service\n"
        "service = Service('line')\n"
        "@service.reply\n"
        "def slow(message):\n"
        "    while not os.path.exists('told'): time.sleep(1)\n"
        "    return message\n"
    )
    server = serve_json(path)
    try:
        assert server.stdout is not None
        port = server.stdout.readline().split('"address":"127.0.0.1:')[1].split('"')[0]
        with socket.create_connection(("127.0.0.1", int(port))) as sock:
            sock.sendall(b"x\n")
            lines = [next(line for line in server.stdout if '"loop-held"' in line)]
            (tmp_path / "told").touch()
            assert sock.recv(100) == b"x\n"
        server.send_signal(signal.SIGTERM)
        lines += [line for line in server.stdout if '"loop-held"' in line or '"handler-slow"' in line]
    finally:
        server.kill()
        server.communicate()
    held = [line for line in lines if '"handler":"slow.slow"' in line and "loop-held" in line]
    assert len(held) == 1, lines
    assert "time.sleep(1)" in held[0]
    assert "handler-slow" in lines[-1], "and when it is over, which connection it was"


def serve_json(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*FOURTUPLE, "serve", str(path), "--port", "0", "--log-format", "json", "--stall-timeout", "0.2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=path.parent,
    )  # fmt: skip


# -- before it listens ------------------------------------------------------------------------------------


def commands() -> list[list[str]]:
    script = Path(sysconfig.get_path("scripts"), "fourtuple")
    importing = [sys.executable, "-X", "importtime"]  # it says on standard error what was just imported
    return [[*importing, "-m", "fourtuple"], *([[*importing, str(script)]] if script.exists() else [])]


@pytest.mark.parametrize("command", commands(), ids=lambda command: command[-2].strip("-"))
@pytest.mark.parametrize(
    ("what", "where"),
    [
        *((what, where) for what in ("serve", "connect", "bench") for where in ("click.core", "fourtuple.address")),
        *(("serve", "fourtuple.server"), ("connect", "fourtuple.engine"), ("bench", "fourtuple.load.running")),
    ],
)
def test_ctrl_c_during_the_imports_leaves_no_traceback(command: list[str], what: str, where: str) -> None:
    arguments = ["echo", "--port", "0"] if what == "serve" else ["127.0.0.1:1"]
    process = subprocess.Popen(
        [*command, what, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=ENVIRONMENT,
    )  # fmt: skip
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if line.rpartition("|")[2].strip() == where:
                break
        else:
            pytest.fail(f"{where} was not imported")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
        assert "Traceback" not in err
        assert "KeyboardInterrupt" not in err
        # By the signal; or, where the command got on faster than this test, by the handler of its loop: a server that
        # listens by then is drained.
        ended = 0 if "Stopped, 0 connections aborted" in out else 128 + signal.SIGINT
        assert process.returncode in (-signal.SIGINT, ended)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("command", ["connect", "bench"])
def test_ctrl_c_while_it_connects(command: str) -> None:
    """To an address whose queue is full: the kernel does not answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as stack:
        for _ in range(4):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        process = subprocess.Popen(
            [*FOURTUPLE, command, f"127.0.0.1:{full.getsockname()[1]}"], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
        )  # fmt: skip
        until_connecting(process.pid)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
        assert "Traceback" not in out + err
        assert process.returncode == 130


def until_connecting(pid: int) -> None:
    """Until the process has a TCP socket that has sent a SYN (state 02 in /proc/net/tcp)."""
    while True:
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        inodes = {row[9] for row in rows if row[3] == "02"}
        held = set()
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                held.add(os.readlink(fd))
        if held & {f"socket:[{inode}]" for inode in inodes}:
            return


# -- every phase ------------------------------------------------------------------------------------------

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start(code)` serves the service of a file that says "now" when it is where it is to be signalled."""
    processes: list[subprocess.Popen[str]] = []

    def start(code: str, *options: str) -> subprocess.Popen[str]:
        path = tmp_path / "service.py"
        path.write_text("import asyncio, time\nfrom fourtuple import Service\nservice = Service('line')\n" + code)
        process = subprocess.Popen(
            [*FOURTUPLE, "serve", str(path), "--port", "0", "--stall-timeout", "none", *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=ENVIRONMENT,
        )  # fmt: skip
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def reach(process: subprocess.Popen[str], text: str = "now") -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(text):
            return
    raise AssertionError(f"it ended before it said {text!r}")


REPLY = """
@service.reply
def answer(message):
    return message

"""


def test_an_import_that_takes_its_time(start: Start) -> None:
    process = start("print('now', flush=True)\ntime.sleep(1000)\n" + REPLY)
    reach(process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert "Traceback" not in out + err
    assert process.returncode in (-signal.SIGINT, 128 + signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_set_up_is_cancelled(start: Start, number: signal.Signals) -> None:
    process = start(
        REPLY + "@service.lifespan\n"
        "async def lifespan():\n"
        "    try:\n"
        "        print('now', flush=True)\n"
        "        await asyncio.sleep(1000)\n"
        "        yield\n"
        "    finally:\n"
        "        print('cleaned up', flush=True)\n"
    )
    reach(process)
    process.send_signal(number)
    out, err = process.communicate()
    assert out == "cleaned up\n"
    assert err == f"fourtuple: stopped by {number.name} before it listened\n"
    assert process.returncode == 128 + number


def test_a_set_up_that_blocks_is_ended_by_the_third(start: Start) -> None:
    process = start(
        REPLY + "@service.lifespan\n"
        "async def lifespan():\n"
        "    print('now', flush=True)\n"
        "    time.sleep(1000)\n"
        "    yield\n"
    )
    reach(process)
    err = three_signals(process)
    assert err.endswith("): ended at once, before it listened\n")


def test_a_set_up_that_ignores_its_cancellation_is_drained_when_it_is_done(start: Start) -> None:
    process = start(
        REPLY + "@service.lifespan\n"
        "async def lifespan():\n"
        "    try:\n"
        "        print('now', flush=True)\n"
        "        await asyncio.sleep(1000)\n"
        "    except asyncio.CancelledError:\n"
        "        pass\n"
        "    yield\n"
        "    print('torn down', flush=True)\n"
    )
    reach(process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    assert out.splitlines()[1:] == [
        "Draining 0 connections, up to 8 s; Ctrl-C again aborts", "Stopped, 0 connections aborted", "torn down"
    ]  # fmt: skip
    assert (process.returncode, err) == (0, "")


def test_a_tear_down_that_does_not_end_is_ended_by_the_third(start: Start) -> None:
    process = start(
        REPLY + "@service.lifespan\n"
        "async def lifespan():\n"
        "    yield\n"
        "    print('now', flush=True)\n"
        "    await asyncio.sleep(1000)\n"
    )
    reach(process, "Listening")
    process.send_signal(signal.SIGTERM)
    reach(process)
    err = three_signals(process)
    assert err.endswith("): ended at once, 0 connections cut, the tear-down not finished\n")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_tear_down_that_is_abandoned_is_told_in_one_line(start: Start, loop: str, require_package: Any) -> None:
    if loop == "uvloop":
        require_package("uvloop")
    process = start(
        REPLY + STUBBORN + "@service.lifespan\nasync def lifespan():\n    yield\n    await stubborn()\n",
        "--tear-down-timeout", "0.2", "--loop", loop,
    )  # fmt: skip
    reach(process, "Listening")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert err == (
        "fourtuple: tear_down_timeout deadline of 0.2 s passed on the service's lifespan: it ignores its cancellation\n"
    )
    assert process.returncode == 1


def three_signals(process: subprocess.Popen[str]) -> str:
    end_by_signals(process)
    _, err = process.communicate()
    assert "third signal" in err
    return err


STUBBORN = """
async def stubborn():
    while True:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            print("not now", flush=True)

"""


def test_a_handler_that_swallows_its_cancellation_keeps_no_process(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "stubborn.py"
    path.write_text(
        "import asyncio\nfrom fourtuple import Service\nservice = Service('line')\n" + STUBBORN + "@service.reply\n"
        "async def answer(message):\n"
        "    print('here', flush=True)\n"
        "    await stubborn()\n"
    )
    server = serve(str(path), "--drain-timeout", "0.4")
    with server.connect() as sock:
        sock.sendall(b"x\n")
        server.line_with("here")
        done = server.stop()
    assert done.code == 1
    assert done.text.count("not now\n") == 2
    assert done.text.endswith("Stopped, 1 connection aborted, 1 handler abandoned\n")
    assert "handler stubborn.answer does not end; the server stops without waiting for it" in done.err


CANCELS_ALL = """
import asyncio
from fourtuple import Service

service = Service("line")

@service.reply
async def answer(message):
    if message == b"cancel":
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
    return message
"""


@pytest.mark.parametrize("draining", [False, True], ids=["serving", "draining"])
def test_a_program_that_cancels_all_tasks_is_told_so_and_stops(serve: Serve, tmp_path: Path, draining: bool) -> None:
    path = tmp_path / "cancels.py"
    path.write_text(CANCELS_ALL)
    server = serve(str(path), "--drain-timeout", "20")
    with server.connect() as sock, server.connect() as other:
        for each in (sock, other):
            each.sendall(b"a\n")
            assert each.recv(9) == b"a\n"
        other.sendall(b"half")
        if draining:
            server.process.send_signal(signal.SIGTERM)
            server.line_with("Draining")
        sock.sendall(b"cancel\n")
        if not draining:
            assert sock.recv(9) == b"cancel\n"
            server.line_with("Draining")
            other.sendall(b" a line\n")
            assert other.recv(99) == b"half a line\n", "it drains"
            other.close()
            sock.close()
        done = server.wait()
    assert "Traceback" not in done.err
    assert done.code == 1
    assert ("the program has cancelled the task that serves" in done.err) or draining


def test_a_task_that_swallows_its_cancellation_keeps_no_process(start: Start) -> None:
    process = start(
        STUBBORN + REPLY + "@service.lifespan\n"
        "async def lifespan():\n"
        "    global task\n"
        "    task = asyncio.ensure_future(stubborn())\n"
        "    yield\n"
    )
    reach(process, "Listening")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    assert out.endswith("not now\nnot now\n")
    assert "fourtuple: a task does not end and is abandoned" in err
    assert process.returncode == 0


@pytest.mark.parametrize("what", ["except BaseException: pass", "finally: continue"])
def test_a_handler_that_swallows_its_very_end_keeps_no_process(start: Start, what: str) -> None:
    """The interpreter would close its coroutine at its end, and that would go round and round in it."""
    process = start(
        "@service.conversation\n"
        "async def talk(connection):\n"
        "    print('now', flush=True)\n"
        "    while True:\n"
        "        try: await asyncio.sleep(1000)\n"
        f"        {what}\n",
        "--drain-timeout", "0.4",
    )  # fmt: skip
    assert process.stdout is not None
    port = int(process.stdout.readline().split(" (")[0].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)):
        reach(process)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate()
    assert out.endswith("Stopped, 1 connection aborted, 1 handler abandoned\n")
    assert "Exception" not in err
    assert process.returncode == 1


def test_a_call_of_asyncio_to_thread_keeps_no_process(start: Start) -> None:
    process = start(
        "@service.conversation\n"
        "async def talk(connection):\n"
        "    print('now', flush=True)\n"
        "    await asyncio.to_thread(time.sleep, 1000)\n",
        "--drain-timeout", "0.4",
    )  # fmt: skip
    assert process.stdout is not None
    port = int(process.stdout.readline().split(" (")[0].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)):
        reach(process)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate()
    assert out.endswith("Stopped, 1 connection aborted\n")
    assert (err, process.returncode) == ("", 1)


def test_a_thread_that_the_service_has_left_is_named_and_a_second_signal_ends_it(start: Start) -> None:
    process = start(
        REPLY + "import threading\nthreading.Thread(target=time.sleep, args=(1000,), name='mine').start()\n"
    )
    reach(process, "Listening")
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    line = process.stderr.readline()
    assert line == "fourtuple: still waiting for threads of the service: mine; Ctrl-C ends them\n"
    process.send_signal(signal.SIGINT)
    assert process.wait() == 1


def test_a_background_job_of_a_shell_is_not_for_ctrl_c(tmp_path: Path) -> None:
    """The shell has it ignored, and it stays so; SIGTERM drains."""
    process = subprocess.Popen(
        [*FOURTUPLE, "serve", "echo", "--port", "0"], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )  # fmt: skip
    try:
        reach(process, "Listening")
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate()
        assert out == "Draining 0 connections, up to 8 s; Ctrl-C again aborts\nStopped, 0 connections aborted\n"
        assert process.returncode == 0
    finally:
        process.kill()


def test_a_log_without_a_reader_does_not_hold_the_server_up(serve: Serve) -> None:
    """Not the clients, and not the end."""
    server = serve("echo", "--bind", "127.0.0.1:0")
    assert server.process.stdout is not None
    fcntl.fcntl(server.process.stdout, fcntl.F_SETPIPE_SZ, 4096)
    for _ in range(100):
        assert server.ask(b"hello\n") == b"hello\n"
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait() == 0


@pytest.mark.parametrize(
    "command",
    [["serve", "echo", "--port", "0"], ["serve", "echo", "--port", "0", "--workers", "1"],
     ["relay", "127.0.0.1:0", "127.0.0.1:9", "--toxics", "/dev/null"]],
    ids=["serve", "workers", "relay"],
)  # fmt: skip
def test_ignored_signals_stay_ignored(command: list[str]) -> None:
    """As nohup has them: a hang-up is nothing to the server that it starts."""
    ignoring = ["sh", "-c", 'trap "" HUP USR2; exec "$@"', "sh"]
    with subprocess.Popen(
        [*ignoring, *FOURTUPLE, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT
    ) as process:
        try:
            assert process.stdout is not None
            assert any("istening at" in line for line in process.stdout)
            status = Path(f"/proc/{process.pid}/status").read_text()
            process.send_signal(signal.SIGTERM)
            process.stdout.read()
            assert process.wait() == 0
        finally:
            process.kill()
    found = re.search(r"^SigIgn:\s*([0-9a-f]+)", status, re.MULTILINE)
    assert found is not None
    for number in (signal.SIGHUP, signal.SIGUSR2):
        assert int(found[1], 16) >> (number - 1) & 1, number


EXITS = {
    "handler": "@service.reply\ndef leaves(message):\n    sys.exit(CODE)\n",
    "task": "@service.reply\nasync def leaves(message):\n    await asyncio.sleep(0)\n    sys.exit(CODE)\n",
    "hook": REPLY + "@service.opened\ndef opened(connection):\n    sys.exit(CODE)\n",
    "set-up": REPLY + "@service.lifespan\nasync def lifespan():\n    sys.exit(CODE)\n    yield\n",
    "tear-down": REPLY + "@service.lifespan\nasync def lifespan():\n    yield\n    sys.exit(CODE)\n",
}


@pytest.mark.parametrize(
    ("where", "code", "expected"),
    [("handler", 5, 5), ("handler", 0, 1), ("task", 5, 5), ("hook", 5, 5),
     ("set-up", 7, 3), ("set-up", 0, 3), ("tear-down", 7, 1), ("tear-down", 0, 1)],
)  # fmt: skip
def test_a_program_that_exits_is_told_so(start: Start, where: str, code: int, expected: int) -> None:
    process = start("import sys\n" + EXITS[where].replace("CODE", str(code)), "-q", "--drain-timeout", "0.5")
    assert process.stdout is not None
    if listening := process.stdout.readline():
        host, _, port = listening.split()[2].rpartition(":")
        with socket.create_connection((host, int(port))) as sock:
            sock.sendall(b"x\n")
            with suppress(ConnectionResetError):
                sock.recv(10)
            if where == "tear-down":
                process.send_signal(signal.SIGTERM)
            _, err = process.communicate()
    else:
        assert where == "set-up"
        _, err = process.communicate()
    what = f"the service's {where}" if where in ("set-up", "tear-down") else "the program"
    assert f"fourtuple: {what} ended the interpreter\nTraceback" in err
    assert err.endswith(f"SystemExit: {code}\n")
    assert "shutdown" not in err
    assert "cancelled" not in err
    assert process.returncode == expected


TWO = """
from fourtuple import Service

good, bad, worse = Service("line"), Service("line"), Service("line")
for service in (good, bad, worse):
    service.reply(bytes.upper)

@bad.lifespan
async def bad_lifespan():
    yield
    raise ValueError("not closed")

@worse.lifespan
async def worse_lifespan():
    yield
    raise OSError("nor this")
"""


def test_each_service_whose_tear_down_fails_is_named(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(TWO)
    (tmp_path / "fourtuple.toml").write_text(
        "".join(
            f'[services.{name}]\ntarget = "two.py:{name}"\nlisten = "127.0.0.1:0"\n'
            for name in ("good", "bad", "worse")
        )
    )
    with subprocess.Popen(
        [*FOURTUPLE, "serve"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, cwd=tmp_path
    ) as process:
        for name in ("good", "bad", "worse"):
            reach(process, f"{name}: Listening")
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()
    assert process.returncode == 1
    assert "fourtuple: bad: the service's tear-down failed\n" in err
    assert "ValueError: not closed\n" in err
    assert "fourtuple: the stop of worse also failed: OSError: nor this\n" in err


#: A program whose handlers do not end; one of them exits, if asked to. It says "now" when one is at work.
UNENDING = """
import asyncio, sys
from fourtuple import Deadlines, Server, Service, run, serve_in_thread

service = Service("line")

@service.reply
async def stubborn(message):
    if message == b"exit":
        sys.exit(5)
    print("now", flush=True)
    while True:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            print("not now", flush=True)

@service.lifespan
async def lifespan():
    yield
    if sys.argv[1] == "tear-down":
        await stubborn(b"")

deadlines = Deadlines(drain_timeout=0.5, tear_down_timeout=0.5)

async def main():
    async with Server(service, deadlines=deadlines) as server:
        print(server.port, flush=True)
        await server.serve_forever()

if sys.argv[1] == "run":
    run(service, deadlines=deadlines, on_start=lambda server: print(server.port, flush=True))
elif sys.argv[1] == "thread":
    with serve_in_thread(service, deadlines=deadlines) as server:
        print(server.port, flush=True)
        sys.stdin.readline()
else:
    asyncio.run(main())
"""


@pytest.fixture
def unending() -> Iterator[Callable[[str], tuple[subprocess.Popen[str], int]]]:
    with ExitStack() as stack:

        def begin(how: str) -> tuple[subprocess.Popen[str], int]:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", UNENDING, how],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=ENVIRONMENT,
                )
            )
            stack.callback(process.kill)
            assert process.stdout is not None
            return process, int(process.stdout.readline())

        yield begin


@pytest.mark.parametrize("how", ["handler", "tear-down"])
def test_a_second_ctrl_c_does_not_wait_for_what_ignores_it(unending: Any, how: str) -> None:
    """asyncio.run() cancels the program at the first one, and closes the loop at the second."""
    process, port = unending(how)
    with socket.create_connection(("127.0.0.1", port)) as sock:
        if how == "handler":
            sock.sendall(b"stay\n")
            reach(process)
            process.send_signal(signal.SIGINT)
            reach(process, "not now")
        else:
            process.send_signal(signal.SIGINT)
            reach(process)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode in (1, -signal.SIGINT)


@pytest.mark.parametrize("how", ["run", "thread"])
def test_a_program_that_exits_does_not_wait_for_what_ignores_it(unending: Any, how: str) -> None:
    process, port = unending(how)
    with socket.create_connection(("127.0.0.1", port)) as stays, socket.create_connection(("127.0.0.1", port)) as exits:
        stays.sendall(b"stay\n")
        reach(process)
        exits.sendall(b"exit\n")
        process.communicate("\n" if how == "thread" else None, timeout=20)
    assert process.returncode == 5
