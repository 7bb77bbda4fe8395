"""`fourtuple connect`: a filter in a pipe, messages in a script, a conversation on a terminal, honest failures."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import socket
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import ENVIRONMENT, FOURTUPLE, Run, Serve, peer
from fourtuple.net.sockets import reset_on_close

# -- in a script ------------------------------------------------------------------------------------------


def test_the_first_example(run: Run, serve: Serve) -> None:
    server = serve("sixteen")
    done = run("connect", server.address, "--framing", "fixed:16", "--send", "Hi there, server", input=None)
    assert (done.code, done.out, done.err) == (0, b"Farewell, client\n", "")


def test_several_messages_and_escapes(run: Run, serve: Serve) -> None:
    server = serve("echo", "--framing", "u16")
    done = run("connect", server.address, "-f", "u16", "-s", r"a\x00\n", "-s", "", "-s", "ü\\\\")
    assert (done.code, done.out) == (0, b"a\0\n\n\n" + "ü\\\n".encode())


def test_hex_sends_and_prints_octets(run: Run, serve: Serve) -> None:
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
    assert (
        "0 of 1 replies came, then end of file\nNothing was received: perhaps the peer uses TLS at this port"
        in done.err
    )
    assert done.err.endswith("(--framing), or gives no answer (its log may say why).\n")


def test_a_service_that_never_answers_over_tls(run: Run, serve: Serve) -> None:
    done = run("connect", serve("discard", "--tls-dev").address, "--tls-verify", "none", "--send", "hello")
    assert (done.code, done.text) == (1, "")
    assert "then end of file\nNothing was received: perhaps the peer uses a framing other than line" in done.err


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
        ("line", b"\x15\x03\x03\0\x02\x02\x46", "The octets look like TLS: try --tls."),
        ("u32", b"\x15\x03\x03\0\x02\x02\x46", "The octets look like TLS: try --tls."),
        ("u32", b"220 ready\r\n", "The octets look like text, not like u32: try --framing line."),
        ("fixed:400", b"220 ready\r\n", "The octets look like text, not like fixed:400: try --framing line."),
        ("line", b"\0\0\0\x05\xff\xfe\x01", "The octets do not look like text: try a --framing other than line."),
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
def test_tls_at_a_plain_port_is_reported_at_once(run: Run, serve: Serve, service: str) -> None:
    done = run("connect", serve(service).address, "--tls", "--tls-verify", "none", "--send", "hello")
    assert done.code == 3
    # Behind it stands the repr of octets that begin with our own random ClientHello: its quotes are either.
    assert re.search(r"TLS was expected, but the peer began with b['\"]", done.err), done.err


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
    assert "0 of 1 replies came, and then no more within 1 s\nNothing was received" in done.err


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


def test_verbose_numbers_say_what_the_octets_are(run: Run, serve: Serve, require_program: Callable[[str], str]) -> None:
    require_program("openssl")
    server = serve("sixteen", "--tls-dev")
    flags = ("-s", "Hi there, server", "--verbose")
    done = run("connect", server.address, "-f", "fixed:16", "--tls-verify", "none", *flags)
    _, agreed, last = done.err.splitlines()
    assert re.fullmatch(r"tls: TLSv1\.\d, \w+", agreed)
    assert re.search(r", in 1 message \d+ octets of TLS, out 1 message \d+ octets of TLS", last)
    done = run("connect", serve("echo").address, "-f", "raw", *flags)
    assert ", in 16 octets, out 16 octets" in done.err.splitlines()[-1]


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


def test_each_line_of_the_input_is_a_message(run: Run, serve: Serve) -> None:
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


def test_each_line_of_hexadecimal_input_is_a_message(run: Run, serve: Serve) -> None:
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
def on_terminal(*arguments: str, term: str = "dumb") -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The command with a terminal as its standard input and output, and our end of it. A dumb one has no prompt."""
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
            env=ENVIRONMENT | {"TERM": term},
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
        said = process.stderr.read().decode().splitlines()
        assert said[0].startswith(f"Connected to {server.address}, from 127.0.0.1:")
        assert said[0].endswith(". Ctrl-D half-closes, Ctrl-C ends the conversation.")
        assert said[1:] == [
            "Half-closed; anything the peer sends is still printed. Ctrl-C ends the conversation.",
            "The peer has closed the connection.",
        ]
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
        assert process.stderr.readline().startswith(b"Connected to ")
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


