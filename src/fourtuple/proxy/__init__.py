"""The PROXY protocol: who the real client is, as a balancer in front tells it."""

from fourtuple.proxy.header import ALPN, AUTHORITY, CRC32C, NETNS, NOOP, SSL, UNIQUE_ID, ProxyHeader, ProxySsl
from fourtuple.proxy.reader import ProxyReader

__all__ = [
    "ALPN",
    "AUTHORITY",
    "CRC32C",
    "NETNS",
    "NOOP",
    "ProxyHeader",
    "ProxyReader",
    "ProxySsl",
    "SSL",
    "UNIQUE_ID",
]
