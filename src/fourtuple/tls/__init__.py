"""TLS: the layer without a socket, certificates, and how either side starts it."""

from fourtuple.tls.layer import FirstOctet as FirstOctet  # FirstOctet and TlsLayer are for the packages above
from fourtuple.tls.layer import TlsInfo
from fourtuple.tls.layer import TlsLayer as TlsLayer

__all__ = ["TlsInfo"]
