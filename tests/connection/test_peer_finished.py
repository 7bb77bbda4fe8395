"""The peer's end of file is told when it arrives, to a handler that waits for something else."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from certificates import Files, trusting
from fourtuple import BlockingConnection, Connection, Server, Service, Tls, serve_in_thread
from fourtuple import connect as connect_async
from fourtuple.blocking import connect
from fourtuple.errors import EndOfFile, TlsError
from rig import Peer, serving, turns, until


class Job:
    """A conversation that waits for its peer to finish, and then goes on."""

    def __init__(self, receives: bool = False) -> None:
        self.service = Service("line")
        self.log: list[str] = []
        self.connection: Connection | None = None
        self.go_on = asyncio.Event()

        @self.service.conversation
        async def work(connection: Connection) -> None:
            await connection.receive()
            self.connection = connection
            self.log.append("set" if connection.peer_finished.is_set() else "not set")
            await connection.peer_finished.wait()
            self.log.append("finished")
            await self.go_on.wait()
            if receives:
                async for message in connection:
                    self.log.append(message.decode()[:9])
            await connection.send(b"done")


async def swept_until(server: Server, readiness: str, condition: Any) -> None:
    """The portable readiness looks with the sweep at those whose reading is paused."""
    if readiness == "portable":
        await turns(100)
        server.engine.sweep()
    await until(condition)


@pytest.mark.parametrize("unread", ["", "one\ntwo\n", "\nhalf", "lot"])
def test_peer_finished_is_set_when_the_fin_arrives_behind_unread_octets(
    run_async: Any, readiness: str, unread: str
) -> None:
    octets = (b"x" * 1000 + b"\n") * 100 if unread == "lot" else unread.encode()

    async def main() -> None:
        job = Job(receives=True)
        async with serving(job.service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"begin\n")
                await until(lambda: job.log)
                await peer.send(octets)
                await turns(100)
                assert job.log == ["not set"]
                peer.finish()
                await swept_until(server, readiness, lambda: "finished" in job.log)
                await turns()
                assert job.connection is not None
                assert not job.connection.closed
                job.go_on.set()
                if unread == "\nhalf":
                    assert await peer.receive_all() == b""
                    return
                assert await peer.receive_all() == b"done\n"
                lines = octets.decode().splitlines()
                assert job.log[2:] == [line[:9] for line in lines]
                assert job.connection._stream.octets_in == 6 + len(octets)
            await seen.closed()

    run_async(main())


def test_peer_finished_is_set_when_first_read_after_the_fin(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        job = Job()
        async with serving(job.service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"begin\n")
                peer.finish()
                await until(lambda: "finished" in job.log)
                job.go_on.set()
                assert await peer.receive_all() == b"done\n"

    run_async(main())


def test_peer_finished_is_set_when_the_connection_ended_in_another_way(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        held: list[Connection] = []
        service.opened(held.append)
        service.reply(lambda message: message)
        async with serving(service, readiness) as (server, _):
            peer = await Peer.connect(server)
            await until(lambda: held)
            event = held[0].peer_finished
            assert event is held[0].peer_finished
            assert not event.is_set()
            waiting = asyncio.create_task(event.wait())
            closing = asyncio.create_task(held[0].wait_closed())
            await turns()
            assert not waiting.done()
            assert not closing.done()
            peer.reset()
            await waiting
            await closing
            await held[0].wait_closed()
            assert held[0].closed

    run_async(main())


def test_peer_finished_is_set_while_this_side_lingers(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        log: list[str] = []

        @service.conversation
        async def work(connection: Connection) -> None:
            connection.close()
            await connection.peer_finished.wait()
            log.append("finished")

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                assert await peer.receive_all() == b""
                await turns()
                assert log == []
                peer.finish()
                await until(lambda: log)

    run_async(main())


def test_peer_finished_is_set_by_close_notify_over_tls(run_async: Any, readiness: str, tmp_path: Path) -> None:
    files = Files(tmp_path)

    async def main() -> None:
        job = Job(receives=True)
        tls = Tls(certificate=files.certificate, key=files.key)
        async with serving(job.service, readiness, tls=tls) as (server, _):
            client = await connect_async(server.address, "line", tls=trusting(), server_hostname="localhost")
            await client.send(b"begin")
            await until(lambda: job.log)
            await turns(100)
            assert job.log == ["not set"]
            client.send_eof()
            await until(lambda: "finished" in job.log)
            job.go_on.set()
            assert await client.receive() == b"done"
            with pytest.raises((EndOfFile, TlsError)):
                await client.receive()
            await client.close()

    run_async(main())


def test_a_client_is_reported_too(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        gate = asyncio.Event()

        @service.conversation
        async def talk(connection: Connection) -> None:
            await connection.send(b"unread")
            await gate.wait()

        async with serving(service, readiness) as (server, _):
            client = await connect_async(server.address, "line")
            await turns()
            assert not client.peer_finished.is_set()
            gate.set()
            await client.peer_finished.wait()
            assert await client.receive() == b"unread"
            await client.close()
            await client.wait_closed()

    run_async(main())


def test_a_connection_that_is_not_asked_has_no_event(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        held: list[Connection] = []
        service.opened(held.append)
        service.reply(lambda message: message)
        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"x\n") == b"x\n"
            await until(lambda: held[0].closed)
            assert held[0]._waiters is None

    run_async(main())


# -- blocking ---------------------------------------------------------------------------------------------


def test_a_thread_reads_peer_finished_and_waits_for_it() -> None:
    service = Service("line")
    log: list[Any] = []
    ready = threading.Event()

    @service.conversation
    def work(connection: BlockingConnection) -> None:
        connection.receive()
        log.append(connection.peer_finished.is_set())
        log.append(connection.peer_finished.wait(0.001))
        ready.set()
        log.append(connection.peer_finished.wait())
        log.append(connection.peer_finished.is_set())
        log.extend(connection)
        log.append(connection.peer_finished.is_set())
        connection.send(b"done")

    with serve_in_thread(service) as server, socket.create_connection(("127.0.0.1", server.port)) as peer:
        peer.sendall(b"begin\n")
        ready.wait()
        peer.sendall(b"one\ntwo\n")
        peer.shutdown(socket.SHUT_WR)
        assert peer.recv(100) == b"done\n"
    assert log == [False, False, True, True, b"one", b"two", True]


@pytest.mark.parametrize("end", ["abort", "close"])
def test_a_thread_that_waits_for_peer_finished_is_woken_by_the_end(end: str) -> None:
    service = Service("line")
    service.reply(lambda message: message)
    with serve_in_thread(service) as server, connect(server.address, "line") as connection:
        assert "not set" in repr(connection.peer_finished)
        results: list[bool] = []
        waiting = threading.Thread(target=lambda: results.append(connection.peer_finished.wait()))
        waiting.start()
        while not connection._socket.alarms:
            pass
        getattr(connection, end)()
        waiting.join()
        assert results == [True]
        assert connection.peer_finished.is_set()


def test_an_abort_by_the_server_ends_the_wait_of_a_handler_s_thread() -> None:
    service = Service("line")
    log: list[bool] = []
    at_work = threading.Event()

    @service.conversation
    def work(connection: BlockingConnection) -> None:
        connection.receive()
        at_work.set()
        log.append(connection.peer_finished.wait())

    with serve_in_thread(service) as server, socket.create_connection(("127.0.0.1", server.port)) as peer:
        peer.sendall(b"begin\n")
        at_work.wait()
        server.call_soon(lambda: [each.abort() for each in server.connections.values()])
        while server.statistics.active:
            pass
    assert log == [True]
