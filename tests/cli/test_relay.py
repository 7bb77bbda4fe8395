"""`fourtuple relay` between real sockets: what passes, how it ends, what is shown, edited and broken on the way."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from certificates import Files, trusting
from cli.conftest import Run, Serve, Served
from fourtuple.net.sockets import reset_on_close
from observe.test_pcap import packets

Require = Callable[[str], str]
PATIENCE = 30.0


@contextmanager
def listening() -> Iterator[tuple[str, socket.socket]]:
    """A passive socket that a test accepts at."""
    with socket.create_server(("127.0.0.1", 0)) as passive:
        passive.settimeout(PATIENCE)
        yield f"127.0.0.1:{passive.getsockname()[1]}", passive


@contextmanager
def through(
    relay: Serve, *arguments: str, tls: ssl.SSLContext | None = None
) -> Iterator[tuple[Any, socket.socket, Served]]:
    """Both ends of one relayed conversation: the client's (with TLS, its SSLSocket), the target's, and the relay."""
    with listening() as (target, passive):
        relayed = relay("127.0.0.1:0", target, *arguments)
        plain = relayed.connect()
        plain.settimeout(PATIENCE)
        secure = {"server_hostname": "localhost", "suppress_ragged_eofs": False}
        with plain if tls is None else tls.wrap_socket(plain, **secure) as client:
            served, _ = passive.accept()
            with served:
                served.settimeout(PATIENCE)
                yield client, served, relayed


def receive_exactly(sock: socket.socket, size: int) -> bytes:
    octets = b""
    while len(octets) < size:
        piece = sock.recv(size - len(octets))
        assert piece, f"the end of file after {octets!r}"
        octets += piece
    return octets


def is_reset(relayed: Served) -> bool:
    """Whether the relay resets a client's connection without an octet."""
    with relayed.connect() as client:
        client.settimeout(PATIENCE)
        try:
            client.recv(1)
        except ConnectionResetError:
            return True
    return False


def receive_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


# -- what passes, and how it ends -------------------------------------------------------------------------


def test_octets_pass_both_ways_and_so_does_each_end_of_file(relay: Serve) -> None:
    with through(relay) as (client, target, relayed):
        client.sendall(b"question")
        assert receive_exactly(target, 8) == b"question"
        client.shutdown(socket.SHUT_WR)
        assert target.recv(1) == b""
        target.sendall(b"an answer behind the end of file")
        target.close()
        assert receive_all(client) == b"an answer behind the end of file"
        assert "both ends have closed" in relayed.line_with("relayed 8 octets upstream, 32 downstream")
    done = relayed.stop()
    assert (done.code, done.err) == (0, "")


def test_the_target_may_half_close_first(relay: Serve) -> None:
    with through(relay, "-q") as (client, target, relayed):
        target.sendall(b"greeting")
        target.shutdown(socket.SHUT_WR)
        assert receive_all(client) == b"greeting"
        client.sendall(bytes(1 << 18))
        client.close()
        assert receive_all(target) == bytes(1 << 18)
    assert relayed.stop().code == 0


@pytest.mark.parametrize("side", ["client", "target"])
def test_a_reset_passes_on_as_a_reset(relay: Serve, side: str) -> None:
    with through(relay) as (client, target, relayed):
        one, other = (client, target) if side == "client" else (target, client)
        one.sendall(b"x")
        assert other.recv(1) == b"x"
        reset_on_close(one)
        one.close()
        with pytest.raises(ConnectionResetError):
            other.recv(1)
        relayed.line_with("#1 relayed")
    assert relayed.stop().code == 0, "it has passed on what happened"


def test_unix_sockets_on_both_sides(relay: Serve, serve: Serve, run: Run, tmp_path: Path) -> None:
    serve("upper", "--bind", "unix:server")
    relayed = relay("unix:relay", "unix:server")
    assert run("connect", "unix:relay", "--send", "hello").out == b"HELLO\n"
    assert relayed.stop().code == 0


def test_many_connections_at_once(relay: Serve, serve: Serve) -> None:
    relayed = relay("127.0.0.1:0", serve("upper", "-q").address, "-q", "-f", "line")
    clients = [relayed.connect() for _ in range(150)]
    for number, client in enumerate(clients):
        client.sendall(b"a%d\n" % number)
    for number, client in enumerate(clients):
        client.settimeout(PATIENCE)
        assert receive_exactly(client, len(b"a%d\n" % number)) == b"A%d\n" % number
        client.close()
    assert relayed.stop().code == 0


