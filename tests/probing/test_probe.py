"""A probe of everything that can happen between "connect" and the first octet, and its verdict."""

from __future__ import annotations

import dataclasses
import re
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certificates import authority
from fourtuple.address import Address
from fourtuple.errors import AddressError, ConnectRefused, ConnectTimeout
from fourtuple.framing import Line, Raw, parse_framing
from fourtuple.net.sockets import reset_on_close
from fourtuple.options import Tls
from fourtuple.probing.asking import probe
from fourtuple.probing.conversing import Talk
from fourtuple.probing.result import Found, Resolved
from fourtuple.probing.verdict import CERTAIN, LIKELY, OPEN, Verdict, verdict, verdict_over
from inspector.scenes import drop_all, port_of
from probing import targets

NOW = datetime.now(UTC)


def probed(address: str, **wishes: Any) -> tuple[Found, Verdict]:
    wishes = {"framing": Raw(), "timeout": 20.0, "wait": 20.0} | wishes
    found = probe(Address.parse(address), Talk(**wishes))
    judged = verdict(found, NOW)
    assert judged.sure != CERTAIN or "perhaps" not in judged.text, "a guess is advice"
    return found, judged


@pytest.fixture
def ca(tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    path.write_bytes(authority().cert_pem.bytes())
    return str(path)


# -- before the connection --------------------------------------------------------------------------------


def test_a_closed_port(closed_port: str) -> None:
    found, judged = probed(closed_port)
    assert (judged.word, judged.sure, judged.code) == ("refused", CERTAIN, 3)
    (attempt,) = found.attempts
    assert isinstance(attempt.error, ConnectRefused)
    assert found.connected is None


def test_a_black_hole() -> None:
    """Every SYN is dropped, as by a firewall."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        drop_all(listener)
        found, judged = probed(f"127.0.0.1:{port_of(listener)}", timeout=0.5)
    assert (judged.word, judged.sure, judged.code) == ("unanswered", OPEN, 4)
    assert "the accept queue of the server is full" in judged.advice
    assert found.attempts[0].full_queue is None  # it was looked at, and is not


def test_a_full_accept_queue_of_this_machine_is_reported_for_certain() -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1))
        for _ in range(2):
            stack.enter_context(socket.create_connection(listener.getsockname()))
        found, judged = probed(f"127.0.0.1:{port_of(listener)}", timeout=0.5)
    assert (judged.word, judged.sure, judged.code) == ("queue-full", CERTAIN, 4)
    assert judged.text == "the accept queue is full: 2 waiting, with a backlog of 1"
    assert found.attempts[0].full_queue == (2, 1)


def test_a_name_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    found, judged = probed("nobody.invalid:80")
    assert (judged.word, judged.code) == ("no-such-name", 3)
    assert found.resolved is not None
    assert found.attempts == ()


def resolving(monkeypatch: pytest.MonkeyPatch, answer: Exception | list[Any]) -> None:
    at_once: Callable[..., Any] = socket.getaddrinfo

    def getaddrinfo(*what: Any, flags: int = 0, **options: Any) -> Any:
        if flags:  # a literal
            return at_once(*what, flags=flags, **options)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_a_dead_ipv6_and_a_live_ipv4_address(monkeypatch: pytest.MonkeyPatch) -> None:
    with targets.server(targets.greets) as address, socket.socket(socket.AF_INET6) as dead:
        port = int(address.rpartition(":")[2])
        try:
            dead.bind(("::1", port))
        except OSError as error:
            pytest.skip(f"no IPv6 at this port: {error}")
        dead.listen()
        drop_all(dead)
        tcp = socket.SOCK_STREAM
        both = [(socket.AF_INET6, tcp, 6, "", ("::1", port, 0, 0)), (socket.AF_INET, tcp, 6, "", ("127.0.0.1", port))]
        resolving(monkeypatch, both)
        found, judged = probed(f"two.example:{port}")
    assert (judged.word, judged.code) == ("answered", 0)
    six, four = found.attempts
    assert (six.address, six.connected, six.error) == (f"[::1]:{port}", False, None)
    assert (four.address, four.connected) == (f"127.0.0.1:{port}", True)
    assert six.started < four.started
    assert six.seconds > four.seconds  # it was watched for longer than the other needed
    assert found.connected is not None
    assert found.connected.remote == f"127.0.0.1:{port}"


def test_a_unix_path_is_no_target() -> None:
    with pytest.raises(AddressError, match="a probe is for TCP"):
        probed("unix:/run/app.sock")


# -- connected --------------------------------------------------------------------------------------------


def test_a_server_that_speaks_first() -> None:
    with targets.server(targets.greets) as address:
        found, judged = probed(address)
    assert (judged.word, judged.sure, judged.code) == ("answered", CERTAIN, 0)
    assert found.heard is not None
    assert found.heard.octets == b"220 ready\r\n"
    assert found.connected is not None
    assert found.connected.info is not None
    assert "window scaling" in found.connected.info.agreed
    assert found.connected.route is not None
    assert found.connected.route.here


def test_a_message_in_a_framing() -> None:
    with targets.server(targets.echoes) as address:
        found, judged = probed(address, framing=Line(), framed=True, messages=(b"ping",))
    assert judged.word == "answered"
    assert found.heard is not None
    assert (found.heard.octets, found.heard.messages) == (b"ping\n", 1)


def test_a_proxy_header_comes_first() -> None:
    with targets.server(targets.echoes) as address:
        found, judged = probed(address, proxy_header=1)
    assert judged.word == "answered"
    assert found.heard is not None
    assert found.connected is not None
    local = found.connected.local.rpartition(":")[2]
    remote = found.connected.remote.rpartition(":")[2]
    assert found.heard.octets == f"PROXY TCP4 127.0.0.1 127.0.0.1 {local} {remote}\r\n".encode()


def test_a_server_that_ends_the_tls_handshake_without_a_word() -> None:
    def hangs_up(sock: socket.socket) -> None:
        sock.recv(1)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass

    with targets.server(hangs_up) as address:
        _, judged = probed(address, tls=Tls(), server_name="localhost")
    assert (judged.word, judged.sure, judged.code) == ("tls-failed", CERTAIN, 3)
    assert judged.text.endswith(": end of file during the TLS handshake")
    assert judged.advice == "Perhaps it does not use TLS at this port: probe without --tls."


def test_an_answer_in_another_framing() -> None:
    with targets.server(targets.greets) as address:
        _, judged = probed(address, framing=parse_framing("u32"), framed=True)
    assert (judged.word, judged.code) == ("broken-framing", 1)


def test_a_server_that_resets_at_once() -> None:
    with targets.server(targets.resets) as address:
        _, judged = probed(address)
    assert (judged.word, judged.code) == ("reset", 3)


def test_a_reset_after_a_message_was_sent() -> None:
    with targets.server(targets.resets_later) as address:
        found, judged = probed(address, framing=parse_framing("line"), messages=(b"hello",), wait=5.0)
    assert found.heard is not None
    assert found.heard.sent == 6
    assert (judged.word, judged.code) == ("reset-later", 1)
    # How long it took is not exact on a busy machine.
    assert re.fullmatch(r"connected, sent 6 octets, and reset after [0-9.]+ s before an octet came", judged.text)
    assert "The peer took the connection and reset it" in judged.advice


def test_a_reset_of_a_connection_on_which_nothing_was_said() -> None:
    with targets.server(targets.resets_unasked) as address:
        _, judged = probed(address, wait=5.0)
    assert (judged.word, judged.code) == ("reset-later", 1)
    assert re.search(r"nothing sent, and reset after [0-9.]+ s before an octet came", judged.text)


@pytest.mark.parametrize(
    ("octets", "end", "code"),
    [(b"hel", "silence", 4), (b"\x15\x03\x03\0\x02\x02\x46", "silence", 4), (b"hel", "reset", 1)],
)
def test_a_part_of_the_message_that_was_waited_for(octets: bytes, end: str, code: int) -> None:
    def says_a_part(sock: socket.socket) -> None:
        sock.sendall(octets)
        if end == "silence":
            targets.is_silent(sock)
        time.sleep(0.2)
        reset_on_close(sock)

    with targets.server(says_a_part) as address:
        found, judged = probed(address, framing=parse_framing("line"), framed=True, wait=0.5)
    assert found.heard is not None
    assert (found.heard.octets, found.heard.messages, found.heard.end) == (octets, 0, end)
    assert (judged.word, judged.sure, judged.code) == ("incomplete", "certain", code)
    assert judged.text.startswith("answered, but a part of a message came, and then")


def test_a_server_that_closes_at_once() -> None:
    with targets.server(targets.closes) as address:
        _, judged = probed(address)
    assert (judged.word, judged.code) == ("closed", 1)


def test_a_silent_server_from_which_nothing_was_expected() -> None:
    with targets.server(targets.is_silent) as address:
        _, judged = probed(address, wait=1.0)
    assert (judged.word, judged.sure, judged.code) == ("open", CERTAIN, 0)
    assert "it was accepted, as the other end on this machine shows" in judged.text


def test_a_silent_server_that_was_asked_something() -> None:
    with targets.server(targets.is_silent) as address:
        _, judged = probed(address, messages=(b"hello",), wait=1.0)
    assert (judged.word, judged.code) == ("silent", 4)


def test_a_server_of_this_machine_that_never_accepts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found, judged = probed(f"127.0.0.1:{port_of(listener)}", wait=0.2)
    assert (judged.word, judged.sure, judged.code) == ("not-accepted", CERTAIN, 4)
    assert found.connected is not None
    assert found.connected.waits_for_accept


def test_a_server_elsewhere_that_perhaps_never_accepts() -> None:
    """Over there nobody can look: the verdict says so."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found, _ = probed(f"127.0.0.1:{port_of(listener)}", messages=(b"hello",), wait=0.2)
    assert found.connected is not None
    elsewhere = dataclasses.replace(found, connected=dataclasses.replace(found.connected, waits_for_accept=None))
    judged = verdict(elsewhere, NOW)
    assert (judged.word, judged.sure, judged.code) == ("silent", OPEN, 4)
    assert judged.text.endswith("perhaps never accepted")


# -- TLS --------------------------------------------------------------------------------------------------


def test_a_peer_with_tls_is_verified_and_described(ca: str) -> None:
    with targets.server(targets.speaks_tls()) as address:
        found, judged = probed(address, tls=Tls(ca=ca), server_name="127.0.0.1")
    assert (judged.word, judged.code) == ("answered", 0)
    assert found.tls is not None
    assert found.tls.verified
    assert found.tls.version == "TLSv1.3"
    assert found.tls.certificate is not None
    assert found.tls.certificate.names == ("127.0.0.1",)
    assert found.heard is not None
    assert found.heard.octets == b"hello\n"


def test_an_expired_certificate(ca: str) -> None:
    end = datetime.now(UTC) - timedelta(days=3, hours=1)
    with targets.server(targets.speaks_tls(not_after=end)) as address:
        found, judged = probed(address, tls=Tls(ca=ca), server_name="127.0.0.1")
    assert (judged.word, judged.text, judged.code) == (
        "certificate-expired",
        "the certificate has expired 3 days ago",
        3,
    )
    assert found.tls is not None
    assert found.tls.certificate is not None
    assert found.tls.certificate.not_after == end.replace(microsecond=0)


def test_a_certificate_of_another_name(ca: str) -> None:
    with targets.server(targets.speaks_tls("other.example")) as address:
        _, judged = probed(address, tls=Tls(ca=ca), server_name="this.example")
    assert (judged.word, judged.code) == ("certificate-name", 3)
    assert judged.text == "the certificate is for other.example"


def test_a_certificate_that_nobody_here_trusts() -> None:
    with targets.server(targets.speaks_tls()) as address:
        found, judged = probed(address, tls=Tls(), server_name="127.0.0.1")
    assert (judged.word, judged.code) == ("certificate-untrusted", 3)
    assert found.tls is not None
    assert found.tls.certificate is not None
    assert not found.tls.verified


def test_a_plain_server_asked_for_tls(ca: str) -> None:
    with targets.server(targets.answers_plainly) as address:
        _, judged = probed(address, tls=Tls(ca=ca), server_name="127.0.0.1")
    assert (judged.word, judged.sure, judged.code) == ("no-tls", CERTAIN, 3)


def test_a_silent_server_asked_for_tls(ca: str) -> None:
    with targets.server(targets.is_silent) as address:
        _, judged = probed(address, tls=Tls(ca=ca), server_name="127.0.0.1", timeout=1.0)
    assert judged.word == "tls-unanswered"
    assert judged.code == 4


def test_a_server_that_never_accepts_asked_for_tls(ca: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        _, judged = probed(f"127.0.0.1:{port_of(listener)}", tls=Tls(ca=ca), server_name="127.0.0.1", timeout=1.0)
    assert (judged.word, judged.sure, judged.code) == ("not-accepted", CERTAIN, 4)


# -- several ----------------------------------------------------------------------------------------------


def test_a_mixture_of_answers_and_silence_says_more_than_either() -> None:
    answered, silent = Verdict("answered", "", CERTAIN, 0), Verdict("unanswered", "", OPEN, 4)
    mixed = verdict_over([answered, silent, answered])
    assert (mixed.word, mixed.sure, mixed.code) == ("sometimes", LIKELY, 4)
    assert mixed.text == "1 of 3 SYNs were not answered"
    assert verdict_over([answered, answered]) == answered
    assert verdict_over([silent, silent]) == silent
    refused = Verdict("refused", "", CERTAIN, 3)
    assert verdict_over([answered, refused]) == refused


def test_a_name_server_that_does_not_answer() -> None:
    error = ConnectTimeout("a.example:80", 110, "the name 'a.example'")
    judged = verdict(Found(address="a.example:80", resolved=Resolved((), 5.0, False, error)), NOW)
    assert (judged.word, judged.code) == ("name-unanswered", 4)


def test_the_reference_has_every_verdict() -> None:
    here = Path(__file__).parents[2]
    code = here.joinpath("src/fourtuple/probing/verdict.py").read_text()
    page = here.joinpath("docs/reference/command-line.md").read_text()
    words = re.findall(r'(?:Verdict\(|\(\w+,)\s*"([a-z-]+)"', code)
    assert len(words) > 20
    assert [word for word in words if f"`{word}`" not in page] == []