def test_a_hangup_at_the_prompt_gives_the_terminal_back(serve: Serve) -> None:
    pytest.importorskip("prompt_toolkit")
    with on_terminal(serve("upper").address, term="xterm") as (process, terminal):
        before = termios.tcgetattr(terminal)
        shown = b""
        while b"\x1b[?2004h" not in shown:
            assert select.select([terminal], [], [], 30)[0], shown
            shown += os.read(terminal, 4096)
        assert termios.tcgetattr(terminal) != before
        process.send_signal(signal.SIGHUP)
        assert process.wait() == -signal.SIGHUP
        while b"\x1b[?2004l" not in shown:
            shown += os.read(terminal, 4096)
        assert termios.tcgetattr(terminal) == before


# -- the prompt: a terminal that can move its cursor ---------------------------------------------------------


class Prompted:
    """The command at a prompt. What it shows is read as text, without the sequences that move the cursor."""

    def __init__(self, process: subprocess.Popen[bytes], terminal: int) -> None:
        self.process = process
        self._terminal = terminal
        self._shown = ""

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def read_until(self, text: str) -> str:
        """Return what is shown up to ``text``, which is shown later than what was returned before."""
        while text not in self._shown:
            octets = os.read(self._terminal, 4096).decode(errors="replace")
            self._shown += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|[\r\x08]", "", octets)
        before, _, self._shown = self._shown.partition(text)
        return before + text

    def said(self) -> list[str]:
        assert self.process.stderr is not None
        return self.process.stderr.read().decode().splitlines()


@contextmanager
def at_prompt(*arguments: str) -> Iterator[Prompted]:
    pytest.importorskip("prompt_toolkit")
    with on_terminal(*arguments, term="xterm") as (process, terminal):
        prompted = Prompted(process, terminal)
        prompted.read_until(">")
        yield prompted


def test_a_line_is_edited_and_comes_again_from_the_history(serve: Serve) -> None:
    with at_prompt(serve("upper").address) as prompted:
        prompted.type("hxllo\x1b[D\x1b[D\x1b[D\x7fe\r")  # three to the left, the x away, an e in its place
        prompted.read_until("HELLO\n")
        prompted.type("bye\r")
        prompted.read_until("BYE\n")
        prompted.type("\x1b[A\r")  # the arrow up: what was typed last
        prompted.read_until("BYE\n")
        prompted.type("\x04")
        assert prompted.process.wait() == 0
        assert prompted.said()[-1] == "The peer has closed the connection."


def test_what_comes_is_shown_above_the_line_being_typed() -> None:
    typing, shown = threading.Event(), threading.Event()

    def talk(sock: socket.socket) -> None:
        assert typing.wait(20)
        sock.sendall(b"news\n")
        assert sock.recv(100) == b"half a line\n"
        assert shown.is_set()

    with peer(talk) as address, at_prompt(address) as prompted:
        prompted.type("half")
        prompted.read_until("half")
        typing.set()
        # The line is taken away, the news are written at its place, and it is drawn again below.
        assert prompted.read_until("> half").startswith("news\n")
        shown.set()
        prompted.type(" a line\r")
        assert prompted.process.wait() == 0


def test_octets_without_a_newline_have_a_row_of_their_own() -> None:
    def talk(sock: socket.socket) -> None:
        sock.sendall(b"login: ")
        assert sock.recv(100) == b"me\n"

    with peer(talk) as address, at_prompt(address, "-f", "raw") as prompted:
        prompted.read_until("login: \n>")
        prompted.type("me\r")
        assert prompted.process.wait() == 0


