"""Certificates for the tests, made in memory once per process and written where a test wants files."""

from __future__ import annotations

import ssl
from functools import cache
from pathlib import Path
from typing import Any

import trustme

from fourtuple import Tls

ECDSA = trustme.KeyType.ECDSA


@cache
def authority() -> trustme.CA:
    return trustme.CA(key_type=ECDSA)


@cache
def issued(name: str) -> trustme.LeafCert:
    return authority().issue_cert(name, common_name=name, organization_name="Example", key_type=ECDSA)


class Files:
    """The files of one certificate: what options and other people's programs take."""

    def __init__(self, folder: Path, name: str = "localhost") -> None:
        self.folder = folder
        leaf = issued(name) if name != "127.0.0.1" else authority().issue_cert(name, key_type=ECDSA)
        self.certificate = self._put(f"{name}.pem", b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
        self.key = self._put(f"{name}.key", leaf.private_key_pem.bytes())
        self.both = self._put(f"{name}.both", leaf.private_key_and_cert_chain_pem.bytes())
        self.ca = self._put("ca.pem", authority().cert_pem.bytes())

    def _put(self, name: str, content: bytes) -> str:
        path = self.folder / name
        path.write_bytes(content)
        return str(path)


def tls_of(files: Files, **options: Any) -> Tls:
    """A server's TLS with these files."""
    return Tls(certificate=files.certificate, key=files.key, **options)


def trusting(certificate: str | None = None) -> ssl.SSLContext:
    """A client's context that trusts our authority; with the name of a certificate, it shows that."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    if certificate is not None:
        issued(certificate).configure_cert(context)
    return context


def serving_context(name: str = "localhost") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued(name).configure_cert(context)
    return context
