"""`fourtuple probe`: its screens, its exit codes, JSON, counting and watching."""

from __future__ import annotations

import json
import socket
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from cli.conftest import ENVIRONMENT, FOURTUPLE, Run, Serve
from cli.screens import same_text
from fourtuple.cli.probe_show import lines, short_line, summary
from fourtuple.errors import ConnectRefused, TlsCertificateRefused
from fourtuple.inspector.routes import Route
from fourtuple.inspector.units import bars
from fourtuple.net.tcpinfo import TcpInfo
from fourtuple.probing.result import Attempt, Connected, Found, Heard, Resolved, Tls
from fourtuple.probing.verdict import verdict, verdict_over
from fourtuple.probing.x509 import Certificate
from inspector.scenes import port_of
from probing import targets

NOW = datetime(2027, 1, 5, 12, tzinfo=UTC)
INFO = TcpInfo.decode(bytes([1, 0, 0, 0, 0, 7, 0x77, 0]) + bytes(8) + (1448).to_bytes(4, "little") + bytes(48)
                      + (11_300).to_bytes(4, "little") + bytes(200))  # fmt: skip
CERTIFICATE = Certificate(
    "CN=www.example", "CN=An authority,O=Example", NOW - timedelta(days=90), NOW - timedelta(days=2),
    ("www.example", "example"),
)  # fmt: skip
MADE = Connected("192.0.2.7:51000", "198.51.100.9:443", 0.0113, INFO, Route("eth0", "192.0.2.1", "192.0.2.7", False))
SIX = Attempt("[2001:db8::9]:443", 0.0, 1.261, False)
FOUR = Attempt("198.51.100.9:443", 0.25, 0.0113, True)

SCREENS = {
    "refused": Found(
        address="www.example:443",
        resolved=Resolved(("198.51.100.9:443",), 0.0123, False),
        attempts=(Attempt("198.51.100.9:443", 0.0, 0.0112, False, ConnectRefused("198.51.100.9:443")),),
    ),
    "dead-ipv6": Found(
        address="www.example:443",
        resolved=Resolved((SIX.address, FOUR.address), 0.0123, False),
        attempts=(SIX, FOUR),
        connected=MADE,
        heard=Heard(0.0034, b"220 \x1b[31mready\r\n"),
    ),
    "expired": Found(
        address="www.example:443",
        resolved=Resolved((FOUR.address,), 0.0123, False),
        attempts=(FOUR,),
        connected=MADE,
        tls=Tls(0.031, "TLSv1.3", "TLS_AES_256_GCM_SHA384", None, CERTIFICATE, False,
                TlsCertificateRefused("the peer's certificate does not verify: certificate has expired", "", 10), 10),
    ),
    "silent": Found(address="198.51.100.9:443", resolved=Resolved((FOUR.address,), 0.0, True), attempts=(FOUR,),
                    connected=MADE, heard=Heard(1.0, end="silence"), expected=True),
}  # fmt: skip


@pytest.mark.parametrize("name", SCREENS)
def test_each_verdict_has_its_screen(name: str) -> None:
    found = SCREENS[name]
    same_text(f"probe-{name}", "\n".join(lines(found, verdict(found, NOW), NOW)) + "\n")


def test_several_probes_are_a_line_each_and_a_summary() -> None:
    founds = [SCREENS["silent"], Found(address="198.51.100.9:443", attempts=(SIX,), timeout=5), SCREENS["silent"]]
    judged = [verdict(found, NOW) for found in founds]
    told = [short_line(number, *each) for number, each in enumerate(zip(founds, judged, strict=True), 1)]
    told += summary(founds, verdict_over(judged))
    same_text("probe-several", "\n".join(told) + "\n")


def test_bars_follow_the_seconds_and_show_failures() -> None:
    assert bars([0.001, 0.008, None, 0.004]) == "▂█x▅"
    assert bars([None, None]) == "xx"
    assert bars([]) == ""
    assert bars([0.0]) == "▁"


def test_a_peer_that_speaks_is_answered(run: Run) -> None:
    with targets.server(targets.greets) as address:
        done = run("probe", address, "--wait", "20")
    assert (done.code, done.err) == (0, "")
    assert f"  tried     {address}: connected in " in done.text
    assert "  heard     b'220 ready\\r\\n' after " in done.text
    assert "answered: connected, and the peer speaks (certain)" in done.text


def test_the_exit_code_follows_the_verdict(run: Run) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        done = run("probe", f"127.0.0.1:{port_of(bound)}")
    assert done.code == 3
    assert "refused: the host answered the SYN with a reset: no socket listens there (certain)" in done.text
    with targets.server(targets.closes) as address:
        assert run("probe", address, "--wait", "20").code == 1
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert run("probe", f"127.0.0.1:{port_of(listener)}", "--wait", "0.1").code == 4
    assert run("probe", "unix:/run/app.sock").code == 2
    assert run("probe", "127.0.0.1:1", "--count", "2", "--watch").code == 2
    assert run("probe", "127.0.0.1:1", "--framing", "fixed:2", "--send", "abc").code == 2


def test_json_has_the_verdict_and_what_was_heard(run: Run) -> None:
    with targets.server(targets.echoes) as address:
        done = run("probe", address, "--framing", "line", "--send", "hello", "--wait", "20", "--json")
    found = json.loads(done.out)
    assert (found["verdict"], found["exit_code"], done.code) == ("answered", 0, 0)
    assert bytes.fromhex(found["heard"]["octets"]) == b"hello\n"
    assert found["connected"]["info"]["snd_mss"] > 0
    assert found["attempts"][0]["connected"] is True


def test_count_repeats_the_probe(run: Run) -> None:
    with targets.server(targets.greets) as address:
        done = run("probe", address, "--wait", "20", "--count", "3", "--interval", "0.01")
        streamed = run("probe", address, "--wait", "20", "--count", "2", "--interval", "0.01", "--json")
    assert done.code == 0
    told = done.text.splitlines()
    assert [line.split()[:2] for line in told[:3]] == [["1", "answered"], ["2", "answered"], ["3", "answered"]]
    assert told[3] == "connected 3 of 3"
    assert len(told[4].split("  (how long each took")[0]) == 3
    assert [json.loads(line)["verdict"] for line in streamed.text.splitlines()] == ["answered", "answered"]


def test_watching_tells_when_it_is_back() -> None:
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", 0))
        port = port_of(bound)
        command = [*FOURTUPLE, "probe", f"127.0.0.1:{port}", "--watch", "--wait", "20", "--interval", "0.01"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert "refused: " in first
            with targets.server(targets.greets, port=port):
                second = process.stdout.readline()
                assert process.wait() == 0
    assert "answered: " in second


def test_a_peer_without_tls_is_reported_as_such(run: Run) -> None:
    with targets.server(targets.answers_plainly) as address:
        done = run("probe", address, "--tls", "--timeout", "20")
    assert done.code == 3
    assert "no-tls: the peer speaks no TLS here" in done.text


def test_a_json_value_is_sent_as_connect_sends_it(run: Run, serve: Serve) -> None:
    server = serve("echo", "-f", "line")
    done = run("probe", server.address, "--framing", "line+json", "--send", '{"a": 1}', "--wait", "20")
    assert done.code == 0, done.err
    assert "a whole message" in done.text
