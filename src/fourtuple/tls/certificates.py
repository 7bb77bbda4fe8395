"""Certificate files: contexts are made from them, checked, and made again when the files change.

Any problem with a file raises an :class:`~fourtuple.errors.OptionError` that names the file.
"""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
from collections.abc import Iterable
from functools import lru_cache
from typing import TypeAlias

from fourtuple.errors import OptionError
from fourtuple.files import read_regular
from fourtuple.options import Tls, refuse

#: The type of the choice for start_tls() and clients: options, your own context, or True for the defaults.
TlsChoice: TypeAlias = "Tls | ssl.SSLContext | bool"

#: The least seconds between two checks of whether files have changed. They are checked only when a client connects.
LOOK_SECONDS = 1.0

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

#: Tells one version of a file from the next: inode number, size and modification time; None for a missing file.
Stamp: TypeAlias = "tuple[int, int, int] | None"


class Certificates:
    """The TLS context of a server: made from the files in its options, or the context that it was given.

    Open connections keep the session that they have agreed on; new connections use the context in force.
    """

    def __init__(self, tls: Tls | ssl.SSLContext) -> None:
        self._tls = tls
        self.mode: str = tls.mode if isinstance(tls, Tls) else "always"
        self._files = _files(tls) if isinstance(tls, Tls) else ()
        self._stamps = _stamps(self._files)
        self._looked = 0.0
        self.context: ssl.SSLContext = self._made()

    def _made(self) -> ssl.SSLContext:
        if isinstance(self._tls, Tls):
            return server_context(self._tls)
        return checked_context(self._tls, server_side=True)

    def reload(self) -> None:
        """Read the files again. Raises :class:`~fourtuple.errors.OptionError`; then the old context stays in force.

        A throw-away certificate, and a context that you gave, stay as they are.
        """
        if isinstance(self._tls, Tls) and not self._tls.dev:
            self._stamps = _stamps(self._files)
            self.context = self._made()

    def refresh(self, now: float) -> bool:
        """Read the files again if they have changed; return whether they have. They are checked once a second at most.

        Raises the same errors as :meth:`reload`, once for each change.
        """
        if not self._files or now - self._looked < LOOK_SECONDS:
            return False
        self._looked = now
        if _stamps(self._files) == self._stamps:
            return False
        self.reload()
        return True


def _files(tls: Tls) -> tuple[str, ...]:
    routed = [path for _, *paths in _routes(tls.sni) for path in paths]
    return tuple(path for path in (tls.certificate, tls.key, tls.ca, *routed) if path)


def _stamps(files: Iterable[str]) -> tuple[Stamp, ...]:
    return tuple(map(_stamp, files))


def _stamp(path: str) -> Stamp:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


# -- contexts ---------------------------------------------------------------------------------------------


def checked_context(context: ssl.SSLContext, *, server_side: bool) -> ssl.SSLContext:
    """Return the given context. Raises :class:`~fourtuple.errors.OptionError` if it is for the other side."""
    wrong = ssl.PROTOCOL_TLS_CLIENT if server_side else ssl.PROTOCOL_TLS_SERVER
    if context.protocol == wrong:
        needed = "a server, made by ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), and not one for a client"
        if not server_side:
            needed = "a client, made by ssl.create_default_context(), and not one for a server"
        refuse("tls", context, f"a context for {needed}")
    return context


