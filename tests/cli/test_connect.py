"""`fourtuple connect`: a filter in a pipe, messages in a script, a conversation on a terminal, honest failures."""

from __future__ import annotations

import os
import pty
import re
import select
import socket
import subprocess
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.conftest import ENVIRONMENT, FOURTUPLE, Run, Serve
from fourtuple.net.sockets import reset_on_close


@contextmanager
def peer(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """Somebody who knows nothing of us listens, and talks to the one who comes."""
    with socket.create_server(("127.0.0.1", 0)) as passive:
        passive.settimeout(20)  # when nobody comes the test has failed already, and is not to hang

        def serve() -> None:
            sock, _ = passive.accept()
            with sock:
                sock.settimeout(20)
                talk(sock)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{passive.getsockname()[1]}"
        finally:
            thread.join()


# -- in a script ------------------------------------------------------------------------------------------


def test_the_first_example(run: Run, serve: Serve) -> None:
    server = serve("sixteen")
    done = run("connect", server.address, "--framing", "fixed:16", "--send", "Hi there, server", input=None)
    assert (done.code, done.out, done.err) == (0, b"Farewell, client\n", "")


def test_several_messages_and_escapes(run: Run, serve: Serve) -> None:
    server = serve("echo", "--framing", "u16")
    done = run("connect", server.address, "-f", "u16", "-s", r"a\x00\n", "-s", "", "-s", "ü\\\\")
    assert (done.code, done.out) == (0, b"a\0\n\n\n" + "ü\\\n".encode())


def test_hexadecimal(run: Run, serve: Serve) -> None:
    server = serve("echo", "--framing", "fixed:3")
    done = run("connect", server.address, "-f", "fixed:3", "--hex", "--send", "00 ff 0a", "--send", "414243")
    assert (done.code, done.out) == (0, b"00 ff 0a\n41 42 43\n")


def test_what_stands_before_a_line_that_cannot_be_sent_is_sent_and_answered(run: Run, serve: Serve) -> None:
    server = serve("echo", "--framing", "fixed:2")
    done = run("connect", server.address, "-f", "fixed:2", "--hex", input=b"0001\n0002\nzz\n0003\n")
    assert (done.code, done.out) == (2, b"00 01\n00 02\n")
    assert "cannot read 'zz' as octets in hexadecimal" in done.err
    done = run("connect", server.address, "-f", "fixed:2", input=b"ab\ncd\nlong\nef\n")
    assert (done.code, done.out) == (2, b"ab\ncd\n")
    assert "fixed:2 takes messages of 2 octets, this one has 4" in done.err
    assert done.err.count("\n") == 1


def test_a_peer_that_answers_before_the_half_close_only(run: Run) -> None:
    def talk(sock: socket.socket) -> None:
        assert sock.recv(100) == b"question\n"
        # Some take the end of file for the end of everything: the reply must have come before ours.
        assert select.select([sock], [], [], 0)[0] == []
        sock.sendall(b"answer\n")
        assert sock.recv(100) == b""

    with peer(talk) as address:
        assert run("connect", address, "--send", "question").text == "answer\n"


def test_a_service_that_never_answers(run: Run, serve: Serve) -> None:
    done = run("connect", serve("discard").address, "--send", "hello")
    assert (done.code, done.text) == (1, "")
    assert "0 of 1 replies came, then end of file\nNo octet came: perhaps the peer speaks TLS there" in done.err


def test_some_replies_are_not_all(run: Run) -> None:
    def talk(sock: socket.socket) -> None:
        sock.recv(100)
        sock.sendall(b"one\n")

    with peer(talk) as address:
        done = run("connect", address, "--send", "a", "--send", "b", "--send", "c")
    assert (done.code, done.text) == (1, "one\n")
    assert done.err.endswith("1 of 3 replies came, then end of file\n")


def test_octets_that_are_cut_nowhere_are_one_reply_to_several(run: Run) -> None:
    def talk(sock: socket.socket) -> None:
        while sock.recv(100):
            continue
        sock.sendall(b"one and two")

    with peer(talk) as address:
        assert run("connect", address, "-f", "raw", "--send", "a", "--send", "b").code == 0


@pytest.mark.parametrize(
    ("framing", "octets", "text"),
    [
        ("line", b"\x15\x03\x03\0\x02\x02\x46", "What came looks like TLS: try --tls."),
        ("u32", b"\x15\x03\x03\0\x02\x02\x46", "What came looks like TLS: try --tls."),
        ("u32", b"220 ready\r\n", "What came looks like text, not like u32: try --framing line."),
        ("fixed:400", b"220 ready\r\n", "What came looks like text, not like fixed:400: try --framing line."),
        ("line", b"\0\0\0\x05\xff\xfe\x01", "What came looks like no text: try another --framing than line."),
    ],
)
def test_what_the_octets_look_like(run: Run, framing: str, octets: bytes, text: str) -> None:
    def talk(sock: socket.socket) -> None:
        sock.recv(1000)
        sock.sendall(octets)

    message = "x" * 400 if framing.startswith("fixed") else "x"
    with peer(talk) as address:
        done = run("connect", address, "-f", framing, "--send", message)
    assert done.code == 1
    assert text in done.err


def test_plain_octets_at_a_port_of_tls(run: Run, serve: Serve) -> None:
    done = run("connect", serve("upper", "--tls-dev").address, "--send", "hello")
    assert done.code == 1
    assert "0 of 1 replies came" in done.err
    assert "(--tls)" in done.err


@pytest.mark.parametrize("service", ["echo", "upper", "daytime"])
def test_tls_at_a_plain_port_is_told_at_once(run: Run, serve: Serve, service: str) -> None:
    done = run("connect", serve(service).address, "--tls", "--tls-verify", "none", "--send", "hello")
    assert done.code == 3
    # Behind it stands the repr of octets that begin with our own random ClientHello: its quotes are either.
    assert re.search(r"TLS was expected, the peer began with b['\"]", done.err), done.err


def test_a_service_that_says_more_after_the_half_close(run: Run) -> None:
    def talk(sock: socket.socket) -> None:
        sock.recv(100)
        sock.sendall(b"one\n")
        assert sock.recv(100) == b""
        sock.sendall(b"two\n")

    with peer(talk) as address:
        assert run("connect", address, "--send", "question").text == "one\ntwo\n"


def test_a_peer_that_answers_and_stays_is_left_at_the_timeout(run: Run) -> None:
    gone = threading.Event()

    def talk(sock: socket.socket) -> None:
        sock.sendall(b"answer\n")
        gone.wait()

    with peer(talk) as address:
        done = run("connect", address, "--send", "question", "--timeout", "2")
        gone.set()
    assert (done.code, done.text, done.err) == (0, "answer\n", "")


def test_a_reply_that_does_not_come(run: Run) -> None:
    gone = threading.Event()
    with peer(lambda _sock: bool(gone.wait())) as address:  # type: ignore[arg-type, return-value]
        done = run("connect", address, "--send", "question", "--timeout", "1")
        gone.set()
    assert done.code == 4
    assert "0 of 1 replies came, and then none within 1 s\nNo octet came" in done.err


def test_a_message_that_cannot_be_sent_is_found_before_anything_is_opened(run: Run) -> None:
    for arguments in (["-f", "fixed:16", "-s", "short"], ["-s", r"\q"], ["--hex", "-s", "zz"]):
        done = run("connect", "127.0.0.1:1", *arguments)
        assert done.code == 2
        assert "Invalid value for '--send'" in done.err


def test_verbose_numbers_are_on_standard_error(run: Run, serve: Serve) -> None:
    server = serve("sixteen")
    done = run("connect", server.address, "-f", "fixed:16", "-s", "Hi there, server", "--verbose")
    assert done.out == b"Farewell, client\n"
    first, last = done.err.splitlines()
    assert first.startswith("connected: 127.0.0.1:")
    assert first.endswith(f" <- {server.address}")
    assert "in 1 message 16 octets, out 1 message 16 octets, rtt " in last


def test_a_local_address(run: Run, serve: Serve) -> None:
    server = serve("sixteen")
    done = run("connect", server.address, "--local", "127.0.0.2", "-f", "fixed:16", "-s", "x" * 16, "-v")
    assert "connected: 127.0.0.2:" in done.err


def test_over_a_unix_socket(run: Run, serve: Serve, tmp_path: Path) -> None:
    serve("upper", "--bind", f"unix:{tmp_path}/socket")
    assert run("connect", f"unix:{tmp_path}/socket", "-s", "hello", "-v").out == b"HELLO\n"


# -- in a pipe --------------------------------------------------------------------------------------------


def test_raw_octets_pass_unchanged(run: Run, serve: Serve) -> None:
    octets = os.urandom(3_000_000)
    done = run("connect", serve("echo").address, "--framing", "raw", input=octets)
    assert done.code == 0
    assert done.out == octets


def test_lines(run: Run, serve: Serve) -> None:
    text = b"".join(b"%d\n" % number for number in range(20_000)) + b"and one without an end"
    done = run("connect", serve("echo", "--framing", "line").address, input=text)
    assert done.code == 0
    assert done.out == text + b"\n"


def test_a_regular_file_and_an_empty_one(run: Run, serve: Serve, tmp_path: Path) -> None:
    server = serve("upper")
    for text in (b"from a file\n", b""):
        (tmp_path / "file").write_bytes(text)
        with open(tmp_path / "file", "rb") as file:
            done = subprocess.run(
                [*FOURTUPLE, "connect", server.address], stdin=file, capture_output=True, check=True, env=ENVIRONMENT
            )
        assert done.stdout == text.upper()


def test_eof_is_one_message(run: Run, serve: Serve) -> None:
    server = serve("upper", "--framing", "eof")
    assert run("connect", server.address, "-f", "eof", input=b"all\nof it").out == b"ALL\nOF IT"


def test_hexadecimal_lines(run: Run, serve: Serve) -> None:
    server = serve("echo", "--framing", "u8")
    assert run("connect", server.address, "-f", "u8", "--hex", input=b"00ff\n\n0a 0a\n").text == "00 ff\n\n0a 0a\n"


def test_connect_reads_and_writes_at_once(serve: Serve) -> None:
    server = serve("upper")
    with subprocess.Popen(
        [*FOURTUPLE, "connect", server.address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for text in (b"one\n", b"two\n"):
            process.stdin.write(text)
            process.stdin.flush()
            assert process.stdout.readline() == text.upper()
        process.stdin.close()
        assert process.stdout.read() == b""
        assert process.wait() == 0


def test_a_peer_that_writes_everything_before_reading_does_not_deadlock(serve: Serve) -> None:
    # More than all buffers on the way hold: with a filter that waits for its output it would stand still.
    def talk(sock: socket.socket) -> None:
        received = 0
        sock.sendall(b"x" * 8_000_000)
        while octets := sock.recv(65536):
            received += len(octets)
        sock.sendall(b"%d" % received)

    with (
        peer(talk) as address,
        subprocess.Popen(
            [*FOURTUPLE, "connect", address, "-f", "raw"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=ENVIRONMENT,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        writer = threading.Thread(target=_write_and_close, args=(process.stdin, b"y" * 1_000_000))
        writer.start()
        out = process.stdout.read()
        writer.join()
        assert out == b"x" * 8_000_000 + b"1000000"
        assert process.wait() == 0


def _write_and_close(pipe: object, octets: bytes) -> None:
    with pipe as file:  # type: ignore[attr-defined]
        file.write(octets)


def test_the_replies_after_the_end_of_the_input_are_still_printed(run: Run) -> None:
    def talk(sock: socket.socket) -> None:
        text = b"".join(iter(lambda: sock.recv(65536), b""))
        sock.sendall(text[::-1] + b"\n")

    with peer(talk) as address:
        assert run("connect", address, input=b"abc\n").out == b"\ncba\n"


def test_a_peer_that_speaks_and_closes_ends_the_command_though_input_is_open(serve: Serve) -> None:
    server = serve("daytime")
    with subprocess.Popen(
        [*FOURTUPLE, "connect", server.address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read().count(b"\n") == 1
        assert process.wait() == 0


def test_the_reader_of_the_output_may_go(serve: Serve) -> None:
    server = serve("chargen")
    # Our input stays open: at its end the command half-closes, and chargen may end before the output is gone.
    with subprocess.Popen(
        [*FOURTUPLE, "connect", server.address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert len(process.stdout.readline()) == 73
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


# -- on a terminal ----------------------------------------------------------------------------------------


@contextmanager
def on_terminal(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The command with a terminal as its standard input and output, and our end of it."""
    ours, theirs = pty.openpty()
    try:
        settings = termios.tcgetattr(theirs)
        settings[1] &= ~termios.OPOST  # \n stays \n
        settings[3] &= ~termios.ECHO
        termios.tcsetattr(theirs, termios.TCSANOW, settings)
        with subprocess.Popen(
            [*FOURTUPLE, "connect", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            start_new_session=True,
        ) as process:
            yield process, ours
    finally:
        os.close(ours)
        os.close(theirs)


def read_until(terminal: int, end: bytes) -> bytes:
    text = b""
    while not text.endswith(end):
        text += os.read(terminal, 4096)
    return text


def test_a_conversation_on_a_terminal(serve: Serve) -> None:
    server = serve("upper")
    with on_terminal(server.address) as (process, terminal):
        os.write(terminal, b"hello\n")
        assert read_until(terminal, b"\n") == b"HELLO\n"
        os.write(terminal, "né\n".encode())
        assert read_until(terminal, b"\n") == b"N\xc3\xa9\n"
        os.write(terminal, b"\x04")  # Ctrl-D
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_a_terminal_is_not_at_the_peers_mercy() -> None:
    def talk(sock: socket.socket) -> None:
        sock.sendall(b"\x1b[2J\x07 \xff \xc3\xa9 \ttab\n")
        sock.recv(1)

    for framing, end in (("line", b"\n"), ("raw", b"\n")):
        with peer(talk) as address, on_terminal(address, "-f", framing) as (_, terminal):
            assert read_until(terminal, end) == b"\\x1b[2J\\x07 \\xff \xc3\xa9 \ttab\n"
            os.write(terminal, b"\x04")


def test_a_message_that_cannot_be_sent_is_said_and_the_conversation_goes_on(serve: Serve) -> None:
    server = serve("sixteen")
    with on_terminal(server.address, "-f", "fixed:16") as (process, terminal):
        assert process.stderr is not None
        os.write(terminal, b"short\n")
        assert process.stderr.readline().startswith(b"not sent: fixed:16 takes messages of 16 octets")
        os.write(terminal, b"Hi there, server\n")
        assert read_until(terminal, b"\n") == b"Farewell, client\n"
        os.write(terminal, b"\x04")
        assert process.wait() == 0


def test_the_peers_end_ends_it(serve: Serve) -> None:
    server = serve("daytime")
    with on_terminal(server.address) as (process, terminal):
        read_until(terminal, b"\n")
        assert process.wait() == 0


# -- failing ----------------------------------------------------------------------------------------------


def test_refused(run: Run) -> None:
    with socket.socket() as bound:  # nobody else's, and not passive
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        done = run("connect", address)
    assert (done.code, done.out) == (3, b"")
    assert done.err.startswith(f"fourtuple: cannot connect to {address}: refused\nThe host is up")


def test_unanswered(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as passive, socket.socket() as only:
        only.connect(passive.getsockname())  # the queue is full now, and further SYNs are dropped
        address = f"127.0.0.1:{passive.getsockname()[1]}"
        done = run("connect", address, "--timeout", "0.2")
    assert done.code == 4
    assert done.err.startswith(
        f"fourtuple: cannot connect to {address}: no answer in time (waited 0.2 s)\nNothing answered the SYN"
    )


def test_reset_at_once(run: Run) -> None:
    with peer(reset_on_close) as address:
        done = run("connect", address, "--timeout", "5")
    assert done.code == 3
    assert done.err.startswith(f"fourtuple: cannot connect to {address}: reset at once")
    assert "The handshake succeeded and the peer then sent RST" in done.err


def test_reset_in_conversation(run: Run) -> None:
    def talk(sock: socket.socket) -> None:
        assert sock.recv(100) == b"question\n"
        sock.sendall(b"half an answer\n")
        sock.recv(100)
        reset_on_close(sock)

    with peer(talk) as address:
        done = run("connect", address, "--send", "question")
    assert (done.code, done.text) == (1, "half an answer\n")
    assert done.err.endswith("reset by the peer\n")


def test_a_peer_that_breaks_the_framing(run: Run) -> None:
    with peer(lambda sock: sock.sendall(b"0123456789")) as address:
        done = run("connect", address, "--framing", "fixed:8")
    assert (done.code, done.text) == (1, "01234567\n")
    assert "end of file inside a message: expected 8 octets, received 2" in done.err


def test_text_without_a_line_ending_is_not_lost(run: Run) -> None:
    with peer(lambda sock: sock.sendall(b"one\ntwo")) as address:
        done = run("connect", address)
    assert done.text == "one\ntwo\n"
    assert done.code in (0, 1)


def test_an_unknown_name(run: Run) -> None:
    done = run("connect", "nobody.invalid:9999")
    assert done.code == 3
    assert "name not found" in done.err


@pytest.mark.parametrize("address", ["*:9999", "::1:9999", "localhost", "unix:", "localhost:99999"])
def test_an_address_that_cannot_be_read(run: Run, address: str) -> None:
    done = run("connect", address)
    assert done.code == 2
    assert "Traceback" not in done.err


def test_a_unix_socket_that_is_not_there(run: Run, tmp_path: Path) -> None:
    done = run("connect", f"unix:{tmp_path}/nothing")
    assert done.code == 3
    assert "no such socket" in done.err


def test_a_reply_that_does_not_map_is_shown_in_its_place(run: Run) -> None:
    def talk(sock: socket.socket) -> None:
        sock.sendall(b'{"a":1}\nnonsense\n{"b":2}\n')

    with peer(talk) as address:
        done = run("connect", address, "--framing", "json-lines", input=b"")
    assert done.code == 0, done.err
    assert done.text.splitlines() == [
        "{'a': 1}",
        "(message of 8 octets does not map: Expecting value: line 1 column 1 (char 0)) b'nonsense'",
        "{'b': 2}",
    ]


def test_output_that_is_closed_cannot_be_written(serve: Serve) -> None:
    command = [*FOURTUPLE, "connect", serve("echo").address, "--send", "x"]
    done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command], stderr=subprocess.PIPE, env=ENVIRONMENT, timeout=60)
    assert (done.returncode, done.stderr) == (1, b"fourtuple: Bad file descriptor\n")
