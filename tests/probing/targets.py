"""Servers to probe: one for each way in which a connection can go wrong, or right."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

import trustme

from certificates import ECDSA, authority
from fourtuple.net.sockets import reset_on_close

Talk = Callable[[socket.socket], None]


@contextmanager
def server(talk: Talk, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Accept connections until the block ends, and talk to each in the thread that accepts."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family) as passive:
        done = threading.Event()

        def serve() -> None:
            while not done.is_set():
                sock, _ = passive.accept()
                with sock, suppress(OSError):
                    sock.settimeout(20)
                    talk(sock)

        thread = threading.Thread(target=serve)
        thread.start()
        name = passive.getsockname()
        try:
            yield f"[{name[0]}]:{name[1]}" if family == socket.AF_INET6 else f"{name[0]}:{name[1]}"
        finally:
            done.set()
            with suppress(OSError), socket.create_connection(name[:2]) as last:  # so that accept() returns
                last.shutdown(socket.SHUT_RDWR)
            thread.join()


def resets(sock: socket.socket) -> None:
    reset_on_close(sock)


def resets_later(sock: socket.socket) -> None:
    """It reads what comes, and resets after a while."""
    sock.recv(1000)
    time.sleep(0.6)
    reset_on_close(sock)


def resets_unasked(sock: socket.socket) -> None:
    """As some servers do whose deadline for the first message has passed."""
    time.sleep(0.6)
    reset_on_close(sock)


def is_silent(sock: socket.socket) -> None:
    """It accepts, and says nothing until the peer has gone."""
    while sock.recv(1000):
        continue


def greets(sock: socket.socket) -> None:
    sock.sendall(b"220 ready\r\n")
    is_silent(sock)


def echoes(sock: socket.socket) -> None:
    while octets := sock.recv(1000):
        sock.sendall(octets)


def answers_plainly(sock: socket.socket) -> None:
    """What a server of HTTP says to a ClientHello."""
    sock.recv(1000)
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def closes(_sock: socket.socket) -> None:
    """Nothing: the server closes what it has accepted."""


def speaks_tls(name: str = "127.0.0.1", not_after: datetime | None = None) -> Talk:
    """TLS with a certificate of this name."""
    leaf: trustme.LeafCert = authority().issue_cert(name, key_type=ECDSA, not_after=not_after)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)

    def talk(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as secure:
            secure.sendall(b"hello\n")
            is_silent(secure)

    return talk
