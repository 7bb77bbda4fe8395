"""`fourtuple serve --exec`: a program that knows no sockets has one as its standard input and output."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.conftest import Run, Serve, Served


def children(served: Served) -> list[int]:
    found = []
    for task in Path(f"/proc/{served.process.pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return found


def test_cat_is_an_echo(serve: Serve) -> None:
    octets = os.urandom(1_000_000)
    server = serve("--exec", "cat")
    with server.connect() as sock:
        sock.sendall(b"at once")
        assert sock.recv(100) == b"at once"  # while the connection lives
    assert server.ask(octets[:65536]) == octets[:65536]


def test_sort_answers_after_the_half_close(serve: Serve) -> None:
    assert serve("--exec", "sort").ask(b"c\nb\na\n") == b"a\nb\nc\n"


def test_a_shell_reads_a_program(serve: Serve) -> None:
    assert serve("--exec", "sh").ask(b"echo $((6 * 7))\nexit\n") == b"42\n"


def test_words_are_split_like_a_shell_does(serve: Serve) -> None:
    assert serve("--exec", """sh -c 'read line; echo "got $line"'""").ask(b"it\n") == b"got it\n"


def test_the_socket_is_blocking(serve: Serve) -> None:
    # dd gives up at the first EAGAIN; a non-blocking socket has one right after the first octet.
    server = serve("--exec", "dd bs=1 count=10 status=none")
    with server.connect() as sock:
        for octet in b"0123456789":
            sock.sendall(bytes([octet]))
            assert sock.recv(1) == bytes([octet])
        assert sock.recv(1) == b""


def test_the_environment_of_tcpserver(serve: Serve) -> None:
    # We may be served ourselves: what our own environment says of another connection is not passed on.
    server = serve("--exec", "env", TCPREMOTEHOST="stale", TCPREMOTEIP="stale", KEPT="kept")
    with server.connect() as sock:
        own = sock.getsockname()[1]
        text = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
    variables = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    assert {name: value for name, value in variables.items() if name.startswith(("TCP", "PROTO"))} == {
        "PROTO": "TCP",
        "TCPLOCALIP": "127.0.0.1",
        "TCPLOCALPORT": str(server.port),
        "TCPREMOTEIP": "127.0.0.1",
        "TCPREMOTEPORT": str(own),
    }
    assert variables["KEPT"] == "kept"


def test_the_environment_over_ipv6(serve: Serve) -> None:
    if not Path("/proc/net/if_inet6").exists() or not Path("/proc/net/if_inet6").read_text():
        pytest.skip("this machine has no IPv6")
    server = serve("--exec", "env", "--bind", "[::1]:0")
    with socket.create_connection(("::1", server.port)) as sock:
        text = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
    assert "PROTO=TCP6\n" in text
    assert "TCP6REMOTEIP=::1\n" in text


def test_the_environment_over_a_unix_socket(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    serve("--exec", "env", "--bind", f"unix:{path}")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        text = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
    assert f"PROTO=UNIX\nUNIXLOCALPATH={path}\nUNIXREMOTEPID={os.getpid()}\nUNIXREMOTEEUID={os.getuid()}\n" in text


def test_lines_and_no_zombie(serve: Serve) -> None:
    server = serve("--exec", "cat")
    for number in range(1, 4):
        assert server.ask(b"x") == b"x"
        assert re.fullmatch(rf"#{number} opened .*", server.line())
        assert re.fullmatch(
            rf"#{number} closed .*, in 1 octet, out 1 octet, \d\.\d+ s, ended with its program, "
            "which exited with 0",
            server.line(),
        )
        assert children(server) == []
    assert server.stop().code == 0


def test_a_program_that_ends_by_itself_ends_the_connection(serve: Serve) -> None:
    server = serve("--exec", "echo goodbye")
    with server.connect() as sock:
        assert sock.recv(100) == b"goodbye\n"
        assert sock.recv(100) == b""


def test_the_end_of_the_command_is_the_end_of_the_connection(serve: Serve, tmp_path: Path) -> None:
    # What it leaves in the background has the socket, too, and can do nothing with it any more.
    told = tmp_path / "told"
    behind = (
        f'sleep 0.01; while [ ! -e {tmp_path}/go ]; do sleep 0.01; done; echo late || echo "$?" >{told}; exec sleep 99'
    )
    server = serve("--exec", f"sh -c '(trap : PIPE; {behind}) & echo $!'")
    with server.connect() as sock:
        number = int(sock.recv(100))
        assert sock.recv(100) == b""
        (tmp_path / "go").touch()
        while not told.exists() or not told.read_text():
            pass
        os.kill(number, signal.SIGKILL)
        sock.setblocking(False)
        assert sock.recv(100) == b""
    assert "which exited with 0" in server.line_with("#1 closed")
    assert server.stop().code == 0


def test_a_program_that_leaves_its_input_unread_loses_nothing_of_its_reply(serve: Serve, tmp_path: Path) -> None:
    # It fits into the socket's buffer, and the program is gone before the peer has read: with the RST that the unread
    # input would be answered with, all that is still there would be lost.
    ended = tmp_path / "ended"
    server = serve("--exec", f"sh -c 'head -c 100000 /dev/zero; touch {ended}'", "--send-buffer", "1m")
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        sock.connect(("127.0.0.1", server.port))
        sock.sendall(b"a request that nobody reads")
        while not ended.exists() or children(server):
            pass
        sock.sendall(b"and more of it")  # drained, too
        assert len(b"".join(iter(lambda: sock.recv(65536), b""))) == 100_000
    assert ", in 41 octets, out 100000 octets, " in server.line_with("#1 closed")  # each is counted once
    assert server.stop().code == 0


def test_unread_input_before_a_half_close_is_counted_once(serve: Serve) -> None:
    server = serve("--exec", "sh -c 'read line; head -c 3 >/dev/null'")
    assert server.ask(b"4\n123unread") == b""
    assert ", in 11 octets, out 0 octets, " in server.line_with("#1 closed")
    assert server.stop().code == 0


def test_more_than_the_bound_wait_and_are_served(serve: Serve) -> None:
    server = serve("--exec", "cat", "--max-threads", "2", "--verbose")
    socks = [server.connect() for _ in range(5)]
    try:
        for sock in socks[:2]:
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
        server.line_with("accept pauses")
        assert len(children(server)) == 2
        for sock in socks[2:]:
            sock.sendall(b"y")  # the kernel holds it
        for sock in socks:
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(10) in (b"y", b"")
            assert len(children(server)) <= 2
    finally:
        for sock in socks:
            sock.close()
    server.line_with("#5 closed")
    done = server.stop()
    assert (done.code, done.err) == (0, "")


def test_a_drain_waits_for_programs(serve: Serve) -> None:
    server = serve("--exec", "cat", "--verbose")
    with server.connect() as sock:
        sock.sendall(b"before")
        assert sock.recv(100) == b"before"
        server.process.send_signal(signal.SIGTERM)
        server.line_with("Draining 1 connection")
        sock.sendall(b"after")
        assert sock.recv(100) == b"after"
    assert server.wait().code == 0


def test_the_drain_deadline_terminates_a_program_and_its_children(serve: Serve) -> None:
    server = serve("--exec", "sh -c 'sleep 1000 & echo $!; wait'", "--drain-timeout", "4")
    with server.connect() as sock:
        grandchild = int(sock.recv(100))
        done = server.stop()
        assert sock.recv(100) == b""
    assert done.code == 1
    assert "was ended by SIGTERM" in done.err
    while not _ended(grandchild):
        pass


def _ended(pid: int) -> bool:
    """A zombie whose new parent has not looked yet, or gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def test_a_program_that_ignores_sigterm_is_killed(serve: Serve) -> None:
    server = serve("--exec", """sh -c 'trap "" TERM; echo ready; while :; do read line; done'""")
    with server.connect() as sock:
        assert sock.recv(100) == b"ready\n"
        server.process.send_signal(signal.SIGTERM)
        server.line_with("Draining")
        done = server.stop()  # the second signal: an abort takes longer than that of a short drain
    assert done.code == 1
    assert "was ended by SIGKILL" in done.err
    assert "Stopped, 1 connection aborted" in done.text