def test_the_peers_end_ends_a_prompt_at_once_with_a_line_half_typed() -> None:
    typed = threading.Event()

    def talk(sock: socket.socket) -> None:
        assert typed.wait(20)

    with peer(talk) as address, at_prompt(address) as prompted:
        prompted.type("half")
        prompted.read_until("half")
        typed.set()
        assert prompted.process.wait(timeout=60) == 0  # without a further key
        assert prompted.said()[-1] == "The peer has closed the connection."


def test_an_empty_line_is_an_empty_message_and_ends_nothing(serve: Serve) -> None:
    with at_prompt(serve("echo", "--framing", "u16").address, "-f", "u16") as prompted:
        prompted.type("\r")
        prompted.type("still here\r")
        prompted.read_until("still here\n")  # the line that was typed,
        prompted.read_until("still here\n")  # and its echo
        prompted.type("\x04")
        assert prompted.process.wait() == 0


def test_ctrl_c_at_a_prompt_is_an_interrupt_and_leaves_the_terminal_as_it_was(
    serve: Serve, require_package: Any
) -> None:
    require_package("prompt_toolkit")
    with on_terminal(serve("echo").address, term="xterm") as (process, terminal):
        before = termios.tcgetattr(terminal)
        prompted = Prompted(process, terminal)
        prompted.read_until(">")
        assert termios.tcgetattr(terminal)[3] & termios.ICANON == 0
        prompted.type("half\x03")
        assert process.wait() == 130
        assert [line for line in prompted.said() if "Connected" not in line] == []
        assert termios.tcgetattr(terminal) == before


def test_a_message_that_cannot_be_sent_is_said_above_the_prompt(serve: Serve) -> None:
    with at_prompt(serve("sixteen").address, "-f", "fixed:16") as prompted:
        prompted.type("short\rHi there, server\r")
        prompted.read_until("Farewell, client\n>")
        prompted.type("\x04")
        assert prompted.process.wait() == 0
        assert any(line.startswith("not sent: fixed:16 takes messages") for line in prompted.said())


# -- files, rounds, ends ------------------------------------------------------------------------------------


