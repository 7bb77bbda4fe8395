"""fork(2): the child lets go of listeners, connections and epoll sets, and the parent does not notice."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from certificates import Files
from conftest import LOOPS, RunAsync
from fourtuple import BlockingConnection, Connection, Server, Service, Tls, events, serve_in_thread
from fourtuple import client as async_client
from fourtuple.blocking import connect
from fourtuple.engine import Engine
from fourtuple.errors import ConnectionEnded, ConnectRefused, EndOfFile, ServiceError
from fourtuple.net.connecting import Wait, connecting
from fourtuple.net.names import connection_name
from fourtuple.options import Limits
from fourtuple.services.upper import service as upper
from fourtuple.stream import Stream

#: Python 3.12 and later say that forking beside threads is dangerous; it is what people do all the same.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")

SOON = 20.0


class Child:
    """A forked child that does a job, tells what came of it, and lives until it is told to end."""

    def __init__(self, job: Callable[[], object] = lambda: None) -> None:
        self._told, told = os.pipe()
        end, self._end = os.pipe()
        self._number = os.fork()
        if not self._number:
            signal.alarm(60)
            os.close(self._end)
            try:
                os.write(told, str(job()).encode())
            except BaseException as error:
                os.write(told, f"{type(error).__name__}: {error}".encode())
            finally:
                os.close(told)
                os.read(end, 1)
                os._exit(0)
        os.close(told)
        os.close(end)

    def told(self) -> str:
        """What came of its job."""
        text = b""
        while more := os.read(self._told, 1 << 16):
            text += more
        return text.decode()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._end)
        os.waitpid(self._number, 0)
        os.close(self._told)


def in_child(job: Callable[[], object]) -> str:
    with Child(job) as child:
        return child.told()


def inodes(*sockets: Any) -> set[str]:
    """What /proc calls the sockets of this process, or those of these numbers."""
    numbers = [each.fileno() for each in sockets] or map(int, os.listdir("/proc/self/fd"))
    found = set()
    for number in numbers:
        try:
            found.add(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue  # the one that listed the folder
    return {name for name in found if name.startswith("socket:")}


def epoll_sets() -> int:
    """How many this process has."""
    return sum(os.readlink(entry.path) == "anon_inode:[eventpoll]" for entry in os.scandir("/proc/self/fd"))


def kept(sockets: set[str]) -> Callable[[], object]:
    """For a child: which of these it has."""
    return lambda: sorted(sockets & inodes())


def talking() -> Service:
    service = Service("line")

    @service.conversation
    async def talk(connection: Connection) -> None:
        async for message in connection:
            await connection.send(message.upper())

    return service


def lending() -> Service:
    service = Service("line")

    @service.conversation
    def talk(connection: BlockingConnection) -> None:
        for message in connection:
            connection.send(message.upper())

    return service


KINDS = {"reply": lambda: upper, "conversation": talking, "thread": lending}


@contextmanager
def served(service: Service, readiness: str, loop: str, **options: Any) -> Iterator[tuple[Server, BlockingConnection]]:
    """A server in a thread, and a client of it that has spoken."""
    with (
        serve_in_thread(service, loop_factory=LOOPS[loop], readiness=readiness, **options) as server,
        connect(server.address, "line") as client,
    ):
        assert client.request(b"hello", timeout=SOON) == b"HELLO"
        yield server, client


def test_the_epoll_set_is_the_parents(run_async: RunAsync) -> None:
    async def main() -> None:
        engine = Engine(readiness="nested")
        before = epoll_sets()
        assert in_child(epoll_sets) == str(before - 1)
        engine.close()
        assert epoll_sets() == before - 1

    run_async(main())


# -- servers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_child_has_no_socket_of_the_server(kind: str, readiness: str, loop: str) -> None:
    with served(KINDS[kind](), readiness, loop) as (server, client):
        (theirs,) = server.connections.values()
        sockets = inodes(*server.listeners, theirs, client)
        assert len(sockets) == 3
        assert in_child(kept(sockets)) == "[]"
        # The parent's listener and connections are as they were.
        assert client.request(b"still there?", timeout=SOON) == b"STILL THERE?"
        with connect(server.address, "line") as another:
            assert another.request(b"me, too?", timeout=SOON) == b"ME, TOO?"


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_parent_ends_has_ended_though_a_child_lives(kind: str, readiness: str, loop: str) -> None:
    with served(KINDS[kind](), readiness, loop) as (server, client), Child() as child:
        assert child.told() == "None"  # it is there
        address = server.address
        server.call_soon(asyncio.ensure_future, server.drain(timeout=0))
        with pytest.raises((ConnectionError, EOFError)):
            client.receive(SOON)
        while not server.stopped:
            pass
        with pytest.raises(ConnectRefused):
            connect(address, "line")


def test_a_client_sees_the_end_though_a_child_lives() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = connect(f"127.0.0.1:{listener.getsockname()[1]}", "line")
        peer, _ = listener.accept()
        with peer, Child() as child:
            assert child.told() == "None"
            peer.settimeout(SOON)
            connection.send_eof()
            assert peer.recv(1) == b""
            peer.close()
            connection.close()


def test_tls_goes_on_in_the_parent(tmp_path: Path) -> None:
    files = Files(tmp_path)
    tls = Tls(certificate=files.certificate, key=files.key)
    with (
        serve_in_thread(upper, "127.0.0.1:0", tls=tls) as server,
        connect(server.address, "line", tls=Tls(ca=files.ca), server_hostname="localhost") as client,
    ):
        assert client.request(b"before", timeout=SOON) == b"BEFORE"
        with Child(client.close) as child:  # no close_notify, no FIN
            assert child.told() == "None"
        assert client.request(b"behind", timeout=SOON) == b"BEHIND"


def test_a_child_removes_no_socket_file(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with serve_in_thread(upper, f"unix:{path}") as server:
        (listener,) = server.listeners

        def end() -> str:
            listener.close()
            return repr(listener)

        assert "closed" in in_child(end)
        with connect(server.address, "line") as client:
            assert client.request(b"there", timeout=SOON) == b"THERE"


@pytest.mark.parametrize("refusal", ["", "sorry"])
def test_sockets_on_their_way_in_and_out_are_let_go_of(run_async: RunAsync, readiness: str, refusal: str) -> None:
    """Told of by the observer, and not on the engine yet; turned away; closing, in the last turn."""
    told: list[str] = []
    clients: list[socket.socket] = []

    async def main() -> None:
        def observe(event: events.Event) -> None:
            if isinstance(event, events.Accepted | events.Closed | events.Refused) and not told_of(type(event)):
                told.append(f"{type(event).__name__} {in_child(kept(inodes() - before))}")

        def told_of(kind: type) -> bool:
            return any(each.startswith(kind.__name__) for each in told)

        limits = Limits(max_connections_per_address=1, refusal=refusal)
        async with Server(upper, observer=observe, limits=limits, readiness=readiness) as server:  # type: ignore[arg-type]
            before = inodes() - inodes(*server.listeners)
            for _ in range(2):
                clients.append(client := socket.create_connection(("127.0.0.1", server.port)))
                before |= inodes(client)
                while len(told) < len(clients):
                    await asyncio.sleep(0)
            for client in clients:
                client.close()
            while not told_of(events.Closed):
                await asyncio.sleep(0)

    run_async(main())
    assert told == ["Accepted []", "Refused []", "Closed []"]


@pytest.mark.parametrize("kind", ["reply", "conversation", "thread"])
def test_a_handler_that_forks(kind: str, readiness: str, loop: str) -> None:
    service = Service("line")

    def fork(connection: Any) -> bytes:
        sockets = inodes()

        def use() -> object:
            left = inodes() & sockets - own
            try:
                connection.send(b"from the child")
            except ConnectionEnded as error:
                return sorted(left), str(error).partition(": ")[2]
            return "sent"

        return in_child(use).encode()

    if kind == "reply":

        @service.reply
        def reply(_message: bytes, connection: Connection) -> bytes:
            return fork(connection)

    elif kind == "conversation":

        @service.conversation
        async def talk(connection: Connection) -> None:
            async for _ in connection:
                await connection.send(fork(connection))

    else:

        @service.conversation
        def converse(connection: BlockingConnection) -> None:
            for _ in connection:
                connection.send(fork(connection))

    with serve_in_thread(service, loop_factory=LOOPS[loop], readiness=readiness) as server:
        own = inodes() - inodes(*server.listeners)  # of the loop: what wakes it
        with connect(server.address, "line") as client:
            told = client.request(b"fork", timeout=SOON)
            assert told.decode() == str(
                ([], "the connection belongs to the parent process, this one is forked from it")
            )
            assert client.request(b"once more", timeout=SOON) == told


def test_a_childs_server_object_does_nothing(run_async: RunAsync) -> None:
    torn_down: list[int] = []
    service = Service("line")
    service.reply(bytes.upper)

    @service.lifespan
    async def lifespan() -> Any:
        yield
        torn_down.append(os.getpid())

    async def main() -> None:
        async with Server(service) as server:

            def end() -> object:
                for coroutine in (server.drain(), server.abort()):
                    try:
                        coroutine.send(None)
                    except StopIteration:
                        continue
                server.pause()
                server.broadcast(b"x")
                with pytest.raises(ServiceError, match="forked"):
                    server.serve_forever().send(None)
                with pytest.raises(ServiceError, match="forked"):
                    server.dial("127.0.0.1:1")
                with pytest.raises(ServiceError, match="belongs to the parent process"):
                    server.adopt(socket.socketpair()[0])
                return torn_down, server.stopped, server.listeners[0].fileno(), server.statistics.active, server

            told = f"([], False, -1, 0, <Server bytes.upper forked at {server.address}, 0 connections>)"
            assert in_child(end) == told
            assert repr(server) == f"<Server bytes.upper serving at {server.address}, 0 connections>"

    run_async(main())
    assert torn_down == [os.getpid()]


def test_a_child_serves_and_connects_for_itself(run_async: RunAsync) -> None:
    def converse() -> object:
        with serve_in_thread(upper) as server, connect(server.address, "line") as client:
            return client.request(b"in the child", timeout=SOON)

    async def main() -> None:
        async with Server(upper) as server, async_client.connect(server.address, "line") as client:
            assert await client.request(b"before") == b"BEFORE"
            assert in_child(converse) == "b'IN THE CHILD'"
            assert await client.request(b"behind") == b"BEHIND"

    run_async(main())


# -- clients ------------------------------------------------------------------------------------------------


def test_a_blocking_client_is_the_parents_whatever_its_threads_hold() -> None:
    with serve_in_thread(upper) as server, connect(server.address, "line") as client:
        receiver = threading.Thread(target=lambda: received.append(client.receive(SOON)))
        received: list[bytes] = []
        receiver.start()
        while not client._receiving:
            pass
        text = "the connection belongs to the parent process"

        def use() -> object:
            for call in (
                client.receive,
                lambda: client.send(b"x"),
                lambda: client.request(b"x"),
                client.receive_nowait,
            ):
                with pytest.raises(ConnectionEnded, match=text):
                    call()
            with client:
                client.abort()
            return client.closed, client.fileno()

        with client._socket.lock:  # of another thread than those that a child has: none
            assert in_child(use) == "(True, -1)"
        client.send(b"and the parent goes on")
        receiver.join()
        assert received == [b"AND THE PARENT GOES ON"]


def test_an_async_client_is_the_parents(run_async: RunAsync, readiness: str) -> None:
    async def main() -> None:
        with serve_in_thread(upper) as server:
            async with async_client.connect(server.address, "line") as client:
                sockets = inodes(client)

                def use() -> object:
                    with pytest.raises(ConnectionEnded, match="the connection belongs to the parent process"):
                        client.send(b"x")
                    with pytest.raises(ConnectionEnded, match="the connection belongs to the parent process"):
                        client.receive_nowait()
                    client.close()
                    client.abort()
                    return client.closed, kept(sockets)()

                assert in_child(use) == "(True, [])"
                assert await client.request(b"on") == b"ON"

    run_async(main())


def test_a_connection_on_its_way_is_the_parents() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        steps = connecting(f"127.0.0.1:{listener.getsockname()[1]}")
        step = next(steps)
        assert isinstance(step, Wait)
        (number,) = step.descriptors
        name = os.readlink(f"/proc/self/fd/{number}")
        assert in_child(kept({name})) == "[]"
        steps.close()


def test_a_socket_that_was_given_is_left() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = Stream(upper.framing, connection_name(ours), Limits(), 0.0)
        given = BlockingConnection(ours, stream)
        assert given.fileno() == ours.fileno()
        assert in_child(lambda: ours.send(b"by the child")) == "12"
        assert theirs.recv(20) == b"by the child"


def test_a_duplicate_is_the_childs() -> None:
    with serve_in_thread(upper) as server, connect(server.address, "line") as client:
        number = os.dup(client.fileno())
        assert in_child(lambda: os.write(number, b"by the child\n")) == "13"
        os.close(number)
        assert client.receive(SOON) == b"BY THE CHILD"


# -- other ways to a child ------------------------------------------------------------------------------------


def test_a_program_inherits_nothing() -> None:
    """Without fork handlers: what we open is close-on-exec."""
    program = "import os; print(*[os.readlink(each.path) for each in os.scandir('/proc/self/fd')])"
    with serve_in_thread(lending()) as server, connect(server.address, "line") as client:
        client.request(b"hello", timeout=SOON)
        sockets = inodes()
        command = [sys.executable, "-c", program]
        listed = subprocess.run(command, close_fds=False, capture_output=True, text=True, check=True).stdout
        assert not set(listed.split()) & sockets
        assert "pipe:" in listed


def test_a_program_that_is_started_with_a_hook_before() -> None:
    """preexec_fn makes subprocess call the fork handlers; what the program is given comes behind them."""
    with serve_in_thread(upper) as server, connect(server.address, "line") as client:
        number = os.dup(client.fileno())
        subprocess.run(["echo", "from a program"], stdout=number, preexec_fn=lambda: None, check=True)
        os.close(number)
        assert client.receive(SOON) == b"FROM A PROGRAM"


def test_a_fork_while_a_thread_polls(readiness: str) -> None:
    """The child has no such thread: its descriptors are let go of all the same."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = connect(f"127.0.0.1:{listener.getsockname()[1]}", "line")
        peer, _ = listener.accept()
        with peer:
            thread = threading.Thread(target=lambda: ended.append(_error(lambda: connection.receive(SOON))))
            ended: list[type] = []
            thread.start()
            while not connection._receiving:
                pass
            assert in_child(kept(inodes(connection))) == "[]"
            select.select([], [], [], 0)
            peer.shutdown(socket.SHUT_WR)
            thread.join()
            assert ended == [EndOfFile]
            connection.close()


def _error(call: Callable[[], Any]) -> type:
    try:
        call()
    except Exception as error:
        return type(error)
    return object
