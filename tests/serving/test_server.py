"""A service on listeners: where it listens, how many it lets in, what it tells, and what cannot hurt it."""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fourtuple import Connection, Endpoint, Reason, Server, Service, Sockets, UnixName, events
from fourtuple.errors import ListenAddressInUse, ListenError, OptionError
from fourtuple.net.passive import somaxconn
from fourtuple.observe import each_of
from fourtuple.server import listen_at
from fourtuple.serving.group import Group
from rig import PATIENT, Peer, Seen, echo, limits, serving, turns, until


async def answers(server: Server | Any) -> bool:
    with await Peer.connect(server) as peer:
        return await peer.talk(b"x\n") == b"x\n"


def sockets_open() -> set[str]:
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:
            continue
    return {each for each in found if each.startswith("socket:")}


# -- addresses --------------------------------------------------------------------------------------------


def test_several_addresses_at_once(run_async: Any, readiness: str, tmp_path: Path) -> None:
    async def main() -> None:
        path = str(tmp_path / "socket")
        wanted = ("127.0.0.1:0", "[::1]:0", "127.0.0.2:0", f"unix:{path}")
        async with serving(echo(), readiness, *wanted) as (server, seen):
            assert [each.host for each in server.addresses] == ["127.0.0.1", "::1", "127.0.0.2", ""]
            assert server.port == server.addresses[0].port > 0
            for address in server.addresses:
                assert await answers(address)
            assert len(seen.of(events.Listening)) == 4

    run_async(main())


def test_a_star_is_both_families_at_one_port(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness, "*:0") as (server, _):
            assert {each.host for each in server.addresses} == {"0.0.0.0", "::"}
            assert len({each.port for each in server.addresses}) == 1
            for listener in server.listeners:
                assert await answers(listener.name)

    run_async(main())


def test_two_colons_are_ipv6_only(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness, "[::]:0") as (server, _):
            assert await answers(server)
            with pytest.raises(ConnectionRefusedError):
                await Peer.connect(server.port)
            async with serving(echo(), readiness, f"0.0.0.0:{server.port}") as (beside, _):
                assert await answers(beside)

    run_async(main())