def server_context(tls: Tls) -> ssl.SSLContext:
    """Make the context of a server, with the routes from names to further certificates.

    Raises :class:`~fourtuple.errors.OptionError`.
    """
    if tls.dev:
        return _dev_context(tls)
    if tls.certificate is None:
        only = "; ca only says which clients' certificates it accepts" if tls.ca else ""
        raise OptionError(f"tls_certificate: a server needs a certificate (or dev, to try things out){only}")
    context = _server_context(tls, tls.certificate, tls.key)
    routes = {name: _server_context(tls, certificate, key) for name, certificate, key in _routes(tls.sni)}

    def route(session: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        session.sni = name  # type: ignore[attr-defined]  # for TlsInfo: the object does not keep it otherwise
        if name is not None:
            found = routes.get(name.lower()) or routes.get(f"*.{name.lower().partition('.')[2]}")
            if found is not None:
                session.context = found

    context.sni_callback = route
    return context


def _server_context(tls: Tls, certificate: str, key: str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _apply(context, tls)
    _load_chain(context, certificate, key, tls.key_password)
    verify = tls.verify
    if verify == "auto":
        verify = "required" if tls.ca else "none"
    if verify != "none" and not tls.ca:
        raise OptionError(f"tls_verify: {verify} needs ca, the authorities that the clients' certificates come from")
    if tls.ca:
        _load_authorities(context, tls.ca)
    context.verify_mode = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE}[verify]
    return context


def client_context(choice: TlsChoice) -> ssl.SSLContext:
    """Return the context of a client. It is cached by options and files: loading the system's authorities is slow.

    Raises :class:`~fourtuple.errors.OptionError`.
    """
    if isinstance(choice, ssl.SSLContext):
        return checked_context(choice, server_side=False)
    tls = choice if isinstance(choice, Tls) else Tls()
    return _client_context(tls, _stamps(_files(tls)))


@lru_cache(maxsize=16)
def _client_context(tls: Tls, _stamps: tuple[Stamp, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _apply(context, tls)
    if tls.certificate is not None:
        _load_chain(context, tls.certificate, tls.key, tls.key_password)
    if tls.verify == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif tls.ca:
        _load_authorities(context, tls.ca)
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


def _apply(context: ssl.SSLContext, tls: Tls) -> None:
    context.minimum_version = _VERSIONS[tls.minimum]
    # Renegotiation lets a peer make this side work for nothing; TLS 1.3 does not have it.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    protocols = [each.strip() for each in tls.alpn.split(",") if each.strip()]
    if protocols:
        try:
            context.set_alpn_protocols(protocols)
        except (ssl.SSLError, UnicodeError) as error:
            raise OptionError(f"tls_alpn: cannot read {tls.alpn!r}: {error}") from None


def _load_chain(context: ssl.SSLContext, certificate: str, key: str | None, password: str | None) -> None:
    def refused() -> str:
        # Without this function, OpenSSL would ask for the password at the terminal.
        raise OptionError(f"tls_key_password: the key in {key or certificate} is encrypted, its password is needed")

    _expect("tls_certificate", certificate, b"-----BEGIN CERTIFICATE-----", "certificate")
    _expect("tls_key", key or certificate, b"PRIVATE KEY-----", "private key")
    try:
        context.load_cert_chain(certificate, key, password=password or refused)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise OptionError(
                f"tls_key: the key in {key or certificate} does not belong to the certificate in {certificate}"
            ) from None
        if password is not None:
            raise OptionError(f"tls_key_password: it does not open the key in {key or certificate}") from None
        raise OptionError(f"tls_certificate: cannot use {certificate} with {key or certificate}: {error}") from None


def _load_authorities(context: ssl.SSLContext, path: str) -> None:
    _expect("tls_ca", path, b"-----BEGIN ", "certificate")
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise OptionError(f"tls_ca: cannot use {path}: {error}") from None


def _expect(option: str, path: str, mark: bytes, what: str) -> None:
    try:
        content = read_regular(path)
    except OSError as error:
        raise OptionError(f"{option}: cannot read {path}: {error.strerror or error}") from None
    if mark not in content:
        raise OptionError(f"{option}: there is no {what} in {path} (PEM is needed)")


def _routes(text: str) -> list[tuple[str, str, str | None]]:
    """Parse ``a.example=a.pem:a.key, *.b.example=b.pem``."""
    routes = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, equals, files = part.partition("=")
        certificate, _, key = files.partition(":")
        if not equals or not name.strip() or not certificate.strip():
            raise OptionError(f"tls_sni: cannot read {part!r}, as in a.example=a.pem:a.key")
        routes.append((name.strip().lower(), certificate.strip(), key.strip() or None))
    return routes


# -- the throw-away certificate ---------------------------------------------------------------------------


def _dev_context(tls: Tls) -> ssl.SSLContext:
    import tempfile  # imported here: only a throw-away certificate needs it, and it imports many modules

    with tempfile.TemporaryDirectory(prefix="fourtuple-tls-") as folder:
        path = os.path.join(folder, "dev.pem")
        with open(path, "wb") as file:
            file.write(dev_certificate())
        return _server_context(tls, path, None)


@lru_cache(maxsize=1)
def dev_certificate() -> bytes:
    """Return a certificate for this machine's names, with its key, as PEM; the openssl program makes it once a process.

    The standard library cannot make certificates. Raises :class:`~fourtuple.errors.OptionError` if the program is
    missing or fails.
    """
    import shutil  # imported here for the same reason as tempfile above

    program = shutil.which("openssl")
    if program is None:
        raise OptionError("tls_dev: the openssl program is needed to make a certificate; or give certificate")
    names = ",".join(f"DNS:{name}" for name in dict.fromkeys(("localhost", socket.gethostname())))
    command = [program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-batch"]
    command += ["-days", "30", "-subj", "/CN=fourtuple throw-away", "-keyout", "-", "-out", "-"]
    command += ["-addext", f"subjectAltName={names},IP:127.0.0.1,IP:::1"]
    try:
        made = subprocess.run(command, capture_output=True, check=True, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", b"") or b""
        raise OptionError(
            f"tls_dev: {program} makes no certificate: {said.decode(errors='replace') or error}"
        ) from None
    return made.stdout
