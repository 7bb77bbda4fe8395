"""The TLS pump, without a socket: against Python's own SSLObject, cut in every way."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import cycle

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from certificates import authority
from fourtuple.errors import (
    ConnectionBusy,
    ConnectionEnded,
    DeadlinePassed,
    EndOfFile,
    OptionError,
    OutboxFull,
    TlsAlert,
    TlsCertificateRefused,
    TlsError,
    TlsExpected,
    TlsNoAgreement,
    TlsTruncated,
)
from fourtuple.four_tuple import FourTuple
from fourtuple.framing import Fixed, Line, parse_framing
from fourtuple.options import Deadlines, Limits
from fourtuple.proxy import ProxyHeader, ProxyReader
from fourtuple.stream import Half, Layer, Path, Reason, Stream
from fourtuple.tls import FirstOctet, TlsLayer
from fourtuple.tls.records import Records
from fourtuple.tls.start import tls_layer

SERVER = FourTuple("10.0.0.2", 9999, "10.0.0.1", 40000)
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@cache
def server_context(version: str = "1.3", mutual: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority().issue_cert("localhost", key_type=trustme.KeyType.ECDSA).configure_cert(context)
    context.minimum_version = context.maximum_version = VERSIONS[version]
    context.set_alpn_protocols(["echo/1"])
    if mutual:
        authority().configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@cache
def client_context(version: str = "1.3", trust: bool = True, certificate: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = context.maximum_version = VERSIONS[version]
    context.set_alpn_protocols(["echo/1"])
    if trust:
        authority().configure_trust(context)
    if certificate:
        issued = authority().issue_cert(
            "device-7@example", common_name="device-7", organization_name="Ex, Inc", key_type=trustme.KeyType.ECDSA
        )
        issued.configure_cert(context)
    return context


class Peer:
    """Python's own SSLObject, with the wire in the test's hands."""

    def __init__(self, context: ssl.SSLContext, *, server_side: bool) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        hostname = None if server_side else "localhost"
        self.ssl = context.wrap_bio(self.incoming, self.outgoing, server_side=server_side, server_hostname=hostname)
        self.plain = b""
        self.ended = False

    def turn(self, data: bytes = b"") -> bytes:
        """Take octets, do what can be done, and return what is to be sent."""
        self.incoming.write(data)
        try:
            self.ssl.do_handshake()
            while chunk := self.ssl.read(65536):
                self.plain += chunk
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        return self.outgoing.read()

    def says(self, plain: bytes) -> bytes:
        self.ssl.write(plain)
        return self.outgoing.read()

    def finishes(self) -> bytes:
        with pytest.raises(ssl.SSLWantReadError):
            self.ssl.unwrap()
        return self.outgoing.read()


def taken(stream: Stream) -> bytes:
    """What the stream sends now."""
    octets = b""
    while stream.outbox_size:
        chunk = bytes(stream.outgoing())
        octets += chunk
        stream.sent(len(chunk), 1.0)
    return octets


def messages(stream: Stream) -> list[bytes]:
    found = []
    while stream.inbox or stream.replenish():
        found.append(stream.inbox.pop())
    return found


def over_tls(server_side: bool, version: str = "1.3", limits: Limits | None = None) -> tuple[Stream, TlsLayer]:
    stream = Stream(Line(), SERVER, limits or Limits(), 0.0, first_message=True)
    context = server_context(version) if server_side else client_context(version)
    layer = TlsLayer(
        context, 0.0, server_side=server_side, server_hostname=None if server_side else "localhost", whom=str(SERVER)
    )
    stream.start_tls(layer)
    return stream, layer


def cut(octets: bytes, size: int) -> Iterator[bytes]:
    return (octets[at : at + size] for at in range(0, len(octets), size))


def converse(stream: Stream, peer: Peer, size: int = 100_000, at_most: int = 20) -> list[bytes]:
    """Let both say what they have to say; return the messages that the stream decoded."""
    found: list[bytes] = []
    answer = peer.turn()
    for _ in range(at_most):
        for piece in cut(answer, size):
            stream.received(piece, 1.0)
            found += messages(stream)
        sent = taken(stream)
        answer = b"".join([peer.turn(piece) for piece in cut(sent, size)])
        if not sent and not answer:
            break
    return found


def joined(server_side: bool = True, version: str = "1.3") -> tuple[Stream, Peer]:
    """A stream over TLS and its peer, hands shaken."""
    stream, _ = over_tls(server_side, version)
    peer = Peer(client_context(version) if server_side else server_context(version), server_side=not server_side)
    converse(stream, peer)
    assert stream.ready
    return stream, peer


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[True, False], ids=["server", "client"])
def server_side(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


# --- the conversation -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 1000, 100_000])
def test_messages_pass_both_ways_however_the_wire_is_cut(server_side: bool, version: str, size: int) -> None:
    stream, layer = over_tls(server_side, version)
    peer = Peer(client_context(version) if server_side else server_context(version), server_side=not server_side)
    converse(stream, peer, size)
    assert layer.info is not None
    assert layer.info.version == f"TLSv{version}"
    assert (layer.info.alpn, layer.info.cipher != "") == ("echo/1", True)
    stream.send(b"from us")
    answer = peer.turn(taken(stream)) + peer.says(b"one\ntwo\n" + b"x" * 40_000 + b"\nthr") + peer.says(b"ee\n")
    found = []
    for piece in cut(answer, size):
        stream.received(piece, 1.0)
        found += messages(stream)
    assert found == [b"one", b"two", b"x" * 40_000, b"three"]
    assert peer.plain == b"from us\n"
    assert stream.path is Path.LAYERED  # start_tls() has left nothing that is looked for in vain forever


def test_what_is_sent_during_the_handshake_waits_for_its_end(server_side: bool) -> None:
    stream, layer = over_tls(server_side)
    stream.send(b"early")
    stream.send(b"bird")
    assert layer.holding == len(b"early\nbird\n")
    stream.end_writing()
    assert not stream.fin_due
    peer = Peer(client_context() if server_side else server_context(), server_side=not server_side)
    converse(stream, peer)
    assert (peer.plain, peer.ended) == (b"early\nbird\n", True)
    assert stream.fin_due
    assert layer.holding == 0


def test_the_bounds_hold_for_what_waits_for_the_handshake() -> None:
    stream, _ = over_tls(True, limits=Limits(high_water=10, low_water=5, max_outbox=100))
    stream.send(b"x" * 60)
    assert stream.crowded
    assert not stream.relieved
    stream.send(b"x" * 60)
    with pytest.raises(OutboxFull, match="holds 122 octets"):
        stream.send(b"x" * 60)


def test_a_large_message_leaves_in_whole_records() -> None:
    stream, peer = joined()
    large = bytes(range(256)) * 8192
    stream.write(large)
    assert stream.outbox_size > len(large)
    peer.turn(taken(stream))
    assert peer.plain == large


def test_the_counters_are_those_of_the_wire_and_the_tap_sees_the_conversation() -> None:
    stream, peer = joined()
    seen: list[tuple[bool, bytes]] = []
    stream.be_watched(lambda _stream, inward, octets: seen.append((inward, octets)))
    before = stream.statistics
    wire = peer.says(b"question\n")
    stream.received(wire, 1.0)
    stream.send(b"answer")
    sent = taken(stream)
    assert seen == [(True, b"question\n"), (False, b"answer\n")]
    assert stream.octets_in - before.octets_in == len(wire) > len(b"question\n")
    assert stream.octets_out - before.octets_out == len(sent) > len(b"answer\n")


def test_the_peer_has_spoken_with_its_first_octet_behind_the_handshake() -> None:
    stream, peer = joined()
    assert stream.octets_in > 0
    assert not stream.spoken
    stream.received(peer.says(b"x"), 1.0)
    assert stream.spoken
    stream.received(peer.says(b"y")[:5], 1.0)
    assert stream.spoken


def test_the_framing_may_change_under_tls() -> None:
    stream, peer = joined()
    stream.received(peer.says(b"line\n1234" + b"5678"), 1.0)
    assert stream.next_message() == b"line"
    stream.change_framing(Fixed(4))
    assert messages(stream) == [b"1234", b"5678"]


# --- the end --------------------------------------------------------------------------------------


def test_the_peers_close_notify_is_end_of_file_and_does_not_stop_our_writing(server_side: bool, version: str) -> None:
    stream, peer = joined(server_side, version)
    stream.received(peer.says(b"last\n") + peer.finishes(), 1.0)
    assert stream.next_message() == b"last"
    with pytest.raises(EndOfFile):
        stream.next_message()
    assert stream.reason is Reason.PEER_CLOSED
    stream.send(b"and you?")
    stream.end_writing()
    assert taken(stream)
    stream.received_eof(2.0)
    assert stream.read_error is None


def test_our_close_notify_does_not_stop_our_reading(server_side: bool, version: str) -> None:
    stream, peer = joined(server_side, version)
    wire = peer.says(b"x" * 300 + b"\n") + peer.says(b"more\n")
    # Half a record is in the pump when it says its close_notify.
    stream.received(wire[:100], 1.0)
    stream.send(b"bye")
    stream.end_writing()
    assert not stream.fin_due
    peer.turn(taken(stream))
    assert (peer.plain, peer.ended) == (b"bye\n", True)
    assert stream.fin_due
    stream.fin_sent(1.0)
    stream.received(wire[100:], 1.0)
    found = messages(stream)
    stream.received(peer.says(b"and more\n"), 1.0)
    assert found + messages(stream) == [b"x" * 300, b"more", b"and more"]
    peer.ssl.unwrap()
    stream.received(peer.outgoing.read(), 1.0)
    assert stream.reading is Half.ENDED
    assert stream.over


def test_end_of_file_without_close_notify_is_named_and_what_came_before_is_delivered(server_side: bool) -> None:
    stream, peer = joined(server_side)
    stream.received(peer.says(b"one\ntwo"), 1.0)
    stream.received_eof(2.0)
    assert stream.next_message() == b"one"
    with pytest.raises(TlsTruncated, match="end of file without close_notify") as caught:
        stream.next_message()
    assert isinstance(caught.value, EOFError | ConnectionError)
    assert stream.reason is Reason.NO_CLOSE_NOTIFY
    assert stream.reason.by_peer


def test_a_fin_while_closing_needs_no_close_notify() -> None:
    stream, _ = joined()
    stream.close()
    taken(stream)
    stream.fin_sent(1.0)
    stream.received_eof(2.0)
    assert stream.over
    assert stream.reason is Reason.CLOSED


def test_closing_discards_without_decrypting() -> None:
    stream, peer = joined()
    stream.close()
    stream.received(peer.says(b"too late\n"), 1.0)
    stream.received(b"not even TLS", 1.0)
    assert stream.read_error is None
    assert stream.reading is Half.OPEN


def test_closing_with_words_that_wait_for_the_handshake_goes_on_with_it() -> None:
    stream, _ = over_tls(True)
    stream.send(b"bye")
    stream.close()
    assert not stream.fin_due
    peer = Peer(client_context(), server_side=False)
    converse(stream, peer)
    assert (peer.plain, peer.ended) == (b"bye\n", True)
    assert stream.fin_due
    gone, _ = over_tls(True)
    gone.send(b"bye")
    gone.close()
    gone.received_eof(1.0)
    assert gone.fin_due


def test_closing_in_the_handshake_ends_it() -> None:
    stream, layer = over_tls(True)
    stream.close()
    assert layer.finished
    assert stream.fin_due


# --- failures -------------------------------------------------------------------------------------


def failure(stream: Stream) -> Exception:
    with pytest.raises(TlsError) as caught:
        stream.next_message()
    assert str(SERVER) in str(caught.value)
    assert stream.exhausted
    assert stream.reason is Reason.TLS_ERROR
    with pytest.raises(TlsError):
        stream.send(b"x")
    return caught.value


@pytest.mark.parametrize("octets", [b"GET / HTTP/1.1\r\n\r\n", b"\x80\x2e\x01\x03\x01", b"\0"])
def test_plain_octets_where_tls_was_expected(server_side: bool, octets: bytes) -> None:
    stream, _ = over_tls(server_side)
    stream.received(octets, 1.0)
    error = failure(stream)
    assert isinstance(error, TlsExpected)
    assert repr(octets[:16]) in str(error)


@pytest.mark.parametrize(
    "octets",
    [
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc",
        b"\x16\x02\x01",
        b"\x16\x03\x01\x7f\xff",
        b"\x16\x03\x03\0\0",
        b"\x16GET / HTTP",
    ],
)
@pytest.mark.parametrize("cut", [1, 100])
def test_a_server_that_only_begins_as_tls_does(octets: bytes, cut: int) -> None:
    """Among them our own hello, as an echo has it: OpenSSL would wait for the rest of that record."""
    stream, _ = over_tls(server_side=False)
    for at in range(0, len(octets), cut):
        if stream.read_error is None:
            stream.received(octets[at : at + cut], 1.0)
    error = failure(stream)
    assert isinstance(error, TlsExpected)
    assert ("as this side did: it echoes plain text" in str(error)) is (octets[5:6] == b"\x01")


def test_a_certificate_that_does_not_verify_is_refused_with_the_reason(version: str) -> None:
    stream = Stream(Line(), SERVER, Limits(), 0.0)
    layer = TlsLayer(
        client_context(version, trust=False), 0.0, server_side=False, server_hostname="localhost", whom=str(SERVER)
    )
    stream.start_tls(layer)
    peer = Peer(server_context(version), server_side=True)
    stream.received(peer.turn(taken(stream)), 1.0)
    error = failure(stream)
    assert isinstance(error, TlsCertificateRefused)
    assert "unable to get local issuer certificate" in str(error)
    assert error.code == 20
    # The peer learns it, too: the alert leaves, and FIN behind it.
    with pytest.raises(ssl.SSLError, match="ALERT"):
        peer.turn(taken(stream))
    assert stream.fin_due


def test_a_certificate_for_another_name_is_refused() -> None:
    stream = Stream(Line(), SERVER, Limits(), 0.0)
    stream.start_tls(
        TlsLayer(client_context(), 0.0, server_side=False, server_hostname="other.example", whom=str(SERVER))
    )
    stream.received(Peer(server_context(), server_side=True).turn(taken(stream)), 1.0)
    error = failure(stream)
    assert isinstance(error, TlsCertificateRefused)
    assert "other.example" in str(error)


def test_the_peers_alert_is_named(version: str) -> None:
    stream, _ = over_tls(True, version)
    peer = Peer(client_context(version, trust=False), server_side=False)
    answer = peer.turn()
    stream.received(answer, 1.0)
    with pytest.raises(ssl.SSLCertVerificationError):
        peer.turn(taken(stream))
    stream.received(peer.outgoing.read(), 1.0)
    error = failure(stream)
    assert isinstance(error, TlsAlert)
    assert error.alert == "unknown ca"


def test_no_version_in_common() -> None:
    stream, _ = over_tls(True, "1.3")
    stream.received(Peer(client_context("1.2"), server_side=False).turn(), 1.0)
    assert isinstance(failure(stream), TlsNoAgreement)


def test_a_client_without_a_certificate_where_one_is_required(version: str) -> None:
    stream = Stream(Line(), SERVER, Limits(), 0.0)
    stream.start_tls(TlsLayer(server_context(version, mutual=True), 0.0, server_side=True, whom=str(SERVER)))
    peer = Peer(client_context(version), server_side=False)
    sent = peer.turn()
    stream.received(sent, 1.0)
    stream.received(peer.turn(taken(stream)), 1.0)
    error = failure(stream)
    assert isinstance(error, TlsCertificateRefused)
    assert "sent no certificate" in str(error)


def test_the_peers_subject_is_there(version: str) -> None:
    stream = Stream(Line(), SERVER, Limits(), 0.0)
    layer = TlsLayer(server_context(version, mutual=True), 0.0, server_side=True, whom=str(SERVER))
    stream.start_tls(layer)
    converse(stream, Peer(client_context(version, certificate=True), server_side=False))
    assert layer.info is not None
    assert layer.info.common_name == "device-7"
    assert layer.info.subject is not None
    assert layer.info.subject.startswith("CN=device-7,")
    assert "O=Ex\\, Inc" in layer.info.subject
    assert "email:device-7@example" in layer.info.names
    assert layer.info.fingerprint is not None
    assert len(layer.info.fingerprint) == 64
    assert str(layer.info.der) not in repr(layer.info), "nobody reads a thousand octets of DER"


def test_without_a_certificate_there_is_no_subject() -> None:
    _, layer = over_tls(True)
    stream, layer = over_tls(True)
    converse(stream, Peer(client_context(), server_side=False))
    assert layer.info is not None
    assert (layer.info.subject, layer.info.common_name, layer.info.names, layer.info.fingerprint) == (
        None,
        None,
        (),
        None,
    )


def test_a_record_that_was_changed_on_the_way(server_side: bool, version: str) -> None:
    stream, peer = joined(server_side, version)
    good, bad = peer.says(b"good\n"), bytearray(peer.says(b"bad\n"))
    bad[-1] ^= 1
    stream.received(good + bad, 1.0)
    assert stream.next_message() == b"good"
    assert "record" in str(failure(stream))
    assert taken(stream)  # the alert


def test_the_end_in_the_handshake_is_an_error_and_before_it_a_probe() -> None:
    stream, _ = over_tls(True)
    stream.received_eof(1.0)
    assert stream.reason is Reason.PEER_CLOSED
    stream, _ = over_tls(True)
    stream.received(Peer(client_context(), server_side=False).turn()[:50], 1.0)
    stream.received_eof(1.0)
    assert "end of file during the TLS handshake" in str(failure(stream))
    stream, _ = over_tls(False)
    stream.received_eof(1.0)
    assert "end of file during the TLS handshake" in str(failure(stream))


@given(
    server_side=st.booleans(), at=st.integers(0, 4000), flip=st.integers(1, 255), size=st.sampled_from([1, 50, 5000])
)
def test_one_octet_changed_anywhere_is_an_error_of_ours_or_nothing(
    server_side: bool, at: int, flip: int, size: int
) -> None:
    stream, _ = over_tls(server_side)
    peer = Peer(client_context() if server_side else server_context(), server_side=not server_side)
    seen = 0
    found: list[bytes] = []
    answer = b""
    with suppress(ssl.SSLError):  # the peer, too, may find it
        answer = peer.turn()
        for turn in range(6):
            wire = bytearray(answer)
            if seen <= at < seen + len(wire):
                wire[at - seen] ^= flip
            seen += len(wire)
            for piece in cut(bytes(wire), size):
                stream.received(piece, 1.0)
                found += messages(stream)
            answer = peer.turn(taken(stream))
            if turn == 2:
                answer += peer.says(b"hello\n" * 20)
    assert found == [b"hello"] * len(found)
    assert stream.read_error is None or isinstance(stream.read_error, TlsError)
    stream.received_eof(2.0)
    assert stream.exhausted


def test_noise_behind_the_first_octet_is_an_error_of_ours(server_side: bool) -> None:
    for pattern in (b"\x16" * 600, b"\x16\x03\x01\xff\xff" + bytes(600), b"\x16\x03\x03\0\5hello" * 9):
        stream, _ = over_tls(server_side)
        for piece in cut(pattern, 11):
            stream.received(piece, 1.0)
        if stream.read_error is not None:
            assert isinstance(stream.read_error, TlsError)


def test_a_wait_for_the_handshake_ends_with_the_connection() -> None:
    calls: list[str] = []
    for number, end in enumerate(
        (
            lambda stream: stream.broken(ConnectionEnded("gone")),
            lambda stream: stream.late(DeadlinePassed("handshake_timeout", 10.0)),
            lambda stream: stream.received(b"plain", 1.0),
            lambda stream: converse(stream, Peer(client_context(), server_side=False)),
        )
    ):
        stream, layer = over_tls(True)
        layer.wake = lambda number=number: calls.append(str(number))
        end(stream)
        stream.broken(ConnectionEnded("again"))
    assert calls == ["0", "1", "2", "3"]


def test_the_deadline_of_the_handshake_then_that_of_the_first_message() -> None:
    stream, _ = over_tls(True)
    assert stream.next_deadline(Deadlines()) == (10.0, "handshake_timeout", 10.0)
    peer = Peer(client_context(), server_side=False)
    stream.received(peer.turn(), 3.0)
    assert stream.next_deadline(Deadlines()) == (10.0, "handshake_timeout", 10.0)
    stream.received(peer.turn(taken(stream)), 6.0)
    assert stream.next_deadline(Deadlines()) == (36.0, "first_message_timeout", 30.0)


def test_half_a_record_is_no_activity() -> None:
    stream, peer = joined()
    deadlines = Deadlines(first_message_timeout=None, idle_timeout=60.0)
    wire = peer.says(b"x" * 100 + b"\n")
    for number, octet in enumerate(wire[:-1]):
        stream.received(bytes([octet]), 2.0 + number)
    assert stream.next_deadline(deadlines) == (61.0, "idle_timeout", 60.0)
    stream.received(wire[-1:], 200.0)
    assert stream.next_message() == b"x" * 100
    assert stream.next_deadline(deadlines) == (260.0, "idle_timeout", 60.0)


def test_a_handshake_that_came_too_late_closes_the_connection() -> None:
    stream, _ = over_tls(True)
    stream.send(b"held")
    stream.late(DeadlinePassed("handshake_timeout", 10.0))
    stream.close(Reason.DEADLINE)
    assert stream.fin_due
    assert stream.reason is Reason.DEADLINE


# --- in mid-conversation --------------------------------------------------------------------------


def test_starttls_discards_and_counts_what_was_buffered() -> None:
    stream = Stream(Line(), SERVER, Limits(), 0.0)
    stream.received(b"STARTTLS\r\nMAIL FROM:<evil>\r\nRCP", 1.0)
    assert stream.next_message() == b"STARTTLS"
    stream.send(b"220 go ahead")
    stream.start_tls(TlsLayer(server_context(), 1.0, server_side=True, whom=str(SERVER)))
    assert stream.discarded == stream.statistics.discarded == len(b"MAIL FROM:<evil>\r\nRCP")
    assert messages(stream) == []
    assert taken(stream) == b"220 go ahead\n"
    peer = Peer(client_context(), server_side=False)
    converse(stream, peer)
    stream.received(peer.says(b"EHLO\n"), 2.0)
    assert messages(stream) == [b"EHLO"]
    assert stream.messages_in == 2


def test_what_was_sent_before_starttls_leaves_plainly_and_in_order() -> None:
    stream = Stream(Line(), SERVER, Limits(), 0.0)
    seen: list[bytes] = []
    stream.be_watched(lambda _stream, _inward, octets: seen.append(octets))
    stream.send(b"first")
    stream.pending.append(b"second")
    stream.start_tls(TlsLayer(client_context(), 1.0, server_side=False, server_hostname="localhost", whom="x"))
    assert taken(stream).startswith(b"first\nsecond\n\x16")
    assert b"".join(seen) == b"first\nsecond\n"


@pytest.mark.parametrize("server_side", [True, False])
@pytest.mark.parametrize("tapped", [True, False])
def test_the_time_of_a_starttls_begins_when_what_was_sent_before_has_left(server_side: bool, tapped: bool) -> None:
    deadlines = Deadlines(write_timeout=30.0, handshake_timeout=10.0)
    stream = Stream(Line(), SERVER, Limits(), 0.0)
    if tapped:
        stream.be_watched(lambda *_: None)
    stream.send(b"x" * 99)
    stream.sent(10, 1.0)
    context, name = (server_context(), None) if server_side else (client_context(), "localhost")
    stream.start_tls(TlsLayer(context, 2.0, server_side=server_side, server_hostname=name, whom="x"))
    assert stream.next_deadline(deadlines) == (31.0, "write_timeout", 30.0)
    stream.sent(89, 25.0)
    assert stream.next_deadline(deadlines) == (31.0, "write_timeout", 30.0)
    stream.sent(1, 26.0)
    found = stream.next_deadline(deadlines.replace(write_timeout=None))
    assert found == (36.0, "handshake_timeout", 10.0)
    stream.sent(stream.outbox_size, 27.0)  # a client's hello, of which later octets do not begin it again
    assert stream.next_deadline(deadlines) == (36.0, "handshake_timeout", 10.0)


def test_the_time_of_a_starttls_with_nothing_before_it_begins_at_once() -> None:
    stream = Stream(Line(), SERVER, Limits(), 0.0)
    stream.start_tls(TlsLayer(client_context(), 2.0, server_side=False, server_hostname="localhost", whom="x"))
    stream.sent(stream.outbox_size, 5.0)
    assert stream.next_deadline(Deadlines(write_timeout=None)) == (12.0, "handshake_timeout", 10.0)


def test_starttls_at_the_wrong_moment_is_refused() -> None:
    stream, _ = joined()
    again = TlsLayer(server_context(), 1.0, server_side=True)
    with pytest.raises(ConnectionBusy, match="TLS has begun already"):
        stream.start_tls(again)
    ended = Stream(Line(), SERVER, Limits(), 0.0)
    ended.end_writing()
    with pytest.raises(ConnectionEnded):
        ended.start_tls(again)
    asked = Stream(Line(), SERVER, Limits(), 0.0)
    asked.request(b"question")
    with pytest.raises(ConnectionBusy, match="requests are outstanding"):
        asked.start_tls(again)
    left = Stream(Line(), SERVER, Limits(), 0.0)
    left.received_eof(1.0)
    with pytest.raises(EndOfFile):
        left.start_tls(again)


# --- behind a PROXY header ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 13, 16, 17, 53, 1000])
@pytest.mark.parametrize("detect", [False, True])
def test_the_client_hello_that_came_with_the_header_is_kept(size: int, detect: bool) -> None:
    client = FourTuple("192.0.2.80", 443, "198.51.100.7", 56324)
    stream = Stream(Line(), SERVER, Limits(), 0.0, first_message=True)

    def secure(now: float) -> TlsLayer:
        return TlsLayer(server_context(), now, server_side=True, whom=str(stream.name))

    def introduce(header: ProxyHeader | None, now: float) -> Layer:
        assert header is not None
        stream.introduced(header, header.name)
        return FirstOctet(secure) if detect else secure(now)

    stream.begin_with(ProxyReader(introduce, 0.0, whom=str(SERVER)))
    peer = Peer(client_context(), server_side=False)
    for piece in cut(ProxyHeader(client).encode() + peer.turn(), size):
        stream.received(piece, 1.0)
    converse(stream, peer, size)
    assert (stream.name, stream.transport_name) == (client, SERVER)
    assert not stream.spoken
    stream.received(peer.says(b"hello\n"), 2.0)
    assert messages(stream) == [b"hello"]
    assert stream.discarded == 0


# --- TLS and plain at one port --------------------------------------------------------------------


def first_octet() -> Stream:
    stream = Stream(Line(), SERVER, Limits(), 0.0, first_message=True)
    stream.begin_with(FirstOctet(lambda now: TlsLayer(server_context(), now, server_side=True, whom=str(SERVER))))
    return stream


@pytest.mark.parametrize("size", [1, 1000])
def test_the_first_octet_decides(size: int) -> None:
    plain = first_octet()
    assert not plain.ready
    for piece in cut(b"plain\n", size):
        plain.received(piece, 1.0)
    assert messages(plain) == [b"plain"]
    assert plain.octets_in == 6
    secure = first_octet()
    peer = Peer(client_context(), server_side=False)
    converse(secure, peer, size)
    secure.received(peer.says(b"secret\n"), 1.0)
    assert messages(secure) == [b"secret"]


def test_before_the_first_octet_the_deadline_is_that_of_the_first_message() -> None:
    stream = first_octet()
    assert stream.next_deadline(Deadlines()) == (30.0, "first_message_timeout", 30.0)
    stream.received(b"\x16", 20.0)
    assert stream.next_deadline(Deadlines()) == (30.0, "handshake_timeout", 10.0)
    stream.received_eof(21.0)
    assert isinstance(failure(stream), TlsError)


@pytest.mark.parametrize("sizes", [(1, 5), (3,), (50, 1, 17_000)])
def test_two_pumps_of_ours_over_every_cut(sizes: tuple[int, ...]) -> None:
    ours, _ = over_tls(True)
    theirs, _ = over_tls(False)
    for number in range(50):
        theirs.send(b"%d" % number * 100)
    theirs.end_writing()
    found: list[bytes] = []
    length = cycle(sizes)
    wires = {True: b"", False: b""}
    for _ in range(100_000):
        wires[True] += taken(theirs)
        wires[False] += taken(ours)
        if not wires[True] and not wires[False]:
            break
        for inward, stream in ((True, ours), (False, theirs)):
            piece, wires[inward] = wires[inward][: (size := next(length))], wires[inward][size:]
            if piece:
                stream.received(piece, 1.0)
        for message in messages(ours):
            found.append(message)
            ours.send(message)
    assert found == [b"%d" % number * 100 for number in range(50)]
    assert theirs.messages_in == 50
    assert ours.reading is Half.ENDED


# --- the end without close_notify -----------------------------------------------------------------

DELIMITED = {
    "line": (b"one\n", b"tw"),
    "u16": (b"\0\3one", b"\0\5tw"),
    "fixed:3": (b"one", b"tw"),
    "netstring": (b"3:one,", b"3:t"),
    "json": (b'"one"', b'"tw'),
    "mllp": (b"\x0bone\x1c\r", b"\x0btw"),
    "line+text": (b"one\n", b"tw"),
}


def cut_off(framing: str, octets: bytes, *, server_side: bool = True, spoil: bytes = b"") -> Stream:
    """A stream whose peer said ``octets`` and went, without close_notify, perhaps inside of a record."""
    stream, peer = joined(server_side)
    stream.change_framing(parse_framing(framing))
    wire = peer.says(octets)
    stream.received(wire + peer.says(b"more of it")[: len(spoil)] if spoil else wire, 1.0)
    stream.received_eof(2.0)
    return stream


@pytest.mark.parametrize("framing", DELIMITED)
def test_a_missing_close_notify_after_a_whole_message_is_an_end_of_file(server_side: bool, framing: str) -> None:
    stream = cut_off(framing, DELIMITED[framing][0] * 3, server_side=server_side)
    assert len(messages(stream)) == 3
    with pytest.raises(EndOfFile):
        stream.next_message()
    assert stream.exhausted
    assert stream.read_error is None
    assert (stream.reason, stream.reading) == (Reason.NO_CLOSE_NOTIFY, Half.ENDED)
    assert stream.unannounced is not None, "it is counted"
    assert stream.writing is Half.OPEN, "a reply may still be said"
    stream.send(stream.framing.decoder().feed(DELIMITED[framing][0])[0])
    assert taken(stream)


@pytest.mark.parametrize("framing", DELIMITED)
def test_a_missing_close_notify_in_mid_message_is_an_error_after_earlier_messages(
    server_side: bool, framing: str
) -> None:
    whole, part = DELIMITED[framing]
    stream = cut_off(framing, whole + part, server_side=server_side)
    assert len(messages(stream)) == 1
    for _ in range(2):
        with pytest.raises(TlsTruncated, match="end of file without close_notify"):
            stream.next_message()
    assert stream.exhausted
    assert stream.writing is Half.OPEN


def test_what_only_the_end_of_file_would_make_a_message_of_is_an_error() -> None:
    stream = cut_off("json", b'"one" 12')
    assert messages(stream) == [b'"one"']
    with pytest.raises(TlsTruncated):
        stream.next_message()


@pytest.mark.parametrize("octets", [b"", b"all of it?"])
@pytest.mark.parametrize("framing", ["eof", "eof+text"])
def test_a_missing_close_notify_does_not_end_a_message_ended_by_end_of_file(framing: str, octets: bytes) -> None:
    stream = cut_off(framing, octets)
    with pytest.raises(TlsTruncated):
        stream.next_message()


def test_raw_octets_have_no_end_but_the_streams() -> None:
    stream = cut_off("raw", b"some")
    assert messages(stream) == [b"some"]
    with pytest.raises(TlsTruncated):
        stream.next_message()


def test_inside_a_record_something_is_missing_for_certain() -> None:
    for missing in range(1, 30):
        stream = cut_off("line", b"one\n", spoil=bytes(missing))
        assert messages(stream) == [b"one"]
        with pytest.raises(TlsTruncated, match="end of file inside a TLS record"):
            stream.next_message()


def test_raw_calls_know_whether_their_octets_came_before_the_missing_close_notify() -> None:
    stream = cut_off("line", b"head\nbody")
    assert stream.take_until(b"\n", 10) == b"head\n"
    assert stream.take_exactly(4) == b"body"
    with pytest.raises(EndOfFile):
        stream.take_exactly(1)
    with pytest.raises(EndOfFile):
        stream.take_until(b"\n", 10)
    with pytest.raises(TlsTruncated):
        stream.take_some(10)
    for take in (lambda each: each.take_exactly(10), lambda each: each.take_until(b"\n", 10)):
        with pytest.raises(TlsTruncated):
            take(cut_off("line", b"part"))


def test_octets_put_back_in_another_framing_are_judged_by_that() -> None:
    stream = cut_off("line", b"1234")
    with pytest.raises(TlsTruncated):
        stream.next_message()
    stream.change_framing(Fixed(4))
    assert messages(stream) == [b"1234"]
    with pytest.raises(EndOfFile):
        stream.next_message()


def test_a_request_without_its_reply_and_one_with_half_of_it() -> None:
    for said, kind in ((b"", EndOfFile), (b"half a re", TlsTruncated)):
        stream, peer = joined(False)
        request = stream.request(b"question")
        stream.received(peer.turn(taken(stream)) + peer.says(said), 1.0)
        stream.received_eof(2.0)
        with pytest.raises(kind):
            request.result()


@given(st.binary(max_size=60), st.integers(1, 70))
def test_records_end_where_their_lengths_say(octets: bytes, size: int) -> None:
    wire = b"".join(b"\x17\x03\x03" + len(part).to_bytes(2, "big") + part for part in cut(octets, 7))
    ends = {0}
    for part in cut(octets, 7):
        ends.add(max(ends) + 5 + len(part))
    records, at = Records(), 0
    for piece in cut(wire, size):
        at += len(piece)
        assert records.pass_over(piece) is (at not in ends)


def test_a_client_that_must_check_a_name_needs_one() -> None:
    """Before Python 3.15, SSLObject without a name takes the certificate of any server."""
    stream = Stream(Line(), FourTuple("127.0.0.1", 1, "127.0.0.1", 2), Limits(), 0.0)
    with pytest.raises(
        OptionError, match="server_hostname: expected the name in the server's certificate, which has to"
    ):
        tls_layer(stream, ssl.create_default_context(), 0.0, server_side=False, server_hostname=None)
