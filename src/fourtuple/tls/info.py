"""What was agreed in a TLS handshake, and who the peer is."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class TlsInfo:
    """What was agreed in the handshake, and the peer's identity.

    ``certificate`` is the peer's certificate as :meth:`ssl.SSLSocket.getpeercert` returns it if it was verified, and
    None otherwise; ``der`` is the same certificate encoded, verified or not. ``version`` and ``cipher`` are named as
    :mod:`ssl` does (``TLSv1.3``); ``alpn`` is the application protocol, None if none was agreed. ``sni`` is the name
    that the client asked for.
    """

    version: str
    cipher: str
    alpn: str | None
    sni: str | None
    certificate: dict[str, Any] | None
    der: bytes | None = field(repr=False)  # a thousand octets, unreadable

    @property
    def subject(self) -> str | None:
        """The subject of a verified peer, such as ``CN=device-7,O=Example``; None if the peer is not verified."""
        if self.certificate is None:
            return None
        parts = [pair for group in self.certificate.get("subject", ()) for pair in group]
        return ",".join(f"{_SHORT.get(key, key)}={_escaped(value)}" for key, value in reversed(parts))

    @property
    def common_name(self) -> str | None:
        """The common name in the subject of a verified peer; None if there is none."""
        groups = (self.certificate or {}).get("subject", ())
        return next((str(value) for group in groups for key, value in group if key == "commonName"), None)

    @property
    def names(self) -> tuple[str, ...]:
        """The alternative names of a verified peer, such as ``DNS:device-7.example`` or ``URI:spiffe://...``."""
        return tuple(f"{kind}:{value}" for kind, value in (self.certificate or {}).get("subjectAltName", ()))

    @property
    def fingerprint(self) -> str | None:
        """The SHA-256 of the peer's certificate in hexadecimal, verified or not; None if it sent no certificate."""
        import hashlib  # imported here: few handlers ask for it

        return hashlib.sha256(self.der).hexdigest() if self.der else None


_SHORT = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "stateOrProvinceName": "ST",
    "localityName": "L",
    "domainComponent": "DC",
    "userId": "UID",
}


def _escaped(value: str) -> str:
    """Return a value in the text form of a name (RFC 4514, 2.4), escaped: its commas do not begin another part."""
    return "".join(f"\\{each}" if each in '\\,+"<>;=' else each for each in value)


def info_of(session: ssl.SSLObject) -> TlsInfo:
    """Return what was agreed in the handshake of a session, which is done."""
    cipher = session.cipher()
    return TlsInfo(
        version=session.version() or "",
        cipher=cipher[0] if cipher else "",
        alpn=session.selected_alpn_protocol(),
        # A server's context stores the name in the object; a client's object has the name that it asked for.
        sni=getattr(session, "sni", None) or session.server_hostname,
        certificate=session.getpeercert() or None,
        der=session.getpeercert(binary_form=True),
    )
