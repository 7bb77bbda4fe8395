"""`fourtuple bench`: what it prints and writes, its exit codes, and what it refuses."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, Group, RenderableType

from cli.conftest import ENVIRONMENT, FOURTUPLE, Run, Serve, peer
from fourtuple.cli import bench_table
from fourtuple.cli.bench_progress import Progress
from fourtuple.load import Histogram, Interval, Load, Phase, Result, Tally

QUICK = ("--warmup", "0", "--duration", "20", "--requests", "40")


def test_the_table_has_replies_octets_connects_and_latency(run: Run, serve: Serve) -> None:
    server = serve("echo", "--framing", "fixed:16")
    done = run("bench", server.address, "-f", "fixed:16", "--connections", "4", "--expect", "same", *QUICK)
    assert (done.code, done.err) == (0, "")
    lines = done.text.splitlines()
    assert lines[0].startswith(f"{server.address}, fixed:16: closed loop, 4 connections, 1 in flight on each; ")
    rows = {line.split("  ")[0]: line.split() for line in lines}
    assert rows["replies"][1] == "40"
    assert (rows["octets in"][2], rows["octets out"][2]) == ("640", "640")
    assert rows["connects"][1] == "4"
    assert lines.index("") < lines.index(next(line for line in lines if line.startswith("latency")))
    assert "p99.9" in done.text
    assert "us of CPU for each message" in done.text


def test_json_on_standard_output(run: Run, serve: Serve) -> None:
    server = serve("upper")
    done = run(
        "bench", server.address, "--send", "hello", "--send", r"tab\tbed", "--expect", "regex:^(HELLO|TAB\tBED)$",
        "--connections", "2", "--depth", "4", "--json", "-", *QUICK,
    )  # fmt: skip
    assert (done.code, done.err) == (0, "")
    result = json.loads(done.out)
    assert result["address"] == server.address
    assert result["load"]["connections"] == 2
    assert (result["replies"], result["mismatches"], result["connects"], result["ok"]) == (40, 0, 2, True)
    assert result["latency"]["count"] == 40
    assert 0 < result["latency"]["p50"] <= result["latency"]["p99"] <= result["latency"]["max"]
    assert sum(row["replies"] for row in result["series"]) == 40


def test_the_other_end_of_two_directions(run: Run, serve: Serve) -> None:
    text = "duplex:delimited:?,sends=delimited:."
    server = serve("upper", "--framing", text)
    done = run("bench", server.address, "-f", text, "--mirror", "--send", "who", "--expect", "regex:^WHO$", *QUICK)
    assert (done.code, done.err) == (0, "")


def test_requests_come_from_files_and_results_go_to_files(run: Run, serve: Serve, tmp_path: Path) -> None:
    server = serve("echo")
    (tmp_path / "one").write_bytes(b"from a file")
    (tmp_path / "more").write_text("first\nsec\\x6fnd\n")
    done = run(
        "bench", server.address, "--file", "one", "--lines", "more", "--expect", "regex:^(from a file|first|second)$",
        "--json", "result.json", "--hdr", "result.hgrm", *QUICK,
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "latency" in done.text, "the table too"
    assert json.loads((tmp_path / "result.json").read_text())["replies"] == 40
    text = (tmp_path / "result.hgrm").read_text()
    assert text.split()[:4] == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    assert "Total count    =           40]" in text


def test_a_template_makes_requests_and_their_expected_replies(run: Run, serve: Serve) -> None:
    server = serve("echo")
    done = run("bench", server.address, "--template", "k{n:03d} {turn}", "--expect", "template:k{n:03d} {turn}", *QUICK)
    assert done.code == 0, done.text


def test_an_open_loop(run: Run, serve: Serve) -> None:
    server = serve("echo")
    done = run("bench", server.address, "--rate", "400", "--connections", "3", "--json", "-", *QUICK)
    assert done.code in (0, 4)  # 4 where this machine is too busy to keep even this rate
    result = json.loads(done.out)
    assert (result["requests"], result["replies"]) == (40, 40)
    assert result["lateness"]["count"] == 40
    # Forty requests and no more: asked of a slower run is less than that many a second.
    assert 0 < result["asked_rate"] <= 400.001


def test_the_results_of_several_processes_are_one(run: Run, serve: Serve) -> None:
    server = serve("echo")
    done = run("bench", server.address, "--processes", "2", "--connections", "4", "--json", "-", *QUICK)
    assert (done.code, done.err) == (0, "")
    result = json.loads(done.out)
    assert (result["replies"], result["connects"]) == (40, 4)


def test_a_wrong_reply_fails_the_run_and_is_shown(run: Run, serve: Serve) -> None:
    server = serve("upper")
    done = run("bench", server.address, "--expect", "same", "--send", "hello", *QUICK)
    assert done.code == 1
    assert "wrong replies" in done.text
    assert "the reply is b'HELLO', expected b'hello'" in done.text


def test_no_reply_in_time(run: Run) -> None:
    def silent(sock: socket.socket) -> None:
        try:
            while sock.recv(100):
                pass
        except ConnectionResetError:
            pass

    with peer(silent) as address:
        done = run("bench", address, "--timeout", "0.2", "--duration", "0.1", "--warmup", "0")
        assert done.code in (1, 4)
        assert "timeouts" in done.text or "unanswered" in done.text


@pytest.mark.parametrize("more", [(), ("--rate", "50"), ("--churn", "1"), ("--replies", "0"), ("--processes", "2")])
def test_a_server_that_never_greets(run: Run, more: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        done = run("bench", address, "--greeting", "1", "--timeout", "0.3", "--duration", "0.2", "--warmup", "0", *more)
    assert done.code == 4
    assert "no greeting within 0.3 s, so nothing was sent" in done.text


def test_a_server_that_ends_before_its_greeting(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as passive:

        def end_each() -> None:
            with suppress(OSError):
                while True:
                    with passive.accept()[0] as sock:
                        sock.shutdown(socket.SHUT_WR)
                        sock.recv(100)

        thread = threading.Thread(target=end_each)
        thread.start()
        address = f"127.0.0.1:{passive.getsockname()[1]}"
        done = run("bench", address, "--greeting", "1", "--duration", "0.2", "--warmup", "0", "--timeout", "60")
        passive.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert done.code == 1
    assert "the peer sent end of file before its greeting" in done.text


def test_a_result_that_cannot_be_written(serve: Serve) -> None:
    command = [*FOURTUPLE, "bench", serve("echo").address, *QUICK]
    done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *command], stderr=subprocess.PIPE, env=ENVIRONMENT, timeout=60)
    assert (done.returncode, done.stderr) == (1, b"fourtuple: Bad file descriptor\n")


def test_senders_wait_for_the_greeting(run: Run) -> None:
    heard: list[bytes] = []

    def greet(sock: socket.socket) -> None:
        sock.settimeout(0.1)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        sock.settimeout(20)
        sock.sendall(b"welcome\n")
        while octets := sock.recv(65536):
            heard.append(octets)

    with peer(greet) as address:
        done = run("bench", address, "--greeting", "1", "--replies", "0", *QUICK)
    assert done.code == 0, done.text
    assert b"".join(heard).count(b"\n") == 40


def test_where_nothing_listens_the_run_ends_with_the_error_of_connect(run: Run) -> None:
    with socket.socket() as bound:  # nobody else's, and not passive
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        done = run("bench", f"127.0.0.1:{port}")
        many = run("bench", f"127.0.0.1:{port}", "--processes", "2")
    assert (done.code, done.out) == (3, b"")
    assert done.err.startswith(f"fourtuple: cannot connect to 127.0.0.1:{port}: refused\n")
    assert (many.code, many.out, many.err) == (3, b"", done.err)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_ctrl_c_gives_the_results_so_far(serve: Serve, processes: str) -> None:
    server = serve("echo")
    process = subprocess.Popen(
        [*FOURTUPLE, "bench", server.address, "--duration", "600", "--warmup", "0", "--processes", processes,
         "--connections", "2", "--json", "-"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT, process_group=0,
    )  # fmt: skip
    with process:
        try:
            # An opened connection is a load that runs: signals are handled from before that on.
            server.line_with("opened")
            process.send_signal(signal.SIGINT)
            out, err = process.communicate()
        finally:
            process.kill()
    assert (process.returncode, err) == (130, b"")
    assert json.loads(out)["interrupted"]


@contextmanager
def full_queue() -> Iterator[int]:
    """A listener whose accept queue is full: the kernel drops every SYN that comes."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as passive, ExitStack() as stack:
        for _ in range(3):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(passive.getsockname())
        yield passive.getsockname()[1]


