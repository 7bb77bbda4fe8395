"""The preamble: a PROXY header, a TLS handshake, both or nothing, before the service gets the connection.

Each connection gets the layers that it needs. Its preamble has separate deadlines, and the engine accepts other
connections meanwhile.
"""

from __future__ import annotations

import copy
import ipaddress
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from fourtuple import events
from fourtuple.address import parse_networks
from fourtuple.errors import OptionError, ProxyHeaderError
from fourtuple.four_tuple import Name, UnixName
from fourtuple.options import Proxy, Tls
from fourtuple.serving.policy import Refusal
from fourtuple.stream import Layer, Stream
from fourtuple.tls import FirstOctet, TlsLayer
from fourtuple.tls.certificates import Certificates

if TYPE_CHECKING:
    from fourtuple.proxy import ProxyHeader, ProxyReader


class Preamble:
    """What a server requires of new connections, by its options. Raises OptionError for files that cannot be used."""

    def __init__(self, tls: Tls | ssl.SSLContext | None, proxy: Proxy | None, observer: events.Observer) -> None:
        self.proxy: Proxy = proxy or Proxy()
        self.certificates: Certificates | None = (
            None if tls is None or (isinstance(tls, Tls) and tls.off) else Certificates(tls)
        )
        self._networks = parse_networks(self.proxy.trusted)
        self._observer = observer

    def with_proxy(self, proxy: Proxy) -> Preamble:
        """Return a preamble with the same certificates and other options of the PROXY protocol."""
        other = copy.copy(self)
        other.proxy, other._networks = proxy, parse_networks(proxy.trusted)
        return other

    @property
    def expects_header(self) -> bool:
        """Whether a PROXY header may or must come first."""
        return self.proxy.protocol != "off"

    @property
    def expects_tls(self) -> bool:
        """Whether connections may or must begin with a handshake."""
        return self.certificates is not None and self.certificates.mode != "starttls"

    def trusts(self, name: Name) -> bool:
        """Return whether the peer is a trusted balancer: it is in a trusted network, or on a Unix socket."""
        if isinstance(name, UnixName):
            return True
        address = ipaddress.ip_address(name.remote_ip.partition("%")[0])
        return any(address in network for network in self._networks)

    def refuses(self, name: Name) -> Refusal | None:
        """Return the refusal of an untrusted peer if a header is required: its header would not be believed."""
        if self.proxy.protocol != "required" or self.trusts(name):
            return None
        text = f"a PROXY header is required, and {name} is not in a trusted network ({self.proxy.trusted})"
        return Refusal("proxy_trusted", text)

    def header_first(self, name: Name) -> bool:
        """Return whether this connection may begin with a header; on others the first octet belongs to a message."""
        return self.expects_header and self.trusts(name)

    def reader(
        self, stream: Stream, now: float, introduced: Callable[[ProxyHeader | None], None], *, hands_socket: bool
    ) -> ProxyReader:
        """Return the layer that reads the header; TLS may follow it. ``introduced`` may raise ProxyHeaderError.

        With ``hands_socket``, the handler gets the socket: without TLS, no octet after the header is read.
        """

        def introduce(header: ProxyHeader | None, then: float) -> Layer | None:
            introduced(header)
            return self.secure(stream, then)

        from fourtuple.proxy import PeekingReader, ProxyReader  # imported here: most servers have no balancer in front

        required = self.proxy.protocol == "required"
        # It peeks (MSG_PEEK, recv(2)): octets that were read cannot be put back into the kernel for the handler.
        kind = PeekingReader if hands_socket and not self.expects_tls else ProxyReader
        return kind(introduce, now, required=required, whom=str(stream.name))

    def secure(self, stream: Stream, now: float) -> Layer | None:
        """Return the TLS layer with which the connection begins; None if it begins without TLS."""
        if self.certificates is None or self.certificates.mode == "starttls":
            return None
        # At a connection, at most once in an interval: no timer is needed, and an idle server reads no files.
        self._refresh(self.certificates, now)
        context, whom = self.certificates.context, str(stream.name)
        if self.certificates.mode == "always":
            return TlsLayer(context, now, server_side=True, whom=whom)
        return FirstOctet(lambda then: TlsLayer(context, then, server_side=True, whom=whom))

    def _refresh(self, certificates: Certificates, now: float) -> None:
        try:
            if certificates.refresh(now):
                self._observer(events.CertificatesRead())
        except OptionError as error:
            self._observer(events.CertificatesFailed(error))

    def reload(self) -> None:
        """Read the certificates again. Raises OptionError; then the old ones stay in force."""
        if self.certificates is None:
            return
        try:
            self.certificates.reload()
        except OptionError as error:
            self._observer(events.CertificatesFailed(error))
            raise
        self._observer(events.CertificatesRead())


def refused(refusal: Refusal) -> ProxyHeaderError:
    """Return the error that ends a connection whose real client is refused."""
    return ProxyHeaderError(refusal.text)
