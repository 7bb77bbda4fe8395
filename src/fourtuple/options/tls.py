"""TLS, for servers and clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Self, Unpack

from fourtuple.errors import OptionError
from fourtuple.options.declaring import Options, option

if TYPE_CHECKING:
    from fourtuple.options.changes import TlsChanges


@dataclass(frozen=True, kw_only=True)
class Tls(Options):
    """TLS, for servers and clients. Files are PEM; they are read and checked before a socket is opened.

    A server needs a certificate or ``dev``; for a server, ``Tls()`` without options means no TLS. A client needs no
    option: by default it trusts the authorities that the system trusts.
    """

    prefix: ClassVar[str] = "tls_"

    certificate: str | None = option(
        None,
        "the file with this side's certificate and its chain; it may also contain the key",
        reason="none: a server cannot use TLS without it, and most clients have no certificate",
    )
    """The file with this side's certificate and its chain; it may also contain the key. Default: none (a server cannot
    use TLS without it, and most clients have no certificate).
    """
    key: str | None = option(None, "the file with the certificate's private key", reason="none: the certificate's file")
    """The file with the certificate's private key. Default: none (the certificate's file)."""
    key_password: str | None = option(
        None, "the password with which the key is encrypted", reason="none: the key is not encrypted", secret=True
    )
    """The password with which the key is encrypted. Default: none (the key is not encrypted)."""
    sni: str = option(
        "",
        "more certificates, by the server name that the client asks for: a.example=a.pem:a.key, *.b.example=b.pem",
        reason="empty: one certificate for all names; names that are not listed also get it",
    )
    """More certificates, by the server name that the client asks for: a.example=a.pem:a.key, *.b.example=b.pem.
    Default: empty (one certificate for all names; names that are not listed also get it).
    """
    ca: str | None = option(
        None,
        "the file with the authorities that may have issued the peer's certificate",
        reason="none: a client trusts the system's authorities, a server asks for no certificate",
    )
    """The file with the authorities that may have issued the peer's certificate. Default: none (a client trusts the
    system's authorities, a server asks for no certificate).
    """
    verify: Literal["auto", "required", "optional", "none"] = option(
        "auto",
        "whether the peer must have a certificate that verifies: auto, required, optional or none",
        reason="auto: required of servers, and of clients if ca is given",
    )
    """Whether the peer must have a certificate that verifies: auto, required, optional or none. Default: auto (required
    of servers, and of clients if ca is given).
    """
    alpn: str = option(
        "",
        "the application protocols (ALPN) to choose from, preferred ones first: h2, http/1.1",
        reason="empty: ALPN is not used",
    )
    """The application protocols (ALPN) to choose from, preferred ones first: h2, http/1.1. Default: empty (ALPN is not
    used).
    """
    minimum: Literal["1.2", "1.3"] = option(
        "1.2",
        "the oldest accepted version: 1.2 or 1.3",
        reason="older versions are insecure (RFC 8996)",
    )
    """The oldest accepted version: 1.2 or 1.3. Default: 1.2 (older versions are insecure (RFC 8996))."""
    mode: Literal["always", "detect", "starttls"] = option(
        "always",
        "which connections use TLS: always, detect (recognized by the first octet, plain connections also work) "
        "or starttls (when the service begins it)",
        reason="always: no connection is unencrypted by mistake",
    )
    """Which connections use TLS: always, detect (recognized by the first octet, plain connections also work) or
    starttls (when the service begins it). Default: always (no connection is unencrypted by mistake).
    """
    dev: bool = option(
        False,
        "serve with a temporary certificate, which the openssl program makes at the start and no client trusts",
        reason="off: only for trying things out",
        bare=True,
    )
    """Serve with a temporary certificate, which the openssl program makes at the start and no client trusts. Default:
    off (only for trying things out).
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dev and self.certificate is not None:
            raise OptionError("dev: a throw-away certificate beside the one of certificate")
        if self.key is not None and self.certificate is None:
            raise OptionError(f"key: {self.key} given without the certificate that it belongs to")

    @property
    def off(self) -> bool:
        """Whether all options have their defaults."""
        return self == Tls()

    if TYPE_CHECKING:

        def replace(self, **changes: Unpack[TlsChanges]) -> Self: ...  # type: ignore[override]
