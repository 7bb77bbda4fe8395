"""A blocking connection that one thread ends while others wait with it: they end at once, and the descriptor last."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from blocking.test_connection import NARROW, fill
from fourtuple import Service, serve_in_thread
from fourtuple.blocking import BlockingConnection, connect, wait
from fourtuple.errors import ConnectionBusy, ConnectionEnded, EndOfFile, PeerReset
from fourtuple.options import Deadlines, Sockets

#: Where a hang would be the failure.
SOON = 20.0
#: For what does not come.
SHORT = 0.02
#: So long that it does not pass in a test.
LONG = 600.0

#: Nothing of these passes while a test runs.
PATIENT = Deadlines(write_timeout=LONG, linger_timeout=LONG, handshake_timeout=LONG)


class Pair:
    """A connection and the plain socket of its peer, with kernel buffers that a message of :func:`fill` fills."""

    def __init__(self, framing: str = "line", **options: Any) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NARROW)
            address = f"127.0.0.1:{listener.getsockname()[1]}"
            narrow = Sockets(send_buffer=NARROW)
            self.connection = connect(address, framing, deadlines=PATIENT, sockets=narrow, **options)
            self.peer, _ = listener.accept()
        self.peer.settimeout(SOON)

    def close(self) -> None:
        self.peer.close()
        self.connection.close()

    def rest(self) -> bytes:
        """What the peer reads up to the end, FIN or RST."""
        octets = bytearray()
        try:
            while more := self.peer.recv(1 << 20):
                octets += more
        except ConnectionResetError:
            octets += b"(reset)"
        return bytes(octets)


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.close()


class Thread(threading.Thread):
    """Runs a job; :meth:`outcome` is what it returned or raised."""

    def __init__(self, job: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._job = job
        self._outcome: list[Any] = []
        self.start()

    def run(self) -> None:
        try:
            self._outcome.append(self._job())
        except BaseException as error:
            error.__traceback__ = None
            self._outcome.append(error)

    def outcome(self) -> Any:
        self.join(SOON)
        assert not self.is_alive(), "it waits still"
        return self._outcome[0]


def lent(connection: BlockingConnection) -> BlockingConnection:
    """The same connection, as the engine lends it to a handler's thread."""
    return BlockingConnection(connection._socket.in_use("lend").socket, connection._stream, deadlines=PATIENT)


def until(condition: Callable[[], object]) -> None:
    while not condition():
        pass


RECEIVES: dict[str, Callable[[BlockingConnection], Any]] = {
    "receive": lambda c: c.receive(),
    "receive with a timeout": lambda c: c.receive(LONG),
    "receive_exactly": lambda c: c.receive_exactly(5),
    "receive_until": lambda c: c.receive_until(b"x", 5),
    "receive_some": lambda c: c.receive_some(),
    "request": lambda c: c.request(b"?"),
    "request_many": lambda c: c.request_many([b"?", b"?"]),
    "reply": lambda c: c.begin(b"?").receive(),
    "start_tls": lambda c: c.start_tls(server_hostname="x"),
}

SENDS: dict[str, Callable[[BlockingConnection], Any]] = {
    "send": lambda c: c.send(bytes(1 << 20)),
    "send with a timeout": lambda c: c.send(bytes(1 << 20), timeout=LONG),
    "send_many": lambda c: c.send_many([bytes(1 << 20)] * 3),
    "send_eof": lambda c: c.send_eof(),
    "begin": lambda c: c.begin(bytes(1 << 20)),
}


# -- calls that wait for octets -----------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["close", "abort"])
@pytest.mark.parametrize("call", RECEIVES)
def test_a_call_that_receives_ends(pair: Pair, call: str, end: str) -> None:
    connection = pair.connection
    thread = Thread(lambda: RECEIVES[call](connection))
    until(lambda: connection._receiving)
    getattr(connection, end)()
    error = thread.outcome()
    assert type(error) is ConnectionEnded, error  # this side did it, not the peer
    assert connection.fileno() == -1
    assert pair.rest().endswith(b"(reset)") is (end == "abort")


@pytest.mark.parametrize("call", ["receive", "request"])
def test_a_message_that_our_own_end_cuts_short_is_no_fault_of_the_peer(pair: Pair, call: str) -> None:
    connection = pair.connection
    thread = Thread(lambda: RECEIVES[call](connection))
    until(lambda: connection._receiving)
    pair.peer.sendall(b"half a mess")
    until(lambda: connection.statistics.octets_in)
    closer = Thread(connection.close)
    assert type(thread.outcome()) is ConnectionEnded
    closer.outcome()


@pytest.mark.parametrize("end", ["close", "abort"])
def test_iteration_ends(pair: Pair, end: str) -> None:
    thread = Thread(lambda: list(pair.connection))
    until(lambda: pair.connection._receiving)
    getattr(pair.connection, end)()
    assert thread.outcome() == []


