"""The end of an async client: after its loop was closed, between two runs of its loop, and by a cancelled drain()."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import warnings
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from client.conftest import AT_ONCE, BRIEFLY, SECONDS, Peer
from fourtuple import Client, Pushes, Retries, connect
from fourtuple.errors import ConnectionEnded, PermanentFailure, WrongThread
from fourtuple.events import ClientConnectFailed

RunAsync = Callable[[Coroutine[Any, Any, Any]], Any]


async def close(client: Client[Any, Any]) -> None:
    await client.close()


class Left:
    """A client whose loop is to be closed while something is pending, and what that loop reports."""

    def __init__(self, peer: Peer) -> None:
        self.loop = asyncio.SelectorEventLoop()
        self.loop.set_exception_handler(lambda _loop, context: self.reports.append(context))
        self.reports: list[dict[str, Any]] = []
        self.tasks: list[asyncio.Future[Any]] = []
        #: Whether a function of the program waits, and whether it was ended.
        self.waits = asyncio.Event()
        self.ended = False
        self._peer = peer

    async def _wait(self, _what: Any) -> None:
        try:
            self.waits.set()
            await asyncio.get_running_loop().create_future()
        finally:
            self.ended = True

    def _begin(self, awaitable: Any) -> None:
        self.tasks.append(asyncio.ensure_future(awaitable))

    async def _leave(self, what: str) -> Client[Any, Any]:
        options: dict[str, Any] = {}
        if what == "greeting":
            options["greet"] = self._wait
        elif what == "on_push":
            options.update(on_push=self._wait, is_push=lambda message: True)
        elif what == "a push":
            options["pushes"] = Pushes()
        elif what == "waiting":
            self._peer.stop()
            options["observer"] = lambda event: isinstance(event, ClientConnectFailed) and self.waits.set()
        retries = Retries(delay=SECONDS, jitter=0.0)
        client: Client[Any, Any] = Client(self._peer.address, "line", retries=retries, **options)
        if what == "a push":
            self._begin(client.pushes().receive())
        else:
            self._begin(client.wait_ready() if what == "on_push" else client.request(b"one"))
        # Its first step makes the task that connects, which begins in the next iteration.
        await asyncio.sleep(0)
        if what == "begun":
            return client
        await asyncio.sleep(0)
        if what in ("waiting", "greeting"):
            await self.waits.wait()
        elif what != "connecting":
            line = await asyncio.to_thread(self._peer.accept)
            if what == "on_push":
                await self.tasks[0]
                line.say(b"a push")
                await self.waits.wait()
            elif what == "a reply":
                assert await asyncio.to_thread(line.hear) == b"one"
            elif what == "a drain":
                assert await asyncio.to_thread(line.hear) == b"one"
                self._begin(client.drain(SECONDS))
                await asyncio.sleep(0)
        return client

    def leave(self, what: str) -> Client[Any, Any]:
        client = self.loop.run_until_complete(self._leave(what))
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # of the connection
            self.loop.close()
        return client


@pytest.fixture
def left(peer: Peer) -> Iterator[Left]:
    left = Left(peer)
    yield left
    if not left.loop.is_closed():
        left.loop.run_until_complete(left.loop.shutdown_default_executor())
        left.loop.close()
    left.tasks.clear()
    gc.collect()  # the test's tasks, which its loop reports


@pytest.mark.parametrize("how", ["called", "awaited"])
@pytest.mark.parametrize(
    "what", ["begun", "connecting", "greeting", "waiting", "a reply", "a push", "on_push", "a drain"]
)
def test_close_after_the_loop_was_closed_with_something_pending(left: Left, what: str, how: str) -> None:
    """It never raises, lets go of everything, and no task of the client is reported as destroyed."""
    client = left.leave(what)
    assert client.state == "loop closed"
    for _ in range(2):
        if how == "called":
            client.close()
        else:
            asyncio.run(close(client))
        assert (client.state, client.statistics.open, client.statistics.waiting) == ("closed", 0, 0)
    assert left.ended == (what in ("greeting", "on_push"))
    with pytest.raises(ConnectionEnded, match=r"request after close\(\)"):
        asyncio.run(client.request(b"two"))
    del client
    gc.collect()
    assert left.reports == []


def test_a_close_whose_loop_was_closed_before_its_end(left: Left, peer: Peer) -> None:
    """What close() returned is awaited in another loop, where it has nothing to wait for."""
    ignored = asyncio.Event()

    async def greet(_connection: Any) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            ignored.set()
            await asyncio.get_running_loop().create_future()

    client: Client[Any, Any] = Client(peer.address, "line", greet=greet)

    async def begin() -> Any:
        left.tasks.append(asyncio.ensure_future(client.wait_ready()))
        await asyncio.to_thread(peer.accept)
        while client.state != "greeting":
            await asyncio.sleep(0)
        closing = client.close()
        await ignored.wait()
        return closing

    closing = left.loop.run_until_complete(begin())
    left.loop.run_until_complete(left.loop.shutdown_default_executor())
    left.loop.close()

    async def end() -> None:
        await closing
        await client.close()

    asyncio.run(end())
    assert client.state == "closed"
    assert (client._dialling, client._readers) == (None, {})


def test_what_greet_makes_of_its_end_is_not_raised_by_close(left: Left, peer: Peer) -> None:
    """It waits on, or raises: there is no loop in which it could."""
    outcomes: list[str] = []

    async def greet(_connection: Any) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            outcomes.append("ended")
            raise PermanentFailure("not in time")

    client: Client[Any, Any] = Client(peer.address, "line", greet=greet)

    async def begin() -> None:
        left.tasks.append(asyncio.ensure_future(client.wait_ready()))
        while client.state != "greeting":
            await asyncio.sleep(0)

    left.loop.run_until_complete(begin())
    with pytest.warns(ResourceWarning, match="unclosed <Channel"):
        left.loop.close()
    client.close()
    assert (client.state, outcomes) == ("closed", ["ended"])


def test_in_thread_after_the_loop_was_closed(peer: Peer) -> None:
    loop = asyncio.SelectorEventLoop()
    connection = loop.run_until_complete(connect(peer.address, "line"))
    with pytest.warns(ResourceWarning, match="unclosed <Channel"):
        loop.close()
    with pytest.raises(ConnectionEnded, match="the connection has ended with its event loop, which was closed"):
        asyncio.run(connection.in_thread(len, b"one"))


# -- between two runs of the loop, and in others ------------------------------------------------------------


@pytest.mark.parametrize("how", ["run", "called"])
def test_close_while_its_loop_does_not_run(peer: Peer, how: str) -> None:
    """As ``loop.run_until_complete(client.close())`` calls it: requests raise, and the server gets the end of file."""
    loop = asyncio.SelectorEventLoop()
    client = Client(peer.address, "line", retries=AT_ONCE, deadlines=BRIEFLY)

    async def begin() -> asyncio.Future[bytes]:
        return asyncio.ensure_future(client.request(b"one"))

    asking = loop.run_until_complete(begin())
    loop.run_until_complete(client.wait_ready(SECONDS))
    line = peer.accept()
    assert line.hear() == b"one"
    closing = client.close()
    assert client.state == "closed"
    if how == "run":
        loop.run_until_complete(closing)
    with pytest.raises(ConnectionEnded, match="closed by this side while the request waited"):
        loop.run_until_complete(asking)
    loop.run_until_complete(close(client))
    assert line.hear() == b""
    loop.close()


def test_an_error_of_another_loop_names_the_call(run_async: RunAsync, peer: Peer) -> None:
    others: dict[str, tuple[Callable[[Client[Any, Any]], Any], str]] = {
        "request": (lambda client: client.request(b"one"), "run_coroutine_threadsafe(client.request(...), loop)"),
        "send": (lambda client: client.send(b"one"), "run_coroutine_threadsafe(client.send(...), loop)"),
        "wait_ready": (lambda client: client.wait_ready(), "run_coroutine_threadsafe(client.wait_ready(...), loop)"),
        "drain": (lambda client: client.drain(), "run_coroutine_threadsafe(client.drain(...), loop)"),
        "close": (lambda client: client.close(), "loop.call_soon_threadsafe(client.close)"),
        "expire": (lambda client: client.expire(), "loop.call_soon_threadsafe(client.expire)"),
        "pushes": (lambda client: client.pushes(), "run_coroutine_threadsafe() with a coroutine that does it"),
        "async with": (lambda client: client.__aenter__(), "run_coroutine_threadsafe() with a coroutine that does it"),
    }

    async def elsewhere(client: Client[Any, Any]) -> None:
        for name, (call, instead) in others.items():
            text = f": {name}: it was used in another event loop before; hand it over: "
            with pytest.raises(WrongThread, match=re.escape(text)) as caught:
                await call(client)
            assert caught.value.instead.endswith(f"{instead}, or a client per loop")

    async def main() -> None:
        async with Client(peer.address, "line", pushes=Pushes(), retries=AT_ONCE, deadlines=BRIEFLY) as client:
            await client.wait_ready(SECONDS)
            await asyncio.to_thread(asyncio.run, elsewhere(client))
            assert client.state == "ready"

    run_async(main())


def test_the_end_of_a_close_is_awaited_in_its_own_loop(left: Left) -> None:
    client = left.loop.run_until_complete(left._leave("greeting"))
    closing = client.close()

    async def elsewhere() -> None:
        with pytest.raises(WrongThread, match=r"the end after close\(\): it was used in another event loop before"):
            await closing

    asyncio.run(elsewhere())
    left.loop.run_until_complete(client.close())
    with pytest.raises(ConnectionEnded, match="closed by this side while the request waited"):
        left.loop.run_until_complete(left.tasks[0])
    assert left.reports == []


# -- drain --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [None, SECONDS, 0.01])
def test_a_cancelled_drain_goes_on_by_itself(run_async: RunAsync, peer: Peer, bound: float | None) -> None:
    """The client closes after its last reply, or at the moment at which drain() would have closed it."""

    async def main() -> None:
        client = Client(peer.address, "line", retries=AT_ONCE, deadlines=BRIEFLY)
        asking = asyncio.ensure_future(client.request(b"one"))
        line = await asyncio.to_thread(peer.accept)
        assert await asyncio.to_thread(line.hear) == b"one"
        draining = asyncio.ensure_future(client.drain(bound))
        await asyncio.sleep(0)
        draining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await draining
        assert client.state == "draining"
        with pytest.raises(ConnectionEnded, match=r"request after drain\(\)"):
            await client.request(b"two")
        if bound == 0.01:
            with pytest.raises(ConnectionEnded, match="closed by this side"):
                await asking
        else:
            line.say(b"ONE")
            assert await asking == b"ONE"
        assert await asyncio.to_thread(line.hear) == b""
        assert client.state == "closed"
        await client.close()

    run_async(main())


def test_a_drain_that_its_loop_cancels_leaves_no_task(left: Left) -> None:
    """asyncio.run() cancels the tasks that are there when it ends, and no other."""
    client = left.loop.run_until_complete(left._leave("a drain"))
    asking, draining = left.tasks
    draining.cancel()
    left.loop.run_until_complete(asyncio.wait([draining]))
    assert asyncio.all_tasks(left.loop) == {asking}
    assert client.state == "draining"
    asking.cancel()
    left.loop.run_until_complete(asyncio.wait([asking]))
    assert client.state == "closed"
    left.loop.run_until_complete(client.close())


# -- fork ---------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_the_close_of_a_forked_child_waits_for_no_task_of_the_parent(run_async: RunAsync, peer: Peer) -> None:
    """It would wait for a second, and report a function that ignores its cancellation."""

    def child(client: Client[Any, Any], told: int) -> None:
        async def end() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _loop, context: reports.append(str(context)))
            await client.close()

        reports: list[str] = []
        try:
            asyncio.run(end())
            os.write(told, f"{client.state} {reports}".encode())
        finally:
            os._exit(0)

    async def main() -> None:
        async with Client(
            peer.address, "line", on_push=print, is_push=lambda _: False, retries=AT_ONCE, deadlines=BRIEFLY
        ) as client:
            await client.wait_ready(SECONDS)
            reading, writing = os.pipe()
            pid = os.fork()
            if pid == 0:
                child(client, writing)
            os.close(writing)
            with os.fdopen(reading) as told:
                assert await asyncio.to_thread(told.read) == "forked []"
            os.waitpid(pid, 0)

    run_async(main())
