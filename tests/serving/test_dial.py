"""server.dial(): a server that calls home, and serves the connection that it has made."""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from fourtuple import Address, Connection, Deadlines, Dial, Limits, Reason, Server, Service, Tls, events
from fourtuple.backoff import Backoff
from fourtuple.errors import AddressError, ConnectRefused, OptionError, ServiceError, WrongThread
from rig import PATIENT, Peer, limits, serving, until
from serving.test_adopt import KINDS, service_of

#: No pause that a test would notice.
QUICK = {"first": 0.001, "longest": 0.002}


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Make the back-off quick, and record the pauses that it would have made from the beginning of each attempt."""
    found: list[float] = []
    failed, lost = Backoff.failed, Backoff.lost

    def quick(self: Backoff, began: float) -> float:
        found.append(failed(self, began) - began)
        return began

    monkeypatch.setattr(Backoff, "failed", quick)
    monkeypatch.setattr(Backoff, "lost", lambda self, now: found.append(-1.0) or (lost(self, now) and now))
    return found


class Home:
    """The one that is called: a listening socket of the test."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.socket = sock
        name = sock.getsockname()
        self.address = f"unix:{name}" if isinstance(name, str) else str(Address(*name[:2]))

    async def accept(self) -> Peer:
        sock, _ = await asyncio.get_running_loop().sock_accept(self.socket)
        return Peer(sock)


@asynccontextmanager
async def home(*where: Any) -> AsyncIterator[Home]:
    with where[0] if where else socket.create_server(("127.0.0.1", 0)) as sock:
        yield Home(sock)


@pytest.mark.parametrize("kind", KINDS)
def test_it_serves_the_connection_that_it_has_made(run_async: Any, readiness: str, kind: str, pauses: Any) -> None:
    async def main() -> None:
        async with serving(service_of(kind), readiness, listen=False) as (server, seen), home() as controller:
            dial = server.dial(controller.address)
            assert str(dial.address) == controller.address
            with await controller.accept() as peer:
                await until(lambda: dial.connection)
                assert list(server.connections.values()) == [dial.connection]
                assert await peer.talk(b"hello\n") == b"HELLO\n"
            await seen.closed()
            with await controller.accept() as again:
                assert await again.talk(b"again\n") == b"AGAIN\n"
            dial.cancel()
            await until(lambda: not dial.active)
            assert [event.name.remote for event in seen.of(events.Accepted)][:1] == [dial.address]
            assert server.statistics.accepted >= 2

    run_async(main())


def test_at_a_unix_socket(run_async: Any, readiness: str, tmp_path: Path, pauses: Any) -> None:
    async def main() -> None:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(tmp_path / "home"))
        listening.listen()
        async with serving(service_of("plain"), readiness, listen=False) as (server, _), home(listening) as controller:
            server.dial(f"unix:{tmp_path}/home")
            with await controller.accept() as peer:
                assert await peer.talk(b"hello\n") == b"HELLO\n"

    run_async(main())


# -- again and again --------------------------------------------------------------------------------------


def test_it_goes_on_while_nobody_listens_with_growing_pauses(run_async: Any, readiness: str, pauses: Any) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            address = str(Address(*sock.getsockname()))
        async with serving(service_of("plain"), readiness, listen=False) as (server, seen):
            dial = server.dial(address)
            failed = await seen.wait(events.DialFailed, 8)
            assert [event.failures for event in failed] == list(range(1, 9))
            assert all(isinstance(event.error, ConnectRefused) for event in failed)
            assert [str(event.address) for event in failed] == [address] * 8
            assert dial.failures >= 8
            assert "calling, " in repr(dial)
            with socket.create_server(("127.0.0.1", dial.address.port)) as sock:
                with await Home(sock).accept() as peer:
                    assert await peer.talk(b"at last\n") == b"AT LAST\n"
                dial.cancel()
        growth = [later / earlier for earlier, later in itertools.pairwise(pauses[:7])]
        assert all(1.6 * 0.8 / 1.2 <= each <= 1.6 * 1.2 / 0.8 for each in growth)

    run_async(main())


def test_one_that_drops_each_connection_is_not_called_without_a_pause(
    run_async: Any, readiness: str, pauses: Any
) -> None:
    async def main() -> None:
        async with serving(service_of("plain"), readiness, listen=False) as (server, _), home() as controller:
            dial = server.dial(controller.address)
            for _ in range(6):
                (await controller.accept()).reset()
            await until(lambda: len(pauses) >= 5)
            dial.cancel()
        assert -1.0 not in pauses, "none of these has worked"
        assert pauses[4] > 3 * pauses[0]

    run_async(main())


