"""The PROXY protocol, versions 1 and 2: a balancer names the real client before the first octet.

https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt is the specification; section numbers in the comments refer
to it. Version 1 is a line of text, at most 107 octets; version 2 is binary::

    0               12          13          14              16                          16 + length
    | signature     | ver | cmd | fam | prt | length        | addresses | TLV | TLV ... |

:class:`ProxyReader`, a layer in front of the conversation, reads the header, no matter how TCP has cut it, and passes
on the octets after it. The code that installs the reader decides whether the peer is trusted.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from typing import TypeAlias

from fourtuple.errors import OptionError, ProxyHeaderError
from fourtuple.four_tuple import FourTuple
from fourtuple.options import refuse
from fourtuple.stream import Stream

_V1 = b"PROXY "
_V2 = b"\r\n\r\n\0\r\nQUIT\n"
#: The longest line of version 1, with its CRLF, without the terminating zero of the specification's buffer (2.1).
_V1_LONGEST = 107
_HEAD = struct.Struct("!12sBBH")

# Types of TLVs (2.2).
#: PP2_TYPE_ALPN: the application protocol that the client and the balancer agreed on.
ALPN = 0x01
#: PP2_TYPE_AUTHORITY: the host name that the client asked for (SNI).
AUTHORITY = 0x02
#: PP2_TYPE_CRC32C: the checksum of the header.
CRC32C = 0x03
#: PP2_TYPE_NOOP: padding, without a meaning.
NOOP = 0x04
#: PP2_TYPE_UNIQUE_ID: the balancer's identifier of the connection, at most 128 octets.
UNIQUE_ID = 0x05
#: PP2_TYPE_SSL: the TLS session that the balancer terminated; :attr:`ProxyHeader.ssl` decodes it.
SSL = 0x20
#: PP2_TYPE_NETNS: the name of the network namespace.
NETNS = 0x30

# Types of TLVs inside the one of type SSL (2.2.6).
_SSL_VERSION, _SSL_CN, _SSL_CIPHER, _SSL_SIGNATURE, _SSL_KEY = 0x21, 0x22, 0x23, 0x24, 0x25
_CLIENT_SSL, _CLIENT_CERT_CONN, _CLIENT_CERT_SESS = 0x01, 0x02, 0x04

#: The size of the addresses in octets, by the address family of version 2 (2.2).
_ADDRESSES = {0x0: 0, 0x1: 12, 0x2: 36, 0x3: 216}


IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class ProxySsl:
    """What the balancer tells about the TLS session that it terminated (the TLV PP2_TYPE_SSL).

    ``certificate``: the client has presented a certificate, in this connection or in the session that it resumes.
    ``verified``: the balancer has verified it. ``version``, ``cipher`` and ``common_name`` (of the certificate) are
    None if the balancer does not tell them.
    """

    version: str | None
    cipher: str | None
    common_name: str | None
    certificate: bool
    verified: bool


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A PROXY header: the connection's name as the balancer knows it, and further values.

    ``name`` is None for ``LOCAL`` (the balancer's own connection, such as a health check; ``local`` is True) and for
    ``UNKNOWN``: then the name of the socket applies. ``version`` is 1 or 2. ``tlvs`` has all TLVs of version 2, in
    order, as (type, value).
    """

    name: FourTuple | None = None
    version: int = 2
    local: bool = False
    tlvs: tuple[tuple[int, bytes], ...] = ()

    def tlv(self, kind: int) -> bytes | None:
        """Return the value of the first TLV of the type ``kind``; None if there is none."""
        return next((value for found, value in self.tlvs if found == kind), None)

    def _text(self, kind: int) -> str | None:
        value = self.tlv(kind)
        return None if value is None else value.decode("utf-8", "backslashreplace")

    @property
    def alpn(self) -> str | None:
        """The application protocol that the client agreed on with the balancer."""
        return self._text(ALPN)

    @property
    def authority(self) -> str | None:
        """The host name that the client asked for (SNI)."""
        return self._text(AUTHORITY)

    @property
    def unique_id(self) -> bytes | None:
        """The balancer's identifier of this connection, opaque."""
        return self.tlv(UNIQUE_ID)

    @property
    def netns(self) -> str | None:
        """The network namespace from which the connection came."""
        return self._text(NETNS)

    @property
    def ssl(self) -> ProxySsl | None:
        """The TLS session that the balancer terminated; None if there was none."""
        value = self.tlv(SSL)
        if value is None or not value[0] & _CLIENT_SSL:
            return None
        inner = dict(_tlvs(value[5:]))
        text = {kind: each.decode("utf-8", "backslashreplace") for kind, each in inner.items()}
        certificate = bool(value[0] & (_CLIENT_CERT_CONN | _CLIENT_CERT_SESS))
        return ProxySsl(
            version=text.get(_SSL_VERSION),
            cipher=text.get(_SSL_CIPHER),
            common_name=text.get(_SSL_CN),
            certificate=certificate,
            verified=certificate and value[1:5] == b"\0\0\0\0",
        )

    def encode(self) -> bytes:
        """Return the octets of this header; in version 2 with a checksum."""
        return _encode_v1(self) if self.version == 1 else _encode_v2(self)


