"""PURE: what is printed of a certificate: names, validity, issuer. A small reader of DER (X.690), for RFC 5280.

The ssl module tells these of a certificate that it has verified, and nothing of one that it refuses, which is the one
whose date and names are wanted. This reader verifies nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

_SEQUENCE, _SET, _OID = 0x30, 0x31, 0x06
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_EXTENSIONS, _VERSION = 0xA3, 0xA0
_DNS, _IP = 0x82, 0x87
_SUBJECT_ALT_NAME = bytes.fromhex("551d11")
_NAMES = {"550403": "CN", "550406": "C", "55040a": "O", "55040b": "OU", "550408": "ST", "550407": "L"}


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says of itself; nothing of it is verified."""

    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime
    #: The names it is for: DNS names and IP addresses (subjectAltName).
    names: tuple[str, ...]

    @property
    def self_signed(self) -> bool:
        """Whether it names itself as its issuer."""
        return self.subject == self.issuer


def parse(der: bytes) -> Certificate:
    """Read a certificate. Raises :class:`ValueError` for octets that are none."""
    try:
        return _parse(der)
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"these {len(der)} octets are no certificate") from error


def _parse(der: bytes) -> Certificate:
    fields = list(_elements(_one(_one(der, _SEQUENCE), _SEQUENCE)))
    if fields[0][0] == _VERSION:
        del fields[0]
    _serial, _algorithm, issuer, validity, subject, _key, *rest = fields
    begin, end = _elements(validity[1])
    names: tuple[str, ...] = ()
    for tag, content in rest:
        if tag == _EXTENSIONS:
            names = tuple(_alternative_names(content))
    return Certificate(_name(subject[1]), _name(issuer[1]), _time(*begin), _time(*end), names)


def _one(octets: bytes, wanted: int) -> bytes:
    # Not StopIteration: inside a generator it would become a RuntimeError.
    tag, content = next(_elements(octets), (None, b""))
    if tag is None:
        raise ValueError(f"nothing where tag {wanted:#x} is expected")
    if tag != wanted:
        raise ValueError(f"tag {tag:#x} where {wanted:#x} is expected")
    return content


def _elements(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each element, from the first octet to the last."""
    at = 0
    while at < len(octets):
        tag, length = octets[at], octets[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            if not 1 <= size <= 4:
                raise ValueError("a length that DER does not have")
            length = int.from_bytes(octets[at : at + size], "big")
            at += size
        if at + length > len(octets):
            raise ValueError("an element that is cut short")
        yield tag, octets[at : at + length]
        at += length


def _name(content: bytes) -> str:
    parts = []
    for _tag, group in _elements(content):
        for _inner, pair in _elements(group):
            (_, oid), (_, value) = _elements(pair)
            short = _NAMES.get(oid.hex())
            if short:
                parts.append(f"{short}={value.decode('utf-8', 'replace')}")
    return ",".join(reversed(parts))


def _time(tag: int, content: bytes) -> datetime:
    text = content.decode("ascii")
    if tag not in (_UTC_TIME, _GENERALIZED_TIME):
        raise ValueError(f"tag {tag:#x} is not a time")
    if tag == _UTC_TIME:
        text = ("19" if int(text[:2]) >= 50 else "20") + text  # RFC 5280, 4.1.2.5.1
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _alternative_names(content: bytes) -> Iterator[str]:
    for _tag, extension in _elements(_one(content, _SEQUENCE)):
        parts = list(_elements(extension))
        if parts[0] == (_OID, _SUBJECT_ALT_NAME):
            for tag, value in _elements(_one(parts[-1][1], _SEQUENCE)):
                if tag == _DNS:
                    yield value.decode("ascii", "replace")
                elif tag == _IP and len(value) in (4, 16):
                    yield str(ipaddress.ip_address(value))