def test_a_file_is_one_message_whatever_is_in_it(run: Run, serve: Serve, tmp_path: Path) -> None:
    octets = bytes(range(256)) * 40
    (tmp_path / "picture").write_bytes(octets)
    address = serve("echo", "--framing", "u32").address
    done = run("connect", address, "-f", "u32", "--send", "first", "--file", "picture", input=None)
    assert (done.code, done.out) == (0, b"first\n" + octets + b"\n")
    assert run("connect", address, "-f", "u32", "--file", "-", input=b"one\ntwo\n").out == b"one\ntwo\n\n"
    done = run("connect", address, "-f", "u32", input=b"one\ntwo\n")
    assert done.out == b"one\ntwo\n", "without --file a line is a message"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--file", "nothing"), 2, "--file nothing: No such file or directory"),
        (("--file", "picture"), 2, "Invalid value for '--file': fixed:16 takes messages of 16 octets, this one has 3"),
        (("--repeat", "2"), 2, "--repeat and --interval need messages: give --send or --file."),
        (("--send", "Hi there, server", "--interval", "1"), 2, "also give --repeat."),
        (("--send", "Hi there, server", "--repeat", "0"), 2, "Invalid value for '--repeat'"),
        (("--send", "Hi there, server", "--repeat", "2", "--interval", "-1"), 2, "a number of seconds from 0 on"),
    ],
)
def test_what_cannot_be_sent(run: Run, tmp_path: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    (tmp_path / "picture").write_bytes(b"abc")
    done = run("connect", "127.0.0.1:1", "-f", "fixed:16", *arguments)
    assert done.code == code
    assert said in done.err
    assert "Traceback" not in done.err


def test_messages_are_repeated_each_time_behind_the_replies(run: Run) -> None:
    def talk(sock: socket.socket) -> None:
        for number in range(3):
            assert sock.recv(100) == b"a\nb\n", "the next round waits for this one's replies"
            assert select.select([sock], [], [], 0)[0] == []
            sock.sendall(b"%d\n" % number)
            sock.sendall(b"%d\n" % number)
        assert sock.recv(100) == b""

    with peer(talk) as address:
        done = run("connect", address, "-s", "a", "-s", "b", "--repeat", "3", "--interval", "0")
    assert (done.code, done.text, done.err) == (0, "0\n0\n1\n1\n2\n2\n", "")


def test_a_round_without_its_reply_is_a_failure(run: Run) -> None:
    def talk(sock: socket.socket) -> None:
        sock.recv(100)
        sock.sendall(b"one\n")
        sock.recv(100)

    with peer(talk) as address:
        done = run("connect", address, "-s", "a", "--repeat", "2", "--interval", "0")
    assert (done.code, done.text) == (1, "one\n")
    assert "1 of 2 replies came, then end of file" in done.err


def test_without_a_half_close_the_replies_end_it(run: Run) -> None:
    def talk(sock: socket.socket) -> None:
        got = b""
        while len(got) < 4:
            got += sock.recv(100)
        assert got == b"a\nb\n"
        assert select.select([sock], [], [], 0)[0] == []  # no end of file
        sock.sendall(b"A\nB\n")
        assert sock.recv(100) == b"", "and then it is closed"

    with peer(talk) as address:
        done = run("connect", address, "-s", "a", "-s", "b", "--no-half-close")
    assert (done.code, done.text, done.err) == (0, "A\nB\n", "")


def test_a_pipe_without_a_half_close(run: Run) -> None:
    def talk(sock: socket.socket) -> None:
        assert sock.recv(100) == b"a\n"
        sock.sendall(b"A\n")
        sock.recv(100)  # until the command has given up

    with peer(talk) as address:
        done = run("connect", address, "--no-half-close", "--timeout", "3", input=b"a\n")
    assert (done.code, done.text, done.err) == (0, "A\n", "")

    def silent(sock: socket.socket) -> None:
        sock.recv(100)
        with suppress(ConnectionResetError):
            sock.recv(100)

    with peer(silent) as address:
        done = run("connect", address, "--no-half-close", "--timeout", "0.3", input=b"a\n")
    assert done.code == 4, "without any reply it has not happened"
    assert "neither a reply nor end of file within 0.3 s" in done.err


def test_waiting_for_a_server_that_comes_up(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    tried = threading.Event()

    def come_up() -> None:
        assert tried.wait(20)
        with socket.socket(socket.AF_UNIX) as passive:
            passive.bind(str(path))
            passive.listen()
            sock, _ = passive.accept()
            with sock:
                sock.sendall(sock.recv(100))

    thread = threading.Thread(target=come_up)
    thread.start()
    assert run("connect", f"unix:{path}", "--send", "a").code == 3
    tried.set()
    done = run("connect", f"unix:{path}", "--send", "a", "--wait", "60")
    thread.join()
    assert (done.code, done.text) == (0, "a\n")


def test_waiting_for_a_server_that_does_not_come_up(run: Run, tmp_path: Path) -> None:
    done = run("connect", f"unix:{tmp_path}/nothing", "--send", "a", "--wait", "0.3")
    assert done.code == 3
    assert "no such socket" in done.err


FRAMING = """
from fourtuple.framing import Fixed, custom

def decode(buffer, seen):
    end = bytes(buffer).find(b"!", seen)
    return (bytes(buffer[:end]), end + 1) if end >= 0 else None

framing = custom(decode, lambda message: message + b"!", max_message=1000)
other = Fixed(2)
service = 1
"""


def test_a_framing_of_the_users(run: Run, serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FRAMING)
    address = serve("upper", "-f", "mine.py").address
    assert run("connect", address, "-f", "mine.py:framing", "-s", "a", "-s", "b").out == b"A\nB\n"
    bench = ("bench", address, "-f", "mine.py", "--send", "a", "--requests", "20", "--warmup", "0", "--quiet")
    assert run(*bench, "--expect", "text:A").code == 0
    assert run(*bench, "--expect", "text:A", "--processes", "2").code == 2, "a lambda cannot be sent to a process"


@pytest.mark.parametrize("command", ["connect", "bench"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nothing.py:framing", "there is no file nothing.py"),
        ("mine.py:nothing", "mine.py has no 'nothing'; its framings: framing, other"),
        ("mine.py:service", "mine.py:service is not a Framing but an int"),
        ("raising.py", "the import of raising.py failed\nTraceback"),
        ("lime", "did you mean line?"),
    ],
)
def test_a_framing_that_is_none(run: Run, tmp_path: Path, command: str, text: str, said: str) -> None:
    (tmp_path / "mine.py").write_text(FRAMING)
    (tmp_path / "raising.py").write_text("1 / 0\n")
    done = run(command, "127.0.0.1:1", "-f", text, "--send", "x")
    assert done.code == 2
    assert said in done.err
    assert "fourtuple/cli" not in done.err, "the traceback is the user's"


# -- failing ----------------------------------------------------------------------------------------------


def test_a_refused_connection_exits_with_3_and_a_hint(run: Run) -> None:
    with socket.socket() as bound:  # nobody else's, and not passive
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        done = run("connect", address)
    assert (done.code, done.out) == (3, b"")
    assert done.err.startswith(f"fourtuple: cannot connect to {address}: refused\nThe host is up")


def test_an_unanswered_connect_exits_with_4_and_a_hint(run: Run) -> None:
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


@pytest.mark.parametrize("pause", [0.0, 0.6])
def test_a_reset_after_something_was_sent_is_no_failed_connect(run: Run, pause: float) -> None:
    def talk(sock: socket.socket) -> None:
        received = b""
        while len(received) < 12:
            received += sock.recv(100)
        time.sleep(pause)
        reset_on_close(sock)

    with peer(talk) as address:
        done = run("connect", address, "--send", "hello", "--send", "again", "--timeout", "5")
    assert done.code == 1
    assert re.search(r": reset by the peer after [0-9.]+ s: 12 octets were sent, nothing was received\n", done.err)
    assert "The peer took the connection and reset it" in done.err
    assert "cannot connect" not in done.err


def test_a_reset_of_a_connection_on_which_nothing_was_said_for_a_while(run: Run) -> None:
    def talk(sock: socket.socket) -> None:
        time.sleep(0.8)
        reset_on_close(sock)

    with peer(talk) as address:
        done = run("connect", address)
    assert done.code == 1
    assert re.search(r": reset by the peer after [0-9.]+ s: nothing was sent, nothing was received\n", done.err)


@pytest.mark.parametrize(
    ("octets", "code", "text"),
    [
        (b"hi", 4, "2 octets were received that are not a whole message: b'hi'.\n"),
        (b"hello world", 4, "11 octets were received that are not a whole message: b'hello world'.\n"),
        (b"ok\nHALF", 0, "4 octets were received that are not a whole message: b'HALF'.\n"),
        (b"ok\n", 0, ""),
    ],
)
def test_octets_of_an_unfinished_message_are_told(run: Run, octets: bytes, code: int, text: str) -> None:
    def talk(sock: socket.socket) -> None:
        sock.sendall(octets)
        while sock.recv(100):
            continue
        sock.recv(100)
        gone.wait(20)

    gone = threading.Event()
    with peer(talk) as address:
        done = run("connect", address, "--send", "x", "--timeout", "0.3")
        gone.set()
    assert done.code == code
    assert done.err.endswith(text)
    assert text or not done.err


def test_no_octet_until_the_end_of_file_is_no_reply(run: Run) -> None:
    with peer(lambda sock: sock.recv(100)) as address:
        done = run("connect", address, "--framing", "eof", "--send", "hi")
    assert (done.code, done.text) == (1, "")
    assert "0 of 1 replies came, then end of file" in done.err


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
        '{"a":1}',
        "(message of 8 octets does not map: Expecting value: line 1 column 1 (char 0)) b'nonsense'",
        '{"b":2}',
    ]


def test_output_that_is_closed_cannot_be_written(serve: Serve) -> None:
    command = [*FOURTUPLE, "connect", serve("echo").address, "--send", "x"]
    done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command], stderr=subprocess.PIPE, env=ENVIRONMENT, timeout=60)
    assert (done.returncode, done.stderr) == (1, b"fourtuple: Bad file descriptor\n")