def test_a_program_that_fails_is_named(serve: Serve) -> None:
    server = serve("--exec", "sh -c 'echo trouble >&2; exit 7'")
    assert server.ask(b"") == b""
    server.line_with("closed")
    done = server.stop()
    assert done.code == 0
    assert "trouble\n" in done.err  # a program's standard error is the server's
    assert re.search(r"#1 127\.0\.0\.1:\d+ <- .*: sh -c .* exited with 7", done.err)


def test_a_peer_that_goes_is_no_failure_of_the_program(serve: Serve) -> None:
    server = serve("--exec", "sh -c 'kill -PIPE $$'")
    assert server.ask(b"") == b""
    server.line_with("closed")
    assert server.stop().err == ""


def test_a_program_that_vanished(serve: Serve, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho here\n")
    program.chmod(0o755)
    server = serve("--exec", str(program))
    assert server.ask(b"") == b"here\n"
    program.unlink()
    assert server.ask(b"") == b""
    assert "closed by the server: handler error" in server.line_with("#2 closed")
    assert "FileNotFoundError" in server.stop().err


def test_a_command_that_does_not_exist(run: Run) -> None:
    assert run("serve", "--exec", "/nobody/has/this").code == 2


@pytest.mark.parametrize("choice", ["auto", "off"])
def test_the_third_signal_kills_a_program_that_ignores_it(serve: Serve, choice: str) -> None:
    server = serve("--exec", """sh -c 'trap "" TERM INT; echo hello; sleep 600; sleep 600'""", FOURTUPLE_C=choice)
    with server.connect() as sock:
        assert sock.recv(6) == b"hello\n"
        server.line_with("opened")
        server.process.send_signal(signal.SIGTERM)
        server.line_with("Draining")
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGINT)
        done = server.stop()
        assert done.code in (128 + signal.SIGTERM, 128 + signal.SIGINT)
        try:
            assert sock.recv(1) == b"", "the program and its children had the socket"
        except ConnectionResetError:
            pass


@pytest.mark.parametrize("flags", [(), ("--tls-dev",), ("--hexdump",)], ids=str)
def test_the_octets_of_a_program_are_counted_each_way_and_no_messages(
    serve: Serve, run: Run, require_program: Callable[[str], str], flags: tuple[str, ...]
) -> None:
    """With TLS or a hex dump the octets pass through the server, in pieces that are not messages."""
    tls = "--tls-dev" in flags
    if tls:
        require_program("openssl")
    server = serve("--exec", "sort", *flags)
    done = run(
        "connect", server.address, *(("--tls-verify", "none") if tls else ()), "-f", "raw", "-s", "pear\napple\n"
    )
    assert done.out == b"apple\npear\n\n"[: len(done.out)]
    line = server.line_with("#1 closed")
    assert "message" not in line
    if tls:
        assert re.search(r", in \d+ octets of TLS, out \d+ octets of TLS, ", line)
    else:
        assert ", in 11 octets, out 11 octets, " in line
