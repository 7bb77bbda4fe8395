"""The async client: connecting on the host loops, and a conversation on the engine that clients share."""

from __future__ import annotations

import asyncio
import copy
import math
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from conftest import RunAsync
from fourtuple import Server, Service, connect
from fourtuple.client import opening
from fourtuple.connection import Connection
from fourtuple.engine import shared as engines
from fourtuple.errors import (
    AddressError,
    ConnectionEnded,
    ConnectRefused,
    ConnectTimeout,
    DeadlinePassed,
    EndOfFile,
    FramingTextError,
    MalformedMessage,
    NameNotFound,
    NoSuchSocket,
    NotAwaited,
    OptionError,
    PeerReset,
)
from fourtuple.net import connecting
from fourtuple.net.connecting import Resolve, Step, Steps, Wait, racing
from fourtuple.net.sockets import reset_on_close
from fourtuple.options import Deadlines, Reconnect, Sockets
from rig import slow_names

SOON = 20.0
SHORT = 0.02


@asynccontextmanager
async def connected(framing: str = "line", **options: Any) -> AsyncIterator[tuple[Connection, socket.socket]]:
    """A connection and the plain socket of its peer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = await connect(f"127.0.0.1:{listener.getsockname()[1]}", framing, **options)
        peer, _ = listener.accept()
        with peer:
            yield connection, peer
        connection.abort()
        await connection.wait_closed()
    assert asyncio.get_running_loop() not in engines._by_loop, "the shared engine has no user and is closed"


def test_a_timeout_that_might_never_pass_is_refused(run_async: RunAsync) -> None:
    async def main() -> None:
        text = r"^timeout: expected a number of seconds, 0 or more, or None, got nan$"
        async with connected() as (connection, peer):
            peer.sendall(b"one\n")
            for call in (connection.receive, connection.receive_some):
                with pytest.raises(OptionError, match=text):
                    await call(timeout=math.nan)
            with pytest.raises(OptionError, match=text):
                await connection.request(b"question", timeout=math.nan)
            with pytest.raises(OptionError, match=text):
                await connect("127.0.0.1:9", "line", timeout=math.nan)
            assert connection.statistics.messages_out == 0
            assert await connection.receive(timeout=math.inf) == b"one"

    run_async(main())


def test_a_conversation_ends_with_both_half_closes(run_async: RunAsync) -> None:
    async def main() -> None:
        async with connected() as (connection, peer):
            await connection.send(b"hello")
            connection.send_eof()
            peer.sendall(b"one\ntwo\n")
            peer.shutdown(socket.SHUT_WR)
            assert [message async for message in connection] == [b"one", b"two"]
            with pytest.raises(EndOfFile):
                await connection.receive()
            peer.settimeout(SOON)
            assert peer.recv(100) == b"hello\n"
            assert connection.name.remote.host == "127.0.0.1"  # type: ignore[union-attr]

    run_async(main())


def test_requests_get_their_replies_in_order_and_late_ones_are_dropped(run_async: RunAsync) -> None:
    async def main() -> None:
        async with connected() as (connection, peer):
            requests = [asyncio.ensure_future(connection.request(b"%d" % number)) for number in range(3)]
            late = asyncio.ensure_future(connection.request(b"late", timeout=SHORT))
            with pytest.raises(DeadlinePassed, match="its late reply will be dropped"):
                await late
            peer.sendall(b"a\nb\nc\nd\n")
            assert await asyncio.gather(*requests) == [b"a", b"b", b"c"]
            with pytest.raises(DeadlinePassed, match="no octet was lost, call receive again"):
                await connection.receive(timeout=SHORT)
            assert connection.statistics.late_replies == 1

    run_async(main())


def test_several_connections_share_the_engine(run_async: RunAsync) -> None:
    async def main() -> None:
        async with connected() as (one, _):
            entry = engines._by_loop[asyncio.get_running_loop()]
            shared = entry.engine()
            assert shared is not None
            assert entry.users == 1
            with socket.create_server(("127.0.0.1", 0)) as listener:
                other = await connect(f"127.0.0.1:{listener.getsockname()[1]}", "u8")
                assert other._channel.engine is one._channel.engine is shared
                other.abort()
            assert not shared.closed
        assert shared.closed

    run_async(main())


def test_close_sends_everything_and_waits_for_the_peers_fin(run_async: RunAsync) -> None:
    async def main() -> None:
        async with connected() as (connection, peer):
            connection.send(b"bye")
            closing = asyncio.ensure_future(connection.wait_closed())
            connection.close()
            await asyncio.sleep(0)
            peer.settimeout(SOON)
            assert await asyncio.to_thread(lambda: (peer.recv(100), peer.recv(100))) == (b"bye\n", b"")
            peer.close()
            await closing
            with pytest.raises(ConnectionEnded):
                connection.send(b"x")

    run_async(main())


def test_a_reset_of_the_peer_is_raised(run_async: RunAsync) -> None:
    async def main() -> None:
        async with connected() as (connection, peer):
            reset_on_close(peer)
            peer.close()
            with pytest.raises(PeerReset):
                await connection.receive()

    run_async(main())


def test_a_message_that_takes_too_long(run_async: RunAsync) -> None:
    async def main() -> None:
        async with connected(deadlines=Deadlines(message_timeout=0.01)) as (connection, peer):
            peer.sendall(b"half a li")
            with pytest.raises(DeadlinePassed, match=r"message_timeout deadline of 0\.01 s passed"):
                await connection.receive()

    run_async(main())


async def reasons(connection: Connection) -> list[str]:
    """What each call says when the connection has ended."""
    found = []
    calls: list[Callable[[], Any]] = [
        lambda: connection.receive(),
        lambda: connection.send(b"x"),
        lambda: connection.request(b"x"),
    ]
    for call in calls:
        with pytest.raises(DeadlinePassed) as caught:
            await call()
        found.append(caught.value.which)
    return found


def test_a_peer_that_does_not_read_is_the_reason_in_every_call(run_async: RunAsync) -> None:
    async def main() -> None:
        async with connected(deadlines=Deadlines(write_timeout=0.05)) as (connection, _):
            requests = [asyncio.ensure_future(connection.request(bytes(1 << 20))) for _ in range(12)]
            while not connection._stream.crowded:
                await asyncio.sleep(0)
            with pytest.raises(DeadlinePassed) as caught:
                await connection.send(b"x")
            assert caught.value.which == "write_timeout"
            outcomes = await asyncio.gather(*requests, return_exceptions=True)
            assert {str(each) for each in outcomes} == {str(caught.value)}
            assert await reasons(connection) == ["write_timeout"] * 3

    run_async(main())


def test_a_peer_that_does_not_finish_its_message_is_the_reason_in_every_call(run_async: RunAsync) -> None:
    async def main() -> None:
        async with connected(deadlines=Deadlines(message_timeout=0.05)) as (connection, peer):
            request = asyncio.ensure_future(connection.request(b"question"))
            await asyncio.sleep(0)
            peer.sendall(b"half a li")
            with pytest.raises(DeadlinePassed, match="message_timeout"):
                await request
            assert await reasons(connection) == ["message_timeout"] * 3

    run_async(main())


def test_a_broken_framing_is_the_reason_of_every_request(run_async: RunAsync) -> None:
    async def main() -> None:
        async with connected("netstring") as (connection, peer):
            requests = [asyncio.ensure_future(connection.request(b"q"))]
            await asyncio.sleep(0)
            peer.sendall(b"garbage")
            for _ in range(3):
                with pytest.raises(MalformedMessage, match="a length and b':' were expected"):
                    await (requests.pop() if requests else connection.request(b"q"))
            assert connection.statistics.messages_out == 1, "nothing is sent where no reply can come"

    run_async(main())


def test_a_reset_behind_half_a_reply_is_the_reason_of_every_request(run_async: RunAsync) -> None:
    async def main() -> None:
        async with connected("netstring") as (connection, peer):
            request = asyncio.ensure_future(connection.request(b"q"))
            await asyncio.sleep(0)
            peer.sendall(b"5:hal")
            while not connection._stream.decoder.buffered:
                await asyncio.sleep(0)
            reset_on_close(peer)
            peer.close()
            with pytest.raises(PeerReset):
                await request
            for _ in range(2):
                with pytest.raises(PeerReset):
                    await connection.request(b"q")

    run_async(main())


def test_a_unix_socket_whose_queue_is_full_is_waited_for(run_async: RunAsync, tmp_path: Path) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as filler:
            listener.bind(f"{tmp_path}/s")
            listener.listen(0)
            filler.connect(f"{tmp_path}/s")
            with pytest.raises(ConnectTimeout, match="the accept queue is full"):
                await connect(f"unix:{tmp_path}/s", "line", timeout=SHORT)
            attempt = asyncio.ensure_future(connect(f"unix:{tmp_path}/s", "line"))
            listener.accept()[0].close()
            connection = await attempt
            connection.abort()

    run_async(main())


# -- the ways to fail, awaited; all of them stand in test_connecting.py -----------------------------------


def test_failures_to_connect_are_named_with_their_address(run_async: RunAsync, tmp_path: Path) -> None:
    async def main() -> None:
        with socket.socket() as refusing:
            refusing.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{refusing.getsockname()[1]}"
            with pytest.raises(ConnectRefused, match=f"cannot connect to {address}: refused"):
                await connect(address, "line")
            with pytest.raises(ConnectRefused, match=rf"refused \(at {address}\)"):
                await connect(f"localhost:{refusing.getsockname()[1]}", "line", local_address="127.0.0.1")
            with pytest.raises(OptionError, match="congestion"):
                await connect(address, "line", sockets=Sockets(congestion="nonsense"))
        with pytest.raises(NameNotFound):
            await connect("name.invalid:9", "line")
        with pytest.raises(NameNotFound):
            await connect("a..b:9", "line")
        with pytest.raises(NoSuchSocket):
            await connect(f"unix:{tmp_path}/none", "line")
        with pytest.raises(AddressError):
            await connect("*:9", "line")
        with pytest.raises(FramingTextError):
            await connect("127.0.0.1:9", "nonsense")
        assert asyncio.get_running_loop() not in engines._by_loop

    run_async(main())


def silent_listener() -> tuple[socket.socket, list[socket.socket]]:
    """A listener with a full accept queue, and those who fill it: it answers no SYN."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fillers = []
    for _ in range(4):
        fillers.append(socket.socket())
        fillers[-1].setblocking(False)
        fillers[-1].connect_ex(listener.getsockname())
    return listener, fillers


