"""Connections that come and go without anything unusual: the same names, events and counters, whoever made them.

The C makes and ends them where it is built (``_accept/begin.c``, ``_accept/end.c``), else ``Acceptor.accept`` does.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import resource
import socket
import subprocess
import sys
import warnings
from typing import Any

import pytest

from fourtuple import Connection, FourTuple, Limits, Reason, Server, Service, events
from fourtuple.engine import Engine
from fourtuple.framing import Fixed
from fourtuple.stream import new_id
from rig import PATIENT, Peer, Seen, serving, until, upper

ADDRESSES = ("127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0")


def name_of(peer: Peer) -> FourTuple:
    """What this peer's connection is called at the other end."""
    (local, local_port), (remote, remote_port) = peer.socket.getpeername()[:2], peer.socket.getsockname()[:2]
    return FourTuple(local, local_port, remote, remote_port)


async def connect(server: Server) -> Peer:
    host = server.address.host.replace("0.0.0.0", "127.0.0.1")
    return await Peer.connect(type(server.address)(host if host != "::" else "::1", server.port))


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("end", ["fin", "rst"])
def test_a_connection_that_comes_speaks_and_ends(run_async: Any, readiness: str, address: str, end: str) -> None:
    async def main() -> None:
        async with serving(upper(), readiness, address) as (server, seen):
            peer = await connect(server)
            name = name_of(peer)
            await peer.send(b"abcd")
            assert await peer.receive(4) == b"ABCD"
            (accepted,) = seen.of(events.Accepted)
            assert (accepted.name, accepted.transport) == (name, None)
            assert server.statistics.active == 1
            if end == "fin":
                peer.finish()
                assert await peer.receive_all() == b""  # our FIN answers the peer's
                peer.close()
            else:
                peer.reset()
            closed = await seen.closed()
            assert (closed.id, closed.name, closed.probe) == (accepted.id, name, False)
            assert closed.reason is (Reason.PEER_CLOSED if end == "fin" else Reason.RESET)
            found = closed.statistics
            assert (found.octets_in, found.octets_out, found.messages_in, found.messages_out) == (4, 4, 1, 1)
            assert (found.late_replies, found.inbox, found.outbox) == (0, 0, 0)
            assert (found.discarded, found.skipped) == (0, 0)
            assert closed.seconds >= 0
            total = server.statistics
            assert (total.accepted, total.active, total.closed, total.probes) == (1, 0, 1, 0)
            assert (total.octets_in, total.octets_out, total.messages_in, total.messages_out) == (4, 4, 1, 1)
            assert not server.engine.channels
            assert not server._core.admission.policy.by_address

    run_async(main())


class Short(int):
    """A sum that there is no memory for, once: then it is a number like any other."""

    def __add__(self, more: int) -> int:
        if lacking:
            raise lacking.pop()
        return int(self) + more


lacking: list[MemoryError] = []


SUMS = ["octets_in", "octets_out", "messages_in", "messages_out"]


@pytest.mark.parametrize("sum_of", SUMS)
def test_the_end_of_a_connection_is_counted_whole_or_not_yet(run_async: Any, readiness: str, sum_of: str) -> None:
    """Without memory for one of the sums none is changed, and the end is done later: nothing is lost."""

    async def main() -> None:
        async with serving(upper(), readiness) as (server, seen):
            registry = server._core.registry
            peer = await connect(server)
            await peer.send(b"abcd")
            assert await peer.receive(4) == b"ABCD"
            registry._ended = tuple(Short(0) if name == sum_of else 0 for name in SUMS)
            lacking.append(MemoryError())
            peer.finish()
            await seen.closed()
            await until(lambda: not server.engine.channels)
            peer.close()
            total = server.statistics
            assert (total.accepted, total.active, total.closed) == (1, 0, 1)
            assert (total.octets_in, total.octets_out, total.messages_in, total.messages_out) == (4, 4, 1, 1)
            assert not lacking

    lacking.clear()
    run_async(main())


