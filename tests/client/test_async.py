"""What only the async client has: tasks, loops, cancellation; and a forked child."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import warnings
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import fourtuple.blocking
from client.conftest import AT_ONCE, BRIEFLY, SECONDS, Peer
from fourtuple import Client, Deadlines, Fate, Gap, Pool, Pushes, Retries, connect
from fourtuple.errors import (
    ConnectionEnded,
    DeadlinePassed,
    EncodeError,
    HandlerFailed,
    PermanentFailure,
    PushConsumerDied,
    WrongThread,
)
from fourtuple.events import ClientConnectFailed

RunAsync = Callable[[Coroutine[Any, Any, Any]], Any]


def test_a_cancelled_request_keeps_its_place(run_async: RunAsync, peer: Peer) -> None:
    async def main() -> None:
        async with Client(peer.address, "line", retries=AT_ONCE, deadlines=BRIEFLY) as client:
            asking = asyncio.ensure_future(client.request(b"one"))
            line = await asyncio.to_thread(peer.accept)
            assert await asyncio.to_thread(line.hear) == b"one"
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert (client.statistics.in_use, client.statistics.abandoned) == (0, 1)
            asking = asyncio.ensure_future(client.request(b"two"))
            assert await asyncio.to_thread(line.hear) == b"two"
            line.say(b"ONE", b"TWO")
            assert await asking == b"TWO"

    run_async(main())


def test_a_request_that_waits_for_a_connection_keeps_the_octets_of_its_buffer(run_async: RunAsync, peer: Peer) -> None:
    async def main() -> None:
        buffer = bytearray()
        async with Client(peer.address, "line", retries=AT_ONCE, deadlines=BRIEFLY) as client:

            async def ask(number: int) -> bytes:
                buffer[:] = b"%d" % number
                return await client.request(buffer)

            asking = [asyncio.ensure_future(ask(number)) for number in range(3)]
            line = await asyncio.to_thread(peer.accept)
            assert [await asyncio.to_thread(line.hear) for _ in asking] == [b"0", b"1", b"2"]
            line.say(b"ZERO", b"ONE", b"TWO")
            assert await asyncio.gather(*asking) == [b"ZERO", b"ONE", b"TWO"]

    run_async(main())


def test_a_timeout_of_the_greeting_itself_is_told_as_it_is(run_async: RunAsync, peer: Peer) -> None:
    async def greet(_: object) -> None:
        raise TimeoutError("no answer to the login")

    async def main() -> None:
        async with Client(peer.address, "line", greet=greet, retries=Retries(delay=SECONDS)) as client:
            with pytest.raises(
                DeadlinePassed, match="not connected in that time: TimeoutError: no answer to the login"
            ):
                await client.request(b"one", 0.05)

    run_async(main())


def test_a_cancelled_waiter_leaves_the_queue(run_async: RunAsync, peer: Peer) -> None:
    async def main() -> None:
        async with Client(
            peer.address, "line", retries=AT_ONCE, deadlines=BRIEFLY, pool=Pool(max_pipelined=1)
        ) as client:
            first = asyncio.ensure_future(client.request(b"one"))
            line = await asyncio.to_thread(peer.accept)
            assert await asyncio.to_thread(line.hear) == b"one"
            second = asyncio.ensure_future(client.request(b"two"))
            third = asyncio.ensure_future(client.request(b"three"))
            await asyncio.sleep(0)
            assert client.statistics.waiting == 2
            second.cancel()
            line.say(b"ONE")
            assert await asyncio.to_thread(line.hear) == b"three"
            line.say(b"THREE")
            assert await asyncio.gather(first, third) == [b"ONE", b"THREE"]
            assert second.cancelled()
            assert client.statistics.waiting == 0

    run_async(main())


@pytest.mark.parametrize("trouble", ["end of file", "octets"])
def test_the_kernel_is_asked_before_a_request(run_async: RunAsync, peer: Peer, trouble: str) -> None:
    """What has come in this turn of the loop, the engine reads in the next one: the check finds it before."""

    def answer() -> None:
        line = peer.accept()
        line.say(line.hear().upper())

    async def main() -> None:
        pool = Pool(check_after=0.0)
        async with Client(peer.address, "line", retries=AT_ONCE, deadlines=BRIEFLY, pool=pool) as client:
            await client.wait_ready(SECONDS)
            line = peer.accept()
            line.close() if trouble == "end of file" else line.say(b"unasked")
            answering = asyncio.get_running_loop().run_in_executor(None, answer)
            assert await client.request(b"one") == b"ONE"  # in this turn
            await answering
            assert client.statistics.closed_check == 1

    run_async(main())


def test_a_task_that_catches_errors_does_not_hold_the_loop(run_async: RunAsync, peer: Peer) -> None:
    async def main() -> None:
        client = Client(peer.address, "fixed:4", retries=AT_ONCE, deadlines=BRIEFLY)
        await client.wait_ready(SECONDS)
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.ensure_future(others())
        for _ in range(100):
            with pytest.raises(EncodeError):
                await client.request(b"five!")
        await client.close()
        for _ in range(100):
            with pytest.raises(ConnectionEnded):
                await client.request(b"four")
        beside.cancel()
        assert turns >= 200

    run_async(main())


def test_it_belongs_to_one_loop(peer: Peer) -> None:
    client = Client(peer.address, "line", retries=AT_ONCE, deadlines=BRIEFLY)

    async def first() -> None:
        await client.wait_ready(SECONDS)
        errors: list[BaseException] = []

        def elsewhere() -> None:
            try:
                asyncio.run(other())
            except WrongThread as error:
                errors.append(error)

        async def other() -> None:
            await client.request(b"one")

        thread = threading.Thread(target=elsewhere)
        thread.start()
        await asyncio.to_thread(thread.join)
        assert "it was used in another event loop before" in str(errors[0])
        await client.close()

    asyncio.run(first())


@pytest.mark.parametrize("first", ["close", "drain", "expire", "pushes", "async with", "health"])
def test_a_client_that_was_never_used(run_async: RunAsync, peer: Peer, first: str) -> None:
    async def main() -> None:
        client = Client(peer.address, "line", pushes=Pushes())
        if first == "async with":
            async with client:
                pass
        elif first == "health":
            assert (client.health.ok, client.state, client.statistics.requests) == (True, "new", 0)
        else:
            result: Any = getattr(client, first)()
            if first in ("close", "drain"):
                await result
        await client.close()
        await client.close()
        await client.drain()
        assert client.state == "closed"

    run_async(main())


def test_calls_without_a_loop(peer: Peer) -> None:
    client = Client(peer.address, "line", pushes=Pushes())
    text = r"client of .*: no event loop runs in this thread; hand it over: call it in a coroutine"
    for method in (client.expire, client.pushes):
        with pytest.raises(WrongThread, match=text) as caught:
            method()
        assert caught.value.fate is Fate.NOT_SENT  # type: ignore[attr-defined]
    assert (client.health.ok, client.state) == (True, "new")
    client.close()
    client.close()
    assert client.state == "closed"


def test_calls_in_another_thread(run_async: RunAsync, peer: Peer) -> None:
    async def main() -> None:
        async with Client(peer.address, "line", pushes=Pushes(), retries=AT_ONCE, deadlines=BRIEFLY) as client:
            await client.wait_ready(SECONDS)

            def elsewhere() -> None:
                for method in (client.expire, client.pushes, client.close):
                    with pytest.raises(WrongThread, match="it was used in another event loop before"):
                        method()

            await asyncio.to_thread(elsewhere)
            assert client.state == "ready"

    run_async(main())


def test_after_its_loop_was_closed(peer: Peer) -> None:
    """The client cannot be used in another loop; closing it lets go of what it has."""
    loop = asyncio.SelectorEventLoop()
    client = Client(peer.address, "line", retries=AT_ONCE)
    loop.run_until_complete(client.wait_ready(SECONDS))
    line = peer.accept()
    assert (client.state, client.health.ok) == ("ready", True)
    with pytest.warns(ResourceWarning, match="unclosed <Channel .* whose event loop was closed"):
        loop.close()
    assert line.hear() == b""
    assert (client.state, client.health.ok, client.health.state) == ("loop closed", False, "loop closed")
    assert "its event loop was closed; make a client per loop" in str(client.health.error)
    assert repr(client).endswith(" line, loop closed, 0 open, 0 in use, 0 waiting>")
    with pytest.raises(ConnectionEnded, match="its event loop was closed; make a client per loop"):
        client.expire()

    async def main() -> None:
        with pytest.raises(ConnectionEnded, match="its event loop was closed; make a client per loop") as caught:
            await client.request(b"one")
        assert caught.value.fate is Fate.NOT_SENT  # type: ignore[attr-defined]
        await client.close()
        with pytest.raises(ConnectionEnded, match=r"request after close\(\)"):
            await client.request(b"one")

    asyncio.run(main())
    assert (client.state, client.health.error) == ("closed", None)


def test_the_end_of_a_connection_in_another_loop_has_no_task_to_yield_to(peer: Peer) -> None:
    """The share of its own loop may be spent when that loop is closed."""
    loop = asyncio.SelectorEventLoop()
    connection = loop.run_until_complete(connect(peer.address, "line"))
    connection.abort()
    loop.close()
    share = connection._channel.engine.share
    share.begin(0.0)
    assert share.look()

    async def main() -> None:
        await connection.wait_closed()
        with pytest.raises(ConnectionEnded):
            await connection.receive()

    asyncio.run(main())


@pytest.mark.parametrize("what", ["client", "connection"])
def test_a_loop_that_ends_with_an_open_connection_is_not_kept(peer: Peer, what: str) -> None:
    """Nothing outside refers to it: the collector closes the sockets, and the server gets the end of file."""
    loops: list[weakref.ref[asyncio.AbstractEventLoop]] = []

    async def main() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        if what == "client":
            await Client(peer.address, "line", retries=AT_ONCE).wait_ready(SECONDS)
        else:
            await connect(peer.address, "line")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for _ in range(2):
            asyncio.run(main())
            gc.collect()
    assert [each() for each in loops] == [None, None]
    assert [peer.accept().hear(), peer.accept().hear()] == [b"", b""]


def test_pushes_as_an_iterator(run_async: RunAsync, peer: Peer) -> None:
    async def main() -> None:
        async with Client(peer.address, "line", retries=AT_ONCE, deadlines=BRIEFLY, pushes=Pushes()) as client:
            got: list[Any] = []
            async with client.pushes() as pushes:
                line = await asyncio.to_thread(peer.accept)
                with pytest.raises(DeadlinePassed, match="no push came, receive again"):
                    await pushes.receive(timeout=0.01)
                line.say(b"one", b"two")
                async for push in pushes:
                    got.append(push)
                    if push == b"two":
                        line.close()
                        line = await asyncio.to_thread(peer.accept)
                    if isinstance(push, Gap):
                        break
            assert got[:2] == [b"one", b"two"]
            line.say(b"nobody wants it")  # it is there before the request is sent, so it is not its reply
            asking = asyncio.ensure_future(client.request(b"a request"))  # leaving the block was not a death
            assert await asyncio.to_thread(line.hear) == b"a request"
            line.say(b"A REPLY")
            assert await asking == b"A REPLY"
            assert client.statistics.pushes_dropped == 1

    run_async(main())


def test_a_full_inbox_stops_reading(run_async: RunAsync, peer: Peer) -> None:
    """The server cannot send forever: the kernel's buffers fill, because nobody reads."""

    async def main() -> None:
        options = Pushes(max_inbox=1000)
        async with Client(peer.address, "line", retries=AT_ONCE, deadlines=BRIEFLY, pushes=options) as client:
            pushes = client.pushes()
            line = await asyncio.to_thread(peer.accept)
            line.socket.settimeout(0.2)

            def flood() -> int:
                sent = 0
                try:
                    while True:
                        sent += line.socket.send(b"x" * 99 + b"\n")
                except TimeoutError:
                    return sent

            sent = await asyncio.to_thread(flood)
            assert client.statistics.pushes < sent // 100
            line.socket.shutdown(1)
            line.socket.settimeout(SECONDS)
            count = 0
            while not isinstance(await pushes.receive(SECONDS), Gap):
                count += 1
            assert count == sent // 100  # and none is lost
            assert client.statistics.pushes_dropped == 0
            pushes.close()

    run_async(main())


