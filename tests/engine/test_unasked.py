"""A message that nobody asked for is never taken for the reply to a request, where it is there before that leaves."""

from __future__ import annotations

import asyncio
import fcntl
import socket
import struct
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from certificates import Files, serving_context
from conftest import RunAsync
from fourtuple import BlockingConnection, Tls, client
from fourtuple.blocking import connect, wait
from fourtuple.client import Waker
from fourtuple.connection import Connection
from fourtuple.engine import Channel, Engine
from fourtuple.errors import ConnectionBusy, ConnectionEnded, DeadlinePassed, EndOfFile, WouldBlock
from fourtuple.framing import parse_framing
from fourtuple.net.names import connection_name
from fourtuple.options import Deadlines, Limits
from fourtuple.stream import Stream

SOON = 20.0
SHORT = 0.02


def unread(sock: socket.socket | BlockingConnection | Connection, octets: int) -> None:
    """Until the kernel holds as many octets for it."""
    while struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.FIONREAD, bytes(4)))[0] < octets:
        pass


# -- blocking -----------------------------------------------------------------------------------------------


@contextmanager
def pair(framing: str = "line") -> Iterator[tuple[BlockingConnection, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = connect(f"127.0.0.1:{listener.getsockname()[1]}", framing)
        peer, _ = listener.accept()
    with peer, connection:
        peer.settimeout(SOON)
        yield connection, peer
        peer.close()


def answer(peer: socket.socket, reply: bytes) -> threading.Thread:
    """Reply to the next request."""

    def work() -> None:
        peer.recv(100)
        peer.sendall(reply)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


CALLS: dict[str, Callable[[BlockingConnection], Any]] = {
    "request": lambda c: c.request(b"q", timeout=SOON),
    "request_many": lambda c: c.request_many([b"q"], timeout=SOON)[0],
    "begin": lambda c: c.begin(b"q").receive(SOON),
}


@pytest.mark.parametrize("call", CALLS)
def test_an_unasked_message_is_found_before_the_request_leaves(call: str) -> None:
    with pair() as (connection, peer):
        peer.sendall(b"news\nmore news\n")
        unread(connection, 15)
        for text in ("2 messages wait", "2 messages wait"):
            with pytest.raises(ConnectionBusy, match=text):
                CALLS[call](connection)
        assert connection.receive() == b"news"
        with pytest.raises(ConnectionBusy, match="1 messages wait"):
            CALLS[call](connection)
        assert connection.receive() == b"more news"
        thread = answer(peer, b"reply\n")  # to the first octets that have left
        assert CALLS[call](connection) == b"reply"
        thread.join()
        assert connection.statistics.messages_out == 1


def test_the_beginning_of_a_message_is_one_too() -> None:
    with pair() as (connection, peer):
        peer.sendall(b"ne")
        unread(connection, 2)
        with pytest.raises(ConnectionBusy, match="2 octets of an unrequested message wait"):
            connection.request(b"q", timeout=SOON)
        peer.sendall(b"ws\n")
        assert connection.receive(SOON) == b"news"
        thread = answer(peer, b"reply\n")
        assert connection.request(b"q", timeout=SOON) == b"reply"
        thread.join()


def test_what_silence_ends_is_one_too() -> None:
    with pair("gap") as (connection, peer):
        peer.sendall(b"news")
        unread(connection, 4)
        with pytest.raises(ConnectionBusy):
            connection.request(b"q", timeout=SOON)
        assert connection.receive(SOON) == b"news"


def test_a_late_reply_is_not_an_unasked_message() -> None:
    with pair() as (connection, peer):
        with pytest.raises(DeadlinePassed):
            connection.request(b"slow", timeout=SHORT)
        peer.sendall(b"late\n")
        unread(connection, 5)
        peer.recv(100)
        thread = answer(peer, b"reply\n")
        assert connection.request(b"q", timeout=SOON) == b"reply"
        thread.join()
        assert connection.statistics.late_replies == 1


def test_beside_a_receive_in_another_thread_nothing_is_sent() -> None:
    with pair() as (connection, peer):
        received: list[bytes] = []
        thread = threading.Thread(target=lambda: received.append(connection.receive(SOON)))
        thread.start()
        while not connection._receiving:
            pass
        for call in CALLS.values():
            with pytest.raises(ConnectionBusy, match="another thread is receiving"):
                call(connection)
        assert connection.statistics.messages_out == 0
        peer.sendall(b"news\n")
        thread.join()
        assert received == [b"news"]


def test_threads_that_ask_at_once_get_their_own_replies() -> None:
    with pair() as (connection, peer):

        def echo() -> None:
            with suppress(ConnectionResetError):
                while octets := peer.recv(1 << 16):
                    peer.sendall(octets)

        echoing = threading.Thread(target=echo)
        echoing.start()
        wrong: list[object] = []

        def ask(name: bytes) -> None:
            for number in range(300):
                question = b"%s %d" % (name, number)
                try:
                    reply = connection.request(question, timeout=SOON)
                except ConnectionBusy:
                    continue  # another thread waits for its reply
                if reply != question:
                    wrong.append((question, reply))

        threads = [threading.Thread(target=ask, args=(name,)) for name in (b"a", b"b", b"c")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        connection.abort()
        echoing.join()


@pytest.mark.parametrize("call", ["request", "request_many"])
def test_beside_a_request_of_another_thread_nothing_is_sent(call: str) -> None:
    with pair() as (connection, peer):
        replies: list[bytes] = []
        thread = threading.Thread(target=lambda: replies.append(connection.request(b"first", timeout=SOON)))
        thread.start()
        assert peer.recv(100) == b"first\n"
        for _ in range(3):
            with pytest.raises(ConnectionBusy, match="another thread is receiving"):
                CALLS[call](connection)
        with pytest.raises(ConnectionBusy):
            connection.receive(SHORT)
        assert connection.statistics.messages_out == 1
        peer.sendall(b"the first's\n")
        thread.join()
        assert replies == [b"the first's"]
        thread = answer(peer, b"the second's\n")
        assert CALLS[call](connection) == b"the second's"
        thread.join()


def test_between_the_requests_of_one_thread_another_one_sends_nothing() -> None:
    """While the messages are still made, no reply is waited for: what comes belongs to that thread all the same."""
    with pair() as (connection, peer):
        made, go_on = threading.Event(), threading.Event()

        def messages() -> Iterator[bytes]:
            yield b"one"
            made.set()
            go_on.wait(SOON)
            yield b"two"

        replies: list[Any] = []
        thread = threading.Thread(target=lambda: replies.append(connection.request_many(messages(), SOON)))
        thread.start()
        assert made.wait(SOON)
        with pytest.raises(ConnectionBusy):
            connection.request(b"x", timeout=SHORT)
        with pytest.raises(ConnectionBusy):
            connection.receive(SHORT)
        with pytest.raises(ConnectionBusy):
            wait([connection], SHORT)
        go_on.set()
        unread(peer, 8)
        assert peer.recv(100) == b"one\ntwo\n"
        peer.sendall(b"1\n2\n")
        thread.join()
        assert replies == [[b"1", b"2"]]


@pytest.mark.parametrize("end", ["close", "abort"])
def test_a_thread_that_still_makes_its_requests_holds_up_no_end(end: str) -> None:
    with pair() as (connection, peer):
        made, go_on = threading.Event(), threading.Event()

        def messages() -> Iterator[bytes]:
            yield b"one"
            made.set()
            go_on.wait(SOON)
            yield b"two"

        outcomes: list[BaseException] = []

        def ask() -> None:
            try:
                connection.request_many(messages(), SOON)
            except ConnectionEnded as error:
                outcomes.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        assert made.wait(SOON)
        peer.shutdown(socket.SHUT_WR)
        getattr(connection, end)()
        go_on.set()
        thread.join(SOON)
        assert len(outcomes) == 1


def test_one_thread_begins_requests_beside_another_that_waits_for_the_replies() -> None:
    with pair() as (connection, peer):
        first = connection.begin(b"first")
        replies: list[bytes] = []
        thread = threading.Thread(target=lambda: replies.append(first.receive(SOON)))
        thread.start()
        while not connection._receiving:
            pass
        second = connection.begin(b"second")
        with pytest.raises(ConnectionBusy):
            second.receive(SHORT)  # it is outstanding all the same
        peer.sendall(b"1\n2\n")
        thread.join()
        assert replies == [b"1"]
        assert second.receive(SOON) == b"2"


def test_a_request_that_did_not_leave_in_time_does_not_stay_outstanding() -> None:
    with pair() as (connection, peer):
        while not connection.statistics.outbox:  # until the kernel takes no more of a request
            with suppress(DeadlinePassed):
                connection.begin(bytes(1 << 16), SHORT).abandon()
        while connection.statistics.outbox:
            peer.recv(1 << 20)
            with pytest.raises(WouldBlock):  # not ConnectionBusy
                connection.receive_nowait()


def test_the_end_of_file_is_reported_as_before() -> None:
    with pair() as (connection, peer):
        peer.shutdown(socket.SHUT_WR)
        with pytest.raises(EndOfFile):
            connection.request(b"q", timeout=SOON)


def test_records_of_tls_itself_are_not_unasked_messages(tmp_path: Path) -> None:
    """Session tickets come behind the handshake (RFC 8446, 4.6.1)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            with serving_context().wrap_socket(sock, server_side=True) as peer:
                peer.sendall(peer.recv(100))
                assert answered.wait(SOON)
                peer.sendall(b"news\n")
                peer.recv(100)

        answered = threading.Event()
        thread = threading.Thread(target=serve)
        thread.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        tls = Tls(ca=Files(tmp_path).ca)
        with connect(address, "line", tls=tls, server_hostname="localhost") as connection:
            unread(connection, 1)
            assert connection.request(b"q", timeout=SOON) == b"q"
            answered.set()
            unread(connection, 1)
            with pytest.raises(ConnectionBusy, match="1 messages wait"):
                connection.request(b"q", timeout=SOON)
            assert connection.receive(SOON) == b"news"
        thread.join()


# -- async --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("octets", [b"news\n", b"news\nmore\n", b"ne"])
def test_the_async_client_finds_an_unasked_message_after_a_stalled_loop(
    run_async: RunAsync, readiness: Any, octets: bytes
) -> None:
    async def main() -> None:
        engine = Engine(readiness=readiness)
        near, peer = socket.socketpair()
        near.setblocking(False)
        stream = Stream(parse_framing("line"), connection_name(near), Limits(), engine.time())
        channel = Channel(engine, near, stream, Deadlines())
        connection = Connection(channel)
        channel.start(Waker(connection, channel))
        with peer:
            peer.sendall(octets)
            unread(connection, len(octets))  # no turn of the loop has read it
            with pytest.raises(ConnectionBusy):
                await connection.request(b"q")
            assert stream.messages_out == 0
            if b"\n" not in octets:
                peer.sendall(b"ws\n")
            assert await connection.receive() == b"news"
            if b"more" in octets:
                assert await connection.receive() == b"more"
            asked = asyncio.ensure_future(connection.request(b"q"))
            while not stream.messages_out:
                await asyncio.sleep(0)
            peer.sendall(b"reply\n")
            assert await asked == b"reply"
        connection.abort()
        engine.close()

    run_async(main())


def test_beside_a_receive_of_another_task_nothing_is_sent(run_async: RunAsync) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            async with client.connect(f"127.0.0.1:{listener.getsockname()[1]}", "line") as connection:
                peer, _ = listener.accept()
                with peer:
                    received = asyncio.ensure_future(connection.receive())
                    while not connection._receiving:
                        await asyncio.sleep(0)
                    with pytest.raises(ConnectionBusy, match="another task is receiving"):
                        await connection.request(b"q")
                    assert connection.statistics.messages_out == 0
                    peer.sendall(b"news\n")
                    assert await received == b"news"

    run_async(main())


def test_tasks_that_ask_at_once_are_answered_in_order(run_async: RunAsync) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            async with client.connect(f"127.0.0.1:{listener.getsockname()[1]}", "line") as connection:
                peer, _ = listener.accept()
                with peer:
                    asked = [asyncio.ensure_future(connection.request(b"%d" % n)) for n in range(10)]
                    while connection.statistics.octets_out < 20:
                        await asyncio.sleep(0)
                    peer.sendall(peer.recv(100))
                    assert [await each for each in asked] == [b"%d" % n for n in range(10)]

    run_async(main())