def test_numbers_are_those_of_connections_alone(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        before = new_id()
        async with serving(upper(), readiness) as (server, seen):
            with await Peer.connect(server), await Peer.connect(server):
                assert [each.id for each in await seen.wait(events.Accepted, 2)] == [before + 1, before + 2]

    run_async(main())


@pytest.mark.parametrize("end", ["fin", "rst"])
def test_a_connection_that_says_nothing_is_a_probe(run_async: Any, readiness: str, end: str) -> None:
    async def main() -> None:
        async with serving(upper(), readiness) as (server, seen):
            peer = await Peer.connect(server)
            await seen.wait(events.Accepted)
            peer.close() if end == "fin" else peer.reset()
            closed = await seen.closed()
            assert closed.probe
            assert server.statistics.probes == 1

    run_async(main())


@pytest.mark.parametrize("end", ["fin", "rst"])
def test_half_a_message_is_an_error_at_the_end_of_file(run_async: Any, readiness: str, end: str) -> None:
    async def main() -> None:
        async with serving(upper(), readiness) as (server, seen):
            peer = await Peer.connect(server)
            await peer.send(b"abcdab")
            assert await peer.receive(4) == b"ABCD"
            peer.close() if end == "fin" else peer.reset()
            closed = await seen.closed()
            if end == "fin":
                (failed,) = seen.of(events.MessageFailed)
                assert (failed.error.received, failed.error.expected) == (2, 4)  # type: ignore[attr-defined]
                assert closed.reason is Reason.PEER_CLOSED
            else:
                assert closed.reason is Reason.RESET
            assert (closed.statistics.octets_in, closed.statistics.messages_in) == (6, 1)
            assert not server.engine.channels

    run_async(main())


def test_the_socket_of_a_connection_is_made_when_asked_for(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(upper(), readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                (accepted,) = await seen.wait(events.Accepted)
                connection = server.connections[accepted.id]
                number = connection.fileno()
                assert os.fstat(number)
                assert not os.get_inheritable(number)
                assert not os.get_blocking(number)
                assert connection.name == name_of(peer)
                assert connection.info().state == 1  # TCP_ESTABLISHED
                assert server.find(connection.name) is connection
                await peer.send(b"abcd")
                assert await peer.receive(4) == b"ABCD"
                connection.abort()
                with pytest.raises(ConnectionResetError):
                    await peer.receive_all()
                await until(lambda: seen.of(events.Closed))
                await until(lambda: not is_socket(number))
                assert connection.closed
                assert connection.fileno() == -1
                assert server.find(connection.name) is None

    run_async(main())


def is_socket(number: int) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
    except FileNotFoundError:
        return False


def test_found_by_name_among_others_that_come_and_go(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(upper(), readiness) as (server, seen):
            first, second = await Peer.connect(server), await Peer.connect(server)
            await seen.wait(events.Accepted, 2)
            found = server.find(name_of(first))
            assert found is not None
            assert found.name == name_of(first)
            name = name_of(second)
            second.close()
            await seen.closed()
            assert server.find(name) is None
            with await Peer.connect(server) as third:  # entered where the names are kept by now
                await seen.wait(events.Accepted, 3)
                again = server.find(str(name_of(third)))
                assert again is not None
                assert again.name == name_of(third)
            first.close()

    run_async(main())


@pytest.mark.parametrize("hook", ["opened", "closed"])
def test_a_hook_that_is_hung_in_while_serving(run_async: Any, readiness: str, hook: str) -> None:
    async def main() -> None:
        service, met = upper(), []

        def remember(connection: Connection) -> None:
            met.append(connection.name)

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server):
                await seen.wait(events.Accepted)
            await seen.closed()
            getattr(service, hook)(remember)
            with await Peer.connect(server) as peer:
                await seen.wait(events.Accepted, 2)
                name = name_of(peer)
            await seen.wait(events.Closed, 2)
            assert met == [name]

    run_async(main())


def test_an_observer_that_ends_the_connection_of_an_event(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        seen = Seen()

        def look(event: events.Event) -> None:
            seen(event)
            if isinstance(event, events.Accepted) and event.name.remote_port == victim.getsockname()[1]:
                server.connections[event.id].abort()

        engine = Engine(readiness=readiness)  # type: ignore[arg-type]
        server = Server(upper(), observer=look, deadlines=PATIENT, engine=engine)
        await server.start()
        try:
            with socket.socket() as victim:
                victim.bind(("127.0.0.1", 0))
                victim.setblocking(False)
                victim.connect_ex(("127.0.0.1", server.port))
                closed = await seen.closed()
                assert closed.reason is Reason.ABORTED
                assert not engine.channels
                with await Peer.connect(server) as peer:
                    assert await peer.talk(b"abcd") == b"ABCD"
        finally:
            await server.abort()
            engine.close()

    run_async(main())


def test_an_observer_that_pauses_in_the_middle_of_a_rush(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service, seen = upper(), Seen()

        def look(event: events.Event) -> None:
            seen(event)
            if isinstance(event, events.Accepted):
                server.pause()

        engine = Engine(readiness=readiness)  # type: ignore[arg-type]
        server = Server(service, observer=look, deadlines=PATIENT, engine=engine)
        await server.start()
        try:
            server.pause()
            peers = [await Peer.connect(server) for _ in range(3)]
            server.resume()
            await seen.wait(events.Accepted)
            assert await peers[0].talk(b"abcd") == b"ABCD"
            assert len(seen.of(events.Accepted)) == 1
            server.resume()
            await seen.wait(events.Accepted, 2)
            for peer in peers:
                peer.close()
        finally:
            await server.abort()
            engine.close()

    run_async(main())


def test_the_last_place_pauses_and_an_end_goes_on(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(upper(), readiness, limits=Limits(max_connections=2)) as (server, seen):
            peers = [await Peer.connect(server) for _ in range(4)]
            await seen.wait(events.AcceptPaused)
            assert server.statistics.active == 2
            peers[0].close()
            await seen.wait(events.Accepted, 3)
            peers[1].reset()
            await seen.wait(events.Accepted, 4)
            assert server.statistics.active == 2
            for peer in peers[2:]:
                peer.close()
            await seen.wait(events.Closed, 4)
            await until(lambda: not server.listeners[0].paused)

    run_async(main())


def test_limits_of_one_address_count_earlier_connections(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(upper(), readiness) as (server, seen):
            peers = [await Peer.connect(server) for _ in range(2)]
            await seen.wait(events.Accepted, 2)
            server.change_limits(max_connections_per_address=2)
            with await Peer.connect(server) as third:
                assert await third.receive_all() == b""
            (refused,) = seen.of(events.Refused)
            assert refused.limit == "max_connections_per_address"
            peers[0].close()
            await seen.closed()
            with await Peer.connect(server) as fourth:
                assert await fourth.talk(b"abcd") == b"ABCD"
            server.change_limits(max_connections_per_address=None)
            with await Peer.connect(server) as fifth, await Peer.connect(server) as sixth:
                assert await fifth.talk(b"abcd") == await sixth.talk(b"abcd") == b"ABCD"
            peers[1].close()
            await seen.wait(events.Closed, 5)
            assert not server._core.admission.policy.by_address

    run_async(main())


def test_a_framing_that_makes_no_decoder_costs_this_connection_alone(run_async: Any, readiness: str) -> None:
    class Moody(Fixed):
        moody = False

        def decoder(self) -> Any:
            if self.moody:
                raise RuntimeError("not today")
            return super().decoder()

    async def main() -> None:
        framing = Moody(4)
        service = Service(framing)
        service.reply(lambda message: message.upper())
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
        async with serving(service, readiness) as (server, seen):
            object.__setattr__(framing, "moody", True)
            with await Peer.connect(server) as peer:
                await peer.send(b"abcd")
                assert await peer.receive_all() == b""
            (failed,) = seen.of(events.MessageFailed)
            assert "Moody.decoder() raised RuntimeError: not today" in str(failed.error)
            assert told == []
            await seen.wait(events.Closed)
            assert server.statistics.active == 0
            assert not server._core.admission.policy.by_address
            object.__setattr__(framing, "moody", False)
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"abcd") == b"ABCD"

    run_async(main())


def test_without_descriptors_a_server_waits_and_goes_on(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(upper(), readiness) as (server, seen):
            peers = [await Peer.connect(server) for _ in range(3)]
            await seen.wait(events.Accepted, 3)
            waiting = socket.socket()
            waiting.setblocking(False)
            asked = waiting.connect_ex(("127.0.0.1", server.port))
            assert asked in (0, errno.EINPROGRESS)
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (waiting.fileno() + 1, hard))
            try:
                fillers = fill_descriptors()
                (failed,) = await seen.wait(events.AcceptFailed)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert (failed.error.errno, failed.fatal) == (errno.EMFILE, False)
            for number in fillers:
                os.close(number)
            await seen.wait(events.Accepted, 4)
            waiting.close()
            for peer in peers:
                peer.close()
            assert server.statistics.accept_failures >= 1

    run_async(main())


def fill_descriptors() -> list[int]:
    taken: list[int] = []
    while True:
        try:
            taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return taken


def test_an_engine_that_was_never_closed_leaves_no_descriptor(run_async: Any, readiness: str) -> None:
    async def main() -> int:
        seen = Seen()
        server = Server(upper(), observer=seen, deadlines=PATIENT, readiness=readiness)  # type: ignore[arg-type]
        await server.start()
        peer = await Peer.connect(server)
        await seen.wait(events.Accepted)
        (channel,) = server.engine.channels
        peer.close()
        return channel.fd

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        number = run_async(main())
        gc.collect()
    assert not is_socket(number)
    assert any("unclosed" in str(each.message) and each.category is ResourceWarning for each in caught)


SERVER = """
import asyncio, os, sys
from fourtuple import Server, Service, events
service = Service("fixed:4")
service.reply(lambda message: message.upper())

async def main() -> None:
    children = []

    def observe(event: events.Event) -> None:
        if isinstance(event, events.Accepted):
            child = os.fork()
            if not child:
                os.read(0, 1)
                os._exit(0)
            children.append(child)

    async with Server(service, "127.0.0.1:0", observer=observe, readiness=sys.argv[1]) as server:
        print(server.port, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, os.read, 0, 1)
    for child in children:
        os.waitpid(child, 0)

asyncio.run(main())
"""


def test_the_end_is_seen_though_a_forked_child_has_the_descriptor(readiness: str) -> None:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SERVER, readiness]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
        with socket.create_connection(("127.0.0.1", int(process.stdout.readline())), 10) as peer:
            peer.sendall(b"abcd")
            assert peer.recv(4) == b"ABCD"
            peer.shutdown(socket.SHUT_WR)
            assert peer.recv(4) == b""
        process.stdin.close()
        assert process.wait() == 0