def test_a_request_while_the_inbox_is_full(run_async: RunAsync, peer: Peer) -> None:
    """Reading has stopped; a reply behind the pushes is read all the same, as far as twice the bound."""

    async def main() -> None:
        options = Pushes(max_inbox=1000)
        async with Client(
            peer.address,
            "line",
            retries=AT_ONCE,
            deadlines=BRIEFLY,
            pushes=options,
            is_push=lambda message: message[:1] == b"*",
        ) as client:
            pushes = client.pushes()
            line = await asyncio.to_thread(peer.accept)
            line.say(*[b"*" * 99] * 12)
            while client.statistics.pushes < 10:
                await asyncio.sleep(0)
            assert client.statistics.pushes == 10
            asking = asyncio.ensure_future(client.request(b"one"))
            assert await asyncio.to_thread(line.hear) == b"one"
            line.say(b"ONE")
            assert await asking == b"ONE"
            assert client.statistics.pushes == 12
            pushes.close()

    run_async(main())


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
@pytest.mark.parametrize("kind", ["async", "blocking"])
def test_a_forked_child_leaves_the_connection_alone(peer: Peer, kind: str) -> None:
    """The child raises at the first use, naming the fork, and the parent's connection goes on."""

    def child(client: Any, told: int) -> None:
        try:
            if kind == "async":
                asyncio.run(client.request(b"from the child"))
            else:
                client.request(b"from the child")
            text = "no error"
        except ConnectionEnded as error:
            client.close()
            text = f"{error.fate} {error}\n{client.health}\n{client.state} {client.statistics.open}\n{client!r}"
            del client
            gc.collect()
        os.write(told, text.encode())
        os._exit(0)

    def fork(client: Any) -> str:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            child(client, writing)
        os.close(writing)
        with os.fdopen(reading) as told:
            text = told.read()
        os.waitpid(pid, 0)
        return text

    if kind == "blocking":
        with fourtuple.blocking.Client(peer.address, "line", retries=AT_ONCE, deadlines=BRIEFLY) as client:
            client.wait_ready(SECONDS)
            line = peer.accept()
            text = fork(client)
            client.send(b"from the parent")
            assert line.hear() == b"from the parent"
    else:

        async def main() -> str:
            async with Client(peer.address, "line", retries=AT_ONCE, deadlines=BRIEFLY) as client:
                await client.wait_ready(SECONDS)
                line = peer.accept()
                text = fork(client)
                await client.send(b"from the parent")
                assert await asyncio.to_thread(line.hear) == b"from the parent"
                return text

        text = asyncio.run(main())
    error, health, state, shown = text.splitlines()
    assert error.startswith("not_sent client of 127.0.0.1:")
    assert error.endswith("this one is forked from it")
    assert health.startswith("Health(ok=False, state='forked', error=ConnectionEnded('client of 127.0.0.1:")
    assert state == "forked 0"
    assert shown.endswith("forked, 0 open, 0 in use, 0 waiting>")


