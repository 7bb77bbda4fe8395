"""`fourtuple serve`: what it prints, how it stops, and how it fails to start."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import ENVIRONMENT, FOURTUPLE, Run, Serve, Served
from fourtuple.proxy import ProxyHeader
from hostile import FORGED, HOSTILE

#: What a server says whose clients have all gone.
DRAINED = "Draining 0 connections, up to 8 s; Ctrl-C again aborts\nStopped, 0 connections aborted\n"


def begin_line(sock: socket.socket, octets: bytes) -> None:
    """Send the beginning of a line, and return when an echo has read it: it came with a line that was answered."""
    sock.sendall(b"read\n" + octets)
    assert sock.recv(100) == b"read\n"


def test_serve_prints_its_addresses_and_one_line_for_each_end(serve: Serve) -> None:
    server = serve("sixteen")
    with server.connect() as sock:
        own = sock.getsockname()
        sock.sendall(b"Hi there, server")
        assert sock.recv(16) == b"Farewell, client"
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
    name = f"127.0.0.1:{server.port} <- 127.0.0.1:{own[1]}"
    assert server.line() == f"#1 opened {name}"
    assert re.fullmatch(
        rf"#1 closed {re.escape(name)}, in 1 message 16 octets, out 1 message 16 octets, \d\.\d{{3}} s, "
        "closed by the peer",
        server.line(),
    )
    done = server.stop()
    assert (done.code, done.text, done.err) == (0, DRAINED, "")


def test_a_line_comes_through_a_pipe_while_the_connection_lives(serve: Serve) -> None:
    server = serve("echo")
    with server.connect():
        assert "opened" in server.line()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_drains(serve: Serve, number: signal.Signals) -> None:
    server = serve("echo", "--framing", "line", "--verbose", "--drain-timeout", "60")
    with server.connect() as sock:
        begin_line(sock, b"unfinished")
        server.process.send_signal(number)
        assert server.line_with("Draining") == "Draining 1 connection, up to 60 s; Ctrl-C again aborts"
        # In mid-message: the drain waits for the rest of it.
        sock.sendall(b" line\n")
        assert sock.recv(100) == b"unfinished line\n"
        assert sock.recv(100) == b""
    done = server.wait()
    assert done.code == 0
    assert "drained" in done.text
    assert "Stopped, 0 connections aborted" in done.text


def test_a_second_signal_aborts_and_says_so_by_its_exit_code(serve: Serve) -> None:
    server = serve("echo", "--framing", "line")
    with server.connect() as sock:
        begin_line(sock, b"unfinished")
        server.process.send_signal(signal.SIGTERM)
        server.line_with("Draining")
        done = server.stop(signal.SIGTERM)
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    assert done.code == 1
    assert "aborted by the server" in done.text
    assert "Stopped, 1 connection aborted" in done.text


def test_what_the_deadline_of_a_drain_cuts_shows_in_the_exit_code(serve: Serve) -> None:
    server = serve("echo", "--framing", "line", "--drain-timeout", "0.1")
    with server.connect() as sock:
        begin_line(sock, b"unfinished")
        done = server.stop()
    assert done.code == 1
    assert "Draining 1 connection, up to 0.1 s; Ctrl-C again aborts" in done.text
    assert "Stopped, 1 connection aborted" in done.text


def test_one_silent_client_is_cut_from_nothing(serve: Serve) -> None:
    """It has not spoken, or idles: it is half-closed, closed when it does not answer, and nothing was lost."""
    server = serve("echo", "--framing", "line", "--drain-first-message-timeout", "0.2", "--drain-idle-timeout", "0.1",
        "--linger-timeout", "0.2", "--drain-timeout", "60")  # fmt: skip
    with server.connect() as silent, server.connect() as idle:
        idle.sendall(b"x\n")
        assert idle.recv(2) == b"x\n"
        server.line_with("#2 opened")
        done = server.stop()
        assert silent.recv(1) == idle.recv(1) == b""
    assert done.code == 0
    assert "Stopped, 0 connections aborted" in done.text


def test_a_third_signal_ends_what_does_not_come_back(serve: Serve, tmp_path: Path) -> None:
    stuck = tmp_path / "stuck.py"
    stuck.write_text(
        "import threading\n"
        "from fourtuple import Service\n"
        "service = Service('line')\n"
        "@service.reply(threads=True)\n"
        "def stuck(message):\n"
        "    print('stuck', flush=True)\n"
        "    threading.Event().wait()\n"
    )
    server = serve(str(stuck))
    with server.connect() as sock:
        sock.sendall(b"hello\n")
        server.line_with("stuck")
        server.process.send_signal(signal.SIGTERM)
        server.line_with("Draining")
        server.process.send_signal(signal.SIGTERM)
        server.line_with("aborted by the server")
        done = server.stop(signal.SIGTERM)
    assert done.code == 128 + signal.SIGTERM
    assert done.err == (
        "fourtuple: third signal (SIGTERM): ended at once, 1 connection cut, the tear-down not finished\n"
    )


@contextmanager
def stopped(server: Served) -> Iterator[None]:
    """The server's process does not run while the block runs."""
    server.process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, server.process.pid, os.WSTOPPED)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


