"""Programs as handlers, in the library: what is told of their end, and what others can do meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from certificates import Files, trusting
from fourtuple import Deadlines, Limits, Proxy, Service, Tls, events, serve_in_thread
from fourtuple.blocking import connect
from fourtuple.errors import ConnectionEnded, EndOfFile
from fourtuple.stream import Reason
from rig import PATIENT, FakeClock, Peer, Seen, serving

SOON = 20.0


def program(*command: str) -> Service:
    service = Service("raw")
    service.program(*command)
    return service


@pytest.mark.parametrize(
    ("command", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", -signal.SIGKILL), ("kill -63 $$", -63)]
)
def test_the_exit_status(command: str, status: int) -> None:
    seen: list[events.Event] = []
    with (
        serve_in_thread(program("sh", "-c", command), observer=seen.append) as server,
        connect(server.address, "raw") as client,
        pytest.raises(EndOfFile),
    ):
        client.receive(SOON)
    told = [each for each in seen if isinstance(each, events.ProgramEnded | events.HandlerRaised | events.Closed)]
    ended, *raised, closed = told
    assert isinstance(ended, events.ProgramEnded)
    assert (ended.status, ended.program) == (status, f"sh -c {command}")
    assert len(raised) == bool(status)
    assert isinstance(closed, events.Closed)
    assert (closed.id, closed.name, closed.reason) == (ended.id, ended.name, Reason.HANDED_ON)


def test_nothing_else_is_sent_in_the_middle_of_its_output() -> None:
    refused: list[Exception] = []

    def send(connection: Any) -> None:
        try:
            connection.send(b"from somebody else")
        except ConnectionEnded as error:
            refused.append(error)

    with serve_in_thread(program("cat")) as server, connect(server.address, "raw") as client:
        assert client.request(b"hello", timeout=SOON) == b"hello"
        (theirs,) = server.connections.values()
        server.call_soon(send, theirs)
        assert client.request(b"and on", timeout=SOON) == b"and on"
        while not refused:
            pass
        assert "a program has the connection, no other code can send" in str(refused[0])
        client.send_eof()
        with pytest.raises(EndOfFile):
            client.receive(SOON)


@pytest.mark.parametrize("how", ["abort", "close"])
def test_ending_the_connection_ends_the_program(how: str) -> None:
    seen: list[events.Event] = []
    with (
        serve_in_thread(program("sh", "-c", "echo $$; exec cat"), observer=seen.append) as server,
        connect(server.address, "line") as client,
    ):
        number = int(client.receive(SOON))
        (theirs,) = server.connections.values()
        server.call_soon(getattr(theirs, how))
        with pytest.raises((ConnectionError, EOFError)):
            client.receive(SOON)
        while not any(isinstance(each, events.Closed) for each in seen):
            pass
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)


def test_what_the_peer_sends_behind_the_end_is_drained() -> None:
    with serve_in_thread(program("echo", "goodbye"), deadlines=Deadlines(linger_timeout=60.0)) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as peer:
            while not server.statistics.active:
                pass
            assert read(peer.recv) == b"goodbye\n"
            for _ in range(10):
                peer.sendall(bytes(1 << 16))  # no RST answers it
            assert server.statistics.active == 1
        while server.statistics.active:
            pass


def read(recv: Callable[[int], bytes]) -> bytes:
    return b"".join(iter(lambda: recv(1 << 16), b""))


# -- deadlines --------------------------------------------------------------------------------------------

SILENT = "first_message_timeout"
IDLE = "idle_timeout"
LIFETIME = "handler_timeout"


async def ended(seen: Seen) -> tuple[str, Reason]:
    """Which deadline ended the program, and the connection with it."""
    closed = await seen.closed()
    assert not seen.of(events.HandlerRaised)  # it was ended, and did not fail
    (missed,) = seen.of(events.DeadlineMissed)
    return missed.error.which, closed.reason


@pytest.mark.parametrize("which", [SILENT, IDLE, LIFETIME])
@pytest.mark.parametrize("command", ["cat", "trap '' TERM; while :; do read line || sleep 0.01; done"])
def test_a_peer_that_is_silent_ends_its_program(run_async: Any, readiness: str, which: str, command: str) -> None:
    clock = FakeClock()

    async def main() -> None:
        deadlines = replace(PATIENT, linger_timeout=0.1, **{which: 30.0})
        service = program("sh", "-c", f"echo go; {command}")
        async with serving(service, readiness, clock=clock, deadlines=deadlines) as (server, seen):
            with await Peer.connect(server) as peer:
                assert await peer.receive(3) == b"go\n"
                server.engine.sweep()
                clock.now += 29.0
                server.engine.sweep()
                assert not seen.of(events.DeadlineMissed)
                clock.now += 2.0
                server.engine.sweep()
                assert await peer.receive_all() == b""
                peer.finish()
                assert await ended(seen) == (which, Reason.DEADLINE)

    run_async(main())


def test_a_peer_that_speaks_has_the_time_it_needs(run_async: Any, readiness: str) -> None:
    clock = FakeClock()

    async def main() -> None:
        deadlines = replace(PATIENT, linger_timeout=0.1, first_message_timeout=30.0, idle_timeout=30.0)
        async with serving(program("cat"), readiness, clock=clock, deadlines=deadlines) as (server, seen):
            with await Peer.connect(server) as peer:
                for _ in range(5):
                    await peer.send(b"hello\n")
                    assert await peer.receive(6) == b"hello\n"
                    server.engine.sweep()
                    clock.now += 29.0
                    server.engine.sweep()
                assert not seen.of(events.DeadlineMissed)
                clock.now += 31.0
                server.engine.sweep()
                await peer.discard()
                peer.finish()
                assert await ended(seen) == (IDLE, Reason.DEADLINE)

    run_async(main())


def test_a_peer_that_need_not_speak(run_async: Any, readiness: str) -> None:
    clock = FakeClock()
    service = Service("raw", silent_peers=True)
    service.program("sh", "-c", "echo ready; read line; echo behind it")

    async def main() -> None:
        deadlines = replace(PATIENT, first_message_timeout=30.0)
        async with serving(service, readiness, clock=clock, deadlines=deadlines) as (server, seen):
            with await Peer.connect(server) as peer:
                assert await peer.receive(6) == b"ready\n"
                clock.now += 31.0
                server.engine.sweep()
                await peer.send(b"go\n")
                assert await peer.receive_all() == b"behind it\n"
                peer.finish()
                assert (await seen.closed()).reason is Reason.HANDED_ON
                assert not seen.of(events.DeadlineMissed)

    run_async(main())


def test_silent_peers_hold_no_places_for_ever(run_async: Any, readiness: str) -> None:
    """As many as may have a program at once: whoever comes behind them is served in the end."""
    clock = FakeClock()

    async def main() -> None:
        deadlines = replace(PATIENT, linger_timeout=0.1, first_message_timeout=30.0)
        bounds = {"limits": Limits(max_threads=4)}
        async with serving(program("cat"), readiness, clock=clock, deadlines=deadlines, **bounds) as (server, seen):
            silent = [await Peer.connect(server) for _ in range(4)]
            await seen.wait(events.AcceptPaused)
            with await Peer.connect(server) as guest:
                clock.now += 31.0
                server.engine.sweep()
                for peer in silent:
                    await peer.discard()
                    peer.close()
                await guest.send(b"hello\n")
                assert await asyncio.wait_for(guest.receive(6), SOON) == b"hello\n"

    run_async(main())


@pytest.mark.parametrize("how", ["own", "tls", "proxy", "rates", "tap"])
def test_octets_that_pass_through_the_engine_are_relayed(tmp_path: Path, how: str) -> None:
    files, options, tapped = Files(tmp_path), dict[str, Any](), list[bytes]()
    header, there = b"", "127.0.0.1"
    if how == "tls":
        options["tls"] = Tls(certificate=files.certificate, key=files.key)
    elif how == "proxy":
        options["proxy"] = Proxy(protocol="required", trusted="127.0.0.0/8")
        header, there = b"PROXY TCP4 192.0.2.7 192.0.2.8 5 6\r\n", "192.0.2.7"
    elif how == "rates":
        options["limits"] = Limits(max_octet_rate=1e9)
    elif how == "tap":
        options["tap"] = lambda _stream, _inward, octets: tapped.append(octets)
    size = 1 << 20
    with (
        serve_in_thread(program("sh", "-c", "echo $TCPREMOTEIP; cat"), **options) as server,
        socket.create_connection(("127.0.0.1", server.port)) as plain,
    ):
        plain.settimeout(SOON)
        talk = trusting().wrap_socket(plain, server_hostname="localhost") if how == "tls" else plain
        talk.sendall(header)
        sender = threading.Thread(target=_send_and_end, args=(talk, bytes(size)))
        if how != "tls":
            sender.start()
        else:  # an SSLSocket cannot half-close: what is read first is what is expected
            talk.sendall(bytes(1000))
        wanted = len(there) + 1 + (1000 if how == "tls" else size)
        received = b""
        while len(received) < wanted and (data := talk.recv(1 << 16)):
            received += data
        assert received == there.encode() + b"\n" + bytes(wanted - len(there) - 1)
        if how != "tls":
            sender.join()
            assert talk.recv(1) == b""
        talk.close()
    if how != "tls":
        statistics = server.statistics
        assert (statistics.octets_in, statistics.octets_out) == (len(header) + size, wanted)
    assert bool(tapped) == (how == "tap")


def _send_and_end(sock: socket.socket, octets: bytes) -> None:
    sock.sendall(octets)
    sock.shutdown(socket.SHUT_WR)
