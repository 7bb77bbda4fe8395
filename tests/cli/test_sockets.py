"""`fourtuple sockets`: what it shows, chooses, explains and closes; as text, JSON and CSV."""

from __future__ import annotations

import csv
import json
import os
import pty
import select
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import ENVIRONMENT, FOURTUPLE, Run
from cli.screens import same_screen
from fourtuple.cli import sockets_show
from fourtuple.cli.sockets import wanted_by
from fourtuple.cli.sockets_show import tables_of
from fourtuple.inspector import Snapshot
from inspector.sample import SAMPLE
from inspector.scenes import Pair, alone, listener_alone, port_of

WIDTHS = (80, 200)


# -- screens ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("colours", [True, False], ids=["colours", "NO_COLOR"])
def test_the_screen_fits_its_width(width: int, colours: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets_show, "is_terminal", lambda _file: True)
    same_screen(f"sockets-{width}{'' if colours else '-no-color'}", list(tables_of(SAMPLE)), width, colours=colours)


def test_a_program_cannot_write_to_the_terminal() -> None:
    """Any process gives itself any name (PR_SET_NAME)."""
    assert sockets_show.harmless(["a", "\x1b[2J"]) == ["a", r"\x1b[2J"]
    assert sockets_show.harmless(["a", "b"]) == ["a", "b"]


def test_in_a_pipe() -> None:
    same_screen("sockets-pipe", list(tables_of(SAMPLE)), None)


# -- what is chosen ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "values", "flags", "whole"),
    [
        ("", {}, {"slow": False}, ""),
        ("rtt > 5ms", {}, {}, "(rtt > 5ms)"),
        (
            "full or slow",
            {"port": ("80", "90-99,7")},
            {"slow": True},
            '(full or slow) and port in "80", "90-99", "7" and slow',
        ),
        ("", {"program": ('a "b"',)}, {}, "program in 'a \"b\"'"),
    ],
)
def test_options_are_short_for_a_filter(
    text: str, values: dict[str, tuple[str, ...]], flags: dict[str, bool], whole: str
) -> None:
    assert wanted_by(text, values, flags).text == whole


def test_a_port_shows_its_listener_and_both_ends_of_a_connection(run: Run) -> None:
    with ExitStack() as stack:
        pair = Pair(stack)
        done = run("sockets", "--port", str(pair.port))
    assert (done.code, done.err) == (0, "")
    lines = done.text.splitlines()
    assert lines[0] == "1 listener"
    assert lines[1].split() == ["LISTENING", "AT", "WAITING", "BACKLOG", "PROGRAM", "SERVICE", "USER"]
    assert lines[2].split()[:3] == [f"127.0.0.1:{pair.port}", "0", "128"]
    assert f"({os.getpid()})" in lines[2]
    assert lines[4] == "2 connections: 2 established"


