"""The blocking connection: real sockets on loopback, with a plain socket as the peer."""

from __future__ import annotations

import errno
import math
import os
import resource
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fourtuple.blocking import BlockingConnection, connect, wait
from fourtuple.blocking.receiving import Receiving
from fourtuple.blocking.sending import Sending
from fourtuple.errors import (
    ConnectionBusy,
    ConnectionEnded,
    ConnectionLost,
    ConnectRefused,
    DeadlinePassed,
    EncodeError,
    EndOfFile,
    FramingTextError,
    IncompleteMessage,
    MalformedMessage,
    MessageTooLong,
    OptionError,
    OutboxFull,
    PeerReset,
    WouldBlock,
)
from fourtuple.net.names import connection_name
from fourtuple.net.sockets import reset_on_close
from fourtuple.options import Deadlines, Limits, Sockets
from fourtuple.stream import Reason, Stream
from fourtuple.testing import memory_pair

#: Long enough for anything that does come, short enough for a test that fails.
SOON = 20.0
#: Short: for what does not come.
SHORT = 0.02
#: Octets of a kernel buffer: less than one message of many.
NARROW = 4096


class Pair:
    """Makes connections, each with the plain socket of its peer, and closes all of them."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.made: list[socket.socket | BlockingConnection] = [self.listener]

    def __call__(self, framing: str = "line", **options: Any) -> tuple[BlockingConnection, socket.socket]:
        connection = connect(self.address, framing, **options)
        peer, _ = self.listener.accept()
        peer.settimeout(SOON)
        self.made += [peer, connection]
        return connection, peer

    def narrow(self, framing: str = "line", **options: Any) -> tuple[BlockingConnection, socket.socket]:
        """Both kernel buffers together hold less than one message of :func:`send_on`.

        A larger one is full only for a while: the peer's acknowledgement may come late, and then there is room again.
        """
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NARROW)
        return self(framing, sockets=Sockets(send_buffer=NARROW), **options)


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    for each in pair.made:
        each.close()


def read(peer: socket.socket, size: int) -> bytes:
    octets = b""
    while len(octets) < size and (more := peer.recv(size - len(octets))):
        octets += more
    return octets


def arrived(connection: BlockingConnection, events: int = select.POLLIN) -> None:
    """Wait until the kernel has something for the connection: what the peer did, is here."""
    poll = select.poll()
    poll.register(connection, events)
    assert poll.poll(SOON * 1000)


def in_thread(job: Callable[[], Any]) -> Callable[[], Any]:
    """Run a job in a thread; call the result for its outcome."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(job())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def join() -> Any:
        thread.join(SOON)
        assert not thread.is_alive()
        return outcome[0]

    return join


def send_on(connection: BlockingConnection, message: bytes = bytes(1 << 16)) -> None:
    """Send forever."""
    while True:
        connection.send(message, timeout=SHORT)


def fill(connection: BlockingConnection) -> int:
    """Send more than a narrow pair's buffers hold, and return how many messages were taken."""
    with pytest.raises(DeadlinePassed):
        send_on(connection)
    return connection.statistics.messages_out


# -- write_timeout ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["send", "send_many", "request", "request_many", "begin", "wait"])
def test_a_peer_that_does_not_read_ends_the_connection(pair: Pair, call: str) -> None:
    connection, peer = pair.narrow("u32", deadlines=Deadlines(write_timeout=SHORT))
    large = bytes(1 << 20)
    calls: dict[str, Callable[[], Any]] = {
        "send": lambda: [connection.send(large) for _ in range(30)],
        "send_many": lambda: connection.send_many([large] * 12),
        "request": lambda: [connection.begin(large, timeout=60) for _ in range(12)] and connection.request(large),
        "request_many": lambda: connection.request_many([large] * 30, timeout=60),
        "begin": lambda: [connection.begin(large) for _ in range(30)],
        "wait": lambda: [fill(connection), wait([connection]), connection.receive()],
    }
    with pytest.raises(DeadlinePassed, match=r"the peer does not read, [0-9]+ octets wait") as caught:
        calls[call]()
    assert caught.value.which == "write_timeout"
    assert connection.closed
    for again in (lambda: connection.send(b"x"), lambda: connection.request(b"x"), connection.receive):
        with pytest.raises(DeadlinePassed) as caught:
            again()
        assert caught.value.which == "write_timeout"
    with pytest.raises(ConnectionResetError):
        read(peer, 30 << 20)


def test_a_peer_that_reads_slowly_is_waited_for() -> None:
    """A clock that passes only while everybody waits: each read is within the deadline, all together are not."""
    near, far = memory_pair("u32", capacity=4096, deadlines=Deadlines(write_timeout=2.0))
    with pytest.raises(DeadlinePassed, match="send deadline"):
        near.send(bytes(40_000), timeout=1.5)
    for _ in range(8):
        assert len(far.receive_some()) > 1024
        with pytest.raises(DeadlinePassed, match="send deadline"):
            near.send_many([], timeout=1.5)
    with pytest.raises(DeadlinePassed, match="write_timeout deadline of 2 s"):
        near.send_many([], timeout=60)


# -- what broke it ----------------------------------------------------------------------------------------


