"""The PROXY header, read and written: vectors of the specification, every fragmentation, and noise."""

from __future__ import annotations

import dataclasses
import ipaddress
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fourtuple.errors import OptionError, ProxyHeaderError
from fourtuple.four_tuple import FourTuple
from fourtuple.framing import Line
from fourtuple.options import Deadlines, Limits
from fourtuple.proxy import ALPN, AUTHORITY, CRC32C, NETNS, NOOP, SSL, UNIQUE_ID, ProxyHeader, ProxyReader
from fourtuple.proxy.header import crc32c, parse
from fourtuple.stream import Half, Layer, Reason, Stream

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
TRANSPORT = FourTuple("10.0.0.2", 9999, "10.0.0.1", 40000)
CLIENT = FourTuple("192.0.2.80", 443, "198.51.100.7", 56324)
LIMITS = Limits()


def v2(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + struct.pack("!BBH", 0x20 | command, family, len(body)) + body


TCP4 = bytes([198, 51, 100, 7, 192, 0, 2, 80]) + struct.pack("!HH", 56324, 443)
TCP6 = bytes.fromhex("20010db800000000000000000000000120010db8000000000000000000000002") + struct.pack("!HH", 1, 2)
NAME6 = FourTuple("2001:db8::2", 2, "2001:db8::1", 1)

# Header, name, whether the balancer speaks for itself.
GOOD = {
    "v1, TCP4": (b"PROXY TCP4 198.51.100.7 192.0.2.80 56324 443\r\n", CLIENT, False),
    "v1, TCP4, longest": (
        b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
        FourTuple("255.255.255.255", 65535, "255.255.255.255", 65535),
        False,
    ),
    "v1, TCP6": (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n", NAME6, False),
    "v1, TCP6, mapped": (
        b"PROXY TCP6 ::ffff:198.51.100.7 ::ffff:192.0.2.80 56324 443\r\n",
        CLIENT,
        False,
    ),
    "v1, UNKNOWN, shortest": (b"PROXY UNKNOWN\r\n", None, False),
    "v1, UNKNOWN, longest": (
        b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
        b" ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        None,
        False,
    ),
    "v2, TCP4": (v2(1, 0x11, TCP4), CLIENT, False),
    "v2, TCP6": (v2(1, 0x21, TCP6), NAME6, False),
    "v2, LOCAL": (v2(0, 0x00, b""), None, True),
    "v2, LOCAL with addresses": (v2(0, 0x11, TCP4), None, True),
    "v2, UNSPEC": (v2(1, 0x00, b""), None, False),
    "v2, UDP4": (v2(1, 0x12, TCP4), None, False),
    "v2, Unix": (v2(1, 0x31, bytes(216)), None, False),
    "v2, TLVs": (v2(1, 0x11, TCP4 + b"\x04\0\2ab" + b"\xee\0\0"), CLIENT, False),
}

BAD = {
    "not a header": (b"GET / HTTP/1.1\r\n", "a PROXY header was expected"),
    "v1, lower case": (b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n", "a PROXY header was expected"),
    "v1, no end": (b"PROXY " + b"x" * 101, "no end of line in 107 octets"),
    "v1, LF alone": (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", "ends with LF alone"),
    "v1, family": (b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", "cannot read"),
    "v1, UNKNOWNX": (b"PROXY UNKNOWNX\r\n", "cannot read"),
    "v1, wrong family": (b"PROXY TCP4 ::1 ::1 1 2\r\n", "cannot read"),
    "v1, leading zero": (b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", "cannot read"),
    "v1, port": (b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n", "cannot read"),
    "v1, signed port": (b"PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", "cannot read"),
    "v1, two spaces": (b"PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n", "cannot read"),
    "v1, too few": (b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", "cannot read"),
    "v1, not ASCII": ("PROXY TCP4 1.2.3.4 1.2.3.4 1 ٢\r\n".encode(), "cannot read"),
    "v2, version": (SIGNATURE + b"\x31\x11\0\x0c" + TCP4, "version 3 and command 1"),
    "v2, command": (v2(2, 0x11, TCP4), "version 2 and command 2"),
    "v2, family": (v2(1, 0x41, TCP4), "0x41 are not known"),
    "v2, protocol": (v2(1, 0x13, TCP4), "0x13 are not known"),
    "v2, short": (v2(1, 0x21, TCP4), "12 octets, but the addresses alone take 36"),
    "v2, half a TLV": (v2(1, 0x11, TCP4 + b"\x04\0"), "2 octets at its end are not a TLV"),
    "v2, cut TLV": (v2(1, 0x11, TCP4 + b"\x04\0\5abc"), "TLV 0x04 of 5 octets, 3 are left"),
    "v2, checksum": (v2(1, 0x11, TCP4 + b"\x03\0\4abcd"), "its checksum is 0x61626364"),
    "v2, checksum's size": (v2(1, 0x11, TCP4 + b"\x03\0\2ab"), "expected a checksum of 4 octets, got 2"),
    "v2, two checksums": (v2(1, 0x11, TCP4 + b"\x03\0\4abcd" * 2), "2 checksums, no more than 1 is possible"),
    "v2, SSL": (v2(1, 0x11, TCP4 + b"\x20\0\2ab"), "expected at least 5 octets about TLS, got 2"),
}


@pytest.mark.parametrize("which", GOOD)
def test_a_header_is_read_however_it_is_cut(which: str) -> None:
    octets, name, local = GOOD[which]
    for end in range(len(octets)):
        assert parse(octets[:end]) is None
    found = parse(octets + b"what follows")
    assert found is not None
    header, size = found
    assert (header.name, header.local, size) == (name, local, len(octets))
    assert header.version == (1 if which.startswith("v1") else 2)


@pytest.mark.parametrize("which", BAD)
def test_what_is_no_header_is_refused_with_the_reason(which: str) -> None:
    octets, text = BAD[which]
    with pytest.raises(ProxyHeaderError) as caught:
        parse(octets)
    assert text in str(caught.value)


def test_the_longest_lines_are_those_of_the_specification() -> None:
    assert len(GOOD["v1, TCP4, longest"][0]) == 56
    assert len(GOOD["v1, UNKNOWN, longest"][0]) == 107


def test_crc32c_of_rfc_3720() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43


def test_the_properties_of_a_header_are_its_tlvs() -> None:
    inner = b"\x21\0\7TLSv1.3\x22\0\6device\x23\0\3AES"
    header = ProxyHeader(
        CLIENT,
        tlvs=(
            (ALPN, b"h2"),
            (AUTHORITY, b"a.example"),
            (UNIQUE_ID, b"\1\2\3"),
            (NETNS, b"blue"),
            (NOOP, b"pad"),
            (SSL, b"\7\0\0\0\0" + inner),
        ),
    )
    found = parse(header.encode())
    assert found is not None
    read = found[0]
    assert (read.alpn, read.authority, read.unique_id, read.netns) == ("h2", "a.example", b"\1\2\3", "blue")
    assert read.ssl is not None
    assert (read.ssl.version, read.ssl.common_name, read.ssl.cipher) == ("TLSv1.3", "device", "AES")
    assert (read.ssl.certificate, read.ssl.verified) == (True, True)
    assert read.tlv(CRC32C) is not None
    assert read.tlv(0xEE) is None


def test_a_certificate_that_the_balancer_did_not_find_good_is_not_verified() -> None:
    found = parse(ProxyHeader(CLIENT, tlvs=((SSL, b"\3\0\0\0\1"),)).encode())
    assert found is not None
    assert found[0].ssl is not None
    assert (found[0].ssl.certificate, found[0].ssl.verified) == (True, False)
    plain = parse(ProxyHeader(CLIENT, tlvs=((SSL, b"\0\0\0\0\1"),)).encode())
    assert plain is not None
    assert plain[0].ssl is None


def test_one_octet_changed_in_a_header_with_a_checksum_is_seen() -> None:
    octets = ProxyHeader(CLIENT, tlvs=((UNIQUE_ID, b"number seven"),)).encode()
    for at in range(16, len(octets)):
        changed = octets[:at] + bytes([octets[at] ^ 1]) + octets[at + 1 :]
        try:
            found = parse(changed)
        except ProxyHeaderError:
            continue
        # The one place where it cannot be seen: the type of the checksum's own TLV.
        assert found is None or found[0].tlv(CRC32C) is None


def test_what_a_header_has_no_room_for_is_refused() -> None:
    with pytest.raises(OptionError, match="cannot carry TLVs"):
        ProxyHeader(CLIENT, version=1, tlvs=((ALPN, b"h2"),)).encode()
    with pytest.raises(OptionError, match="65535 are possible"):
        ProxyHeader(CLIENT, tlvs=((NOOP, bytes(65534)),)).encode()


addresses = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)), st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6))
)
ports = st.integers(0, 65535)
MAPPED = ipaddress.ip_address("::ffff:0.0.0.0")


@given(addresses, ports, ports, st.sampled_from([1, 2]), st.lists(st.tuples(st.integers(0x40, 255), st.binary())))
@example((MAPPED, MAPPED), 0, 0, 2, [])
def test_what_is_written_is_read(ips: tuple[object, object], here: int, there: int, version: int, tlvs: list) -> None:
    name = FourTuple(str(ips[0]), here, str(ips[1]), there)
    octets = ProxyHeader(name, version, tlvs=tuple(tlvs) if version == 2 else ()).encode()
    found = parse(octets + b"x")
    assert found is not None
    assert found[1] == len(octets)
    read = found[0]
    assert read.name is not None
    assert (read.name.local_port, read.name.remote_port) == (here, there)
    # Not always the same octets, nor their checksum: a mapped IPv4 address is IPv4 from here on.
    again = read.encode()
    reread = parse(again)
    assert reread is not None
    assert (without_checksum(reread[0]), reread[1]) == (without_checksum(read), len(again))
    assert reread[0].encode() == again


def without_checksum(header: ProxyHeader) -> ProxyHeader:
    return dataclasses.replace(header, tlvs=tuple(tlv for tlv in header.tlvs if tlv[0] != CRC32C))


def test_two_families_in_one_name_are_written_as_ipv6() -> None:
    found = parse(ProxyHeader(FourTuple("192.0.2.1", 1, "2001:db8::1", 2)).encode())
    assert found is not None
    assert found[0].name == FourTuple("192.0.2.1", 1, "2001:db8::1", 2)


@given(st.one_of(st.binary(), st.binary().map(lambda body: SIGNATURE + body), st.binary().map(b"PROXY ".__add__)))
def test_noise_is_an_error_of_ours_or_a_header(octets: bytes) -> None:
    try:
        found = parse(octets)
    except ProxyHeaderError:
        return
    if found is not None:
        assert found[1] <= len(octets)
        _ = found[0].ssl, found[0].alpn, found[0].authority


# --- in front of a stream -------------------------------------------------------------------------


def stream_behind(required: bool = True, following: Layer | None = None) -> Stream:
    stream = Stream(Line(), TRANSPORT, LIMITS, 0.0, first_message=True)

    def introduce(header: ProxyHeader | None, _now: float) -> Layer | None:
        if header is not None:
            stream.introduced(header, header.name)
        return following

    stream.begin_with(ProxyReader(introduce, 0.0, required=required, whom=str(TRANSPORT)))
    return stream


def messages(stream: Stream) -> list[bytes]:
    found = []
    while stream.inbox or stream.replenish():
        found.append(stream.inbox.pop())
    return found


@pytest.mark.parametrize("which", GOOD)
@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_a_stream_begins_behind_the_header_however_it_is_cut(which: str, required: bool, size: int) -> None:
    octets, name, _ = GOOD[which]
    stream = stream_behind(required)
    whole = octets + b"hello\nworld\n"
    found = []
    for at in range(0, len(whole), size):
        stream.received(whole[at : at + size], 1.0)
        found += messages(stream)
    assert found == [b"hello", b"world"]
    assert stream.name == (name or TRANSPORT)
    assert stream.transport_name == TRANSPORT
    assert stream.octets_in == len(whole)
    assert stream.spoken
    assert stream.ready
    assert stream.proxy_header is not None


@given(st.data())
def test_without_a_header_optional_proxy_passes_ordinary_octets(data: st.DataObject) -> None:
    octets = data.draw(st.sampled_from([b"P\n", b"PROX\n", b"hello\n", b"\r\n\r\n\0\r\nQUI\n", b"PROXY!\n", b"\r\n"]))
    size = data.draw(st.integers(1, len(octets)))
    stream = stream_behind(required=False)
    for at in range(0, len(octets), size):
        stream.received(octets[at : at + size], 1.0)
    stream.received_eof(2.0)
    plain = Stream(Line(), TRANSPORT, LIMITS, 0.0)
    plain.received(octets, 1.0)
    plain.received_eof(2.0)
    assert messages(stream) == messages(plain)
    assert (stream.name, stream.proxy_header) == (TRANSPORT, None)
    assert stream.octets_in == len(octets)


def test_octets_that_could_have_become_a_header_are_the_conversations_at_its_end() -> None:
    stream = stream_behind(required=False)
    stream.received(b"PRO", 1.0)
    assert not stream.ready
    stream.received_eof(2.0)
    with pytest.raises(EOFError, match="end of file inside a"):
        stream.next_message()
    assert stream.octets_in == 3


@pytest.mark.parametrize("which", BAD)
def test_what_is_no_header_ends_the_stream(which: str) -> None:
    octets, text = BAD[which]
    stream = stream_behind()
    for octet in octets:
        stream.received(bytes([octet]), 1.0)
    with pytest.raises(ProxyHeaderError) as caught:
        stream.next_message()
    assert text in str(caught.value)
    assert str(TRANSPORT) in str(caught.value)
    assert stream.reason is Reason.PROXY_ERROR
    assert stream.exhausted
    assert stream.fin_due


def test_an_end_inside_a_header_is_an_error_and_before_it_a_probe() -> None:
    stream = stream_behind()
    stream.received(b"PROXY TCP4 1.2.", 1.0)
    stream.received_eof(1.0)
    with pytest.raises(ProxyHeaderError, match="end of file inside a PROXY header"):
        stream.next_message()
    probe = stream_behind()
    probe.received_eof(1.0)
    assert probe.reading is Half.ENDED
    assert probe.reason is Reason.PEER_CLOSED


def test_the_deadline_of_the_header_then_that_of_the_first_message() -> None:
    stream = stream_behind()
    assert stream.next_deadline(Deadlines()) == (5.0, "proxy_header_timeout", 5.0)
    stream.received(b"PROXY UNK", 4.0)
    assert stream.next_deadline(Deadlines()) == (5.0, "proxy_header_timeout", 5.0)
    stream.received(b"NOWN\r\n", 4.5)
    assert stream.next_deadline(Deadlines()) == (34.5, "first_message_timeout", 30.0)


def test_the_deadline_of_an_optional_header_begins_with_its_first_octet() -> None:
    stream = stream_behind(required=False)
    assert stream.next_deadline(Deadlines()) == (30.0, "first_message_timeout", 30.0)
    stream.received(b"PROXY", 20.0)
    assert stream.next_deadline(Deadlines()) == (25.0, "proxy_header_timeout", 5.0)


@pytest.mark.parametrize("where", ["source", "destination"])
@pytest.mark.parametrize("zone", [b"%a", b"%1", b"%", b"%\x1b[2J", b"%" + b"e" * 50])
def test_an_address_has_no_zone(where: str, zone: bytes) -> None:
    """ipaddress takes any text behind it: another name for the same peer, and what a terminal obeys."""
    source, destination = b"2001:db8::1", b"::1"
    assert parse(b"PROXY TCP6 %s %s 1 2\r\n" % (source, destination)) is not None
    if where == "source":
        source += zone
    else:
        destination += zone
    with pytest.raises(ProxyHeaderError, match="cannot read"):
        parse(b"PROXY TCP6 %s %s 1 2\r\n" % (source, destination))