def test_a_unix_socket_comes_and_goes(run_async: Any, readiness: str, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "socket"
        async with serving(echo(), readiness, f"unix:{path}") as (server, seen):
            assert await answers(server)
            name = (await seen.wait(events.Accepted))[0].name
            assert name == UnixName(str(path), os.getpid(), os.getuid())
            await seen.closed()
        assert not path.exists()

    run_async(main())


def test_the_unix_socket_of_a_server_that_died_is_taken_over(run_async: Any, readiness: str, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "socket"
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        async with serving(echo(), readiness, f"unix:{path}") as (server, _):
            assert await answers(server)
            with pytest.raises(ListenAddressInUse, match=rf"by pid {os.getpid()}, "):
                await Server(echo(), f"unix:{path}").start()
            assert await answers(server)  # and the attempt has not taken its name
        path.write_text("precious")
        with pytest.raises(ListenAddressInUse, match="a file that is not a socket exists there"):
            await Server(echo(), f"unix:{path}").start()
        assert path.read_text() == "precious"

    run_async(main())


def test_an_old_server_does_not_take_the_name_of_its_successor_away(
    run_async: Any, readiness: str, tmp_path: Path
) -> None:
    async def main() -> None:
        path = tmp_path / "socket"
        async with serving(echo(), readiness, f"unix:{path}") as (old, _):
            path.unlink()
            async with serving(echo(), readiness, f"unix:{path}") as (new, _):
                await old.abort()
                assert await answers(new)

    run_async(main())


def test_an_address_in_use_names_its_holder_and_leaves_nothing_open(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness) as (server, _):
            before = sockets_open()
            second = Server(echo(), "127.0.0.1:0", str(server.address), "127.0.0.1:0")
            with pytest.raises(ListenAddressInUse, match=rf"by pid {os.getpid()}, ") as caught:
                await second.start()
            assert str(server.address) in str(caught.value)
            assert isinstance(caught.value, ListenError)
            await turns(2)
            assert sockets_open() == before
            assert second.engine.closed

    run_async(main())


@pytest.mark.parametrize(
    ("places", "told"),
    [
        (("127.0.0.1:7", "127.0.0.1:7"), "127.0.0.1:7 is given twice"),
        (("127.0.0.1:7", "*:7"), "*:7 cannot be bound beside 127.0.0.1:7"),
        (("[::]:7", "[::1]:7"), "[::1]:7 cannot be bound beside [::]:7"),
        (("unix:/x", "unix:/x"), "unix:/x is given twice"),
    ],
)
def test_addresses_that_cannot_be_bound_together(places: tuple[str, ...], told: str) -> None:
    with pytest.raises(OptionError, match=re.escape(told)):
        Server(echo(), *places)
    with pytest.raises(OptionError, match=re.escape(told)):
        Group([Server(echo(), place) for place in places])


def test_addresses_that_can_be_bound_together() -> None:
    Server(echo(), "127.0.0.1:0", "127.0.0.1:0")
    Server(echo(), "127.0.0.1:7", "127.0.0.2:7", "[::]:7", "localhost:8", "unix:/x", "unix:@x")
    Server(echo(), "127.0.0.1:7", "127.0.0.1:7", sockets=Sockets(reuse_port=True))
    Server(echo(), "127.0.0.1:7", Endpoint("127.0.0.1:7", sockets=Sockets(interface="lo")))


def test_a_name_in_the_abstract_namespace_in_use_names_its_holder(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness, f"unix:@fourtuple-{os.getpid()}") as (server, _):
            with pytest.raises(ListenAddressInUse, match=rf"by pid {os.getpid()}, "):
                await Server(echo(), server.addresses[0]).start()

    run_async(main())


def test_the_same_with_an_engine_that_is_shared(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness) as (server, _):
            before = sockets_open()
            with pytest.raises(ListenAddressInUse):
                await Server(echo(), "127.0.0.1:0", str(server.address), engine=server.engine).start()
            await turns(2)
            assert sockets_open() == before
            assert await answers(server)

    run_async(main())


def test_the_backlog_asked_for_is_what_the_kernel_holds(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness, sockets=Sockets(backlog=20)) as (server, seen):
            assert server.listeners[0].backlog == 20
            assert seen.of(events.Listening) == [events.Listening(server.address, 20, 20)]
        clamp = somaxconn()
        assert clamp is not None
        async with serving(echo(), readiness, sockets=Sockets(backlog=clamp + 1)) as (server, seen):
            assert seen.of(events.Listening) == [events.Listening(server.address, clamp, clamp + 1)]

    run_async(main())


# -- how many ---------------------------------------------------------------------------------------------


def test_at_max_connections_the_next_waits_and_none_is_dropped(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness, limits=limits(max_connections=2)) as (server, seen):
            assert server.max_connections == 2
            peers = [await Peer.connect(server) for _ in range(6)]
            for number, peer in enumerate(peers):
                await peer.send(b"%d\n" % number)
            paused = (await seen.wait(events.AcceptPaused))[0]
            assert paused.why == "max_connections reached: 2 connections"
            await turns(50)
            assert server.statistics.active == 2
            for number, peer in enumerate(peers):
                assert len(server.connections) <= 2
                assert await peer.talk(b"") == b"%d\n" % number
                peer.close()
            await seen.wait(events.Closed, 6)
            assert server.statistics.accepted == 6
            assert server.statistics.refused == 0
            assert not server.listeners[0].paused

    run_async(main())


def test_every_listener_pauses(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        wanted = ("127.0.0.1:0", "127.0.0.2:0")
        async with serving(echo(), readiness, *wanted, limits=limits(max_connections=1)) as (server, seen):
            first, second = [await Peer.connect(address) for address in server.addresses]
            await seen.wait(events.AcceptPaused, 2)
            await turns()
            assert server.statistics.accepted == 1
            assert [await first.talk(b"a\n"), await second.talk(b"b\n")] == [b"a\n", b"b\n"]
            first.close()
            second.close()
            await seen.wait(events.Closed, 2)

    run_async(main())


def test_a_pause_by_request_adds_to_the_others(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness, limits=limits(max_connections=1)) as (server, seen):
            with await Peer.connect(server) as peer:
                await seen.wait(events.AcceptPaused)
                server.pause()
                server.pause()
                assert server.listeners[0].paused == {"max_connections", "by request"}
                await peer.talk(b"x\n")
            await seen.closed()
            assert server.listeners[0].paused == {"by request"}
            assert not seen.of(events.AcceptResumed)
            server.resume()
            assert seen.of(events.AcceptResumed) == [events.AcceptResumed(server.address)]
            assert await answers(server)

    run_async(main())


def test_a_thousand_connections_each_with_its_name(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness) as (server, seen):
            peers = [await Peer.connect(server) for _ in range(300)]
            await seen.wait(events.Accepted, 300)
            names = {each.name for each in server.connections.values()}
            assert len(names) == 300
            for peer in peers[::50]:
                found = server.find(f"127.0.0.1:{server.port} <- 127.0.0.1:{peer.socket.getsockname()[1]}")
                assert found is not None
                assert found.name.remote_port == peer.socket.getsockname()[1]  # type: ignore[union-attr]
            for peer in peers:
                peer.close()

    run_async(main())


# -- what is told -----------------------------------------------------------------------------------------


def test_probes_are_counted_quietly(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness) as (server, seen):
            (await Peer.connect(server)).close()
            (await Peer.connect(server)).reset()
            assert await answers(server)
            closed = await seen.wait(events.Closed, 3)
            assert [each.probe for each in closed] == [True, True, False]
            assert server.statistics.probes == 2
            assert {type(each) for each in seen} == {events.Listening, events.Accepted, events.Closed}

    run_async(main())


def test_numbers_stay_after_the_end(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"abc\n")
                assert await peer.receive(4) == b"abc\n"
                living = server.statistics
                assert (living.active, living.octets_in, living.messages_out) == (1, 4, 1)
            await seen.closed()
            ended = server.statistics
            assert (ended.active, ended.closed) == (0, 1)
            assert (ended.octets_in, ended.octets_out, ended.messages_in, ended.messages_out) == (4, 4, 1, 1)
            assert repr(server).endswith(f"serving at {server.address}, 0 connections>")
            assert repr(Server(server.service)).endswith(" not started>")

    run_async(main())


@pytest.mark.parametrize("kind", [ValueError, asyncio.CancelledError])
def test_an_observer_that_fails_costs_no_connection(run_async: Any, readiness: str, kind: type[BaseException]) -> None:
    async def main() -> None:
        told: list[str] = []
        told_of: list[events.Event] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context["message"]))

        def observer(event: events.Event) -> None:
            raise kind("a defect")

        server = Server(echo(), observer=each_of(observer, told_of.append), deadlines=PATIENT, readiness=readiness)  # type: ignore[arg-type]
        async with server:
            for _ in range(2):
                assert await answers(server)
            await until(lambda: server.statistics.closed == 2)
        assert len(told) == 7  # listening, twice accepted and closed, draining, drained
        assert "failed at Accepted(" in told[1]
        assert len(told_of) == 7

    run_async(main())


def test_a_tap_that_fails_costs_its_connection(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        told: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context["exception"]))

        def tap(*_: object) -> None:
            raise ValueError("a defect")

        async with serving(echo(), readiness, tap=tap) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"x\n")
                with pytest.raises(ConnectionResetError):
                    await peer.receive_all()
            assert (await seen.closed()).reason is Reason.HANDLER_ERROR
            assert [str(each) for each in told] == ["a defect"]

    run_async(main())


