"""Clients that count: numbered messages without a pause, each with its reply."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from types import TracebackType
from typing import Self

#: Seconds that a client waits for anything: the failure here is a hang.
PATIENCE = 60.0


class Traffic:
    """While the block runs, some clients send each message over a connection of its own, others over one connection.

    ``replies`` counts the answers by the worker's process id. ``lost`` names what went wrong: nothing may.
    ``requeued`` counts the requests of persistent clients that crossed the server's FIN: at most one for each
    connection that was drained, and never half a reply.
    """

    def __init__(self, address: tuple[str, int] | str, *, single: int = 3, persistent: int = 2) -> None:
        self._address = address
        self._end = threading.Event()
        self._lock = threading.Lock()
        self.replies: Counter[int] = Counter()
        self.lost: list[str] = []
        self.reconnects = 0
        self.requeued = 0
        self.longest = 0.0
        self._threads = [threading.Thread(target=self._guarded, args=(self._singles, n)) for n in range(single)]
        self._threads += [
            threading.Thread(target=self._guarded, args=(self._persistent, single + n)) for n in range(persistent)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    @property
    def count(self) -> int:
        return self.replies.total()

    def _guarded(self, clients: object, number: int) -> None:
        clients(number)  # type: ignore[operator]

    def connect(self) -> socket.socket:
        if isinstance(self._address, str):
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(PATIENCE)
            sock.connect(self._address)
            return sock
        return socket.create_connection(self._address, PATIENCE)

    def _singles(self, client: int) -> None:
        number = 0
        while not self._end.is_set():
            number += 1
            message = b"%d.%d" % (client, number)
            try:
                with self.connect() as sock:
                    sock.sendall(message + b"\n")
                    self._take(message, read_line(sock))
            except OSError as error:
                self.lost.append(f"client {client}, message {number}: {error!r}")

    def _persistent(self, client: int) -> None:
        number = 0
        sock = self.connect()
        while not self._end.is_set():
            number += 1
            message = b"%d.%d" % (client, number)
            try:
                sock.sendall(message + b"\n")
                reply = read_line(sock)
            except OSError:
                reply = b""  # the answer to a request that crossed the server's FIN
            if reply.endswith(b"\n"):
                self._take(message, reply)
                continue
            if reply:
                self.lost.append(f"client {client}, message {number}: half a reply {reply!r}")
            self.requeued += 1
            sock.close()
            try:
                sock = self.connect()
            except OSError as error:
                self.lost.append(f"client {client}, after message {number}: {error!r}")
                return
            self.reconnects += 1
        sock.close()

    def _take(self, message: bytes, reply: bytes) -> None:
        echoed, _, pid = reply.rstrip(b"\n").rpartition(b" ")
        if not reply.endswith(b"\n") or echoed != message:
            self.lost.append(f"{message!r} was answered {reply!r}")
            return
        with self._lock:
            self.replies[int(pid)] += 1


def read_line(sock: socket.socket) -> bytes:
    """Read up to a line's end, or the end of file."""
    found = b""
    while not found.endswith(b"\n"):
        octets = sock.recv(4096)
        if not octets:
            break
        found += octets
    return found
