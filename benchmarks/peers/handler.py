"""What all peers share: the handler, the words of their command lines, and how a port is announced."""

from __future__ import annotations

import argparse
import os
import ssl
import threading

MIB = 1 << 20


def loud(message: bytes) -> bytes:
    """The handler: a new value, made by the cheapest call that makes one, because the servers are measured, not it."""
    return message.upper()


def turned(message: bytes) -> bytes:
    """The handler of large messages, for which copying is cheaper than looking at every octet."""
    return message[1:] + message[:1]


#: What every peer calls for every message.
answer = turned if os.environ.get("HANDLER") == "turned" else loud


def announce(port: int) -> None:
    """Tell the benchmark where we listen."""
    print(port, flush=True)


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """A parser with what every peer knows."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("framing", choices=("fixed:16", "fixed:100", "line", "u32"))
    return parser


def server_context(certificate: str | None) -> ssl.SSLContext | None:
    """TLS 1.3 with a certificate and its key in one file."""
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate)
    return context


def compute_for_ever() -> None:
    """Start a thread that computes, in this process."""

    def spin() -> None:
        number = 1
        while True:
            number = (number * 3 + 1) & 0xFFFF

    threading.Thread(target=spin, daemon=True).start()