def test_a_broken_framing_is_the_reason_of_every_request(pair: Pair) -> None:
    connection, peer = pair("netstring")
    pending = connection.begin(b"q")
    peer.sendall(b"garbage")
    with pytest.raises(MalformedMessage, match="a length and b':' were expected"):
        pending.receive(SOON)
    for call in (connection.request, connection.request, connection.begin):
        with pytest.raises(MalformedMessage, match="a length and b':' were expected"):
            call(b"q")
    assert connection.statistics.messages_out == 1, "nothing is sent where no reply can come"


def test_a_reset_behind_half_a_reply_is_the_reason_of_every_request(pair: Pair) -> None:
    connection, peer = pair("netstring")
    pending = connection.begin(b"q")
    peer.sendall(b"5:hal")
    reset_on_close(peer)
    peer.close()
    with pytest.raises(PeerReset):
        pending.receive(SOON)
    for _ in range(2):
        with pytest.raises(PeerReset):
            connection.request(b"q")


# -- messages ---------------------------------------------------------------------------------------------


def test_send_and_receive(pair: Pair) -> None:
    connection, peer = pair()
    connection.send(b"hello")
    assert peer.recv(100) == b"hello\n"
    connection.send_many([b"a", b"b"])
    assert read(peer, 4) == b"a\nb\n"
    peer.sendall(b"one\ntwo\nthr")
    assert connection.receive() == b"one"
    assert connection.receive(timeout=SOON) == b"two"
    peer.sendall(b"ee\n")
    assert connection.receive() == b"three"
    statistics = connection.statistics
    assert (statistics.messages_in, statistics.messages_out, statistics.octets_out) == (3, 3, 10)


def test_a_connection_has_its_four_tuple_a_number_and_a_descriptor(pair: Pair) -> None:
    connection, peer = pair()
    assert connection.name == connection_name(peer).reversed  # type: ignore[union-attr]
    assert connection.id != pair()[0].id
    assert connection.fileno() > 2
    assert str(connection.framing) == "line"


def test_iteration_ends_with_the_file(pair: Pair) -> None:
    connection, peer = pair()
    peer.sendall(b"one\ntwo\n")
    peer.shutdown(socket.SHUT_WR)
    assert list(connection) == [b"one", b"two"]
    for _ in range(2):
        with pytest.raises(EndOfFile):
            connection.receive(timeout=SOON)


def test_next_and_loops_take_the_messages_in_turn(pair: Pair) -> None:
    connection, peer = pair()
    peer.sendall(b"one\ntwo\nthree\nfour\n")
    assert next(connection) == b"one"
    for message in connection:
        assert message == b"two"
        assert connection.receive() == b"three"  # within the loop
        break
    peer.shutdown(socket.SHUT_WR)
    assert list(connection) == [b"four"]
    assert list(connection) == []
    with pytest.raises(StopIteration):
        next(connection)


def test_a_message_that_is_cut_short(pair: Pair) -> None:
    connection, peer = pair("fixed:16")
    peer.sendall(b"only seven"[:7])
    peer.close()
    with pytest.raises(IncompleteMessage, match=r"expected 16 octets, received 7, from 127.0.0.1:") as caught:
        connection.receive()
    assert str(connection.name) in str(caught.value)


def test_arguments_that_cannot_work(pair: Pair) -> None:
    with pytest.raises(FramingTextError):
        connect(pair.address, "nonsense")
    with socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectRefused):
            connect(f"127.0.0.1:{refusing.getsockname()[1]}", "line")


def test_encode_errors_send_nothing(pair: Pair) -> None:
    connection, peer = pair()
    with pytest.raises(EncodeError):
        connection.send(b"two\nlines")
    connection.send(b"one")
    assert peer.recv(100) == b"one\n"


def test_a_unix_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/s")
        listener.listen()
        with connect(f"unix:{tmp_path}/s", "line") as connection, listener.accept()[0] as peer:
            peer.sendall(b"hello\n")
            assert connection.receive() == b"hello"
            assert connection.name.path == f"{tmp_path}/s"  # type: ignore[union-attr]
            with pytest.raises(OSError, match="not supported"):
                connection.info()
            peer.shutdown(socket.SHUT_WR)


def test_info_is_the_kernels_until_the_connection_ends(pair: Pair) -> None:
    connection, peer = pair()
    connection.send(b"hello")
    assert peer.recv(100)
    info = connection.info()
    assert (info.state_name, info.bytes_sent) == ("ESTABLISHED", 6)
    peer.close()
    connection.close()
    with pytest.raises(ConnectionEnded, match=r"info\(\) after the connection ended"):
        connection.info()


# -- time -------------------------------------------------------------------------------------------------


def test_a_timeout_loses_no_octet(pair: Pair) -> None:
    connection, peer = pair()
    for piece in (b"", b"on", b"e"):
        peer.sendall(piece)
        with pytest.raises(DeadlinePassed) as caught:
            connection.receive(timeout=SHORT)
        assert (caught.value.which, caught.value.seconds) == ("receive", SHORT)
        assert isinstance(caught.value, TimeoutError)
    assert str(caught.value) == (
        f"receive deadline of 0.02 s passed on {connection.name}: "
        "3 octets of an unfinished message are held; no octet was lost, call receive again"
    )
    peer.sendall(b"\n")
    assert connection.receive() == b"one"


