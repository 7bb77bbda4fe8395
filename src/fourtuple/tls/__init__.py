"""TLS: the layer without a socket, certificates, and how either side starts it."""

from fourtuple.tls.layer import FirstOctet, TlsInfo, TlsLayer

__all__ = [
    "FirstOctet",
    "TlsInfo",
    "TlsLayer",
]
