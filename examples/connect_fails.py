"""Three ways for connect() to fail: refused, unanswered, reset. Each has its own error, which says what to check.

python examples/connect_fails.py
"""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fourtuple import Address
from fourtuple.blocking import connect
from fourtuple.errors import ConnectError, ConnectReset, PeerReset


@contextmanager
def nobody_listens() -> Iterator[Address]:
    """A port that is bound, so that no other program gets it, but has no listener: the kernel answers SYN with RST."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield Address(*bound.getsockname())


@contextmanager
def nobody_accepts() -> Iterator[Address]:
    """A passive socket whose accept queue is full: the kernel drops further SYNs silently."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as passive, socket.socket() as only:
        only.connect(passive.getsockname())  # backlog 0 has room for one
        yield Address(*passive.getsockname())


@contextmanager
def somebody_resets() -> Iterator[Address]:
    """A server that accepts and sends RST before any octet."""
    passive = socket.create_server(("127.0.0.1", 0))

    def accept_and_reset() -> None:
        try:
            while True:
                active, _ = passive.accept()
                active.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST, no FIN
                active.close()
        except OSError:
            return  # the passive socket was shut down

    thread = threading.Thread(target=accept_and_reset)
    thread.start()
    try:
        yield Address(*passive.getsockname())
    finally:
        passive.shutdown(socket.SHUT_RDWR)
        thread.join()
        passive.close()


def main() -> None:
    for situation in nobody_listens, nobody_accepts, somebody_resets:
        with situation() as address:
            try:
                with connect(address, "line", timeout=0.5) as connection:
                    connection.receive()
            except ConnectError as error:
                print(f"{type(error).__name__}: {error}\n    {error.explanation}\n")
            except PeerReset as error:
                # RST comes after the handshake: connect() may have returned before.
                print(f"{type(error).__name__}: {error}\n    {ConnectReset.explanation}\n")


if __name__ == "__main__":
    main()
