"""Contexts from files: what can be wrong with them is named, and what changes is read again."""

from __future__ import annotations

import os
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from certificates import authority
from fourtuple.errors import OptionError
from fourtuple.options import Tls
from fourtuple.tls.certificates import Certificates, client_context, dev_certificate, server_context


def written(folder: Path, name: str) -> tuple[str, str]:
    """A fresh certificate for a name and its key, in two files."""
    issued = authority().issue_cert(name, key_type=trustme.KeyType.ECDSA)
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    return str(certificate), str(key)


def presented(context: ssl.SSLContext, name: str = "localhost") -> bytes:
    """The certificate that a server shows to a client that asks for a name."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = context.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname=name)
    for side in (theirs, ours, theirs):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    der = theirs.getpeercert(binary_form=True)
    assert der is not None
    return der


def test_a_server_with_one_certificate_presents_it(tmp_path: Path) -> None:
    certificate, key = written(tmp_path, "localhost")
    context = server_context(Tls(certificate=certificate, key=key))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_NONE
    assert presented(context)


def test_the_key_may_stand_in_the_certificates_file(tmp_path: Path) -> None:
    certificate, key = written(tmp_path, "localhost")
    both = tmp_path / "both.pem"
    both.write_bytes(Path(key).read_bytes() + Path(certificate).read_bytes())
    assert presented(server_context(Tls(certificate=str(both))))


def test_names_are_routed_to_their_certificates(tmp_path: Path) -> None:
    (first, key), (second, _), (third, _) = (written(tmp_path, each) for each in ("first", "second", "third"))
    tls = Tls(
        certificate=first, key=key, sni=f"b.example={second}:{second[:-4]}.key, *.c.example={third}:{third[:-4]}.key"
    )
    context = server_context(tls)
    seen = {name: presented(context, name) for name in ("a.example", "B.example", "x.c.example", "x.x.c.example")}
    expected = {"a.example": first, "B.example": second, "x.c.example": third, "x.x.c.example": first}
    for name, path in expected.items():
        assert seen[name] == ssl.PEM_cert_to_DER_cert(Path(path).read_text())


def test_what_is_wrong_with_a_file_is_named(tmp_path: Path) -> None:
    certificate, key = written(tmp_path, "localhost")
    _, other = written(tmp_path, "other")
    missing, noise = str(tmp_path / "missing"), tmp_path / "noise"
    noise.write_text("nothing")
    for tls, text in (
        (Tls(certificate=missing), f"tls_certificate: cannot read {missing}: No such file or directory"),
        (Tls(certificate=str(noise)), f"tls_certificate: there is no certificate in {noise} (PEM is needed)"),
        (Tls(certificate=certificate, key=missing), f"tls_key: cannot read {missing}: No such file or directory"),
        (Tls(certificate=certificate), f"tls_key: there is no private key in {certificate} (PEM is needed)"),
        (
            Tls(certificate=certificate, key=other),
            f"tls_key: the key in {other} does not belong to the certificate in {certificate}",
        ),
        (Tls(certificate=certificate, key=key, ca=missing), f"tls_ca: cannot read {missing}"),
        (Tls(certificate=certificate, key=key, ca=str(noise)), f"tls_ca: there is no certificate in {noise}"),
        (Tls(certificate=certificate, key=key, verify="required"), "tls_verify: required needs ca, the authorities"),
        (Tls(certificate=certificate, key=key, sni="a.example"), "tls_sni: cannot read 'a.example'"),
        (Tls(certificate=certificate, key=key, alpn="x" * 300), "tls_alpn: cannot read"),
        (Tls(), "tls_certificate: a server needs a certificate (or dev, to try things out)"),
        (Tls(ca=certificate), "(or dev, to try things out); ca only says which clients' certificates it accepts"),
    ):
        with pytest.raises(OptionError) as caught:
            Certificates(tls)
        assert text in str(caught.value)


def test_an_encrypted_key(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    certificate, key = written(tmp_path, "localhost")
    locked = str(tmp_path / "locked.key")
    command = [require_program("openssl"), "pkey", "-in", key, "-aes256", "-passout", "pass:sesame", "-out", locked]
    subprocess.run(command, check=True)
    assert server_context(Tls(certificate=certificate, key=locked, key_password="sesame"))
    with pytest.raises(OptionError, match=f"the key in {locked} is encrypted"):
        server_context(Tls(certificate=certificate, key=locked))
    with pytest.raises(OptionError, match=f"does not open the key in {locked}"):
        server_context(Tls(certificate=certificate, key=locked, key_password="wrong"))
    assert "sesame" not in repr(Tls(certificate=certificate, key=locked, key_password="sesame"))


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    certificate, key = written(tmp_path, "localhost")
    certificates = Certificates(Tls(certificate=certificate, key=key))
    before = presented(certificates.context)
    assert not certificates.refresh(10.0)
    replace(tmp_path)
    assert not certificates.refresh(10.5), "once a second at most"
    assert certificates.refresh(11.5)
    after = presented(certificates.context)
    assert before != after
    assert not certificates.refresh(20.0)


def test_a_broken_file_is_reported_once_and_the_old_one_stays_in_force(tmp_path: Path) -> None:
    certificate, key = written(tmp_path, "localhost")
    certificates = Certificates(Tls(certificate=certificate, key=key))
    before = presented(certificates.context)
    Path(certificate).write_text("half of a")
    with pytest.raises(OptionError, match="there is no certificate"):
        certificates.refresh(10.0)
    assert not certificates.refresh(20.0)
    assert presented(certificates.context) == before
    replace(tmp_path)
    assert certificates.refresh(30.0)
    assert presented(certificates.context) != before


def replace(folder: Path) -> None:
    """As certificate managers do it: new files, renamed over the old ones."""
    fresh = folder / "fresh"
    fresh.mkdir(exist_ok=True)
    for path in written(fresh, "localhost"):
        os.replace(path, folder / Path(path).name)


def test_a_context_made_elsewhere_is_taken_as_it_is() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificates = Certificates(context)
    certificates.reload()
    assert certificates.context is context
    assert not certificates.refresh(10.0)
    client = ssl.create_default_context()
    assert client_context(client) is client


def test_a_context_for_the_other_side() -> None:
    with pytest.raises(OptionError, match=r"tls: expected a context for a server, .*, got .*"):
        Certificates(ssl.create_default_context())


def test_a_client_verifies_unless_told_otherwise(tmp_path: Path) -> None:
    certificate, key = written(tmp_path, "client")
    ca = tmp_path / "ca.pem"
    authority().cert_pem.write_to_path(str(ca))
    assert client_context(True) is client_context(Tls())
    assert client_context(True).check_hostname
    mutual = client_context(Tls(ca=str(ca), certificate=certificate, key=key, minimum="1.3"))
    assert mutual.minimum_version is ssl.TLSVersion.TLSv1_3
    assert len(mutual.get_ca_certs()) == 1
    unverified = client_context(Tls(verify="none"))
    assert (unverified.check_hostname, unverified.verify_mode) == (False, ssl.CERT_NONE)


def test_a_throw_away_certificate(require_program: Callable[[str], str]) -> None:
    require_program("openssl")
    certificates = Certificates(Tls(dev=True))
    assert presented(certificates.context) == ssl.PEM_cert_to_DER_cert(certificate_in(dev_certificate()))
    certificates.reload()


def certificate_in(pem: bytes) -> str:
    text = pem.decode()
    return text[text.index("-----BEGIN CERTIFICATE-----") :]


def test_without_the_program_there_is_no_throw_away_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    dev_certificate.cache_clear()
    with pytest.raises(OptionError, match="the openssl program is needed"):
        Certificates(Tls(dev=True))


def test_options_that_contradict_each_other() -> None:
    with pytest.raises(OptionError, match="a throw-away certificate beside"):
        Tls(dev=True, certificate="x.pem")
    with pytest.raises(OptionError, match=r"x\.key given without the certificate"):
        Tls(key="x.key")
    with pytest.raises(OptionError, match=r"minimum: expected one of 1\.2, 1\.3, got '1\.0'"):
        Tls(minimum="1.0")
    assert Tls().off
    assert not Tls(dev=True).off