@pytest.mark.parametrize("end", ["close", "abort"])
def test_wait_returns_what_was_ended(pair: Pair, end: str) -> None:
    other = Pair()
    thread = Thread(lambda: wait([other.connection, pair.connection]))
    until(lambda: pair.connection._receiving)
    getattr(pair.connection, end)()
    assert thread.outcome() == [pair.connection]
    with pytest.raises(ConnectionEnded):
        pair.connection.receive()
    other.close()


@pytest.mark.parametrize("end", ["close", "abort"])
def test_wait_notices_an_end_just_before_it_blocks(pair: Pair, end: str) -> None:
    connection = pair.connection
    connection._socket.deadlines = Deadlines(linger_timeout=0.01)

    def poll() -> Any:
        connection._socket.new_poll = select.poll
        Thread(getattr(connection, end))
        until(lambda: connection.closed)
        return select.poll()

    connection._socket.new_poll = poll
    assert wait([connection]) == [connection]


def test_wait_on_several_connections_receives_from_each(pair: Pair) -> None:
    thread = Thread(lambda: wait([pair.connection]))
    until(lambda: pair.connection._receiving)
    with pytest.raises(ConnectionBusy, match="another thread is receiving"):
        wait([pair.connection])
    pair.peer.sendall(b"x\n")
    assert thread.outcome() == [pair.connection]
    assert pair.connection.receive() == b"x"


def test_what_waits_to_leave_is_written_although_another_thread_receives(pair: Pair) -> None:
    connection = pair.connection
    fill(connection)
    sent = connection.statistics.outbox + connection.statistics.octets_out
    receiver = Thread(connection.receive)
    until(lambda: connection._receiving)
    closer = Thread(connection.close)
    assert type(receiver.outcome()) is ConnectionEnded
    assert len(pair.rest()) == sent  # and FIN behind it
    assert closer.outcome() is None


def test_what_the_peer_does_to_a_closed_connection_is_not_why_nothing_is_received(pair: Pair) -> None:
    connection = pair.connection
    closer = Thread(connection.close)
    assert pair.rest() == b""
    pair.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
    pair.peer.close()
    assert closer.outcome() is None
    with pytest.raises(ConnectionEnded):
        connection.receive()


def test_the_peers_end_is_no_end_of_ours(pair: Pair) -> None:
    thread = Thread(pair.connection.receive)
    until(lambda: pair.connection._receiving)
    pair.peer.close()
    assert type(thread.outcome()) is EndOfFile


# -- calls that wait to write -------------------------------------------------------------------------------


@pytest.mark.parametrize("call", SENDS)
def test_abort_ends_a_call_that_writes(pair: Pair, call: str) -> None:
    connection = pair.connection
    fill(connection)
    thread = Thread(lambda: SENDS[call](connection))
    until(lambda: connection._socket.alarms)
    connection.abort()
    error = thread.outcome()
    assert type(error) is ConnectionEnded, error
    assert "aborted by this side" in str(error)
    assert connection.fileno() == -1
    assert pair.rest().endswith(b"(reset)")


@pytest.mark.parametrize("call", SENDS)
def test_close_ends_a_call_that_writes_and_writes_on(pair: Pair, call: str) -> None:
    connection = pair.connection
    fill(connection)
    thread = Thread(lambda: SENDS[call](connection))
    until(lambda: connection._socket.alarms)
    closer = Thread(connection.close)
    error = thread.outcome()
    assert type(error) is ConnectionEnded, error
    assert "closed by this side while send waited" in str(error)
    assert closer.is_alive()  # as long as the peer does not read
    left = connection.statistics.outbox + connection.statistics.octets_out
    assert len(pair.rest()) == left
    pair.peer.close()
    assert closer.outcome() is None


def test_abort_ends_a_call_that_writes_to_a_peer_that_has_finished(pair: Pair) -> None:
    connection = pair.connection
    pair.peer.shutdown(socket.SHUT_WR)
    with pytest.raises(EndOfFile):
        connection.receive()
    fill(connection)
    thread = Thread(lambda: connection.send(b"x"))
    until(lambda: connection._socket.alarms)
    connection.abort()
    assert type(thread.outcome()) is ConnectionEnded


def test_all_that_wait_end() -> None:
    pair = Pair()
    connection = pair.connection
    fill(connection)
    threads = [Thread(lambda: connection.send(b"x")) for _ in range(3)] + [Thread(connection.receive)]
    until(lambda: len(connection._socket.alarms) == 3 and connection._receiving)
    connection.abort()
    assert [type(thread.outcome()) for thread in threads] == [ConnectionEnded] * 4
    pair.close()


def test_a_peer_that_resets_is_told_from_our_own_end(pair: Pair) -> None:
    fill(pair.connection)
    thread = Thread(lambda: pair.connection.send(b"x"))
    until(lambda: pair.connection._socket.alarms)
    pair.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
    pair.peer.close()
    assert type(thread.outcome()) is PeerReset