def test_a_slow_reader_slows_the_writer_and_memory_stays_bounded(relay: Serve) -> None:
    with through(relay, "-q") as (client, _target, relayed):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        before = resident(relayed.process.pid)
        client.settimeout(1.0)
        sent = 0
        with suppress(TimeoutError):
            while sent < 1 << 28:
                sent += client.send(bytes(1 << 16))
        # The buffers of four sockets, which the kernel lets grow to 6 MiB each, and ours.
        assert sent < 1 << 25
        assert resident(relayed.process.pid) - before < 8 << 20


def resident(pid: int) -> int:
    """Octets of memory of a process: proc(5), VmRSS."""
    (line,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def test_a_target_that_is_not_there(relay: Serve, run: Run) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        relayed = relay("127.0.0.1:0", f"127.0.0.1:{bound.getsockname()[1]}")
        assert is_reset(relayed)
        done = relayed.stop()
    assert done.code == 1
    assert ": refused\n  The host is up and answered at once" in done.err
    assert done.err.endswith("fourtuple: connections without a target: 1\n")


# -- stopping ---------------------------------------------------------------------------------------------


def test_a_transfer_under_way_is_finished_behind_a_signal(relay: Serve) -> None:
    size = 1 << 24
    with through(relay, "-q", "--drain-timeout", "60") as (client, target, relayed):
        client.sendall(b"GET")
        assert receive_exactly(target, 3) == b"GET"
        client.shutdown(socket.SHUT_WR)
        sending = threading.Thread(target=lambda: (target.sendall(bytes(size)), target.close()))
        sending.start()
        got = receive_exactly(client, 1 << 20)
        relayed.process.send_signal(signal.SIGTERM)
        relayed.line_with("Draining")
        got += receive_all(client)
        sending.join()
        assert len(got) == size
        assert relayed.wait().code == 0


def test_an_idle_conversation_gets_its_last_word_from_the_target(relay: Serve) -> None:
    patient = ("--drain-timeout", "60", "--linger-timeout", "60")
    with through(relay, "--drain-idle-timeout", "0.2", *patient) as (client, target, relayed):
        client.sendall(b"question")
        assert receive_exactly(target, 8) == b"question"
        relayed.process.send_signal(signal.SIGTERM)
        assert target.recv(1) == b"", "idle: the target is half-closed, not the client"
        target.sendall(b"late answer")
        target.close()
        assert receive_all(client) == b"late answer"
        client.close()
        assert relayed.wait().code == 0


def test_a_conversation_that_does_not_end_is_cut_and_told_by_the_exit_code(relay: Serve) -> None:
    with through(relay, "--drain-timeout", "2", "--drain-idle-timeout", "0.1") as (client, target, relayed):
        client.sendall(b"x")
        assert target.recv(1) == b"x"
        relayed.process.send_signal(signal.SIGTERM)
        assert target.recv(1) == b""
        assert relayed.wait().code == 1


# -- TLS and PROXY ----------------------------------------------------------------------------------------


def test_tls_is_put_on_and_taken_off(relay: Serve, serve: Serve, run: Run, files: Files) -> None:
    server = serve("upper", "--tls-certificate", files.both)
    plain = relay("127.0.0.1:0", server.address, "--target-tls-ca", files.ca, "--target-server-name", "localhost")
    assert run("connect", plain.address, "--send", "hello").out == b"HELLO\n"
    tls = relay("127.0.0.1:0", plain.address, "--tls-certificate", files.both)
    done = run("connect", tls.address, "--tls-ca", files.ca, "--server-name", "localhost", "--send", "hello")
    assert done.out == b"HELLO\n"
    assert "hello" in tls.line_with(" > "), "what passes is shown in the clear"
    assert (tls.stop().code, plain.stop().code) == (0, 0)


def test_a_certificate_that_does_not_verify_is_a_target_that_failed(relay: Serve, serve: Serve, files: Files) -> None:
    server = serve("upper", "--tls-certificate", files.both)
    relayed = relay("127.0.0.1:0", server.address, "--target-tls")
    assert is_reset(relayed)
    done = relayed.stop()
    assert done.code == 1
    assert "the peer's certificate does not verify" in done.err


def test_close_notify_passes_as_the_end_of_file_and_a_truncation_as_a_reset(relay: Serve, files: Files) -> None:
    for whole in (True, False):
        with through(relay, "--tls-certificate", files.both, tls=trusting()) as (client, target, relayed):
            client.sendall(b"said")
            assert receive_exactly(target, 4) == b"said"
            if whole:
                target.shutdown(socket.SHUT_WR)
                assert client.recv(1) == b"", "the end of file is close_notify here"
                client.unwrap().close()
                assert target.recv(1) == b""
            else:
                client.shutdown(socket.SHUT_WR)  # FIN without close_notify: somebody may have cut it off
                with pytest.raises(ConnectionResetError):
                    target.recv(1)
            relayed.line_with("#1 relayed 4")
        assert relayed.stop().code == 0


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_proxy_header_is_put_on_and_taken_off(relay: Serve, serve: Serve, run: Run, version: str) -> None:
    server = serve("upper", "--proxy-protocol", "required")
    relayed = relay("127.0.0.1:0", server.address, "--proxy-header", version, "--proxy-protocol", "required")
    header = b"PROXY TCP4 192.0.2.7 192.0.2.8 1234 80\r\n"
    assert relayed.ask(header + b"hello\n") == b"HELLO\n"
    assert "192.0.2.8:80 <- 192.0.2.7:1234" in server.line_with("closed"), "the client's name, not the relay's"
    assert relayed.stop().code == 0


def test_the_header_of_a_relay_names_its_client(relay: Serve) -> None:
    with through(relay, "--proxy-header", "1") as (client, target, _relayed):
        host, port = client.getsockname()
        there = client.getpeername()[1]
        expected = f"PROXY TCP4 {host} 127.0.0.1 {port} {there}\r\n".encode()
        assert receive_exactly(target, len(expected)) == expected


# -- what is shown ----------------------------------------------------------------------------------------


def test_messages_are_shown_as_the_framing_cuts_them(relay: Serve) -> None:
    with through(relay, "-f", "line") as (client, target, relayed):
        client.sendall(b"one\r\ntw")
        client.sendall(b"o\nrest")
        assert receive_exactly(target, 13) == b"one\r\ntwo\nrest", "octets pass as they came, and do not wait"
        assert relayed.line_with(" > ").endswith(r"#1 > 5 octets: one\r\n")
        assert relayed.line_with(" > ").endswith(r"#1 > 4 octets: two\n")
        target.sendall(b"\x1b[2Jbell\x07\n")
        assert relayed.line_with(" < ").endswith(r"#1 < 10 octets: \x1b[2Jbell\x07\n")


def test_a_hexdump_and_a_capture(relay: Serve, tmp_path: Path, require_program: Require) -> None:
    with through(relay, "--hexdump", "--pcap", "x.pcap") as (client, target, relayed):
        client.sendall(b"question")
        receive_exactly(target, 8)
        target.sendall(b"answer")
        receive_exactly(client, 6)
        client.close()
        target.close()
        relayed.line_with("#1 > 8 octets")
        assert "71 75 65 73 74 69 6f 6e" in relayed.line()
        relayed.line_with("#1 relayed 8")
    assert relayed.stop().code == 0
    assert [each.payload for each in packets(tmp_path / "x.pcap") if each.payload] == [b"question", b"answer"]


@pytest.mark.peers
def test_a_capture_as_tshark_reads_it(relay: Serve, serve: Serve, tmp_path: Path, require_program: Require) -> None:
    tshark = require_program("tshark")
    relayed = relay("127.0.0.1:0", serve("upper", "-q").address, "-q", "--pcap", "x.pcap")
    assert relayed.ask(b"hello\n") == b"HELLO\n"
    assert relayed.stop().code == 0
    command = [tshark, "-r", str(tmp_path / "x.pcap"), "-q", "-z", "follow,tcp,ascii,0"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "hello" in shown
    assert "HELLO" in shown


def test_events_as_json(relay: Serve, serve: Serve) -> None:
    with listening() as (target, passive):
        process = relay_json(relay, target)
        with socket.create_connection(("127.0.0.1", process.port)) as client, passive.accept()[0] as served:
            client.sendall(b"hi\n")
            assert receive_exactly(served, 3) == b"hi\n"
            client.close()
            served.close()
            lines = [json.loads(process.line_with('"event"'))]
            while lines[-1]["event"] != "relay-ended":
                lines.append(json.loads(process.line_with('"event"')))
    kinds = [line["event"] for line in lines]
    assert sorted({*kinds}) == [
        "accepted", "closed", "end-relayed", "message-relayed", "relay-ended", "target-connected",
    ]  # fmt: skip
    assert kinds.count("end-relayed") == 2
    message = lines[kinds.index("message-relayed")]
    assert {"direction": "upstream", "what": "passed", "offset": 0, "octets": "hi\\n"}.items() <= message.items()
    assert lines[kinds.index("relay-ended")]["octets_up"] == 3
    assert process.stop().code == 0


def relay_json(relay: Serve, target: str) -> Served:
    """A relay that logs JSON: its first line has the address."""
    served = relay("127.0.0.1:0", target, "--log-format", "json", "-f", "line", listeners=0)
    served.addresses.append(json.loads(served.line())["address"])
    return served


def test_a_stream_that_breaks_the_framing_passes_and_is_reported(relay: Serve) -> None:
    with through(relay, "-f", "netstring") as (client, target, relayed):
        client.sendall(b"3:one,garbage")
        assert receive_exactly(target, 13) == b"3:one,garbage"
        client.close()
        target.close()
        relayed.line_with("#1 relayed 13")
    done = relayed.stop()
    assert done.code == 1
    assert "#1 upstream: " in done.err
    assert "the octets pass on uncut" in done.err
    assert done.err.endswith("fourtuple: streams that broke the framing: 1\n")


# -- a function that edits --------------------------------------------------------------------------------

EDIT = r"""
def edit(message, conversation):
    if message == b"drop":
        return None
    if message == b"twice":
        return [message, b"again"]
    if message == b"who":
        conversation.inject(b"you are %s" % conversation.client.remote.host.encode(), "downstream")
        return None
    if message == b"count":
        conversation.state["count"] = conversation.state.get("count", 0) + 1
        return b"%d" % conversation.state["count"]
    if message == b"fail":
        raise ValueError("no")
    if message == b"wrong":
        return 7
    if message == b"split":
        return b"a\nb"
    return message.replace(b"secret", b"******") if conversation.direction == "upstream" else message

other = 1

def short(message):
    return message

async def later(message, conversation):
    return message
"""


@pytest.fixture
def edit(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(EDIT)
    return "mine.py"


def test_a_function_changes_drops_adds_and_injects_messages(relay: Serve, edit: str) -> None:
    with through(relay, "-f", "line", "--edit", edit) as (client, target, relayed):
        client.sendall(b"as it is\r\nthe secret\ndrop\ntwice\ncount\ncount\n")
        expected = b"as it is\r\nthe ******\ntwice\nagain\n1\n2\n"
        assert receive_exactly(target, len(expected)) == expected
        client.sendall(b"who\n")
        assert receive_exactly(client, 18) == b"you are 127.0.0.1\n"
        assert "the ******" in relayed.line_with("> edited")
        relayed.line_with("> dropped")
        relayed.line_with("< injected")
        target.sendall(b"a secret\n")
        assert receive_exactly(client, 9) == b"a secret\n"
        client.sendall(b"unfinished")
        assert select.select([target], [], [], 0.1)[0] == [], "a message is edited when it is whole"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (b"fail\n", "ValueError: no"),
        (b"wrong\n", "what the editing function made for upstream cannot be sent"),
        (b"split\n", "what the editing function made for upstream cannot be sent"),
    ],
)
def test_a_function_that_fails_ends_its_conversation(relay: Serve, edit: str, message: bytes, said: str) -> None:
    with through(relay, "-f", "line", "--edit", f"{edit}:edit") as (client, target, relayed):
        client.sendall(message)
        for end in (client, target):
            with pytest.raises(ConnectionResetError):
                end.recv(1)
        relayed.line_with("#1 closed")
        assert said in relayed.line_with("#1 relayed 0 octets"), "the kind of the error too"
        done = relayed.stop()
    assert done.code == 1
    assert said in done.err
    assert "handler mine.edit" in done.err, "the function is named, not the relay that calls it"
    assert "fourtuple/relay" not in done.err
    assert "fourtuple.relay" not in done.err
    assert "conversations ended by an error: 1" in done.err


def test_what_cannot_be_cut_does_not_pass_a_function_that_edits(relay: Serve, edit: str) -> None:
    with through(relay, "-f", "netstring", "--edit", edit) as (client, target, relayed):
        client.sendall(b"6:secret,garbage secret")
        with pytest.raises(ConnectionResetError):
            assert b"secret" not in receive_all(target)
    done = relayed.stop()
    assert done.code == 1
    assert "the conversation is ended" in done.err


# -- toxics -----------------------------------------------------------------------------------------------


def test_toxics_of_both_directions(relay: Serve) -> None:
    with through(relay, "-f", "line", "-t", "duplicate:stream=upstream", "-t", "limit_data:bytes=4") as (
        client, target, relayed,
    ):  # fmt: skip
        client.sendall(b"one\ntwo\n")
        assert receive_exactly(target, 16) == b"one\none\ntwo\ntwo\n"
        target.sendall(b"0123456789\n")
        assert receive_all(client) == b"0123"
        assert target.recv(1) == b""
        assert "with duplicate:stream=upstream; limit_data:bytes=4" in relayed.line_with("relayed to")
        assert "closed by a toxic" in relayed.line_with("#1 relayed 16")
    assert relayed.stop().code == 0


def test_a_reset_and_a_latency(relay: Serve) -> None:
    with through(relay, "-t", "reset_peer:timeout=0") as (client, target, _relayed):
        for end in (client, target):
            with pytest.raises(ConnectionResetError):
                end.recv(1)
    with through(relay, "-t", "latency:latency=200ms,stream=both", "--seed", "1") as (client, target, _relayed):
        before = time.monotonic()
        client.sendall(b"x")
        assert target.recv(1) == b"x"
        assert time.monotonic() - before >= 0.2


def test_a_target_that_vanishes_is_not_seen_by_its_client(relay: Serve) -> None:
    for reset in (False, True):
        with through(relay, "-t", "half_open:bytes=3") as (client, target, relayed):
            target.sendall(b"one and more")
            assert receive_exactly(client, 3) == b"one"
            if reset:
                reset_on_close(target)
            target.close()
            client.sendall(b"is anybody there?")
            assert select.select([client], [], [], 0.2)[0] == [], "no octet, no FIN, no RST"
            client.shutdown(socket.SHUT_WR)
            assert select.select([client], [], [], 0.2)[0] == [], "also behind its own FIN"
            reset_on_close(client)
            client.close()
            relayed.line_with("#1 relayed")


def test_a_client_that_vanishes_is_not_seen_by_its_target(relay: Serve) -> None:
    with through(relay, "-t", "half_open:bytes=3,stream=upstream") as (client, target, relayed):
        client.sendall(b"one and more")
        assert receive_exactly(target, 3) == b"one"
        client.close()
        target.shutdown(socket.SHUT_WR)
        assert select.select([target], [], [], 0.2)[0] == [], "no octet, no FIN, no RST"
        relayed.process.send_signal(signal.SIGTERM)  # a drain does not wait for it
        relayed.line_with("#1 relayed")


def test_toxics_in_a_file_are_read_again_for_open_conversations(relay: Serve, tmp_path: Path) -> None:
    path = tmp_path / "toxics"
    path.write_text("timeout:timeout=0  # nothing comes back\n")
    with through(relay, "--toxics", "toxics") as (client, target, relayed):
        target.sendall(b"held")
        assert select.select([client], [], [], 0.1)[0] == []
        path.write_text("nonsense\n")
        relayed.process.send_signal(signal.SIGHUP)
        while "toxics cannot be used" not in (line := relayed.process.stderr.readline()):
            assert line
        assert "line 1: there is no toxic 'nonsense'" in line
        assert select.select([client], [], [], 0)[0] == []
        path.write_text("")
        relayed.process.send_signal(signal.SIGHUP)
        assert receive_exactly(client, 4) == b"held"
        assert "toxics were read again: none" in relayed.line_with("read again")
    assert relayed.stop().code == 1, "one of the files could not be used"


# -- programs and recordings ------------------------------------------------------------------------------


def test_a_program_as_the_target(relay: Serve, run: Run) -> None:
    relayed = relay("127.0.0.1:0", "exec:sort -r")
    assert run("connect", relayed.address, "-f", "raw", input=b"a\nc\nb\n").out == b"c\nb\na\n"
    assert relayed.stop().code == 0


def test_no_program_outlives_the_relay(relay: Serve, tmp_path: Path) -> None:
    (tmp_path / "stay").write_text("trap '' TERM; echo $$; while :; do sleep 0.1; done")
    relayed = relay("127.0.0.1:0", "exec:sh stay", "-q", "--drain-timeout", "1")
    with relayed.connect() as client:
        client.settimeout(PATIENCE)
        pid = int(client.recv(100))
        assert Path(f"/proc/{pid}").exists()
        assert relayed.stop().code == 1, "it was cut"
    until_gone(pid)


def until_gone(pid: int) -> None:
    """Wait for the end of a process that is not a child of ours."""
    with suppress(ProcessLookupError):
        ended = os.pidfd_open(pid)
        try:
            assert select.select([ended], [], [], PATIENCE)[0]
        finally:
            os.close(ended)


def test_a_recording_is_played_as_the_server_and_as_the_client(relay: Serve, serve: Serve, run: Run) -> None:
    server = serve("upper")
    recording = relay("127.0.0.1:0", server.address, "-q", "--pcap", "x.pcap")
    for words in (("one", "two"), ("three",)):
        sent = [part for word in words for part in ("--send", word)]
        assert run("connect", recording.address, *sent).code == 0
    assert recording.stop().code == 0

    sort = relay("127.0.0.1:0", "exec:sort", "-q", "--pcap", "sort.pcap")
    assert sort.ask(b"b\na\n") == b"a\nb\n"
    assert sort.stop().code == 0
    done = run("relay", "replay:sort.pcap", "exec:sort")
    assert (done.code, done.err) == (0, ""), "the half-close that sort waits for is in the recording"

    played = relay("127.0.0.1:0", "replay:x.pcap", "-f", "line")
    assert run("connect", played.address, "--send", "one", "--send", "two").out == b"ONE\nTWO\n"
    assert played.stop().code == 0
    done = run("relay", "replay:x.pcap", server.address, "-f", "line")
    assert (done.code, done.err) == (0, "")

    other = relay("127.0.0.1:0", "replay:x.pcap", "-f", "line")
    assert run("connect", other.address, "--send", "one", "--send", "2").out == b"ONE\nTWO\n"
    done = other.stop()
    assert done.code == 1
    assert "conversation 1 of the recording: other octets from octet 4 on" in done.err
    done = run("relay", "replay:x.pcap", serve("echo").address, "-f", "line")
    assert done.code == 1
    assert "differences from the recording: 2" in done.err


# -- usage ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("127.0.0.1:0",), "Missing argument 'TARGET'"),
        (("127.0.0.1:0", "nowhere"), "the port is missing"),
        (("127.0.0.1:0", "127.0.0.1:1", "-t", "latency:latency=100"), "a time with its unit"),
        (("127.0.0.1:0", "127.0.0.1:1", "-t", "corrupt", "-t", "corrupt"), "two toxics are named corrupt downstream"),
        (("127.0.0.1:0", "127.0.0.1:1", "--toxics", "nothing"), "--toxics nothing: No such file or directory"),
        (("127.0.0.1:9", "localhost:9"), "TARGET localhost:9 is where the relay itself listens (127.0.0.1:9)"),
        (("unix:a.sock", "unix:./a.sock"), "TARGET unix:./a.sock is where the relay itself listens (unix:a.sock)"),
        (("127.0.0.1:0", "127.0.0.1:1", "--edit", "mine.py:short"), "short takes 1 argument; expected a function of"),
        (("127.0.0.1:0", "127.0.0.1:1", "--edit", "mine.py:later"), "later is an async def; expected a plain def"),
        (("127.0.0.1:0", "127.0.0.1:1", "--edit", "mine.py:other"), "mine.py:other is not a function but an int"),
        (("127.0.0.1:0", "127.0.0.1:1", "--edit", "mine"), "a function in a file is needed, as in file.py:function"),
        (
            ("127.0.0.1:0", "127.0.0.1:1", "--hexdump", "--log-format", "json"),
            "--hexdump does not work with --log-format",
        ),
        (("127.0.0.1:0", "127.0.0.1:1", "--target-tls-ca", "/nothing"), "--target-tls-ca: cannot read /nothing"),
        (("127.0.0.1:0", "exec:"), "a command is needed"),
        (("127.0.0.1:0", "exec:no_such_program"), "there is no program 'no_such_program'"),
        (("127.0.0.1:0", "exec:cat", "--target-tls"), "takes neither TLS nor a PROXY header"),
        (("127.0.0.1:0", "replay:nothing.pcap"), "replay:nothing.pcap: No such file or directory"),
        (("127.0.0.1:0", "replay:mine.py"), "this is not a pcap file"),
        (("replay:mine.py", "127.0.0.1:1"), "this is not a pcap file"),
        (("127.0.0.1:0", "127.0.0.1:1", "-f", "lime"), "did you mean line?"),
    ],
)
def test_mistakes_in_arguments_are_refused(run: Run, edit: str, arguments: tuple[str, ...], said: str) -> None:
    done = run("relay", *arguments)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err