def test_a_timeout_that_might_never_pass_is_refused(pair: Pair) -> None:
    connection, peer = pair()
    peer.sendall(b"one\n")
    for call in (
        lambda: connection.receive(timeout=math.nan),
        lambda: connection.receive_some(timeout=math.nan),
        lambda: connection.request(b"question", timeout=math.nan),
        lambda: connection.send(b"message", timeout=math.nan),
        lambda: wait([connection], timeout=math.nan),
        lambda: connect("127.0.0.1:9", "line", timeout=math.nan),
    ):
        with pytest.raises(OptionError, match=r"^timeout: expected a number of seconds, 0 or more, or None, got nan$"):
            call()
    assert connection.receive(timeout=math.inf) == b"one"
    assert connection.statistics.messages_out == 0


def test_a_timeout_of_nothing_looks_once(pair: Pair) -> None:
    connection, peer = pair()
    with pytest.raises(DeadlinePassed):
        connection.receive(timeout=0)
    peer.sendall(b"one\n")
    arrived(connection)
    assert connection.receive(timeout=0) == b"one"


def test_the_tail_of_a_send_that_timed_out_leaves_while_receiving(pair: Pair) -> None:
    connection, peer = pair.narrow("u32")
    count = fill(connection)
    tail = connection.statistics.outbox
    assert 0 < tail <= 1 << 16 | 4

    def peer_reads_all_then_speaks() -> int:
        got = len(read(peer, count * (4 + (1 << 16))))
        peer.sendall(b"\0\0\0\5thank")
        return got

    join = in_thread(peer_reads_all_then_speaks)
    assert connection.receive() == b"thank"
    assert join() == count * (4 + (1 << 16))
    assert connection.statistics.outbox == 0


def test_a_send_that_timed_out_says_so(pair: Pair) -> None:
    connection, _ = pair.narrow("raw", limits=Limits(max_outbox=100_000))
    with pytest.raises(DeadlinePassed) as caught:
        send_on(connection)
    waiting = connection.statistics.outbox
    assert str(caught.value) == (
        f"send deadline of 0.02 s passed on {connection.name}: {waiting} octets wait in the outbox and "
        "are written by the next call; do not send them again"
    )
    with pytest.raises(DeadlinePassed):
        connection.send(bytes(100_000), timeout=SHORT)
    with pytest.raises(OutboxFull):
        connection.send(b"x", timeout=SHORT)
    connection.abort()


def test_a_send_without_timeout_waits_for_room_in_the_outbox(pair: Pair) -> None:
    connection, peer = pair.narrow("raw", limits=Limits(max_outbox=1, high_water=1, low_water=0))
    count = fill(connection)
    join = in_thread(lambda: len(read(peer, (count + 1) << 16)))
    connection.send(bytes(1 << 16))
    assert join() == (count + 1) << 16


def test_the_flood_from_both_sides(pair: Pair) -> None:
    """Write until it stalls, read only then: every octet arrives, and neither side holds them all."""
    connection, peer = pair("raw", sockets=Sockets(send_buffer=1 << 16))
    total = 20 << 20

    def echo() -> None:
        while octets := peer.recv(1 << 16):
            peer.sendall(octets)
        peer.shutdown(socket.SHUT_WR)

    join = in_thread(echo)
    sent = received = most = 0
    chunk = bytes(1 << 16)
    while received < total:
        try:
            while sent < total:
                connection.send(chunk, timeout=SHORT)
                sent += len(chunk)
            connection.send_eof(timeout=SHORT)
        except DeadlinePassed:
            sent += len(chunk) if sent < total else 0
        most = max(most, connection.statistics.outbox)
        while True:
            try:
                received += len(connection.receive(timeout=SHORT))
            except (DeadlinePassed, EndOfFile):
                break
    assert (sent, received) == (total, total)
    assert most <= 2 * len(chunk)
    connection.close()
    join()


# -- not blocking -----------------------------------------------------------------------------------------


def test_receive_nowait_returns_what_has_arrived_or_raises_would_block(pair: Pair) -> None:
    connection, peer = pair()
    for _ in range(2):
        with pytest.raises(WouldBlock) as caught:
            connection.receive_nowait()
        assert isinstance(caught.value, BlockingIOError)
    peer.sendall(b"one\ntwo\n")
    arrived(connection)
    assert connection.receive_nowait() == b"one"
    assert connection.receive_nowait() == b"two"
    peer.sendall(b"three\n")
    assert connection.receive() == b"three"
    peer.shutdown(socket.SHUT_WR)
    arrived(connection)
    with pytest.raises(EndOfFile):
        connection.receive_nowait()


def test_receive_nowait_sends_the_tail(pair: Pair) -> None:
    connection, peer = pair.narrow("raw")
    count = fill(connection)
    join = in_thread(lambda: len(read(peer, count << 16)))
    while connection.statistics.outbox:
        with pytest.raises(WouldBlock):
            connection.receive_nowait()
    assert join() == count << 16


# -- how it ends ------------------------------------------------------------------------------------------


def test_after_send_eof_the_peers_reply_is_still_received(pair: Pair) -> None:
    connection, peer = pair()
    connection.send(b"last")
    connection.send_eof()
    connection.send_eof()
    assert peer.recv(100) == b"last\n"
    assert peer.recv(100) == b""
    peer.sendall(b"reply\n")
    assert connection.receive() == b"reply"
    with pytest.raises(ConnectionEnded, match="send after its end of file was sent"):
        connection.send(b"more")


def test_a_message_that_ends_the_stream(pair: Pair) -> None:
    connection, peer = pair("eof")
    connection.send(b"a whole file")
    assert read(peer, 100) == b"a whole file"
    peer.sendall(b"another")
    peer.shutdown(socket.SHUT_WR)
    assert connection.receive() == b"another"