# -- writing ----------------------------------------------------------------------------------------------


def _encode_v1(header: ProxyHeader) -> bytes:
    if header.tlvs:
        raise OptionError("PROXY version 1 cannot carry TLVs, version 2 can")
    name = header.name
    if name is None or header.local:
        return b"PROXY UNKNOWN\r\n"
    family, source, destination = _packed(name)
    shown = "TCP4" if family == 0x1 else "TCP6"
    return f"PROXY {shown} {source} {destination} {name.remote_port} {name.local_port}\r\n".encode()


def _encode_v2(header: ProxyHeader) -> bytes:
    name, family, addresses = header.name, 0x00, b""
    if name is not None and not header.local:
        number, source, destination = _packed(name)
        family = number << 4 | 0x1  # over a stream
        addresses = source.packed + destination.packed + struct.pack("!HH", name.remote_port, name.local_port)
    parts = [struct.pack("!BH", kind, len(value)) + value for kind, value in header.tlvs if kind != CRC32C]
    parts.append(struct.pack("!BHI", CRC32C, 4, 0))
    body = addresses + b"".join(parts)
    if len(body) > 0xFFFF:
        raise OptionError(f"PROXY header: {len(body)} octets of addresses and TLVs, no more than 65535 are possible")
    whole = _HEAD.pack(_V2, 0x20 | (not header.local), family, len(body)) + body
    return whole[:-4] + struct.pack("!I", crc32c(whole))


def _packed(name: FourTuple) -> tuple[int, IpAddress, IpAddress]:
    """Return the family's number, the source and the destination, converted to one family as the header needs."""
    source, destination = (ipaddress.ip_address(each.partition("%")[0]) for each in (name.remote_ip, name.local_ip))
    if source.version != destination.version:
        source, destination = _as_ipv6(source), _as_ipv6(destination)
    return 0x1 if source.version == 4 else 0x2, source, destination


def _as_ipv6(address: IpAddress) -> IpAddress:
    return address if address.version == 6 else ipaddress.IPv6Address(f"::ffff:{address}")


def _crc32c_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC32C = _crc32c_table()


def crc32c(octets: bytes) -> int:
    """Return the checksum of RFC 4960, appendix B (Castagnoli's polynomial, reflected)."""
    value = 0xFFFFFFFF
    for octet in octets:
        value = value >> 8 ^ _CRC32C[(value ^ octet) & 0xFF]
    return value ^ 0xFFFFFFFF


# -- reading ----------------------------------------------------------------------------------------------


def parse(octets: bytes | bytearray) -> tuple[ProxyHeader, int] | None:
    """Parse the header at the beginning of ``octets``; return it and its size, or None while it is incomplete.

    Raises :class:`~fourtuple.errors.ProxyHeaderError` for octets that cannot become a header.
    """
    if not begins(octets):
        raise ProxyHeaderError(f"a PROXY header was expected, but the peer began with {bytes(octets[:16])!r}")
    return _parse_v1(octets) if octets[:1] == _V1[:1] else _parse_v2(octets)


def begins(octets: bytes | bytearray) -> bool:
    """Return whether ``octets`` are, or may become, the beginning of a header."""
    return _V1.startswith(bytes(octets[:6])) or _V2.startswith(bytes(octets[:12]))


def _parse_v1(octets: bytes | bytearray) -> tuple[ProxyHeader, int] | None:
    end = octets.find(b"\n", 0, _V1_LONGEST)
    if end < 0:
        if len(octets) >= _V1_LONGEST:
            raise ProxyHeaderError(f"PROXY header: no end of line in {_V1_LONGEST} octets")
        return None
    line = bytes(octets[: end + 1])
    if not line.endswith(b"\r\n"):
        raise ProxyHeaderError(f"PROXY header: the line ends with LF alone: {line!r}")
    if line.startswith((b"PROXY UNKNOWN\r", b"PROXY UNKNOWN ")):
        return ProxyHeader(version=1), len(line)  # the rest of the line must be ignored (2.1)
    return ProxyHeader(_name_v1(line), version=1), len(line)


def _name_v1(line: bytes) -> FourTuple:
    fields = line[:-2].split(b" ")
    families: dict[bytes, type[ipaddress.IPv4Address] | type[ipaddress.IPv6Address]] = {
        b"TCP4": ipaddress.IPv4Address,
        b"TCP6": ipaddress.IPv6Address,
    }
    try:
        _, family, source, destination, *ports = fields
        kind = families[family]
        if b"%" in source + destination:
            raise ValueError  # a zone: the header allows none (2.1), but ipaddress takes one with any text
        remote, local = (_shown(kind(each.decode("ascii"))) for each in (source, destination))
        remote_port, local_port = map(_port_v1, ports)
    except (KeyError, ValueError):
        raise ProxyHeaderError(f"PROXY header: cannot read {line!r}") from None
    return FourTuple(local, local_port, remote, remote_port)


def _port_v1(digits: bytes) -> int:
    """Return a port of digits without leading zeros (2.1). int() would also take a sign, spaces and underscores."""
    if not digits.isdigit() or (digits.startswith(b"0") and digits != b"0") or int(digits) > 65535:
        raise ValueError
    return int(digits)