def test_an_address_in_use(run: Run) -> None:
    with listening() as (address, _):
        done = run("relay", address, "127.0.0.1:1")
    assert done.code == 3
    assert "in use" in done.err


def test_the_list_of_toxics(run: Run) -> None:
    shown = run("relay", "--list-toxics")
    assert shown.code == 0
    for name in (
        "latency:latency=,jitter=",
        "bandwidth",
        "slicer",
        "limit_data",
        "timeout",
        "slow_close",
        "reset_peer",
    ):
        assert name in shown.text


# -- programs that know nothing of us -----------------------------------------------------------------------


@pytest.mark.peers
@pytest.mark.parametrize("client", ["nc", "socat"])
def test_third_party_programs_on_both_sides(relay: Serve, require_program: Require, client: str) -> None:
    clients = {"nc": ["-N", "127.0.0.1"], "socat": ["-t", "30", "-"]}
    with subprocess.Popen(
        [require_program("socat"), "-d", "-d", "-t", "30", "TCP-LISTEN:0,bind=127.0.0.1,fork", "EXEC:sort"],
        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as server:  # fmt: skip
        try:
            assert server.stderr is not None
            while "listening on" not in (line := server.stderr.readline()):
                assert line
            relayed = relay("127.0.0.1:0", line.split()[-1], "-q")
            place = [str(relayed.port)] if client == "nc" else [f"TCP:127.0.0.1:{relayed.port}"]
            command = [require_program(client), *clients[client], *place]
            done = subprocess.run(command, input="b\nc\na\n", capture_output=True, text=True, check=True)
            assert done.stdout == "a\nb\nc\n", "sort answers behind the half-close"
            assert relayed.stop().code == 0
        finally:
            server.terminate()
            server.communicate()


@pytest.mark.peers
def test_openssl_on_both_sides(relay: Serve, serve: Serve, require_program: Require, files: Files) -> None:
    openssl = require_program("openssl")
    relayed = relay("127.0.0.1:0", serve("upper").address, "-q", "--tls-certificate", files.both)
    command = [openssl, "s_client", "-quiet", "-verify_quiet", "-CAfile", files.ca, "-verify_return_error"]
    with subprocess.Popen(
        [*command, "-connect", relayed.address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"hello\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"HELLO\n"
        process.kill()  # with -quiet it does not end at the end of its input
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    listener = [openssl, "s_server", "-accept", str(port), "-cert", files.both, "-quiet", "-rev"]
    with subprocess.Popen(
        listener, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as p:
        try:
            while True:
                with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
                    break
            target = (
                "127.0.0.1:0",
                f"127.0.0.1:{port}",
                "--target-tls-ca",
                files.ca,
                "--target-server-name",
                "localhost",
            )
            relayed = relay(*target, "-q")
            with relayed.connect() as client:
                client.settimeout(PATIENCE)
                client.sendall(b"hello\n")
                assert receive_exactly(client, 6) == b"olleh\n"
        finally:
            p.kill()


def test_the_octets_of_a_conversation_are_reported_once_and_as_its_peers_have_seen_them(
    relay: Serve, serve: Serve, run: Run, files: Files
) -> None:
    relayed = relay("127.0.0.1:0", serve("upper", "-q").address, "--tls-certificate", files.both, "-f", "line")
    done = run("connect", relayed.address, "--tls-verify", "none", "-f", "line", "-s", "pear", "-s", "fig")
    assert done.out == b"PEAR\nFIG\n"
    lines = [relayed.line_with("#1 closed"), relayed.line_with("#1 relayed 9")]
    assert re.fullmatch(r"#1 closed \S+ <- \S+, \d\.\d{3} s, closed by the peer", lines[0])
    assert lines[1] == "#1 relayed 9 octets upstream, 9 downstream: both ends have closed"
    assert relayed.stop().code == 0