def test_probes_are_quiet(serve: Serve) -> None:
    server = serve("echo")
    with stopped(server):  # so that it finds the connection and its end at the same time
        server.connect().close()
    assert server.ask(b"hello") == b"hello"
    assert server.line().startswith("#2 opened")


def test_health_checks_of_a_balancer_are_quiet(serve: Serve) -> None:
    local = ProxyHeader(local=True).encode()
    server = serve("echo", "--proxy-protocol", "required")
    for _ in range(3):
        with ExitStack() as stack:
            with stopped(server):
                sock = stack.enter_context(server.connect())
                sock.sendall(local)
                sock.shutdown(socket.SHUT_WR)
            assert sock.recv(1) == b""
    with server.connect() as sock:
        sock.sendall(local + b"hello")
        assert sock.recv(5) == b"hello"
    # The fourth is the first that is told of.
    assert server.line().startswith("#4 opened")


def test_verbose_shows_probes(serve: Serve) -> None:
    server = serve("echo", "--verbose")
    server.connect().close()
    assert server.line().startswith("#1 opened")
    assert server.line().endswith("closed by the peer, a probe")


def test_quiet_says_nothing_of_connections(serve: Serve) -> None:
    server = serve("echo", "--quiet")
    assert server.ask(b"hello") == b"hello"
    assert server.stop().text == DRAINED


def test_the_backlog_asked_for_is_what_the_kernel_holds(serve: Serve) -> None:
    assert serve("echo", "--backlog", "20").backlogs == ["backlog 20"]


def test_a_backlog_that_the_kernel_clamps(serve: Serve) -> None:
    most = int(Path("/proc/sys/net/core/somaxconn").read_text())
    asked = most + 1
    assert serve("echo", "--backlog", str(asked)).backlogs == [
        f"backlog {most}, the kernel clamps {asked} to net.core.somaxconn"
    ]