def test_the_fate_can_be_compared_with_text() -> None:
    assert Fate.NOT_SENT == "not_sent"


# -- functions of the program that end badly ----------------------------------------------------------------


class Panic(BaseException):
    """As Rust's panics are: no Exception."""


async def awaits_something_cancelled(_connection: Any) -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def panics(_connection: Any) -> None:
    raise Panic("the floor is lava")


async def cancels_its_task(_connection: Any) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


@pytest.mark.parametrize("greet", [awaits_something_cancelled, panics, cancels_its_task])
def test_whatever_greet_raises_is_a_failed_attempt(
    run_async: RunAsync, peer: Peer, greet: Callable[[Any], Any], caplog: pytest.LogCaptureFixture
) -> None:
    events: list[Any] = []

    async def main() -> None:
        retries = Retries(delay=SECONDS, jitter=0.0)
        client = Client(peer.address, "line", retries=retries, greet=greet, observer=events.append)
        with pytest.raises(DeadlinePassed, match="not connected in that time") as caught:
            await client.request(b"one", timeout=0.2)
        cause = caught.value.__cause__
        assert isinstance(cause, HandlerFailed)
        assert isinstance(cause.__cause__, Panic if greet is panics else asyncio.CancelledError)
        assert client.health.error is cause
        assert (client.statistics.connects, client.statistics.connects_failed) == (0, 1)
        await client.close()

    run_async(main())
    peer.accept()
    assert peer.nobody_came()
    assert [type(each.error) for each in events if isinstance(each, ClientConnectFailed)] == [HandlerFailed]
    gc.collect()
    assert "never retrieved" not in caplog.text


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["greet", "on_push"])
def test_an_interrupt_in_a_function_ends_the_loop(
    peer: Peer, kind: type[BaseException], where: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def greet(_connection: Any) -> None:
        raise kind

    def on_push(_push: Any) -> None:
        raise kind

    async def main() -> None:
        options: dict[str, Any] = {"greet": greet} if where == "greet" else {"on_push": on_push}
        async with Client(peer.address, "line", retries=AT_ONCE, deadlines=BRIEFLY, **options) as client:
            if where == "on_push":
                await client.wait_ready(SECONDS)
                peer.accept().say(b"news")
            await client.wait_ready(SECONDS)
            await asyncio.sleep(SECONDS)

    with pytest.raises(kind):
        asyncio.run(main())
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_an_on_push_that_raises_cancelled_error_is_told_and_called_again(run_async: RunAsync, peer: Peer) -> None:
    got: list[Any] = []

    async def on_push(push: Any) -> None:
        got.append(push)
        if push == b"one":
            raise asyncio.CancelledError

    async def main() -> None:
        async with Client(peer.address, "line", retries=AT_ONCE, deadlines=BRIEFLY, on_push=on_push) as client:
            await client.wait_ready(SECONDS)
            line = peer.accept()
            line.say(b"one", b"two")
            while len(got) < 2:
                await asyncio.sleep(0.001)
            with pytest.raises(PushConsumerDied) as caught:
                await client.request(b"hello")
            assert isinstance(caught.value.__cause__, asyncio.CancelledError)

    run_async(main())
    assert got == [b"one", b"two"]


@pytest.mark.parametrize("what", ["drain", "close"])
@pytest.mark.parametrize("where", ["greet", "on_push"])
def test_the_end_abandons_a_function_that_ignores_its_cancellation(peer: Peer, what: str, where: str) -> None:
    told: list[str] = []

    async def forever(_argument: Any) -> None:
        while True:
            try:
                await asyncio.sleep(SECONDS)
            except asyncio.CancelledError:
                if over.is_set():
                    raise

    over = threading.Event()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: told.append(context["message"]))
        options: dict[str, Any] = {"greet": forever} if where == "greet" else {"on_push": forever}
        client = Client(peer.address, "line", retries=AT_ONCE, deadlines=BRIEFLY, **options)
        if where == "greet":
            with pytest.raises(DeadlinePassed, match="greet has not ended"):
                await client.request(b"one", timeout=0.05)
        else:
            await client.wait_ready(SECONDS)
            peer.accept().say(b"news")
            await asyncio.sleep(0.05)
        task = client._dialling if where == "greet" else client._delivering
        assert task is not None
        await asyncio.wait_for(client.drain(0.05) if what == "drain" else client.close(), SECONDS / 2)
        assert not task.done()
        assert task not in asyncio.all_tasks()  # so the loop ends without it
        assert client.state == "closed"
        await asyncio.wait_for(client.close(), SECONDS / 2)
        over.set()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert len(told) == 1
    assert "ignores its cancellation" in told[0]


