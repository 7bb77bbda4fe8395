"""The small reader of certificates, against what OpenSSL says of them."""

from __future__ import annotations

import ssl

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from certificates import ECDSA, authority, issued
from fourtuple.probing import x509

_NAMES = ("a.example", "*.b.example", "192.0.2.7", "2001:db8::1")


def der_of(cert: trustme.LeafCert) -> bytes:
    return ssl.PEM_cert_to_DER_cert(cert.cert_chain_pems[0].bytes().decode())


@pytest.fixture(scope="module")
def der() -> bytes:
    return der_of(authority().issue_cert(*_NAMES, common_name="Ünïcode", organization_name="Example", key_type=ECDSA))


def test_what_a_certificate_says(der: bytes) -> None:
    read = x509.parse(der)
    assert read.names == _NAMES
    assert "CN=Ünïcode" in read.subject
    assert "O=Example" in read.subject
    assert not read.self_signed
    assert read.not_before < read.not_after


def test_the_same_as_openssl() -> None:
    leaf = issued("localhost")
    read = x509.parse(der_of(leaf))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca = authority().cert_pem.bytes().decode()
    context.load_verify_locations(cadata=ca)
    (told,) = context.get_ca_certs()
    own = x509.parse(ssl.PEM_cert_to_DER_cert(ca))
    assert own.self_signed
    assert own.not_after.timestamp() == ssl.cert_time_to_seconds(told["notAfter"])
    assert own.not_before.timestamp() == ssl.cert_time_to_seconds(told["notBefore"])
    assert read.issuer == own.subject


def test_octets_that_are_cut_short_are_an_error(der: bytes) -> None:
    for size in range(len(der)):
        with pytest.raises(ValueError, match=r"."):
            x509.parse(der[:size])


def test_an_extension_of_names_without_content() -> None:
    """The test below found it."""
    extensions = bytes.fromhex("3009 3007 0603551d11 0400")  # subjectAltName, and an empty octet string
    with pytest.raises(ValueError, match="nothing where tag 0x30 is expected"):
        list(x509._alternative_names(extensions))


@given(st.data())
def test_any_change_is_a_certificate_or_an_error(data: st.DataObject) -> None:
    octets = bytearray(der_of(issued("localhost")))
    at = data.draw(st.integers(0, len(octets) - 1))
    octets[at] = data.draw(st.integers(0, 255))
    try:
        x509.parse(bytes(octets))
    except ValueError:
        pass


@given(st.binary(max_size=200))
def test_any_octets_are_an_error(octets: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        x509.parse(octets)