def test_an_unanswered_connect_ends_at_its_timeout_and_can_be_cancelled(run_async: RunAsync) -> None:
    listener, fillers = silent_listener()

    async def main() -> None:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(ConnectTimeout, match=r"no answer in time \(waited 0.02 s\)"):
            await connect(address, "line", timeout=SHORT)
        attempt = asyncio.ensure_future(connect(address, "line"))
        await asyncio.sleep(0)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt

    run_async(main())
    for sock in (listener, *fillers):
        sock.close()


def test_the_next_address_is_tried_beside_one_that_does_not_answer(
    run_async: RunAsync, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent, fillers = silent_listener()
    listener = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setattr(racing, "STAGGER", SHORT)

    async def found(step: Step) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", sock.getsockname()) for sock in (silent, listener)]

    async def main() -> None:
        monkeypatch.setattr(opening, "_look_up", found)
        connection = await connect("name.test:1", "line")
        assert connection.name.remote.port == listener.getsockname()[1]  # type: ignore[union-attr]
        connection.abort()

    run_async(main())
    for sock in (silent, listener, *fillers):
        sock.close()


def test_a_name_server_that_does_not_answer_in_time(run_async: RunAsync, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        with pytest.raises(ConnectTimeout, match=r"for the name 'slow\.test' to be resolved"):
            await connect("slow.test:9", "line", timeout=SHORT)

    with slow_names(monkeypatch) as waiting:
        run_async(main())
        # The loop is closed, and did not wait for the thread that still asks.
        assert [thread.is_alive() for thread in waiting] == [True]


def test_a_server_that_comes_back_is_found(run_async: RunAsync) -> None:
    async def main() -> None:
        with socket.socket() as refusing:
            refusing.bind(("127.0.0.1", 0))
            attempt = asyncio.ensure_future(
                connect(f"127.0.0.1:{refusing.getsockname()[1]}", "line", reconnect=Reconnect(attempts=99, delay=0.001))
            )
            await asyncio.sleep(0)
            refusing.listen()
            connection = await attempt
            connection.abort()

    run_async(main())


def test_both_drivers_take_the_same_steps(run_async: RunAsync) -> None:
    """Blocking and awaiting, each step is taken once, in order, and answered alike."""

    def steps() -> Steps[list[Any]]:
        answers: list[Any] = []
        answers.append((yield Wait((), connecting.clock() + 0.001)))
        found = yield Resolve("127.0.0.1", 9, None)
        assert isinstance(found, list)
        answers.append([(family, sockaddr) for family, _, _, _, sockaddr in found])
        missing = yield Resolve("name.invalid", 9, None)
        answers.append(type(missing))
        one, other = socket.socketpair()
        with one, other:
            answers.append((yield Wait((one.fileno(),), None)))
        return answers

    blocking = connecting.run(steps())
    assert blocking == run_async(opening.take(steps()))
    assert blocking == [None, [(socket.AF_INET, ("127.0.0.1", 9))], socket.gaierror, None]


def test_connect_is_awaited_or_entered(run_async: RunAsync) -> None:
    async def main() -> None:
        service = Service("line")
        service.reply(bytes.upper)
        async with Server(service) as server:
            async with connect(server.address, "line") as connection:
                assert await connection.request(b"hello") == b"HELLO"
            assert connection.closed
            awaited = await connect(server.address, "line")
            assert await awaited.request(b"again") == b"AGAIN"
            await awaited.close()

    run_async(main())


@pytest.mark.parametrize(
    ("use", "told"),
    [
        (lambda opening: opening.__enter__(), "with connect(...)"),
        (lambda opening: opening.send(b"x"), "connect(...).send"),
        (lambda opening: opening.name, "connect(...).name"),
        (list, "for ... in connect(...)"),
        (aiter, "async for ... in connect(...)"),
    ],
)
def test_a_connection_that_is_not_awaited_cannot_be_used(use: Callable[[Any], object], told: str) -> None:
    opening = connect("127.0.0.1:1", "line")
    with pytest.raises(NotAwaited, match=re.escape(told)) as caught:
        use(opening)
    assert "fourtuple.blocking.connect" in str(caught.value)
    assert isinstance(caught.value, TypeError | AttributeError)
    assert not hasattr(opening, "send")
    assert copy.copy(opening) is not opening  # what Python looks for by itself is not a use of it


def test_with_names_the_blocking_connect() -> None:
    with (
        pytest.raises(NotAwaited, match=r"^with connect\(\.\.\.\): .* or use fourtuple\.blocking\.connect$"),
        connect("127.0.0.1:1", "line"),  # type: ignore[attr-defined]
    ):
        raise AssertionError("nothing is connected")