@pytest.mark.parametrize("then", ["returns", "raises"])
def test_a_greet_that_ends_otherwise_than_by_its_cancellation(run_async: RunAsync, peer: Peer, then: str) -> None:
    """close() cancels it; what it does instead changes nothing, and its connection ends."""

    async def greet(connection: Any) -> None:
        try:
            await connection.receive()
        except (asyncio.CancelledError, ConnectionEnded):
            if then == "raises":
                raise ValueError from None

    async def main() -> None:
        client = Client(peer.address, "line", retries=AT_ONCE, greet=greet)
        asking = asyncio.ensure_future(client.request(b"one"))
        line = await asyncio.to_thread(peer.accept)
        while client.state != "greeting":
            await asyncio.sleep(0.001)
        task = client._dialling
        await client.close()
        assert isinstance(await asyncio.gather(asking, return_exceptions=True), list)
        assert task is not None
        assert task.cancelled() or task.exception() is None
        with pytest.raises(ConnectionResetError):
            line.hear()
        assert (client.statistics.connects, client.statistics.open, client.state) == (0, 0, "closed")

    run_async(main())


def test_a_greet_that_returns_nothing_to_await_is_refused_at_once(run_async: RunAsync, peer: Peer) -> None:
    greet: Any = lambda connection: None  # noqa: E731

    async def main() -> None:
        async with Client(peer.address, "line", greet=greet) as client:
            with pytest.raises(PermanentFailure, match=r"greet: .*<lambda> returned None; expected an async def"):
                await client.request(b"one", timeout=SECONDS)

    run_async(main())


