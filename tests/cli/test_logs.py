"""`fourtuple serve --log-format json` and `--pcap`."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import ENVIRONMENT, FOURTUPLE, Serve


def test_json_lines_from_listening_to_drained(tmp_path: Path) -> None:
    command = [*FOURTUPLE, "serve", "echo", "--framing", "line", "--port", "0", "--log-format", "json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=ENVIRONMENT
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        told: list[dict[str, Any]] = [json.loads(process.stdout.readline())]
        assert told[0]["event"] == "listening"
        port = int(told[0]["address"].rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(b"\x1b[2J\n")
            assert sock.recv(100) == b"\x1b[2J\n"
        told += [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGTERM)
        told += map(json.loads, process.stdout)
        assert process.stderr.read() == ""
    assert process.returncode == 0
    assert [line["event"] for line in told] == ["listening", "accepted", "closed", "draining", "drained"]
    assert (told[2]["octets_in"], told[2]["messages_out"], told[2]["side"]) == (5, 1, "peer")


def test_pcap_has_the_octets_of_both_directions(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "x.pcap"
    server = serve("echo", "--framing", "line", "--pcap", str(file))
    with server.connect() as sock:
        sock.sendall(b"hello\n")
        assert sock.recv(100) == b"hello\n"
    assert server.stop().code == 0
    assert file.read_bytes().count(b"hello\n") == 2


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["echo", "--hexdump", "--log-format", "json"], "--hexdump does not work with --log-format json: use --pcap"),
        (["echo", "--pcap", "no/such/folder/x"], "--pcap no/such/folder/x: No such file or directory"),
    ],
)
def test_what_cannot_be(arguments: list[str], text: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [*FOURTUPLE, "serve", *arguments, "--port", "0"],
        capture_output=True, text=True, cwd=tmp_path, env=ENVIRONMENT, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert text in " ".join(done.stderr.split())


@pytest.mark.parametrize("form", ["json", "console"])
def test_what_the_loop_finds_is_reported_as_all_else(tmp_path: Path, form: str) -> None:
    """It may have the peer's text in it, and must not be a line of another form."""
    (tmp_path / "service.py").write_text(
        "import asyncio\n"
        "from fourtuple import Service\n"
        "service = Service('line')\n"
        "def fail(text):\n"
        "    raise ValueError(text)\n"
        "@service.reply\n"
        "def reply(message):\n"
        "    asyncio.get_running_loop().call_soon(fail, 'forged\\n#9 closed \\x1b[2J')\n"
        "    return message\n"
    )
    command = [*FOURTUPLE, "serve", "service.py", "--port", "0", "--log-format", form]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=ENVIRONMENT
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        address = json.loads(first)["address"] if form == "json" else first.split()[2]
        with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))) as sock:
            sock.sendall(b"hello\n")
            assert sock.recv(100) == b"hello\n"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    if form == "json":
        (told,) = [each for each in map(json.loads, out.splitlines()) if each["event"] == "uncaught"]
        assert (told["error"], told["text"]) == ("ValueError", "forged\n#9 closed \x1b[2J")
        assert err == ""
    else:
        assert "  ValueError: forged\\n#9 closed \\x1b[2J" in err.splitlines()
