"""Functions of the program that raise what is no Exception: told as their failure, and the client goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

import fourtuple.blocking
from client.conftest import AT_ONCE, BRIEFLY, SECONDS, Peer
from fourtuple import Client, Fate, Pool, Pushes
from fourtuple.errors import HandlerFailed, UnexpectedMessage
from fourtuple.events import ClientConnected, ClientDisconnected, ClientStateChanged, Event
from fourtuple.framing import Line

RunAsync = Callable[[Coroutine[Any, Any, Any]], Any]


class Panic(BaseException):
    """As Rust's panics are: no Exception."""


OTHERS = pytest.mark.parametrize("kind", [asyncio.CancelledError, GeneratorExit, Panic])
INTERRUPTS = pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])


def answer(peer: Peer, *connections: int) -> threading.Thread:
    """Answer so many requests on each connection, one after the other."""

    def work() -> None:
        with suppress(OSError):  # the test has ended the client, or the peer
            for requests in connections:
                line = peer.accept()
                for _ in range(requests):
                    line.say(line.hear().upper())

    thread = threading.Thread(target=work)
    thread.start()
    return thread


class Once:
    """Raises at its first call, then returns."""

    def __init__(self, kind: type[BaseException]) -> None:
        self._kind: type[BaseException] | None = kind

    def __call__(self, message: Any = None) -> Any:
        kind, self._kind = self._kind, None
        if kind is not None:
            raise kind("the floor is lava")
        return message.upper() if isinstance(message, bytes) else b"ping"


@OTHERS
def test_the_key_of_a_request(run_async: RunAsync, peer: Peer, kind: type[BaseException]) -> None:
    async def main() -> None:
        async with Client(peer.address, "line", retries=AT_ONCE, deadlines=BRIEFLY, key=Once(kind)) as client:
            with pytest.raises(HandlerFailed, match=f"key= raised {kind.__name__}: the floor is lava") as caught:
                await client.request(b"one", SECONDS)
            assert isinstance(caught.value.__cause__, kind)
            assert caught.value.fate is Fate.NOT_SENT
            assert await client.request(b"two", SECONDS) == b"TWO"

    answering = answer(peer, 1)
    run_async(main())
    answering.join()


@OTHERS
@pytest.mark.parametrize("name", ["key", "is_push"])
def test_a_function_that_reads_a_reply(run_async: RunAsync, peer: Peer, name: str, kind: type[BaseException]) -> None:
    once = Once(kind)
    functions: dict[str, Any] = {"key": (bytes.upper, once)} if name == "key" else {}
    if name == "is_push":
        functions = {"is_push": lambda message: once(message) == b"", "pushes": Pushes()}

    async def main() -> None:
        async with Client(peer.address, "line", retries=AT_ONCE, deadlines=BRIEFLY, **functions) as client:
            with pytest.raises(UnexpectedMessage, match=f"{name}= raised {kind.__name__}") as caught:
                await client.request(b"one", SECONDS)
            assert isinstance(caught.value.__cause__, kind)
            assert await client.request(b"two", SECONDS) == b"TWO"

    answering = answer(peer, 1, 1)
    run_async(main())
    answering.join()


@OTHERS
def test_a_ping(run_async: RunAsync, peer: Peer, kind: type[BaseException]) -> None:
    events: list[Event] = []
    options: dict[str, Any] = {"ping": Once(kind), "pool": Pool(ping_interval=0.001), "observer": events.append}

    async def main() -> None:
        async with Client(peer.address, "line", retries=AT_ONCE, deadlines=BRIEFLY, **options) as client:
            await client.wait_ready(SECONDS)
            while client.statistics.closed_ping == 0:
                await asyncio.sleep(0.001)
            (ended,) = [each for each in events if isinstance(each, ClientDisconnected)]
            assert isinstance(ended.error, HandlerFailed)
            assert isinstance(ended.error.__cause__, kind)

    answering = answer(peer, 0)
    run_async(main())
    answering.join()


@OTHERS
def test_whether_a_request_is_idempotent(run_async: RunAsync, peer: Peer, kind: type[BaseException]) -> None:
    async def main() -> None:
        async with Client(peer.address, "line", idempotent=Once(kind)) as client:
            with pytest.raises(HandlerFailed, match=f"idempotent= raised {kind.__name__}") as caught:
                await client.request(b"one", SECONDS)
            assert isinstance(caught.value.__cause__, kind)
            assert caught.value.fate is Fate.NOT_SENT

    run_async(main())


@OTHERS
@pytest.mark.parametrize("event", [ClientConnected, ClientStateChanged, ClientDisconnected])
def test_an_observer(
    run_async: RunAsync, peer: Peer, event: type[Event], kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    raised: list[Event] = []

    def observer(told: Event) -> None:
        if isinstance(told, event):
            raised.append(told)
            raise kind

    def work() -> None:
        line = peer.accept()
        line.say(line.hear().upper())
        line.hear()
        line.close()  # the second request is tried again on another connection
        line = peer.accept()
        line.say(line.hear().upper())

    async def ask() -> None:
        async with Client(peer.address, "line", retries=AT_ONCE, deadlines=BRIEFLY, observer=observer) as client:
            assert await client.request(b"one", SECONDS) == b"ONE"
            assert await client.request(b"two", SECONDS, idempotent=True) == b"TWO"

    answering = threading.Thread(target=work)
    answering.start()
    run_async(ask())
    answering.join()
    assert raised
    assert f"raised for {raised[0].kind}" in caplog.text


@INTERRUPTS
@pytest.mark.parametrize("where", ["key", "reply", "is_push", "ping", "observer", "framing"])
def test_an_interrupt_ends_the_loop(peer: Peer, where: str, kind: type[BaseException]) -> None:
    once = Once(kind)
    options: dict[str, Any] = {
        "key": {"key": once},
        "reply": {"key": (bytes.upper, once)},
        "is_push": {"is_push": once, "pushes": Pushes()},
        "ping": {"ping": once, "pool": Pool(ping_interval=0.001)},
        "observer": {"observer": lambda event: once() if isinstance(event, ClientConnected) else None},
        "framing": {},
    }[where]
    client: list[Client[Any, Any]] = []

    class Raising(Line):
        def encode(self, message: bytes) -> bytes:
            once()
            return super().encode(message)

    async def main() -> None:
        framing: Any = Raising() if where == "framing" else "line"
        async with Client(peer.address, framing, retries=AT_ONCE, deadlines=BRIEFLY, **options) as made:
            client.append(made)
            await made.request(b"one", SECONDS)
            await asyncio.sleep(SECONDS)

    answering = answer(peer, 0 if where in ("key", "framing") else 1)
    with pytest.raises(kind):
        asyncio.run(main())
    peer.shut()
    answering.join()
    assert client[0].state == "closed"


@OTHERS
def test_an_observer_of_an_attempt_in_a_thread_of_its_own(peer: Peer, kind: type[BaseException]) -> None:
    """The blocking client: no caller is below that could get the exception, and the connection must not be lost."""

    def observer(event: Event) -> None:
        if isinstance(event, ClientConnected):
            raise kind

    answering = answer(peer, 1)
    with fourtuple.blocking.Client(peer.address, "line", retries=AT_ONCE, observer=observer, timeout=60.0) as client:
        assert client.request(b"one", SECONDS) == b"ONE"  # it has less time than an attempt may take
        assert client.statistics.connects == 1
    answering.join()
