"""TLS: the layer without a socket, certificates, and how either side starts it."""

from fourtuple.tls.info import TlsInfo
from fourtuple.tls.layer import TlsLayer as TlsLayer  # for the packages above, and FirstOctet
from fourtuple.tls.records import FirstOctet as FirstOctet

__all__ = ["TlsInfo"]