def test_close_lingers_for_the_peers_last_words(pair: Pair) -> None:
    """Octets that nobody wants any more are not answered by an RST, which would destroy our own last ones."""
    connection, peer = pair()
    connection.send(b"goodbye")
    peer.sendall(b"still talking\n" * 1000)
    join = in_thread(connection.close)
    assert read(peer, 9) == b"goodbye\n"  # and FIN
    peer.sendall(b"more\n" * 1000)
    assert not connection._socket.owned or connection.closed
    peer.close()
    join()
    assert connection.fileno() == -1
    assert connection._stream.reason is Reason.CLOSED


def test_close_is_idempotent_and_final(pair: Pair) -> None:
    connection, peer = pair()
    peer.close()
    connection.close()
    connection.close()
    assert connection.closed
    for call in (
        connection.receive,
        connection.receive_nowait,
        lambda: connection.send(b"x"),
        lambda: connection.receive_some(),
        lambda: connection.request(b"x"),
    ):
        with pytest.raises(ConnectionEnded, match=r"after close\(\)"):
            call()


def test_lingering_is_bounded(pair: Pair) -> None:
    connection, _ = pair(deadlines=Deadlines(linger_timeout=SHORT))
    connection.close()
    assert connection.fileno() == -1


def test_lingering_is_bounded_whatever_the_peer_sends(pair: Pair) -> None:
    connection, peer = pair(deadlines=Deadlines(linger_timeout=SHORT))

    def send_until_the_connection_has_ended() -> None:
        while True:
            peer.sendall(b"on and on\n")

    join = in_thread(send_until_the_connection_has_ended)
    connection.close()
    assert connection.fileno() == -1
    assert isinstance(join(), ConnectionError)


def test_a_trickle_of_reading_does_not_move_the_deadline_of_send(pair: Pair) -> None:
    connection, peer = pair("raw", sockets=Sockets(send_buffer=4096))
    stop = threading.Event()

    def trickle() -> None:
        while not stop.is_set():
            peer.recv(4096)

    join = in_thread(trickle)
    with pytest.raises(DeadlinePassed):
        connection.send(bytes(1 << 28), timeout=0.1)
    stop.set()
    connection.abort()
    join()


def test_close_gives_up_a_peer_that_does_not_read(pair: Pair) -> None:
    connection, peer = pair.narrow("raw", deadlines=Deadlines(write_timeout=SHORT))
    fill(connection)
    connection.close()
    with pytest.raises(ConnectionResetError):
        read(peer, 1 << 30)


def test_close_writes_the_tail(pair: Pair) -> None:
    connection, peer = pair.narrow("raw")
    count = fill(connection)
    join = in_thread(connection.close)
    assert len(read(peer, count << 16)) == count << 16
    assert peer.recv(1) == b""
    peer.close()
    join()


def test_abort_resets(pair: Pair) -> None:
    connection, peer = pair()
    connection.abort()
    connection.abort()
    with pytest.raises(ConnectionResetError):
        peer.recv(1)
    with pytest.raises(ConnectionEnded, match="aborted by this side"):
        connection.receive()
    with pytest.raises(ConnectionEnded, match="aborted by this side"):
        connection.send(b"x")
    assert connection._stream.reason is Reason.ABORTED
    connection.close()


def test_a_reset_comes_behind_what_came_before(pair: Pair) -> None:
    connection, peer = pair()
    peer.sendall(b"one\ntwo\nthr")
    reset_on_close(peer)
    peer.close()
    arrived(connection, select.POLLERR)
    assert connection.receive() == b"one"
    assert connection.receive() == b"two"
    with pytest.raises(PeerReset, match="reset by the peer") as caught:
        connection.receive()
    assert isinstance(caught.value, ConnectionResetError)
    with pytest.raises(PeerReset):
        connection.send(b"x")


def test_messages_before_the_reset_are_read_after_a_failed_send(pair: Pair) -> None:
    connection, peer = pair()
    peer.sendall(b"too much\n")
    reset_on_close(peer)
    peer.close()
    arrived(connection, select.POLLERR)
    with pytest.raises(PeerReset):
        connection.send(b"x")
    assert connection.receive() == b"too much"
    with pytest.raises(PeerReset):
        connection.receive()


def test_a_with_block_closes_the_connection(pair: Pair) -> None:
    connection, peer = pair()
    peer.close()
    with connection as same:
        assert same is connection
    assert connection.closed


def test_repr_tells_the_truth(pair: Pair) -> None:
    connection, peer = pair()
    peer.sendall(b"a\nb\n")
    connection.receive()
    assert repr(connection) == (
        f"<BlockingConnection {connection.id} {connection.name} line, reading open, writing open, inbox 1, outbox 0>"
    )
    peer.close()
    connection.close()
    assert repr(connection) == f"<BlockingConnection {connection.id} {connection.name} line, closed>"


# -- requests ---------------------------------------------------------------------------------------------


def echo(peer: socket.socket) -> Callable[[], Any]:
    def run() -> None:
        while octets := peer.recv(1 << 16):
            peer.sendall(octets)
        peer.close()

    return in_thread(run)


def test_a_request_returns_its_reply(pair: Pair) -> None:
    connection, peer = pair()
    join = echo(peer)
    assert connection.request(b"one") == b"one"
    assert connection.request(b"two", timeout=SOON) == b"two"
    connection.close()
    join()