def test_without_a_descriptor_for_the_alarm_the_end_is_polled(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing_left(*_: int) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "eventfd", nothing_left)
    fill(pair.connection)
    thread = Thread(lambda: pair.connection.send(b"x"))
    until(lambda: pair.connection._socket.alarms)
    pair.connection.abort()
    assert type(thread.outcome()) is ConnectionEnded


# -- close() that lingers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("full", [False, True])
def test_abort_ends_a_close_that_lingers(pair: Pair, full: bool) -> None:
    connection = pair.connection
    if full:
        fill(connection)
    closer = Thread(connection.close)
    until(lambda: connection._socket.alarms)
    connection.abort()
    assert closer.outcome() is None
    assert connection.fileno() == -1
    pair.peer.settimeout(SOON)


def test_a_second_close_does_not_cut_the_first_ones_lingering_short(pair: Pair) -> None:
    connection = pair.connection
    fill(connection)
    total = connection.statistics.outbox + connection.statistics.octets_out
    closers = [Thread(connection.close)]
    until(lambda: connection._socket.alarms)
    closers.append(Thread(connection.close))
    assert len(pair.rest()) == total
    assert all(closer.is_alive() for closer in closers)  # for the peer's FIN
    pair.peer.close()
    assert [closer.outcome() for closer in closers] == [None, None]


# -- the descriptor -----------------------------------------------------------------------------------------


class Gate:
    """A poll(2) that does not return before it may: a thread that is slow to leave."""

    def __init__(self) -> None:
        self.inside, self.may_leave = threading.Event(), threading.Event()

    def __call__(self) -> Gate:
        return self

    def register(self, _fd: Any, _events: int, /) -> None: ...

    def poll(self, _timeout: float | None = None, /) -> list[tuple[int, int]]:
        self.inside.set()
        assert self.may_leave.wait(SOON)
        return []


@pytest.mark.parametrize("end", ["close", "abort"])
@pytest.mark.parametrize("call", ["receive", "send", "wait"])
def test_the_number_means_no_other_socket_before_the_last_call_has_left(call: str, end: str) -> None:
    pair = Pair()
    connection, gate = pair.connection, Gate()
    fd = connection.fileno()
    number = os.fstat(fd).st_ino
    if call == "send":
        fill(connection)
    connection._socket.new_poll = gate
    calls: dict[str, Callable[[], Any]] = {
        "receive": lambda: connection.receive(LONG),
        "send": lambda: connection.send(b"x"),
        "wait": lambda: wait([connection]),
    }
    thread = Thread(calls[call])
    assert gate.inside.wait(SOON)
    connection._socket.new_poll = select.poll
    connection._socket.deadlines = Deadlines(write_timeout=0.01, linger_timeout=0.01)
    ender = Thread(getattr(connection, end))
    if call == "send" or end == "abort":
        ender.outcome()  # else it waits for the thread that receives
        assert connection.fileno() == -1
    assert os.fstat(fd).st_ino == number
    gate.may_leave.set()
    thread.outcome()
    ender.outcome()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    pair.close()


# -- lent by the engine -------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["close", "abort"])
def test_a_lent_connection_wakes_its_handler(pair: Pair, end: str) -> None:
    borrowed = lent(pair.connection)
    thread = Thread(borrowed.receive)
    until(lambda: borrowed._receiving)
    getattr(borrowed, end)()
    assert type(thread.outcome()) is ConnectionEnded
    assert borrowed.closed
    assert pair.connection.fileno() > 0  # the engine's to close


@pytest.mark.parametrize("end", ["close", "abort"])
def test_a_lent_connection_wakes_a_writer(pair: Pair, end: str) -> None:
    borrowed = lent(pair.connection)
    fill(borrowed)
    thread = Thread(lambda: borrowed.send(b"x"))
    until(lambda: borrowed._socket.alarms)
    getattr(borrowed, end)()
    assert type(thread.outcome()) is ConnectionEnded
    assert borrowed.closed


def test_threads_that_a_handler_leaves_behind_end_with_it() -> None:
    service, left, outcomes = Service("line"), [], []

    @service.conversation
    def talk(connection: BlockingConnection) -> None:
        def work() -> None:
            for call in (connection.receive, lambda: connection.send(b"late"), lambda: connection.request(b"late")):
                try:
                    call()
                except ConnectionEnded as error:
                    outcomes.append(str(error).partition(": ")[2])

        connection.receive()
        thread = threading.Thread(target=work)
        thread.start()
        left.append(thread)
        until(lambda: connection._receiving)

    with serve_in_thread(service) as server, connect(server.address, "line") as client:
        client.send(b"go")
        with pytest.raises(EndOfFile):
            client.receive(SOON)
        left[0].join(SOON)
    after = "after its handler returned"
    assert outcomes == [f"receive {after}", f"send {after}", f"request {after}"]
