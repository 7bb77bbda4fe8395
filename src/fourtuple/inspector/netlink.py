"""The kernel's socket that answers about sockets: NETLINK_SOCK_DIAG, sock_diag(7).

This module moves octets; :mod:`fourtuple.inspector.messages` and its siblings say what they mean.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from fourtuple.inspector.messages import FAILURES, Message, failure_of, is_end, messages, request

#: linux/netlink.h.
NETLINK_ROUTE = 0
NETLINK_SOCK_DIAG = 4
#: A dump fills buffers of at most 32 KiB (netlink_dump(), net/netlink/af_netlink.c): this is never too small.
_BUFFER = 256 * 1024
#: Seconds without an answer from the kernel, which answers at once: a filter or a broken container is in the way.
_PATIENCE = 10.0


class NetlinkClosed(OSError):
    """Netlink cannot be used here: some containers and seccomp filters forbid it, and other systems have none."""


class Netlink:
    """One netlink socket. Use it in a ``with`` statement."""

    def __init__(self, protocol: int = NETLINK_SOCK_DIAG) -> None:
        if not hasattr(socket, "AF_NETLINK"):
            raise NetlinkClosed("this system has no netlink: it is Linux's")
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        except OSError as error:
            raise NetlinkClosed(error.errno, f"no netlink socket: {error.strerror}") from error
        self._socket.settimeout(_PATIENCE)
        self._sequence = 0

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def dump(self, kind: int, payload: bytes) -> Iterator[Message]:
        """Ask for everything of a kind; yield the messages of the answer.

        Raises :class:`NetlinkClosed` if the kernel, or a filter before it, refuses to answer.
        """
        self._send(kind, payload, dump=True)
        while True:
            for message in self._received():
                if is_end(message):
                    return
                if message.kind in FAILURES:
                    raise failure_of(message) or NetlinkClosed("netlink answered a dump with an acknowledgement")
                yield message

    def ask(self, kind: int, payload: bytes) -> Message | None:
        """Ask for one thing; return the one message of the answer, or None for a bare acknowledgement.

        Raises :class:`OSError` with the kernel's errno if it refuses.
        """
        self._send(kind, payload, dump=False)
        for message in self._received():
            if message.kind in FAILURES:
                error = failure_of(message)
                if error is not None:
                    raise error
                return None
            return message
        return None

    def _send(self, kind: int, payload: bytes, *, dump: bool) -> None:
        self._sequence += 1
        with closed_netlink():
            self._socket.sendto(request(kind, payload, self._sequence, dump=dump), (0, 0))

    def _received(self) -> Iterator[Message]:
        with closed_netlink():
            octets = self._socket.recv(_BUFFER)
        return (each for each in messages(octets) if each.sequence == self._sequence)


@contextmanager
def closed_netlink() -> Iterator[None]:
    """Name what the operating system raises at a netlink socket."""
    try:
        yield
    except OSError as error:
        raise NetlinkClosed(error.errno, f"netlink does not answer: {error.strerror or error}") from error