def test_after_one_that_has_worked_the_pauses_begin_again(
    run_async: Any, readiness: str, pauses: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        monkeypatch.setattr("fourtuple.serving.dialing.WORKED_SECONDS", 0.0)
        monkeypatch.setattr("fourtuple.backoff.WORKED_SECONDS", 0.0)
        async with serving(service_of("plain"), readiness, listen=False) as (server, _), home() as controller:
            dial = server.dial(controller.address)
            for _ in range(3):
                with await controller.accept() as peer:
                    assert await peer.talk(b"x\n") == b"X\n"
            await until(lambda: len(pauses) >= 3)
            dial.cancel()
            assert dial.failures == 0
        assert set(pauses) == {-1.0}

    run_async(main())


# -- limits, and the end ----------------------------------------------------------------------------------


def test_it_counts_and_waits_for_a_place(run_async: Any, readiness: str, pauses: Any) -> None:
    async def main() -> None:
        few = Limits(max_connections=1)
        async with serving(service_of("plain"), readiness, limits=few) as (server, seen), home() as controller:
            with await Peer.connect(server) as first:
                await seen.wait(events.Accepted)
                server.dial(controller.address)
                waiting = asyncio.ensure_future(controller.accept())
                done, _ = await asyncio.wait([waiting], timeout=0.05)
                assert not done, "the server is full"
                assert await first.talk(b"bye\n") == b"BYE\n"
            with await waiting as peer:
                assert await peer.talk(b"hello\n") == b"HELLO\n"

    run_async(main())


def test_one_that_the_servers_own_limits_refuse(run_async: Any, readiness: str, pauses: Any) -> None:
    async def main() -> None:
        denied = limits(deny="127.0.0.1/32", refusal="no")
        service = service_of("plain")
        async with serving(service, readiness, limits=denied, listen=False) as (server, seen), home() as controller:
            server.dial(controller.address)
            with await controller.accept() as peer:
                assert await peer.receive_all() == b"", "the refusal is for those that come"
            (refused,) = await seen.wait(events.Refused)
            (failed,) = await seen.wait(events.DialFailed)
            assert refused.limit == "deny"
            assert "the server's own limits refuse it" in str(failed.error)
        assert server.statistics.accepted == 0

    run_async(main())


def test_a_drain_ends_it_and_no_call_follows(run_async: Any, readiness: str, pauses: Any) -> None:
    async def main() -> None:
        deadlines = PATIENT.replace(linger_timeout=5.0, drain_first_message_timeout=0.0)
        service = service_of("plain")
        service.goodbye(b"bye")
        async with serving(service, readiness, deadlines=deadlines, listen=False) as (server, seen):
            async with home() as controller:
                dial = server.dial(controller.address)
                other = server.dial("127.0.0.1:1")
                with await controller.accept() as peer:
                    await until(lambda: dial.connection)
                    draining = asyncio.ensure_future(server.drain())
                    assert await peer.receive_all() == b"bye\n"
                    assert not dial.active
                    assert not other.active
                    peer.close()
                    assert await draining == 0
                assert (await seen.closed()).reason is Reason.DRAINED
                waiting = asyncio.ensure_future(controller.accept())
                done, _ = await asyncio.wait([waiting], timeout=0.05)
                assert not done
                waiting.cancel()
            with pytest.raises(ServiceError, match=r"dial: <Server .* does not serve"):
                server.dial("127.0.0.1:1")

    run_async(main())


@pytest.mark.parametrize("when", ["connecting", "connected", "between"])
def test_an_abort_ends_it_at_any_moment(run_async: Any, readiness: str, when: str) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=0) as sock:
            address = str(Address(*sock.getsockname()))
            full = [socket.socket() for _ in range(4)]
            for each in full if when == "connecting" else ():
                each.setblocking(False)
                each.connect_ex(sock.getsockname())  # the queue is full: the next SYN is not answered
            if when == "between":
                sock.close()
            async with serving(service_of("plain"), readiness, listen=False) as (server, seen):
                dial = server.dial(address)
                if when == "connected":
                    await until(lambda: dial.connection)
                elif when == "between":
                    await seen.wait(events.DialFailed)
                else:
                    await asyncio.sleep(0.01)
                await server.abort()
                assert not dial.active
            for each in full:
                each.close()

    run_async(main())