def test_a_tcp_and_a_unix_address_are_served_together(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server = serve("upper", "--bind", "127.0.0.1:0", "--bind", f"unix:{path}", listeners=2)
    assert server.addresses[1] == f"unix:{path}"
    assert server.ask(b"a\n") == b"A\n"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.sendall(b"b\n")
        assert sock.recv(10) == b"B\n"
    assert f"unix:{path} <- pid {os.getpid()} uid {os.getuid()}" in server.line_with("unix:")


def test_host_and_port(serve: Serve) -> None:
    assert serve("echo", "--host", "127.0.0.1", "--port", "0").address.startswith("127.0.0.1:")


def test_a_thousand_connections_each_with_its_own_four_tuple(serve: Serve) -> None:
    server = serve("echo", "--max-connections", "1000")
    socks = [server.connect() for _ in range(1000)]
    try:
        for sock in socks:
            sock.sendall(b"x")
        wanted = {f"127.0.0.1:{server.port} <- 127.0.0.1:{sock.getsockname()[1]}" for sock in socks}
    finally:
        for sock in socks:
            sock.close()
    assert len(wanted) == 1000
    closed = set()
    while len(closed) < 1000:
        line = server.line()
        if " closed " in line:
            closed.add(line.partition(" closed ")[2].partition(",")[0])
    assert closed == wanted


def test_a_stream_sink(serve: Serve) -> None:
    server = serve("discard")
    with server.connect() as sock:
        sock.sendall(b"once" * 1000)
        sock.sendall(b"twice" * 1000)
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
    assert ", in 9000 octets, out 0 octets, " in server.line_with("closed")


def test_hexdump_shows_octets_of_both_directions_escaped(serve: Serve) -> None:
    server = serve("sixteen", "--hexdump")
    server.ask(b"Hi there,\x1b[2J!!!")
    text = "\n".join(server.line() for _ in range(6))
    assert text.startswith("#1 opened")
    assert (
        "received 16 octets\n  00000000  48 69 20 74 68 65 72 65  2c 1b 5b 32 4a 21 21 21  |Hi there,.[2J!!!|" in text
    )
    assert "sent 16 octets\n  00000000  46 61 72 65 77 65 6c 6c  2c 20 63 6c 69 65 6e 74  |Farewell, client|" in text


def test_a_broken_message_is_named_in_the_last_line(serve: Serve) -> None:
    server = serve("sixteen")
    server.ask(b"short")
    assert server.line_with("closed").endswith(
        "closed by the peer: end of file inside a message: expected 16 octets, received 5"
    )


def test_octets_of_no_message_are_named_in_the_last_line(serve: Serve) -> None:
    """So a peer with another framing is found: this one skips what comes before a start marker."""
    server = serve("echo", "--framing", "mllp")
    server.ask(b"hey")
    assert re.search(
        r", in 0 messages 3 octets, .*, 3 octets belonged to no message, .* closed by the peer$",
        server.line_with("closed"),
    )
    server.ask(b"\x0bhey\x1c\r")
    assert "belonged" not in server.line_with("closed")


def test_a_deadline_is_named_in_the_last_line(serve: Serve) -> None:
    server = serve("sixteen", "--first-message-timeout", "0.1")
    with server.connect() as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b""
    assert server.line_with("closed").endswith("closed by the server: first_message_timeout of 0.1 s passed")


def test_a_handler_that_raises_is_shown_from_the_users_line_on_once(serve: Serve, tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text(
        "from fourtuple import Service\n"
        "service = Service('line')\n"
        "@service.reply\n"
        "def broken(message):\n"
        "    raise RuntimeError(message.decode())\n"
    )
    server = serve(str(broken))
    server.ask(b"one\x1b\n")
    server.ask(b"two\n")
    err = server.stop().told
    assert len(err) == 6
    assert err[0].endswith(r"handler broken.broken raised RuntimeError: one\x1b")
    # Indented: what a peer puts into a text passes for no line of the log.
    assert err[1] == "  Traceback (most recent call last):"
    assert err[2] == f'    File "{broken}", line 5, in broken'
    assert err[4] == r"  RuntimeError: one\x1b"
    assert err[5].endswith("handler broken.broken raised RuntimeError: two")


def test_a_reply_that_cannot_be_sent_takes_one_line(serve: Serve, tmp_path: Path) -> None:
    texts = tmp_path / "texts.py"
    texts.write_text(
        "from fourtuple import Service\n"
        "service = Service('line')\n"
        "@service.reply\n"
        "def texts(message, connection):\n"
        "    if message == b'own':\n"
        "        connection.send('text')\n"
        "    return message.decode()\n"
    )
    server = serve(str(texts))
    server.ask(b"one\n")
    server.ask(b"own\n")
    err = server.stop().told
    assert "handler texts.texts: its message cannot be sent: line takes octets" in err[0]
    assert err[0].endswith("not str; encode it first, as in text.encode()")
    assert "handler texts.texts raised EncodeError: line takes octets" in err[1]  # its own call: the place is shown
    assert err[3] == f'    File "{texts}", line 6, in texts'


def test_a_peer_forges_no_line(serve: Serve, tmp_path: Path) -> None:
    quoting = tmp_path / "quoting.py"
    quoting.write_text(
        "from fourtuple import Service\n"
        "service = Service('u32')\n"
        "@service.reply\n"
        "def quoting(message):\n"
        "    error = ValueError('cannot read ' + message.decode())\n"
        "    error.add_note('it came from ' + message.decode())\n"
        "    raise error\n"
    )
    server = serve(str(quoting))
    message = f"{HOSTILE}\n#7 opened 192.0.2.1:1 <- 192.0.2.2:2\n{'x' * 500_000}".encode("utf-8", "replace")
    server.ask(len(message).to_bytes(4, "big") + message)
    done = server.stop()
    lines = (done.out.decode() + done.err).split("\n")
    assert lines.pop() == ""
    assert all(line.isprintable() and len(line) < 3200 for line in lines)
    assert [line[:10] for line in lines if line.startswith("#7")] == []
    assert sum(FORGED in line for line in lines) >= 3  # the handler's error, its text below the frames, the note


@pytest.mark.parametrize("how", ["nested", "portable"])
def test_readiness_is_chosen_by_a_flag(serve: Serve, how: str) -> None:
    assert serve("echo", "--readiness", how).ask(b"hello") == b"hello"


def test_uvloop_is_chosen_by_a_flag(serve: Serve, require_package: Any) -> None:
    require_package("uvloop")
    server = serve("echo", "--loop", "uvloop")
    assert server.ask(b"hello") == b"hello"
    assert server.stop().code == 0


WHICH_LOOP = """
import asyncio
from fourtuple import Service

service = Service("line")

@service.reply
async def which(message: bytes) -> bytes:
    return type(asyncio.get_running_loop()).__module__.encode()
"""


@pytest.mark.parametrize("flags", [(), ("--loop", "auto"), ("--loop", "asyncio")], ids=str)
def test_the_loop_that_auto_takes_is_the_one_that_the_version_names(
    serve: Serve, run: Run, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    """uvloop where it is installed, otherwise asyncio's."""
    (tmp_path / "which.py").write_text(WHICH_LOOP)
    loop = serve("which.py", *flags).ask(b"?\n").decode().strip()
    named = re.search(r", loop (\w+)", run("--version").text)
    assert named is not None
    assert loop.partition(".")[0] == ("asyncio" if "asyncio" in flags else named[1])
    assert named[1] == ("uvloop" if find_spec("uvloop") else "asyncio")


def test_the_reader_of_the_lines_may_leave(serve: Serve) -> None:
    server = serve("echo")
    assert server.process.stdout is not None
    server.process.stdout.close()
    assert server.ask(b"hello") == b"hello"
    server.process.send_signal(signal.SIGTERM)
    assert server.process.stderr is not None
    assert server.process.stderr.read() == ""
    assert server.process.wait() == 0


# -- a start that fails -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve", "echo"),
        ("serve", "echo", "--workers", "2"),
        ("relay", "127.0.0.1:0", "unix:/x"),
        ("bench", "unix:/x"),
    ],
)
def test_too_few_descriptors_to_begin_with(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        ["sh", "-c", 'ulimit -n 16; exec "$@"', "sh", *FOURTUPLE, *arguments],
        capture_output=True, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    why = "fourtuple: the limit on descriptors (ulimit -n) is 16, at least 24 are needed\n"
    assert (done.returncode, done.stdout, done.stderr) == (3, "", why)


@pytest.mark.parametrize("workers", [(), ("--workers", "2")])
def test_an_address_that_is_given_twice(run: Run, workers: tuple[str, ...]) -> None:
    done = run("serve", "echo", "--bind", "127.0.0.1:7", "--bind", "127.0.0.1:7", *workers)
    assert (done.code, done.told) == (2, ["fourtuple: 127.0.0.1:7 is given twice"])


def test_an_address_in_use_and_the_process_using_it(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        done = run("serve", "echo", "--port", str(port))
    who = f"by pid {os.getpid()}, "
    assert done.code == 3
    assert done.err.startswith(f"fourtuple: cannot listen at 127.0.0.1:{port}: address already in use ({who}")
    assert done.err.count("\n") == 1


def test_an_address_that_is_not_here(run: Run) -> None:
    done = run("serve", "echo", "--bind", "192.0.2.1:9999")
    assert done.code == 3
    assert done.err == "fourtuple: cannot listen at 192.0.2.1:9999: this machine does not have that address\n"


def test_a_server_whose_listeners_have_failed_was_not_asked_to_stop(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "deaf.py").write_text(
        "import socket\n"
        "from fourtuple import Service\n"
        "service = Service('line')\n"
        "@service.reply\n"
        "def reply(message, connection):\n"
        "    connection.server.listeners[0]._socket.shutdown(socket.SHUT_RDWR)\n"
        "    return message\n"
    )
    server = serve("deaf.py")
    assert server.ask(b"x\n") == b"x\n"
    done = server.wait()
    assert done.code == 1
    assert "accept failed at " in done.err
    assert done.err.endswith("fourtuple: no listener is left, the server has stopped\n")


def test_a_set_up_that_raises(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "from fourtuple import Service\n"
        "service = Service('line')\n"
        "service.reply(bytes.upper)\n"
        "@service.lifespan\n"
        "async def set_up():\n"
        "    raise RuntimeError('no database')\n"
        "    yield\n"
    )
    done = run("serve", "broken.py", "--port", "0")
    assert done.code == 3
    assert done.text == ""
    assert done.err.splitlines()[0] == "fourtuple: the service's set-up failed"
    assert done.err.splitlines()[-1] == "RuntimeError: no database"
    assert "src/fourtuple" not in done.err


def test_a_tear_down_that_raises(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "from fourtuple import Service\n"
        "service = Service('line')\n"
        "service.reply(bytes.upper)\n"
        "@service.lifespan\n"
        "async def set_up():\n"
        "    yield\n"
        "    raise RuntimeError('no database')\n"
    )
    done = serve("broken.py").stop()
    assert done.code == 1
    assert done.err.splitlines()[0] == "fourtuple: the service's tear-down failed"
    assert done.err.splitlines()[-1] == "RuntimeError: no database"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ([], "Give either a TARGET or --exec CMD, or declare services in fourtuple.toml: [services.NAME]."),
        (["echo", "--exec", "cat"], "Give either a TARGET or --exec CMD."),
        (["echo", "--bind", ":1", "--port", "2"], "Give either --bind or --host and --port, not both."),
        (["echo", "--bind", "::1:9999"], "an IPv6 address needs brackets"),
        (["echo", "--framing", "fixd:16"], "there is no 'fixd'"),
        (["echo", "--backlog", "many"], "cannot read 'many' as a whole number of connections"),
        (["echo", "--nodelay", "maybe"], "cannot read 'maybe' as on or off"),
        (["--exec", "cat", "--framing", "line"], "--framing does not work with --exec"),
        (["--exec", "nobody-has-this-program"], "there is no program 'nobody-has-this-program'"),
        (["--exec", "'"], "No closing quotation"),
        (["--exec", ""], "expected a command, got an empty text"),
        (["--exec", " "], "--exec: a command is needed"),
        (["echo", "--low-water", "1m"], "expected less than high_water"),
    ],
)
def test_arguments_that_cannot_work_are_refused(run: Run, arguments: list[str], what: str) -> None:
    done = run("serve", *arguments)
    assert done.code == 2
    assert what in " ".join(done.err.split())
    assert "Traceback" not in done.err


def test_the_help_has_every_option_with_its_default_and_reason(run: Run) -> None:
    text = " ".join(run("serve", "--help").text.split())
    assert "--max-batch MESSAGES the most messages of one connection that are handled" in text
    assert "[512: about half a millisecond of handlers" in text
    assert "--nodelay on|off TCP_NODELAY: send small messages at once [on: Nagle's" in text
    assert "--idle-timeout SECONDS|none" in text
    for table in ("limits", "deadlines", "sockets"):
        assert f"(in fourtuple.toml: [{table}])" in text