def test_words_without_quotes_are_one_filter(run: Run) -> None:
    with ExitStack() as stack:
        pair = Pair(stack)
        done = run("sockets", "listening", "and", f"port={pair.port}", "--no-owners")
    assert done.text.splitlines()[0] == "1 listener"
    assert "connection" not in done.text.splitlines()[3]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["stat=listen"], "fourtuple: cannot read filter 'stat=listen' at character 1: no field 'stat', did you mean"),
        (["--port", "80,http"], "for '--port': '80,http': 'http' is neither a port nor a range of ports: as in 9999"),
        (["--state", "opened"], "Invalid value for '--state': no state 'opened': one of listen, syn-sent,"),
        (["--peer", "bad"], "Invalid value for '--peer': 'bad' is neither an address nor a network: as in 192.0.2.7"),
        (["--pid", "me"], "Invalid value for '--pid': 'me' is not a number"),
        (["--port", "99999"], "Invalid value for '--port': '99999': ports are 0 to 65535"),
        (["--program", ""], "Invalid value for '--program': a value is expected, got an empty one"),
        (["--program", "a,"], "Invalid value for '--program': 'a,': a value is expected, got an empty one"),
        (["(" * 51 + "slow" + ")" * 51, "--state", "listen"], "at character 52: nested more than 50 deep"),
        (["--sort", "rt"], "--sort: no field 'rt', did you mean 'rtt'?"),
        (["--group", "prog"], "--group: no field 'prog'"),
        (["--watch", "1", "--json"], "--jsonl writes a line each"),
        (["--yes"], "mean something with --close only"),
        (["--close"], "--close needs a filter"),
        (["--close", "--port", "1", "--json"], "--close stands without"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(run: Run, arguments: list[str], says: str) -> None:
    done = run("sockets", *arguments)
    assert done.code == 2
    assert says in done.err
    assert done.text == ""


def test_nothing_is_like_that(run: Run) -> None:
    done = run("sockets", "port=1", "and", "port=2")
    assert done.code == 0
    assert done.text.startswith("No socket matches.\n")


# -- for programs -----------------------------------------------------------------------------------------


def test_json_has_every_socket_and_its_queues(run: Run) -> None:
    with ExitStack() as stack:
        pair = Pair(stack)
        pair.here.sendall(b"hello")
        done = run("sockets", "--port", str(pair.port), "--json")
    found: dict[str, Any] = json.loads(done.out)
    assert found["source"] == "netlink"
    kinds = [each["kind"] for each in found["sockets"]]
    assert kinds == ["listener", "connection", "connection"]
    unread = next(each for each in found["sockets"] if each.get("receive_queue") == 5)
    assert unread["info"]["bytes_received"] == 5
    assert unread["name"]["local_port"] == pair.port
    assert unread["both_ends_here"] is True
    assert found["sockets"][0]["queue"] == {"waiting": 0, "limit": 128}


def test_a_stream_of_json(run: Run) -> None:
    with listener_alone() as listener, subprocess.Popen(
        [*FOURTUPLE, "sockets", "--port", str(port_of(listener)), "--jsonl", "--watch", "0.01"],
        stdout=subprocess.PIPE, text=True, env=ENVIRONMENT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        frames = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.terminate()
    assert [len(each["sockets"]) for each in frames] == [1, 1, 1]
    assert frames[0]["time"] <= frames[1]["time"] <= frames[2]["time"]


def test_csv_has_a_row_for_each_socket(run: Run) -> None:
    with ExitStack() as stack:
        pair = Pair(stack)
        done = run("sockets", "--port", str(pair.port), "--csv")
    rows = list(csv.DictReader(done.text.splitlines()))
    assert [row["state"] for row in rows] == ["listen", "established", "established"]
    assert rows[0]["queue"] == "0"
    assert rows[0]["rtt"] == ""
    assert float(rows[1]["rtt"]) > 0


def test_a_name_that_somebody_chose_is_escaped_in_csv(run: Run) -> None:
    with socket.socket(socket.AF_UNIX) as named:
        named.bind(b"\0forged\nline\x1b[2J")
        named.listen()
        done = run("sockets", "--unix", "local ~ forged", "--csv")
    (row,) = csv.DictReader(done.text.splitlines())
    assert row["local"] == r"@forged\nline\x1b[2J"


def test_group_counts_sockets_by_a_field(run: Run) -> None:
    with ExitStack() as stack:
        pair = Pair(stack)
        done = run("sockets", "--port", str(pair.port), "--group", "state")
    first, heading, most, least = done.text.splitlines()[:4]
    assert first == "3 sockets by state"
    assert heading.split() == ["STATE", "SOCKETS", "PEERS", "RECV-Q", "SEND-Q", "RETRANS", "STATES"]
    assert most.split()[:3] == ["established", "2", "1"]
    assert least.split()[:2] == ["listen", "1"]


def test_explain_says_what_a_full_queue_means(run: Run) -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(listener_alone(backlog=0))
        stack.enter_context(socket.create_connection(listener.getsockname()))
        port = port_of(listener)
        done = run("sockets", "--port", str(port), "--explain")
    text = " ".join(done.text.split())
    assert "1 connection waiting to be accepted, of a backlog of 0" in text
    assert "The accept queue is full" in text
    assert f"It waits in the accept queue of 127.0.0.1:{port}" in text
    assert all(len(line) <= 100 for line in done.text.splitlines() if line.startswith("    "))


def test_proc_as_the_source_says_what_it_lacks(run: Run) -> None:
    with listener_alone() as listener:
        done = run("sockets", "--port", str(port_of(listener)), "--source", "proc")
    assert "unknown" in done.text.splitlines()[2]
    assert "Read by /proc (as you asked): no TCP_INFO" in done.text


def test_unix_sockets_are_found_by_their_path(run: Run, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "sock"))
        listener.listen(5)
        done = run("sockets", "--unix", f"local={tmp_path}/sock")
    assert done.text.splitlines()[0] == "1 Unix socket"
    assert f"{tmp_path}/sock" in done.text


# -- on a terminal ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    with ExitStack() as stack:
        pair = Pair(stack)
        lines = on_terminal(["sockets", "--port", str(pair.port)], width)
    assert any(f"127.0.0.1:{pair.port}" in line for line in lines)
    assert max(map(len, lines)) <= width


def on_terminal(arguments: list[str], width: int) -> list[str]:
    """The lines that the command writes to a terminal of this width, without colours."""
    master, slave = pty.openpty()
    environment = ENVIRONMENT | {"COLUMNS": str(width), "LINES": "40", "NO_COLOR": "1", "TERM": "xterm"}
    with subprocess.Popen(
        [*FOURTUPLE, *arguments], stdin=slave, stdout=slave, stderr=slave, env=environment
    ) as process:
        os.close(slave)
        octets = b""
        while True:
            select.select([master], [], [])
            try:
                octets += os.read(master, 65536)
            except OSError:  # EIO: the last one who had the terminal open has ended
                break
    os.close(master)
    assert process.returncode == 0, octets
    return (
        octets.decode()
        .replace("\r", "")
        .replace("\x1b[1m", "")
        .replace("\x1b[2m", "")
        .replace("\x1b[0m", "")
        .split("\n")
    )


# -- closing ----------------------------------------------------------------------------------------------


def closing(*arguments: str) -> dict[str, Any]:
    """In a namespace of its own, where this user may close sockets."""
    with ExitStack() as stack:
        pair = Pair(stack)
        port = pair.port
        command = [each.replace("PORT", str(port)) for each in arguments]
        done = subprocess.run([*FOURTUPLE, "sockets", *command], capture_output=True, text=True, input="", check=False)
        ends = []
        for sock in (pair.here, pair.there):
            sock.setblocking(False)
            try:
                ends.append(str(sock.recv(1)))
            except OSError as error:
                ends.append(type(error).__name__)
        with socket.socket() as late:
            late.settimeout(5)
            listens = late.connect_ex(pair.listener.getsockname()) == 0
        return {"code": done.returncode, "out": done.stdout, "err": done.stderr, "ends": sorted(ends),
                "listens": listens, "port": port}  # fmt: skip


def test_a_connection_is_closed_and_its_listener_is_not() -> None:
    done = alone(closing, "--close", "--yes", "--port", "PORT")
    assert done["code"] == 0
    assert done["ends"] == ["ConnectionAbortedError", "ConnectionResetError"]
    assert f"left alone: the listener at 127.0.0.1:{done['port']}" in done["err"]
    assert done["out"].splitlines()[-1].startswith("closed 1 of 2; 1 had gone by then")
    assert done["listens"]


def test_a_listener_is_closed_if_it_is_named() -> None:
    done = alone(closing, "--close", "--yes", "--port", "PORT", "--listener", "127.0.0.1:PORT")
    assert done["code"] == 0
    assert not done["listens"]


def test_it_asks_and_closes_nothing_without_an_answer() -> None:
    done = alone(closing, "--close", "--port", "PORT")
    assert done["code"] == 2
    assert "standard input is not a terminal: give --yes" in done["err"]
    assert done["ends"] == ["BlockingIOError", "BlockingIOError"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--close", "--yes", "--port", "1"], "there is nothing to close"),
        (["--close", "--yes", "--port", "1", "--listener", "127.0.0.1:1"], "no listener at 127.0.0.1:1 is among"),
    ],
)
def test_nothing_to_close_is_a_failure(run: Run, arguments: list[str], says: str) -> None:
    done = run("sockets", *arguments)
    assert done.code == 1
    assert says in done.err