def test_requests_in_order(pair: Pair) -> None:
    connection, peer = pair()
    join = echo(peer)
    questions = [b"%d" % number for number in range(2000)]
    assert connection.request_many(questions) == questions
    assert connection.request_many([]) == []
    connection.close()
    join()


def test_many_large_requests_do_not_wait_for_each_other(pair: Pair) -> None:
    """The echo stops reading while we do not read: requests and replies have to move at the same time."""
    connection, peer = pair("u32", sockets=Sockets(send_buffer=1 << 16, receive_buffer=1 << 16))
    join = echo(peer)
    questions = [bytes([number]) * 500_000 for number in range(16)]
    assert connection.request_many(questions, timeout=SOON) == questions
    assert connection.statistics.outbox == 0
    connection.close()
    join()


def test_a_late_reply_is_dropped(pair: Pair) -> None:
    connection, peer = pair()
    with pytest.raises(DeadlinePassed) as caught:
        connection.request(b"slow", timeout=SHORT)
    assert (
        str(caught.value) == f"request deadline of 0.02 s passed on {connection.name}: its late reply will be dropped"
    )
    pending = connection.begin(b"fast")
    peer.sendall(b"late\nright\n")
    assert pending.receive() == b"right"
    assert connection.statistics.late_replies == 1


def test_requests_that_are_begun(pair: Pair) -> None:
    connection, peer = pair()
    first, second, third = (connection.begin(each) for each in (b"1", b"2", b"3"))
    with pytest.raises(ConnectionBusy, match="receive while 3 requests are outstanding"):
        connection.receive()
    with pytest.raises(DeadlinePassed, match="it is still outstanding, call receive again"):
        first.receive(timeout=SHORT)
    second.abandon()
    assert "outstanding" in repr(first)
    assert "abandoned" in repr(second)
    peer.sendall(b"a\nb\nc\nnews\n")
    assert third.receive() == b"c"
    assert first.done
    assert "done" in repr(first)
    assert first.receive() == b"a"
    assert connection.receive() == b"news"


def test_requests_end_with_the_peer(pair: Pair) -> None:
    """The peer says goodbye and reads nothing: nobody waits for room in its buffers, spinning or not."""
    connection, peer = pair("u32")
    peer.shutdown(socket.SHUT_WR)
    with pytest.raises(EndOfFile):
        connection.request_many(bytes(1 << 20) for _ in range(1000))
    assert connection.statistics.messages_out < 10
    connection.abort()


def test_requests_fail_with_the_connection(pair: Pair) -> None:
    connection, peer = pair()
    pending = connection.begin(b"1")
    assert peer.recv(100)
    peer.close()
    with pytest.raises(EndOfFile):
        pending.receive()
    with pytest.raises(EndOfFile):
        connection.request(b"2")


# -- raw octets -------------------------------------------------------------------------------------------


def test_messages_and_raw_octets_alternate_without_loss(pair: Pair) -> None:
    connection, peer = pair()
    peer.sendall(b"one\nGET / HTTP/1.1\r\n\r\nbody and more\nline\n")
    assert connection.receive() == b"one"
    assert connection.receive_until(b"\r\n", 100) == b"GET / HTTP/1.1\r\n"
    assert connection.receive_exactly(2) == b"\r\n"
    assert connection.receive_some(4) == b"body"
    connection.unread(b"every")
    assert connection.receive() == b"every and more"
    assert connection.receive() == b"line"
    with pytest.raises(DeadlinePassed):
        connection.receive_exactly(3, timeout=SHORT)
    peer.sendall(b"ab")
    with pytest.raises(DeadlinePassed):
        connection.receive_until(b"\n", 10, timeout=SHORT)
    peer.sendall(b"cdefghijkl")
    with pytest.raises(MessageTooLong):
        connection.receive_until(b"\n", 10)
    peer.close()
    with pytest.raises(IncompleteMessage, match="expected 100 octets, received 12"):
        connection.receive_exactly(100)
    assert connection.receive_some() == b"abcdefghijkl"


def test_nothing_is_put_back_or_cut_anew_while_another_thread_receives(pair: Pair) -> None:
    """It waits for the socket, and would not see it."""
    connection, peer = pair()
    received: list[bytes] = []
    join = in_thread(lambda: received.append(connection.receive()))
    waiting(connection)
    for change in (lambda: connection.unread(b"x\n"), lambda: connection.change_framing("fixed:1")):
        with pytest.raises(ConnectionBusy, match="another thread is receiving"):
            change()
    peer.sendall(b"whole\n")
    assert join() is None
    assert received == [b"whole"]
    connection.unread(b"x\n")
    assert connection.receive() == b"x"


@pytest.mark.parametrize("delivered", range(4))
def test_the_framing_changes_at_every_message_of_a_batch(pair: Pair, delivered: int) -> None:
    connection, peer = pair()
    peer.sendall(b"a\nb\nc\n\1x")
    for expected in [b"a", b"b", b"c"][:delivered]:
        assert connection.receive() == expected
    rest = b"a\nb\nc\n\1x"[2 * delivered :]
    connection.change_framing(f"fixed:{len(rest)}")
    assert connection.receive() == rest
    connection.send(rest)
    assert read(peer, len(rest)) == rest


# -- select() ---------------------------------------------------------------------------------------------


