"""Shared parts of the tests of loads: a server to load, and scripted peers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fourtuple import Service
from fourtuple.load import Load, Result, Run

#: Bounds that no test should reach: each test ends by the number of its requests, or by an event.
BOUNDS = {"duration": 30.0, "warmup": 0.0, "timeout": 20.0}


def load(**options: Any) -> Load:
    """A load that ends by the number of its requests."""
    return Load(**BOUNDS | options)


async def bench(where: Any, framing: str, options: Load, **given: Any) -> Result:
    """Run the load on this loop; return its result."""
    return await Run(str(where), framing, options, **given).result()


def echo(framing: str) -> Service:
    service = Service(framing)

    @service.reply
    def again(message: Any) -> Any:
        return message

    return service


@contextmanager
def scripted(*talks: Callable[[socket.socket], None]) -> Iterator[str]:
    """A listener that handles each connection with the next of ``talks``, and later connections with the last one.

    Each talk runs in a separate thread, on a blocking socket. Errors of talks are raised at the end.
    """
    errors: list[BaseException] = []
    threads: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as passive:

        def talk(sock: socket.socket, number: int) -> None:
            with sock:
                sock.settimeout(30)
                try:
                    talks[min(number, len(talks) - 1)](sock)
                except BaseException as error:
                    errors.append(error)

        def accept() -> None:
            number = 0
            while True:
                try:
                    sock, _ = passive.accept()
                except OSError:
                    return  # shut down
                thread = threading.Thread(target=talk, args=(sock, number))
                threads.append(thread)
                thread.start()
                number += 1

        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield f"127.0.0.1:{passive.getsockname()[1]}"
        finally:
            passive.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            for thread in threads:
                thread.join()
    if errors:
        raise errors[0]


def echoing(sock: socket.socket) -> None:
    """Send all octets back, until the end of file or a reset."""
    try:
        while octets := sock.recv(65536):
            sock.sendall(octets)
    except ConnectionError:
        pass