# -- what cannot hurt it ----------------------------------------------------------------------------------


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["reply", "opened", "closed"])
def test_an_interrupt_stops_the_server(
    run_async: Any, readiness: str, where: str, interrupt: type[BaseException]
) -> None:
    torn_down: list[bool] = []

    async def main() -> None:
        service = Service("line")

        @service.lifespan
        async def lifespan() -> Any:
            yield
            torn_down.append(True)

        def stop(*_: object) -> None:
            raise interrupt

        service.reply(stop if where == "reply" else lambda message: message)
        if where != "reply":
            getattr(service, where)(stop)
        async with Server(service, deadlines=PATIENT, readiness=readiness) as server:  # type: ignore[arg-type]
            with await Peer.connect(server) as peer:
                await peer.send(b"x\n")
                peer.finish()
                await server.serve_forever()

    with pytest.raises(interrupt):
        run_async(main())
    assert torn_down == [True]


def test_the_death_of_the_last_listener_drains(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness, "127.0.0.1:0", "127.0.0.2:0") as (server, seen):
            with await Peer.connect(server) as peer:
                await seen.wait(events.Accepted)
                for listener in server.listeners:
                    listener._failed(OSError(9, "Bad file descriptor"))
                assert await peer.talk(b"x\n") == b"x\n"
                await server.serve_forever()
                assert seen[-1] == events.Drained(0)

    run_async(main())


