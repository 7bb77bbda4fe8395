"""The PROXY protocol: who the real client is, as a balancer in front tells it."""

from fourtuple.proxy.header import ALPN, AUTHORITY, CRC32C, NETNS, NOOP, SSL, UNIQUE_ID, ProxyHeader, ProxySsl
from fourtuple.proxy.reader import ProxyReader as ProxyReader  # for the rooms above

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