def refused() -> dict[str, Any]:
    """Without the privilege: a child of another user, in a user namespace where it is nobody."""
    with ExitStack() as stack:
        pair = Pair(stack)
        command = [*FOURTUPLE, "sockets", "--close", "--yes", "--port", str(port_of(pair.here))]
        nobody = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", *command]
        done = subprocess.run(nobody, capture_output=True, text=True, check=False)
        return {"code": done.returncode, "err": done.stderr, "out": done.stdout}


def test_what_the_kernel_refuses_is_said(require_program: Any) -> None:
    require_program("setpriv")
    done = alone(refused)
    if "setpriv" in done["err"]:
        pytest.skip(f"privileges cannot be dropped here: {done['err'].strip()}")
    assert done["code"] == 1
    assert "not closed: 127.0.0.1:" in done["err"]
    assert "it needs CAP_NET_ADMIN" in done["err"]
    assert "closed 0 of 2" in done["out"]


def test_the_sample_has_every_kind() -> None:
    assert isinstance(SAMPLE, Snapshot)
    assert SAMPLE.listeners
    assert SAMPLE.connections
    assert SAMPLE.unix


def test_only_one_form_of_output(run: Run) -> None:
    done = run("sockets", "--json", "--csv")
    assert (done.code, done.out) == (2, b"")
    assert "Give only one of --json, --csv." in done.err
    assert run("sockets", "--csv", "--csv", "port=1").code == 0