def test_the_other_end_of_two_directions(run: Run, serve: Serve) -> None:
    text = "duplex:delimited:?,sends=delimited:."
    server = serve("upper", "--framing", text)
    done = run("connect", server.address, "-f", text, "--mirror", "--send", "who", "--send", "why")
    assert (done.code, done.out, done.err) == (0, b"WHO\nWHY\n", "")


# -- framings of values -----------------------------------------------------------------------------------


def test_json_and_text_are_sent_and_printed_as_such(run: Run, serve: Serve) -> None:
    """An echo of frames below the mapping: what is printed is what was sent, in the form of the encoder."""
    address = serve("echo", "--framing", "u16").address
    done = run("connect", address, "-f", "u16+json", "--send", '{"a": [1, "ü"]}', "--send", "null")
    assert (done.code, done.text, done.err) == (0, '{"a":[1,"ü"]}\nnull\n', "")
    done = run("connect", address, "-f", "u16+json", input=b'{"b": 2}\n"c"\n')
    assert (done.code, done.text, done.err) == (0, '{"b":2}\n"c"\n', "")
    done = run("connect", address, "-f", "u16+check:crc8+text", "--send", "für")
    assert (done.code, done.text, done.err) == (0, "für\n", "")
    done = run("connect", address, "-f", "u16+json", input=b'{"b": \n')
    assert done.code == 2
    assert "u16+json sends JSON, and this is not: " in done.err


