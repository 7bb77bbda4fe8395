"""TLS, for servers and clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self, Unpack

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
        "the file of our certificate and the chain behind it; it may hold the key, too",
        reason="none: a server without it has no TLS, and most clients show none",
    )
    key: str | None = option(None, "the file of the certificate's private key", reason="none: the certificate's file")
    key_password: str | None = option(
        None, "what the key is encrypted with", reason="none: it is not encrypted", secret=True
    )
    sni: str = option(
        "",
        "further certificates by the name that the client asks for: a.example=a.pem:a.key, *.b.example=b.pem",
        reason="empty: one certificate for all; names that are not listed get the first one, too",
    )
    ca: str | None = option(
        None,
        "the file of the authorities that the peer's certificate must come from",
        reason="none: a client trusts whom the system trusts, a server asks for no certificates",
    )
    verify: str = option(
        "auto",
        "whether the peer must show a certificate that verifies: auto, required, optional or none",
        reason="auto: a client's peer must, a server's must where ca is given",
        choices=("auto", "required", "optional", "none"),
    )
    alpn: str = option(
        "", "application protocols to agree on, the best first: h2, http/1.1", reason="empty: ALPN is not spoken"
    )
    minimum: str = option(
        "1.2",
        "the oldest version that is spoken: 1.2 or 1.3",
        reason="older ones are broken (RFC 8996)",
        choices=("1.2", "1.3"),
    )
    mode: str = option(
        "always",
        "which connections speak TLS: always, detect (by the first octet, beside plain ones) or starttls "
        "(when the service says so)",
        reason="always: nobody speaks plainly by mistake",
        choices=("always", "detect", "starttls"),
    )
    dev: bool = option(
        False,
        "serve with a throw-away certificate, made by the openssl program at the start, that nobody trusts",
        reason="off: for trying things out only",
        bare=True,
    )

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