def test_wait_counts_messages_that_are_decoded_already(pair: Pair) -> None:
    (one, peer), (other, _) = pair(), pair()
    peer.sendall(b"a\nb\n")
    assert one.receive() == b"a"
    assert not select.select([one], [], [], 0)[0]
    assert wait([other, one]) == [one]


def test_wait_is_not_woken_by_part_of_a_message(pair: Pair) -> None:
    (one, peer), (other, other_peer) = pair(), pair()
    peer.sendall(b"half a li")
    assert wait([one, other], timeout=SHORT) == []
    other_peer.sendall(b"x\n")
    assert wait([one, other]) == [other]
    peer.sendall(b"ne\n")
    arrived(one)
    assert wait([one, other]) == [one, other]
    assert one.receive() == b"half a line"


@pytest.mark.parametrize("end", ["close", "reset", "ours", "abort"])
def test_wait_returns_what_has_ended(pair: Pair, end: str) -> None:
    (one, peer), (other, _) = pair(), pair()
    if end == "reset":
        reset_on_close(peer)
    if end == "abort":
        one.abort()
    else:
        peer.close()
    if end == "ours":
        one.close()
    assert wait([other, one]) == [one]


def test_wait_sends_tails(pair: Pair) -> None:
    connection, peer = pair.narrow("raw")
    count = fill(connection)
    join = in_thread(lambda: (read(peer, count << 16), peer.sendall(b"thanks")))
    assert wait([connection]) == [connection]
    assert connection.receive() == b"thanks"
    join()


def test_wait_for_nothing() -> None:
    assert wait([]) == []