MAPPED = """
from fourtuple.framing import Line, mapped
framing = mapped(Line(), lambda octets: octets, lambda value: value.kind)
"""


def test_a_framing_of_other_values_says_what_it_sends(run: Run, serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MAPPED)
    why = "line+mapped sends values, not octets; use the framing below its mapping, line"
    done = run("connect", "127.0.0.1:1", "-f", "mine.py", "--send", "hello")
    assert (done.code, done.out) == (2, b"")
    assert f"Invalid value for '--send': {why}\n" in done.err
    address = serve("echo", "--framing", "line").address
    done = run("connect", address, "-f", "mine.py", input=b"hello\n")
    assert (done.code, done.err) == (2, f"fourtuple: {why}\n")
    done = run("bench", address, "-f", "mine.py", "--send", "hello", "--requests", "1")
    assert (done.code, done.err) == (2, f"fourtuple: --send: {why}\n")


def test_bench_sends_the_values_of_json(run: Run, serve: Serve) -> None:
    address = serve("echo", "--framing", "u16").address
    bench = ("bench", address, "-f", "u16+json", "--requests", "4", "--warmup", "0", "--expect", "same", "--quiet")
    done = run(*bench, "--send", '{"a": 1}')
    assert done.code == 0, done.err
    done = run(*bench, "--template", '{{"a": {n}}}')
    assert done.code == 0, done.err
    done = run(*bench)
    assert done.code == 2
    assert "the requests: u16+json sends JSON, and this is not: " in done.err
    assert "without your own requests (--send), they are letters" in done.err