def test_two_servers_share_an_engine(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness) as (first, _):
            async with Server(echo(), engine=first.engine, deadlines=PATIENT) as second:
                assert await answers(second)
            assert not first.engine.closed
            assert await answers(first)

    run_async(main())


def test_a_flood_of_a_peer_that_never_reads_stays_bounded(run_async: Any, readiness: str) -> None:
    """System k, seen from the server: it stops reading, and goes on when the peer does."""

    async def main() -> None:
        bounds = limits(high_water=64 * 1024)
        async with serving(echo("raw"), readiness, limits=bounds) as (server, _):
            with await Peer.connect(server) as peer:
                block, sent, held = os.urandom(1 << 16), 0, 0
                stalled = 0
                while stalled < 20:
                    now = peer.send_what_fits(block)
                    sent += now
                    await turns(3)
                    (connection,) = server.connections.values()
                    held = max(held, connection.statistics.outbox)
                    stalled = 0 if now else stalled + 1
                assert held <= bounds.high_water + bounds.read_size
                assert sent > held
                peer.finish()
                got = await peer.receive_all()
                assert len(got) == sent

    run_async(main())


def test_connections_that_come_and_go_in_every_way_leave_nothing(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")

        @service.reply
        def answer(message: bytes, connection: Connection) -> Iterator[bytes]:
            if message == b"abort":
                connection.abort()
            elif message == b"raise":
                raise ValueError
            yield message

        async with serving(service, readiness) as (server, seen):
            ways = [b"", b"x\n", b"half", b"abort\n", b"raise\n", b"abort\nx\n"]
            for number in range(60):
                peer = await Peer.connect(server)
                await peer.send(ways[number % len(ways)])
                await turns(number % 4)
                peer.reset() if number % 3 == 0 else peer.close()
            await seen.wait(events.Closed, 60)
            assert server.connections == {}
            assert server.engine.channels == set()
            assert not server.engine._remainder
            assert not server.engine._revisits
            assert await answers(server)

    run_async(main())


def test_a_server_paused_before_its_start_listens_and_does_not_accept(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        seen = Seen()
        server = Server(echo(), "127.0.0.1:0", deadlines=PATIENT, observer=seen, readiness=readiness)
        server.pause()
        async with server:
            with await Peer.connect(server) as peer:
                await peer.send(b"x\n")
                await until(lambda: server.listeners[0].accept_queue == 1)
                await turns()
                assert server.statistics.accepted == 0
                # One that comes later is as the others are.
                with socket.socket() as sock:
                    sock.bind(("127.0.0.1", 0))
                    later = listen_at(server, sock.dup(), 10, keeps_file=True)
                assert later.paused == {"by request"}
                server.resume()
                assert await peer.receive(2) == b"x\n"
            assert not later.paused

    run_async(main())