def test_wait_knows_descriptors_above_1023(pair: Pair) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] < 1100:
        pytest.skip("no more than 1100 descriptors here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 1100), limits[1]))
    connection, peer = pair()
    try:
        high = os.dup(connection.fileno())
        os.dup2(high, 1050)
        os.close(high)
        with socket.socket(fileno=1050) as sock:
            above = BlockingConnection(sock, Stream(connection.framing, connection.name, Limits(), 0.0))
            peer.sendall(b"x\n")
            assert wait([above], timeout=SOON) == [above]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


# -- system calls -----------------------------------------------------------------------------------------


class Counting(socket.socket):
    """A socket that counts its calls."""

    calls: list[str]

    def recv(self, *arguments: Any) -> bytes:
        self.calls.append("recv")
        return super().recv(*arguments)

    def send(self, *arguments: Any) -> int:
        self.calls.append("send")
        return super().send(*arguments)


def lent(connection: BlockingConnection, sock: socket.socket | None = None, **options: Any) -> BlockingConnection:
    """The same connection, as the engine lends it."""
    return BlockingConnection(
        sock or connection._socket.in_use("lend").socket, connection._stream, connection.id, **options
    )


def test_ping_pong_is_two_system_calls(pair: Pair) -> None:
    connection, peer = pair()
    with Counting(fileno=os.dup(connection.fileno())) as sock:
        sock.calls = []
        same = lent(connection, sock, poll=lambda: pytest.fail("polled"))
        peer.sendall(b"pong\n")
        same.send(b"ping")
        assert same.receive() == b"pong"
        assert sock.calls == ["send", "recv"]
        peer.sendall(b"a\nb\nc\n")
        assert [same.receive() for _ in range(3)] == [b"a", b"b", b"c"]
        assert sock.calls[2:] == ["recv"]


def test_a_lent_sockets_messages_come_whatever_a_read_brings(pair: Pair) -> None:
    connection, peer = pair()
    same = lent(connection)
    for octets, wanted in ((b"a\n", [b"a"]), (b"b\nc\nd", [b"b", b"c"]), (b"e\n", [b"de"])):
        peer.sendall(octets)
        assert [same.receive() for _ in wanted] == wanted
    peer.sendall(b"half")
    threading.Timer(0, peer.sendall, [b" a line\nrest"]).start()
    assert next(same) == b"half a line"
    peer.shutdown(socket.SHUT_WR)
    with pytest.raises(IncompleteMessage):
        same.receive(timeout=SOON)


def test_a_lent_sockets_framing_changes_between_messages(pair: Pair) -> None:
    connection, peer = pair()
    same = lent(connection)
    peer.sendall(b"a\nbbbb")
    assert same.receive() == b"a"
    changed = same.change_framing("fixed:2")
    assert [changed.receive(), changed.receive()] == [b"bb", b"bb"]
    peer.sendall(b"cc")
    assert changed.receive() == b"cc"
    changed.send(b"dd")
    assert peer.recv(100) == b"dd"


def test_a_lent_sockets_send_that_finds_a_reset_says_so(pair: Pair) -> None:
    connection, peer = pair()
    same = lent(connection)
    peer.sendall(b"a\n")
    assert same.receive() == b"a"
    reset_on_close(peer)
    peer.close()
    select.select([connection], [], [], SOON)
    with pytest.raises(PeerReset):
        same.send(b"to nobody")
    with pytest.raises(PeerReset):
        same.send(b"to nobody")


def test_what_a_lent_sockets_kernel_does_not_take_is_waited_for(pair: Pair) -> None:
    connection, peer = pair("raw")
    same = lent(connection)
    size, drained = 8 << 20, list[int]()
    reader = threading.Thread(target=lambda: drained.append(len(read(peer, size))))
    reader.start()
    same.send(bytes(size))
    assert not connection._stream.outbox_size
    reader.join(60)
    assert drained == [size]


def test_only_the_thread_with_requests_receives_from_a_lent_socket(pair: Pair) -> None:
    connection, peer = pair()
    same = lent(connection)
    pending = same.begin(b"question")
    with pytest.raises(ConnectionBusy):
        same.receive()
    peer.sendall(b"answer\n")
    assert pending.receive() == b"answer"


# -- interrupts -------------------------------------------------------------------------------------------


class Interrupt(TimeoutError):
    """What a signal handler raises, as that of an alarm often does: an OSError, like the kernel's errors."""


class Again(Interrupt, BlockingIOError):
    """As of a write into a full pipe, which a signal handler makes."""


@pytest.fixture(
    params=[Interrupt(), Interrupt(errno.ETIMEDOUT, "the alarm"), Again(errno.EAGAIN, "a full pipe")],
    ids=["without a number", "with a number", "as if a call would block"],
)
def interrupted(request: pytest.FixtureRequest) -> Iterator[threading.Event]:
    """The first SIGUSR1 raises, and sets this."""
    raised = threading.Event()

    def raise_it(_number: int, _frame: object) -> None:
        if not raised.is_set():
            raised.set()
            raise request.param.with_traceback(None)

    before = signal.signal(signal.SIGUSR1, raise_it)
    yield raised
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("timeout", [None, SOON])
def test_an_interrupted_receive_loses_nothing(interrupted: threading.Event, pair: Pair, timeout: float | None) -> None:
    connection, peer = pair()
    peer.sendall(b"half a ")
    main = threading.get_ident()

    def interrupt() -> None:
        while connection.statistics.octets_in < 7 or not connection._receiving:
            pass
        # A signal that comes just before the system call does not end it: Python looks for signals behind the call.
        while not interrupted.is_set():
            signal.pthread_kill(main, signal.SIGUSR1)
            interrupted.wait(0.01)

    join = in_thread(interrupt)
    with pytest.raises(Interrupt):
        connection.receive(timeout)
    assert join() is None
    assert not connection._receiving
    peer.sendall(b"line\n")
    assert connection.receive(timeout) == b"half a line"


def test_octets_of_the_call_that_was_interrupted_are_kept(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interrupt comes when recv(2) has returned, and before the stream has seen what it brought."""
    connection, peer = pair()
    peer.sendall(b"one\n")

    def interrupted() -> None:
        raise Interrupt

    monkeypatch.setattr(Receiving, "_take_in", lambda self: interrupted())
    with pytest.raises(Interrupt):
        connection.receive()
    monkeypatch.undo()
    assert connection.receive() == b"one"


def test_an_interrupted_send_loses_nothing(
    interrupted: threading.Event, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, peer = pair()
    monkeypatch.setattr(Sending, "_count_out", lambda self: signal.raise_signal(signal.SIGUSR1))
    with pytest.raises(Interrupt):
        connection.send(b"one")
    assert interrupted.is_set()
    monkeypatch.undo()
    connection.send(b"two")
    assert read(peer, 8) == b"one\ntwo\n"


def test_octets_that_were_sent_are_not_sent_again(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    connection, peer = pair()

    def interrupted() -> None:
        raise Interrupt

    monkeypatch.setattr(Sending, "_count_out", lambda self: interrupted())
    with pytest.raises(Interrupt):
        connection.send(b"one")
    monkeypatch.undo()
    connection.send(b"two")
    assert read(peer, 8) == b"one\ntwo\n"


def test_a_stream_that_was_interrupted_in_its_work_is_not_trusted(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    for method, text in (("received", "octets were taken in"), ("sent", "sent octets were counted")):
        connection, peer = pair()
        if method == "received":
            peer.sendall(b"one\n")

        def interrupted(*_: object) -> None:
            raise Interrupt

        monkeypatch.setattr(Stream, method, interrupted)
        with pytest.raises(Interrupt):
            connection.request(b"two")
        monkeypatch.undo()
        with pytest.raises(ConnectionLost, match=f"an interrupt came while {text}"):
            connection.receive()


@pytest.mark.parametrize("call", ["send", "send_many", "request", "begin"])
@pytest.mark.parametrize("when", ["put", "noted"])
def test_a_message_that_may_have_left_without_a_place_for_its_reply(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, call: str, when: str
) -> None:
    """The interrupt comes when the message is in the outbox: the reply to it must not be taken for another."""
    connection, _ = pair()

    def interrupted(stream: Stream, _message: object) -> None:
        if when == "noted":
            stream.put(b"one\n")
        else:
            stream.outbox = [b"one\n"]
        raise Interrupt

    for sends in ("send", "send_many"):
        monkeypatch.setattr(Stream, sends, interrupted)
    with pytest.raises(Interrupt):
        getattr(connection, call)([b"one"] if call == "send_many" else b"one")
    monkeypatch.undo()
    with pytest.raises(ConnectionLost, match="an interrupt came while a message was put in the outbox"):
        connection.request(b"two", timeout=SOON)


def test_a_request_that_was_interrupted_is_not_outstanding(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    connection, peer = pair()

    def interrupted() -> None:
        raise Interrupt

    monkeypatch.setattr(Sending, "flush", lambda self: interrupted())
    with pytest.raises(Interrupt):
        connection.begin(b"one")
    monkeypatch.undo()
    peer.sendall(b"late\nanother\n")
    assert connection.receive(SOON) == b"another"
    assert connection.statistics.late_replies == 1


# -- threads ----------------------------------------------------------------------------------------------


def test_one_thread_receives_while_another_sends(pair: Pair) -> None:
    connection, peer = pair()
    join_echo = echo(peer)
    join = in_thread(lambda: [connection.receive() for _ in range(2000)])
    for number in range(2000):
        connection.send(b"%d" % number)
    assert join() == [b"%d" % number for number in range(2000)]
    connection.close()
    join_echo()


def waiting(connection: BlockingConnection) -> None:
    """Until another thread waits in a receive."""
    while not connection._receiving:
        pass


def test_two_receivers_are_refused(pair: Pair) -> None:
    connection, peer = pair()
    join = in_thread(connection.receive)
    waiting(connection)
    for call in (connection.receive, connection.receive_nowait, connection.receive_some):
        with pytest.raises(ConnectionBusy, match="another thread is receiving"):
            call()
    peer.sendall(b"x\n")
    assert join() == b"x"


@pytest.mark.parametrize("end", ["close", "abort"])
def test_the_end_wakes_another_threads_receive(pair: Pair, end: str) -> None:
    connection, _ = pair()
    join = in_thread(connection.receive)
    waiting(connection)
    getattr(connection, end)()
    assert isinstance(join(), ConnectionEnded)
    assert connection.fileno() == -1


# -- lent by the engine -----------------------------------------------------------------------------------


def test_a_lent_socket_is_not_closed(pair: Pair) -> None:
    connection, peer = pair()
    borrowed = lent(connection)
    borrowed.send(b"bye")
    borrowed.close()
    borrowed.close()
    assert borrowed.closed
    assert read(peer, 100) == b"bye\n"  # and FIN
    assert connection.fileno() > 0
    with pytest.raises(ConnectionEnded):
        borrowed.receive()


def test_the_engines_reason_wins_over_what_recv_says(pair: Pair) -> None:
    connection, _ = pair()
    borrowed = lent(connection)
    join = in_thread(borrowed.receive)
    waiting(borrowed)
    error = DeadlinePassed("idle_timeout", 60.0, str(connection.name))
    connection._stream.broken(error, Reason.DEADLINE)
    connection._socket.in_use("test").socket.shutdown(socket.SHUT_RDWR)
    assert join() is error
    with pytest.raises(DeadlinePassed):
        borrowed.send(b"x")


def test_the_peers_clocks_stop_while_the_handler_works(pair: Pair) -> None:
    connection, peer = pair()
    borrowed = lent(connection)
    deadlines = Deadlines(idle_timeout=60.0)
    peer.sendall(b"x\n")
    borrowed.receive()
    assert connection._stream.next_deadline(deadlines) is None
    with pytest.raises(DeadlinePassed):
        borrowed.receive(timeout=SHORT)
    found = connection._stream.next_deadline(deadlines)
    assert found is not None
    assert found[1] == "idle_timeout"


# -- messages that silence ends -----------------------------------------------------------------------------


def test_silence_ends_a_message(pair: Pair) -> None:
    connection, peer = pair("gap:0.01")
    for words in (b"*IDN?", b"once more"):
        peer.sendall(words)
        assert connection.receive() == words
    peer.sendall(b"within a timeout")
    assert connection.receive(timeout=SOON) == b"within a timeout"
    peer.sendall(b"and the end")
    peer.shutdown(socket.SHUT_WR)
    assert connection.receive() == b"and the end"
    with pytest.raises(EndOfFile):
        connection.receive()


def test_silence_is_what_the_clock_says(pair: Pair) -> None:
    now = 1000.0
    connection, peer = pair("gap:5")
    connection._socket.clock = lambda: now
    for octets in (b"ab", b"cd"):  # at 1000 and at 1004
        peer.sendall(octets)
        arrived(connection)
        with pytest.raises(WouldBlock):
            connection.receive_nowait()
        now += 4
    with pytest.raises(WouldBlock):
        connection.receive_nowait()  # at 1008: nothing came for 4 s
    now += 1
    assert connection.receive_nowait() == b"abcd"


def test_a_reader_that_comes_late_is_no_silence(pair: Pair) -> None:
    now = 1000.0
    connection, peer = pair("gap:5")
    connection._socket.clock = lambda: now
    peer.sendall(b"ab")
    arrived(connection)
    with pytest.raises(WouldBlock):
        connection.receive_nowait()
    peer.sendall(b"cd")
    arrived(connection)
    now += 60
    with pytest.raises(WouldBlock):
        connection.receive_nowait()  # it finds what came meanwhile
    now += 60
    assert connection.receive_nowait() == b"abcd"


def test_wait_waits_for_silence(pair: Pair) -> None:
    (one, first), (other, second) = pair("gap:0.01"), pair("gap:0.01")
    first.sendall(b"one")
    assert wait([one, other]) == [one]
    assert one.receive_nowait() == b"one"
    second.sendall(b"two")
    first.sendall(b"three")
    assert {wait([each])[0].receive_nowait() for each in (one, other)} == {b"two", b"three"}
    assert wait([one, other], timeout=SHORT) == []


@pytest.mark.parametrize("seconds", [1e7, 4e18, float("inf")])
def test_more_time_than_poll_can_wait(pair: Pair, seconds: float) -> None:
    connection, peer = pair()
    peer.sendall(b"x\ny\n")
    assert connection.receive(timeout=seconds) == b"x"
    assert wait([connection], timeout=seconds) == [connection]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connect(f"localhost:{listener.getsockname()[1]}", "line", timeout=seconds).abort()
