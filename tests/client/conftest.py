"""A client of either kind, called by threads, and a server whose every octet the test writes.

The tests are written once, in blocking code. The async client runs on a loop in a thread of its own.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

import pytest

import fourtuple
import fourtuple.blocking
from fourtuple import Deadlines, Retries
from fourtuple.events import Event

#: As long as nothing that ought to happen takes; only a hang takes longer.
SECONDS = 30.0
#: No waiting between attempts.
AT_ONCE = Retries(delay=0.001, max_delay=0.001, after_loss=0.0)
#: The server's end of most tests stays open: closing does not wait for its FIN.
BRIEFLY = Deadlines(linger_timeout=0.02)


class Line:
    """The server's end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(SECONDS)
        self.socket = sock
        self._buffer = b""

    def hear(self) -> bytes:
        """The next line; empty at the end of file."""
        while b"\n" not in self._buffer:
            data = self.socket.recv(65536)
            if not data:
                return b""
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def say(self, *lines: bytes) -> None:
        self.socket.sendall(b"".join(line + b"\n" for line in lines))

    def finish(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.socket.close()

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()


class Peer:
    """A server in the hands of the test."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(SECONDS)
        self.port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._lines: list[Line] = []

    def accept(self) -> Line:
        sock, _ = self._listener.accept()
        if self._context is not None:
            sock.settimeout(SECONDS)
            sock = self._context.wrap_socket(sock, server_side=True)
        self._lines.append(Line(sock))
        return self._lines[-1]

    def nobody_came(self) -> bool:
        """Whether no connection waits to be accepted."""
        self._listener.settimeout(0)
        try:
            self._lines.append(Line(self._listener.accept()[0]))
            return False
        except BlockingIOError:
            return True
        finally:
            self._listener.settimeout(SECONDS)

    def stop(self) -> None:
        """Refuse connections from now on; the port stays reserved."""
        self._listener.close()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))
        self._listener.settimeout(SECONDS)

    def start(self) -> None:
        self._listener.listen()

    def shut(self) -> None:
        """Wake the thread that accepts: no connection comes any more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        for line in self._lines:
            line.close()


class AsyncPushes:
    def __init__(self, client: AsyncClient, pushes: Any) -> None:
        self._client, self._pushes = client, pushes

    def receive(self, timeout: float | None = None) -> Any:
        return self._client.run(self._pushes.receive(timeout))

    def close(self) -> None:
        self._client.call(self._pushes.close)


class AsyncClient:
    """The async client with the methods of the blocking one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *arguments: Any, **options: Any) -> None:
        self.loop = loop
        self.client = fourtuple.Client(*arguments, **options)

    def run(self, awaitable: Any) -> Any:
        return self.begin(awaitable).result(SECONDS)

    def begin(self, awaitable: Any) -> Future[Any]:
        async def main() -> Any:
            return await awaitable

        return asyncio.run_coroutine_threadsafe(main(), self.loop)

    def call(self, function: Callable[[], Any]) -> Any:
        async def main() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(main(), self.loop).result(SECONDS)

    def request(self, *arguments: Any, **options: Any) -> Any:
        return self.run(self.client.request(*arguments, **options))

    def wait_ready(self, *arguments: Any) -> None:
        self.run(self.client.wait_ready(*arguments))

    def send(self, message: Any) -> None:
        self.run(self.client.send(message))

    def pushes(self) -> AsyncPushes:
        return AsyncPushes(self, self.call(self.client.pushes))

    def drain(self, timeout: float | None = None) -> None:
        self.run(self.client.drain(timeout))

    def expire(self) -> None:
        self.call(self.client.expire)

    def close(self) -> None:
        async def main() -> None:
            await self.client.close()

        self.run(main())

    @property
    def state(self) -> str:
        return str(self.call(lambda: self.client.state))

    @property
    def statistics(self) -> Any:
        return self.call(lambda: self.client.statistics)

    @property
    def health(self) -> Any:
        return self.call(lambda: self.client.health)

    @property
    def pool(self) -> Any:
        return self.client.pool

    def __repr__(self) -> str:
        return repr(self.client)


class Clients:
    """Makes clients of one kind, and closes them."""

    def __init__(self, kind: str, stack: ExitStack) -> None:
        self.kind = kind
        self._stack = stack
        self.events: list[Event] = []
        self._threads = stack.enter_context(ThreadPoolExecutor(64))
        self.loop = asyncio.SelectorEventLoop() if kind == "async" else None
        if self.loop is not None:
            thread = threading.Thread(target=self.loop.run_forever)
            thread.start()
            stack.callback(self.loop.close)
            stack.callback(thread.join)
            stack.callback(self.loop.call_soon_threadsafe, self.loop.stop)

    def __call__(self, peer: Peer | str, framing: Any = "line", **options: Any) -> Any:
        address = peer if isinstance(peer, str) else peer.address
        options.setdefault("retries", AT_ONCE)
        options.setdefault("observer", self.events.append)
        options.setdefault("deadlines", BRIEFLY)
        greet = options.get("greet")
        if self.kind == "blocking":
            client: Any = fourtuple.blocking.Client(address, framing, **options)
        else:
            if greet is not None:
                options["greet"] = self._awaited(greet)
            client = AsyncClient(self.loop, address, framing, **options)
        self._stack.callback(client.close)
        return client

    def idles(self, client: Any) -> None:
        """Do what the async client does by its timer and the blocking client in its next call."""
        if self.kind == "blocking":
            with client._lock:
                client.pool.advance(client.clock())

    def _awaited(self, greet: Callable[[Any], object]) -> Callable[[Any], Any]:
        """The greeting of the tests is blocking code: requests only. For the async client they are awaited."""

        async def greeting(connection: Any) -> None:
            asked = greet(connection)
            if asked is not None:
                await asked

        return greeting

    def begin(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
        """Call a method of a client in another thread."""
        return self._threads.submit(function, *arguments, **options)


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture(params=["async", "blocking"])
def clients(request: pytest.FixtureRequest) -> Iterator[Clients]:
    with ExitStack() as stack:
        yield Clients(request.param, stack)


def failure_of(future: Future[Any]) -> Any:
    """What a call in another thread raised."""
    error = future.exception(SECONDS)
    assert error is not None
    return error


def failure_in(function: Callable[[], object]) -> BaseException:
    """What a function raises."""
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        function()
    return caught.value


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that the client does by itself and that no call waits for."""
    import time

    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        with suppress(TimeoutError):
            threading.Event().wait(0.001)
