"""The PROXY protocol: a balancer in front of the server names the real client."""

from fourtuple.proxy.header import ALPN, AUTHORITY, CRC32C, NETNS, NOOP, SSL, UNIQUE_ID, ProxyHeader, ProxySsl
from fourtuple.proxy.reader import PeekingReader as PeekingReader  # for the packages above, as the next one
from fourtuple.proxy.reader import ProxyReader as ProxyReader

__all__ = [
    "ALPN",
    "AUTHORITY",
    "CRC32C",
    "NETNS",
    "NOOP",
    "ProxyHeader",
    "ProxySsl",
    "SSL",
    "UNIQUE_ID",
]