def connecting_to(port: int) -> int:
    """How many sockets of this machine have sent a SYN there that was not answered: SYN-SENT is state 2."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[3] == "02" and row[2].endswith(f":{port:04X}") for row in rows)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_ctrl_c_ends_it_while_it_connects(processes: str) -> None:
    with full_queue() as port:
        before = connecting_to(port)
        process = subprocess.Popen(
            [*FOURTUPLE, "bench", f"127.0.0.1:{port}", "--connect-timeout", "600", "--processes", processes,
             "--json", "-"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT, process_group=0,
        )  # fmt: skip
        with process:
            try:
                while connecting_to(port) < before + int(processes):
                    assert process.poll() is None
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=60)
            finally:
                process.kill()
    assert (process.returncode, err) == (130, b"")
    result = json.loads(out)
    assert (result["interrupted"], result["requests"], result["connects"]) == (True, 0, 0)


def test_what_ctrl_c_leaves_unanswered_is_no_failure() -> None:
    with socket.create_server(("127.0.0.1", 0)) as passive:
        passive.settimeout(60)
        process = subprocess.Popen(
            [*FOURTUPLE, "bench", f"127.0.0.1:{passive.getsockname()[1]}", "--warmup", "0", "--json", "-"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT, process_group=0,
        )  # fmt: skip
        with process:
            try:
                with passive.accept()[0] as sock:
                    assert sock.recv(100)
                    process.send_signal(signal.SIGINT)
                    out, err = process.communicate(timeout=60)
            finally:
                process.kill()
    assert (process.returncode, err) == (130, b"")
    assert json.loads(out)["unanswered"] == 1


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--connections", "many"), "cannot read 'many' as a whole number of connections"),
        (("--connections", "0"), "expected at least 1, got 0; only idle connections or adversaries"),
        (("--send", r"\q"), r"not one of \n"),
        (("--hex", "--send", "4"), "hexadecimal"),
        (("--send", "a", "--template", "b"), "not both"),
        (("--expect", "what"), "is not one of any, same"),
        (("--size", "3", "--framing", "fixed:4"), "takes messages of 4 octets"),
        (("--json", "-", "--hdr", "-"), "Only one of"),
        (("--json", "/no/such/folder/file"), "No such file or directory"),
        (("--rate", "0"), "rate"),
    ],
)
def test_what_means_nothing(run: Run, arguments: tuple[str, ...], why: str) -> None:
    done = run("bench", "127.0.0.1:1", *arguments)
    assert (done.code, done.out) == (2, b"")
    assert why in done.err


def test_help_has_every_option(run: Run) -> None:
    text = run("bench", "--help").text
    for flag in ("--rate", "--churn", "--slow-readers", "--half-open", "--expect", "--tls-ca", "--html", "--processes"):
        assert f"{flag} " in text
    assert "fourtuple.toml" not in text


def test_the_report_is_one_page_with_charts_that_loads_nothing(
    run: Run, serve: Serve, tmp_path: Path, require_package: Any
) -> None:
    require_package("matplotlib")
    server = serve("echo")
    done = run("bench", server.address, "--html", "report.html", *QUICK)
    assert done.code == 0, done.err
    page = (tmp_path / "report.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert page.count("<svg") >= 3
    assert server.address in page
    assert "http" not in page.replace("http://www.w3.org/", "").replace("https://matplotlib.org/", "").replace(
        "http://purl.org/", ""
    ).replace("http://creativecommons.org/", ""), "nothing is loaded from anywhere"


def test_a_report_without_matplotlib(run: Run, tmp_path: Path) -> None:
    (tmp_path / "matplotlib.py").write_text("raise ImportError('not installed')")
    done = run("bench", "127.0.0.1:1", "--html", "report.html", PYTHONPATH=str(tmp_path))
    assert (done.code, done.out) == (2, b"")
    assert done.err == (
        "fourtuple: --html: the report needs matplotlib for its plots: pip install 'fourtuple[report]'\n"
    )
    assert not (tmp_path / "report.html").exists()


def test_adversaries_beside_the_load(run: Run, serve: Serve) -> None:
    server = serve("echo", "--framing", "u16")
    done = run(
        "bench", server.address, "-f", "u16", "--expect", "same", "--idle", "3", "--fragmenters", "1", "--half-open",
        "2", *QUICK,
    )  # fmt: skip
    assert done.code == 0, done.text
    rows = {line.split("  ")[0]: line.split()[-1] for line in done.text.splitlines() if ": opened" in line}
    assert rows == {"idle: opened": "3", "fragmenters: opened": "1", "half-open: opened": "2"}


def test_progress_on_a_terminal(serve: Serve) -> None:
    server = serve("echo")
    ours, theirs = pty.openpty()
    command = [*FOURTUPLE, "bench", server.address, "--interval", "0.05", *QUICK, "--rate", "100"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=theirs, env=ENVIRONMENT | {"TERM": "xterm"}
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while octets := os.read(ours, 65536):
                shown += octets
        except OSError:
            pass  # EIO: its end of the terminal is closed
        finally:
            os.close(ours)
        assert process.stdout is not None
        out = process.stdout.read()
    assert process.returncode in (0, 4)
    assert b"replies/s" in shown
    assert b"measured" in shown
    assert b"replies" in out, "the table is on standard output"
    assert b"\x1b" not in out


def shown(*parts: RenderableType, width: int) -> str:
    """What a terminal of so many columns shows."""
    file = io.StringIO()
    Console(width=width, file=file, soft_wrap=True, highlight=False).print(Group(*parts))
    return file.getvalue()


@pytest.mark.parametrize("width", [50, 80, 120])
def test_no_number_loses_its_unit(width: int) -> None:
    tally = Tally(seconds=1.0, requests=10**6, replies=10**6, connects=10**5, octets_in=10**9, octets_out=10**9)
    tally.latency = Histogram.of([107_000] * 5000 + [8_110_000] * 10 + [13_400_000_000])
    tally.connecting = Histogram.of([10_900_000, 101_000_000])
    row = Interval(0, 0.0, Phase.MEASURED, 1000, tally)
    found = Result.of("127.0.0.1:9999", "line", Load(connections=4), [row])
    text = shown(*bench_table.parts(found, width), width=width)
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    for histogram in (tally.latency, tally.connecting):
        for value in (histogram.mean, histogram.percentile(50), histogram.percentile(99.9), histogram.maximum):
            assert bench_table.duration(value) in text


def test_the_progress_fits_into_80_columns() -> None:
    tally = Tally(seconds=1.0, requests=10**6, replies=10**6, connects=10**5)
    tally.latency = Histogram.of([107_000] * 5000 + [13_400_000_000])
    progress = Progress(Load(connections=4, duration=600.0), shown=False)
    progress._rows.append(Interval(0, 598.0, Phase.MEASURED, 10_000, tally))
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown(progress.table(), width=80)


def test_the_progress_on_a_narrow_terminal_leaves_columns_out() -> None:
    tally = Tally(seconds=1.0, requests=10**6, replies=10**6, connects=10**5, failures=Counter(reset=3))
    tally.latency = Histogram.of([107_000] * 5000 + [13_400_000_000])
    progress = Progress(Load(duration=600.0), shown=False, console=Console(width=40))
    progress._rows.append(Interval(0, 598.0, Phase.MEASURED, 10_000, tally))
    text = shown(progress.table(), width=40)
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    assert max(map(len, text.splitlines())) <= 40
    assert text.split()[:2] == ["second", "replies/s"]
    assert "troubles" in text


def test_a_number_of_requests_with_connections_that_send_none(run: Run) -> None:
    done = run("bench", "127.0.0.1:1", "--requests", "20", "--churn", "0")
    assert done.code == 2
    assert "requests: 20 given with churn 0, which sends no requests; duration bounds the run" in done.err


def test_the_rate_that_was_asked_for_has_a_row(run: Run, serve: Serve) -> None:
    done = run("bench", serve("echo").address, "--rate", "100", "--warmup", "0", "--duration", "0.2")
    rows = [line.split() for line in done.text.splitlines()]
    assert ["rate", "asked", "for", "100"] in rows
    assert len(next(row for row in rows if row[:1] == ["requests"])) == 3


def test_requests_from_a_fifo(run: Run, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for flag in ("--file", "--lines"):
        done = run("bench", "127.0.0.1:1", flag, "fifo")
        assert done.code == 2
        assert "fifo: expected a regular file, got a FIFO" in done.err


def pushing(sock: socket.socket) -> None:
    """Each reply comes behind a push, in the same segment."""
    while octets := sock.recv(65536):
        sock.sendall(b"EVENT x\n" + octets)


def test_pushes_are_counted_and_are_no_replies(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def is_push(message):\n    return message.startswith(b'EVENT')\n")
    for pattern in ("starts:EVENT", "regex:^EVENT", "size:7", "mine.py"):
        with peer(pushing) as address:
            done = run("bench", address, "--send", "hi", "--expect", "same", "--is-push", pattern, *QUICK)
        assert (done.code, done.err) == (0, "")
        rows = {line.split("  ")[0]: line.split() for line in done.text.splitlines()}
        assert (rows["replies"][1], rows["pushes"][1]) == ("40", "40")


def test_messages_without_a_request_are_told(run: Run) -> None:
    with peer(pushing) as address:
        done = run("bench", address, "--send", "hi", *QUICK)
    assert done.code == 1
    assert "came with no request to answer: the server sent more messages than requests went" in done.text
    assert "--is-push" in done.text


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("EVENT", "'EVENT' is not one of text:, starts:, regex:, size:, file.py:function"),
        ("same", "'same' is not one of text:, starts:, regex:, size:, file.py:function"),
        ("size:x", "'size:x': expected a whole number of octets, as in size:16"),
        ("regex:[", "'regex:[': unterminated character set"),
        ("nothing.py", "there is no file nothing.py"),
    ],
)
def test_a_wrong_is_push(run: Run, given: str, said: str) -> None:
    done = run("bench", "127.0.0.1:1", "--is-push", given)
    assert done.code == 2
    assert said in done.err