def _parse_v2(octets: bytes | bytearray) -> tuple[ProxyHeader, int] | None:
    if len(octets) < _HEAD.size:
        return None
    _, version_command, family, length = _HEAD.unpack_from(octets)
    version, command = divmod(version_command, 16)
    if version != 2 or command > 1:
        raise ProxyHeaderError(f"PROXY header: version {version} and command {command}, 2 and 0 or 1 are known")
    size = _ADDRESSES.get(family >> 4)
    if size is None or family & 0xF > 2:
        raise ProxyHeaderError(f"PROXY header: address family and protocol {family:#04x} are not known")
    if command == 1 and length < size:
        raise ProxyHeaderError(f"PROXY header: {length} octets, but the addresses alone take {size}")
    whole = _HEAD.size + length
    if len(octets) < whole:
        return None
    header = bytes(octets[:whole])
    # LOCAL: the family must be ignored (2.2). If its addresses are there, they are skipped.
    tlvs = _tlvs(header[_HEAD.size + size :]) if length >= size else ()
    _check(header, tlvs)
    name = _name_v2(header, family) if command == 1 else None
    return ProxyHeader(name, 2, command == 0, tlvs), whole


def _name_v2(header: bytes, family: int) -> FourTuple | None:
    if family == 0x11:
        source, destination, remote_port, local_port = struct.unpack_from("!4s4sHH", header, _HEAD.size)
    elif family == 0x21:
        source, destination, remote_port, local_port = struct.unpack_from("!16s16sHH", header, _HEAD.size)
    else:
        return None  # Unix sockets, datagrams, UNSPEC: these do not name a TCP connection
    remote, local = (_shown(ipaddress.ip_address(each)) for each in (source, destination))
    return FourTuple(local, local_port, remote, remote_port)


def _shown(address: IpAddress) -> str:
    """Return an address as text; an IPv4-mapped IPv6 address as IPv4 (RFC 4291, 2.5.5.2)."""
    return str(getattr(address, "ipv4_mapped", None) or address)


def _tlvs(octets: bytes) -> tuple[tuple[int, bytes], ...]:
    found, at = [], 0
    while at < len(octets):
        if at + 3 > len(octets):
            raise ProxyHeaderError(f"PROXY header: {len(octets) - at} octets at its end are not a TLV")
        kind, length = struct.unpack_from("!BH", octets, at)
        value = octets[at + 3 : at + 3 + length]
        if len(value) < length:
            raise ProxyHeaderError(f"PROXY header: TLV {kind:#04x} of {length} octets, {len(value)} are left")
        found.append((kind, value))
        at += 3 + length
    return tuple(found)


def _check(header: bytes, tlvs: tuple[tuple[int, bytes], ...]) -> None:
    """Check the checksum (2.2.3) and the form of the TLV of type SSL.

    Only one checksum, of the whole header, is allowed: a thousand would be a thousand sums over the header.
    """
    checksums = sum(kind == CRC32C for kind, _ in tlvs)
    if checksums > 1:
        raise ProxyHeaderError(f"PROXY header: {checksums} checksums, no more than 1 is possible")
    at = len(header) - sum(3 + len(value) for _, value in tlvs)
    for kind, value in tlvs:
        if kind == CRC32C:
            if len(value) != 4:
                raise ProxyHeaderError(f"PROXY header: expected a checksum of 4 octets, got {len(value)}")
            given = int.from_bytes(value, "big")
            seen = crc32c(header[: at + 3] + b"\0\0\0\0" + header[at + 7 :])
            if given != seen:
                raise ProxyHeaderError(f"PROXY header: its checksum is {given:#010x}, its octets have {seen:#010x}")
        elif kind == SSL:
            if len(value) < 5:
                raise ProxyHeaderError(f"PROXY header: expected at least 5 octets about TLS, got {len(value)}")
            _tlvs(value[5:])
        at += 3 + len(value)


#: The type of a client's choice: True (version 2) or a version for the client's own name, or any header.
HeaderChoice: TypeAlias = "ProxyHeader | int | bool"


def say_header(stream: Stream, choice: HeaderChoice | None) -> None:
    """Write a PROXY header before everything else. Raises OptionError for a header that cannot be encoded."""
    if choice is None or choice is False:
        return
    stream.write(header_of(stream, choice).encode())


def header_of(stream: Stream, choice: HeaderChoice) -> ProxyHeader:
    """Return the header for a client's choice."""
    if isinstance(choice, ProxyHeader):
        return choice
    version = 2 if choice is True else choice
    # The header has the receiver's view: our remote address is its local one. The name of a Unix connection does not
    # fit.
    name = stream.name.reversed if isinstance(stream.name, FourTuple) else None
    return ProxyHeader(name, version)


def check_header(choice: HeaderChoice | None) -> None:
    """Raise OptionError for an invalid choice of a header."""
    if choice is not None and not isinstance(choice, ProxyHeader | bool) and choice not in (1, 2):
        refuse("proxy_header", choice, "True, 1, 2, a ProxyHeader or None")