def test_cancel_leaves_the_open_connection(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(service_of("plain"), readiness, listen=False) as (server, _), home() as controller:
            dial = server.dial(controller.address)
            with await controller.accept() as peer:
                await until(lambda: dial.connection)
                with pytest.raises(WrongThread, match=r"server\.call_soon\(dial\.cancel\)"):
                    await asyncio.to_thread(dial.cancel)
                assert dial.active
                dial.cancel()
                dial.cancel()
                assert not dial.active
                await until(lambda: dial.task.done())
                assert dial.connection is not None
                assert await peer.talk(b"still here\n") == b"STILL HERE\n"
                assert repr(dial) == f"<Dial {controller.address} over>"

    run_async(main())


# -- TLS --------------------------------------------------------------------------------------------------


def test_this_side_is_the_client_of_tls(run_async: Any, readiness: str, pauses: Any) -> None:
    async def main() -> None:
        got: list[bytes] = []

        async def controller(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hello\n")
            got.append(await reader.readline())
            writer.close()

        certificates = Server(service_of("plain"), tls=Tls(dev=True)).certificates
        assert certificates is not None
        listening = await asyncio.start_server(controller, "127.0.0.1", 0, ssl=certificates.context)
        async with listening, serving(service_of("plain"), readiness, listen=False) as (server, seen):
            port = listening.sockets[0].getsockname()[1]
            dial = server.dial(f"127.0.0.1:{port}", tls=Tls(verify="none"), server_hostname="home.example")
            (started,) = await seen.wait(events.TlsStarted)
            await until(lambda: got)
            assert got[0] == b"HELLO\n"
            assert server.statistics.handshakes >= 1
            assert started.sni == "home.example"
            dial.cancel()

    run_async(main())


def test_a_certificate_that_does_not_verify_is_no_connection(run_async: Any, readiness: str, pauses: Any) -> None:
    async def main() -> None:
        certificates = Server(service_of("plain"), tls=Tls(dev=True)).certificates
        assert certificates is not None
        listening = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=certificates.context)
        async with listening, serving(service_of("plain"), readiness, listen=False) as (server, seen):
            dial = server.dial(f"127.0.0.1:{listening.sockets[0].getsockname()[1]}", tls=True)
            await seen.wait(events.TlsFailed, 2)
            await until(lambda: dial.failures >= 2)
            assert server.statistics.messages_in == 0
            dial.cancel()

    run_async(main())


def test_one_that_never_finishes_its_handshake_is_called_again(run_async: Any, readiness: str, pauses: Any) -> None:
    async def main() -> None:
        deadlines = Deadlines(handshake_timeout=0.05, linger_timeout=0.05)
        service = service_of("plain")
        options: Any = {"deadlines": deadlines, "listen": False}
        async with serving(service, readiness, **options) as (server, seen), home() as controller:
            dial = server.dial(controller.address, tls=ssl.create_default_context())
            with await controller.accept(), await controller.accept():
                missed = await seen.wait(events.DeadlineMissed)
                assert missed[0].error.which == "handshake_timeout"
                dial.cancel()

    run_async(main())


def test_starttls_on_it_is_the_clients_side(run_async: Any, readiness: str, pauses: Any) -> None:
    async def main() -> None:
        service = Service("line")
        done: list[Any] = []

        @service.conversation
        async def talk(connection: Connection) -> None:
            assert await connection.receive() == b"STARTTLS"
            await connection.start_tls(Tls(verify="none"))
            done.append(connection.tls)
            async for message in connection:
                await connection.send(message.upper())

        certificates = Server(service_of("plain"), tls=Tls(dev=True)).certificates
        assert certificates is not None
        async with serving(service, readiness, listen=False) as (server, _), home() as controller:
            dial = server.dial(controller.address)
            with await controller.accept() as peer:
                await peer.send(b"STARTTLS\n")
                reader = asyncio.StreamReader()
                protocol = asyncio.StreamReaderProtocol(reader)
                transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                    lambda: protocol, peer.socket, ssl=certificates.context
                )
                transport.write(b"hello\n")
                assert await reader.readline() == b"HELLO\n"
                assert len(done) == 1
                dial.cancel()
                transport.close()
                await until(lambda: not server.connections)

    run_async(main())


# -- arguments --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({"address": "nowhere"}, AddressError, "nowhere"),
        ({"address": "*:9999"}, AddressError, "every address of this machine"),
        ({"address": "127.0.0.1:1", "timeout": -1}, OptionError, ", got -1"),
        ({"address": "127.0.0.1:1", "tls": "yes"}, OptionError, ", got 'yes'"),
        ({"address": "127.0.0.1:1", "server_hostname": 3}, OptionError, ", got 3"),
        ({"address": "127.0.0.1:1", "local_address": "x:y:z"}, AddressError, "x:y:z"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_called(
    run_async: Any, arguments: Any, kind: Any, text: str
) -> None:
    async def main() -> None:
        async with serving(service_of("plain")) as (server, _):
            with pytest.raises(kind, match=text.replace("*", r"\*")):
                server.dial(**arguments)

    run_async(main())


def test_a_server_must_serve(run_async: Any) -> None:
    async def main() -> None:
        with pytest.raises(ServiceError, match=r"dial: <Server .* does not serve"):
            Server(service_of("plain")).dial("127.0.0.1:1")
        async with serving(service_of("program")) as (server, _):
            with pytest.raises(WrongThread, match=r"server\.call_soon\(server\.dial, \.\.\.\)"):
                await asyncio.to_thread(server.dial, "127.0.0.1:1")

    run_async(main())


def test_a_handler_may_dial(run_async: Any, readiness: str, pauses: Any) -> None:
    async def main() -> None:
        service = Service("line")
        dials: list[Any] = []

        @service.reply
        def call(message: bytes, connection: Connection) -> bytes:
            assert connection.server is not None
            if message.startswith(b"call "):
                dials.append(connection.server.dial(message[5:].decode()))
            return b"yes"

        async with serving(service, readiness) as (server, _), home() as controller:
            with await Peer.connect(server) as peer:
                await peer.send(b"call %s\n" % controller.address.encode())
                assert await peer.receive(4) == b"yes\n"
                with await controller.accept() as called:
                    assert await called.talk(b"are you there?\n") == b"yes\n"
                assert isinstance(dials[0], Dial)

    run_async(main())