# -- the end ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "async with"])
def test_close_does_not_wait_for_a_server_that_never_answers(run_async: RunAsync, peer: Peer, how: str) -> None:
    async def main() -> None:
        async with Client(peer.address, "line", deadlines=Deadlines(linger_timeout=SECONDS)) as client:
            asking = asyncio.ensure_future(client.request(b"one", timeout=0.05))
            line = await asyncio.to_thread(peer.accept)
            assert await asyncio.to_thread(line.hear) == b"one"
            with pytest.raises(DeadlinePassed):
                await asking
            if how == "close":
                await asyncio.wait_for(client.close(), SECONDS / 2)
        assert await asyncio.to_thread(line.hear) == b""

    run_async(asyncio.wait_for(main(), SECONDS / 2))


def test_a_send_waits_while_the_server_does_not_keep_up(run_async: RunAsync, peer: Peer) -> None:
    """Also one that begins while another one waits: the connection is ready."""

    async def main() -> None:
        message, deadlines = bytes(16 << 20), Deadlines(linger_timeout=0.02)
        async with Client(peer.address, "raw", deadlines=deadlines, retries=AT_ONCE) as client:
            await client.wait_ready(SECONDS)
            line = await asyncio.to_thread(peer.accept)
            first = asyncio.create_task(client.send(message))
            await asyncio.sleep(0)
            second = asyncio.create_task(client.send(b"last"))
            await asyncio.sleep(0)
            assert not first.done()
            assert not second.done()

            def read() -> bytes:
                size, last = 0, b""
                while size < len(message) + 4:
                    last = line.socket.recv(1 << 20)
                    size += len(last)
                return last[-4:]

            assert await asyncio.to_thread(read) == b"last"
            await asyncio.gather(first, second)

    run_async(main())


def test_every_method_that_is_awaited_can_be_a_task(run_async: RunAsync, peer: Peer) -> None:
    def serve() -> None:
        line = peer.accept()
        while heard := line.hear():
            line.say(heard)

    async def main() -> None:
        serving = asyncio.get_running_loop().run_in_executor(None, serve)
        client = Client(peer.address, "line", retries=AT_ONCE, deadlines=BRIEFLY)
        await asyncio.create_task(client.wait_ready(SECONDS))
        assert await asyncio.create_task(client.request(b"one")) == b"one"
        await asyncio.create_task(client.send(b"two"))
        await asyncio.create_task(client.drain(0.01))
        await asyncio.create_task(client.close())
        await serving

    run_async(main())
