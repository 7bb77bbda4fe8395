"""The closed loop, on our server and on peers that know nothing of us: counts, failures by name, what is verified."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from certificates import Files
from conftest import RunAsync
from fourtuple import Service, events
from fourtuple.errors import ConnectRefused, OptionError, TlsCertificateRefused
from fourtuple.load import Load, Phase, Result, Run
from fourtuple.load.patterns import pattern
from fourtuple.load.requesters import Requester
from fourtuple.load.worker import Worker
from fourtuple.net.sockets import reset_on_close
from fourtuple.options import Proxy, Sockets, Tls
from load.conftest import bench, echo, echoing, load, scripted
from rig import serving

TROUBLES = ("timeouts", "unanswered", "mismatches", "unsent")


def well(result: Result) -> None:
    """Nothing went wrong."""
    total = result.total
    assert {name: getattr(total, name) for name in TROUBLES} == dict.fromkeys(TROUBLES, 0), total.samples
    assert (total.failures, total.connect_failures, total.samples) == ({}, {}, [])
    assert result.ok


@pytest.mark.parametrize(
    ("framing", "options"),
    [
        ("fixed:16", {}),
        ("line", {"connections": 5}),
        ("u32", {"connections": 3, "depth": 8}),
        ("netstring", {"depth": 100, "size": 3000}),
        ("resp", {}),
    ],
)
def test_every_request_has_its_reply(run_async: RunAsync, framing: str, options: dict[str, Any]) -> None:
    async def main() -> None:
        async with serving(echo(framing)) as (server, seen):
            result = await bench(server.address, framing, load(requests=500, expect="same", **options))
            well(result)
            total = result.total
            assert (total.requests, total.replies, result.latency.count) == (500, 500, 500)
            assert total.connects == total.connecting.count == options.get("connections", 1)
            closed = await seen.wait(events.Closed, total.connects)
            assert sum(each.statistics.messages_in for each in closed) == 500
            assert sum(each.statistics.octets_in for each in closed) == total.octets_out
            assert sum(each.statistics.octets_out for each in closed) == total.octets_in
            assert total.cpu > 0
            assert result.cost > 0

    run_async(main())


def test_a_third_party_peer(run_async: RunAsync) -> None:
    async def main() -> None:
        with scripted(echoing) as address:
            well(await bench(address, "line", load(requests=100, connections=4, depth=3, expect="same")))

    run_async(main())


def test_large_messages_both_ways_at_once(run_async: RunAsync) -> None:
    """Two ends that each wait for the other to read would wait forever."""

    async def main() -> None:
        options = load(requests=40, depth=8, size=300_000, expect="same")
        async with serving(echo("u32")) as (server, _):
            well(await bench(server.address, "u32", options, sockets=Sockets(send_buffer=8192, receive_buffer=8192)))

    run_async(main())


def test_rows_have_their_phases_in_order(run_async: RunAsync) -> None:
    async def main() -> None:
        rows = []
        async with serving(echo("line")) as (server, _):
            options = Load(duration=0.2, warmup=0.1, interval=0.05, connections=2)
            result = await Run(str(server.address), "line", options, on_row=rows.append).result()
        assert rows == result.series
        phases = [row.phase for row in rows]
        assert phases == sorted(phases, key=list(Phase).index), "opening, warm-up, measured, after"
        assert set(phases) == set(Phase)
        measured = [row for row in rows if row.phase is Phase.MEASURED]
        assert len(measured) >= 2
        assert result.measured.replies == sum(row.tally.replies for row in measured)
        warm = sum(row.tally.replies for row in rows if row.phase is Phase.WARMUP)
        assert warm > 0
        assert result.latency.count == result.total.replies - warm, "the warm-up is not measured"
        assert result.measured.seconds == pytest.approx(sum(row.tally.seconds for row in measured))
        assert rows[-1].open == 0

    run_async(main())


def test_stop_gives_the_results_so_far(run_async: RunAsync) -> None:
    async def main() -> None:
        async with serving(echo("line")) as (server, _):
            run = Run(str(server.address), "line", Load(duration=600, warmup=0, interval=0.01))
            run._on_row = lambda row: run.stop() if row.tally.replies else None
            result = await run.result()
        assert result.interrupted
        assert result.measured.replies > 0
        assert result.total.unanswered == 0

    run_async(main())


# -- verification -----------------------------------------------------------------------------------------


def test_wrong_replies_are_counted_and_shown(run_async: RunAsync) -> None:
    service = Service("line")

    @service.reply
    def shout(message: bytes) -> bytes:
        return b"odd" if message.endswith(b"3") else message

    async def main() -> None:
        async with serving(service) as (server, _):
            result = await bench(server.address, "line", load(requests=20, expect="same"), templates=[b"hello {n}"])
        assert result.total.mismatches == 2, "3 and 13"
        assert not result.ok
        assert result.total.replies == 20
        assert "the reply is b'odd', expected b'hello 3'" in result.total.samples[0]

    run_async(main())


def test_replies_are_told_apart_by_their_requests(run_async: RunAsync) -> None:
    """A server that answers in the wrong order gives the right replies to the wrong requests."""

    def swap(sock: socket.socket) -> None:
        with sock.makefile("rwb", buffering=0) as file:
            one, two = file.readline(), file.readline()
            sock.sendall(b"OK " + two + b"OK " + one)
            assert file.readline() == b""

    async def main() -> None:
        with scripted(swap) as address:
            options = load(requests=2, depth=2, expect="template:OK {n}")
            result = await bench(address, "line", options, templates=[b"{n}"])
        assert result.total.mismatches == 2

    run_async(main())


def test_a_message_that_answers_nothing(run_async: RunAsync) -> None:
    def chatty(sock: socket.socket) -> None:
        sock.sendall(b"too much\n")
        echoing(sock)

    async def main() -> None:
        with scripted(chatty) as address:
            result = await bench(address, "line", load(requests=5, expect="size:64"))
        assert result.total.mismatches >= 1

    run_async(main())


def one_too_many(sock: socket.socket) -> None:
    """A reply to each request, and in the same segment a message that looks like the next one."""
    while octets := sock.recv(65536):
        sock.sendall(octets + b"hello\n")


def without_end(sock: socket.socket) -> None:
    with suppress(OSError):
        while True:
            sock.sendall(b"hello\n" * 100)


OPTIONS: list[dict[str, Any]] = [{}, {"expect": "same"}, {"expect": "size:5"}, {"depth": 3}, {"rate": 1000.0}]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("peer", [one_too_many, without_end])
def test_a_message_that_was_there_before_its_request_is_no_reply(
    run_async: RunAsync,
    monkeypatch: pytest.MonkeyPatch,
    peer: Callable[[socket.socket], None],
    options: dict[str, Any],
) -> None:
    monkeypatch.setattr("fourtuple.load.worker._PATIENCE", 0.05)  # no FIN comes from a peer without end

    async def main() -> None:
        with scripted(peer) as address:
            result = await bench(address, "line", load(requests=100, **options), templates=[b"hello"])
        assert result.total.unasked >= result.total.mismatches >= 1
        assert any("answers no request" in each for each in result.total.samples), result.total.samples
        assert not result.ok

    run_async(main())


@pytest.mark.parametrize("rate", [None, 1000.0])
def test_a_message_that_is_there_when_the_connection_begins_is_no_reply(
    run_async: RunAsync, monkeypatch: pytest.MonkeyPatch, rate: float | None
) -> None:
    """The first request waits until it is read."""
    begin = Requester.begin

    def behind_the_news(slot: Requester) -> None:
        assert slot.channel is not None
        select.select([slot.channel.fd], [], [], 20)
        begin(slot)

    def chatty(sock: socket.socket) -> None:
        sock.sendall(b"hello\n")
        echoing(sock)

    monkeypatch.setattr(Requester, "begin", behind_the_news)

    async def main() -> None:
        with scripted(chatty) as address:
            result = await bench(address, "line", load(requests=5, rate=rate), templates=[b"hello"])
        assert (result.total.replies, result.total.mismatches) == (5, 1), result.total.samples

    run_async(main())


def test_greetings_and_replies_of_several_messages(run_async: RunAsync) -> None:
    service = Service("line")

    @service.opened
    def greet(_connection: Any) -> bytes:
        return b"220 ready"

    @service.reply
    def twice(message: bytes) -> Any:
        yield b"250-" + message
        yield b"250 " + message

    async def main() -> None:
        async with serving(service) as (server, _):
            options = load(requests=30, depth=4, greeting=1, replies=2, expect="starts:250")
            result = await bench(server.address, "line", options)
        well(result)
        assert result.total.replies == 30, "a reply is all of its messages"

    run_async(main())


# -- churn ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("close", ["fin", "reset"])
def test_churn_replaces_connections_by_fin_or_reset(run_async: RunAsync, close: str) -> None:
    async def main() -> None:
        async with serving(echo("line")) as (server, seen):
            options = load(requests=60, connections=2, churn=3, close=close, expect="same")
            result = await bench(server.address, "line", options)
            well(result)
            assert result.total.replies == 60
            assert result.total.connects >= 20
            ends = await seen.wait(events.Closed, 19)
            reasons = {end.reason.value for end in ends}
            assert reasons == {"closed by peer" if close == "fin" else "reset by peer"}
            assert {end.statistics.messages_in for end in ends} == {3}

    run_async(main())


def test_churn_of_0_connects_without_requests(run_async: RunAsync) -> None:
    async def main() -> None:
        rows = []
        async with serving(echo("line")) as (server, seen):
            run = Run(str(server.address), "line", load(churn=0, connections=3, interval=0.02), on_row=rows.append)
            run._on_row = lambda row: (rows.append(row), run.stop() if sum(r.tally.connects for r in rows) > 20 else 0)
            result = await run.result()
            assert result.total.connects > 20
            assert (result.total.requests, result.total.replies) == (0, 0)
            well(result)
            closed = await seen.wait(events.Closed, 20)
            assert all(end.probe for end in closed)

    run_async(main())


# -- what fails -------------------------------------------------------------------------------------------


def test_where_nothing_listens_the_load_raises_the_error_of_connect(run_async: RunAsync, closed_port: str) -> None:
    async def main() -> None:
        with pytest.raises(ConnectRefused):
            await bench(closed_port, "line", load())

    run_async(main())


def test_a_reset_is_named_and_the_place_is_filled_again(run_async: RunAsync) -> None:
    def reset(sock: socket.socket) -> None:
        assert sock.recv(100)
        reset_on_close(sock)

    async def main() -> None:
        with scripted(reset, echoing) as address:
            result = await bench(address, "line", load(requests=10, expect="same"))
        total = result.total
        assert total.failures == {"PeerReset": 1}
        assert (total.unanswered, total.replies, total.connects) == (1, 9, 2)
        assert "reset by the peer" in total.samples[0]
        assert not result.ok

    run_async(main())


def test_an_end_of_file_with_a_request_in_flight_and_one_without(run_async: RunAsync) -> None:
    def one_reply(sock: socket.socket) -> None:
        sock.sendall(sock.recv(100))

    def hang_up(sock: socket.socket) -> None:
        assert sock.recv(100)

    async def main() -> None:
        with scripted(hang_up, echoing) as address:
            result = await bench(address, "line", load(requests=3))
        assert result.total.failures == {"EndOfFile": 1}
        assert result.total.unanswered == 1

    run_async(main())

    async def goodbye() -> None:
        with scripted(one_reply) as address:
            run = Run(address, "line", load(requests=1, connections=1))
            result = await run.result()
        assert result.total.replies == 1
        assert not result.total.failures

    run_async(goodbye())


def test_a_framing_that_is_broken(run_async: RunAsync) -> None:
    def broken(sock: socket.socket) -> None:
        assert sock.recv(100)
        sock.sendall(b"no netstring")
        assert sock.recv(100) == b""

    async def main() -> None:
        with scripted(broken, echoing) as address:
            result = await bench(address, "netstring", load(requests=4))
        assert result.total.failures == {"MalformedMessage": 1}
        assert (result.total.unanswered, result.total.replies) == (1, 3)

    run_async(main())


def test_no_reply_in_time(run_async: RunAsync) -> None:
    def silent(sock: socket.socket) -> None:
        with suppress(ConnectionResetError):
            while sock.recv(100):
                pass
            pytest.fail("an end of file, where a reset was to come")

    async def main() -> None:
        with scripted(silent, echoing) as address:
            result = await bench(address, "line", load(requests=10, depth=2, timeout=1.0))
        total = result.total
        assert (total.timeouts, total.unanswered, total.replies) == (2, 0, 8)
        assert "no reply within 1 s" in total.samples[0]
        assert not total.failures

    run_async(main())


def test_replies_that_are_still_out_at_the_end(run_async: RunAsync) -> None:
    def silent(sock: socket.socket) -> None:
        while sock.recv(100):
            pass

    async def main() -> None:
        with scripted(silent) as address:
            run = Run(address, "line", load(connections=2, interval=0.02))
            run._on_row = lambda row: run.stop() if row.tally.requests else None
            result = await run.result()
        assert (result.total.requests, result.total.unanswered, result.total.replies) == (2, 2, 0)

    run_async(main())


def test_more_connections_than_descriptors(run_async: RunAsync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (100, 100))

    async def main() -> None:
        with pytest.raises(OptionError, match="101 wanted of one process, and its descriptors are enough for"):
            await bench("127.0.0.1:1", "line", load(connections=101))
        run = Run("127.0.0.1:1", "line", load(connections=60, idle=60))
        with pytest.raises(OptionError, match="120 wanted"):
            await run.result()
        assert isinstance(run._worker, Worker)
        assert run._worker.slots == [], "checked before anything is made for them"

    run_async(main())


def test_a_stop_is_heard_while_the_connections_are_prepared(
    run_async: RunAsync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fourtuple.load.worker.check_descriptors", lambda _connections: None)

    async def main() -> None:
        run = Run("127.0.0.1:1", "line", load(connections=10_000))
        asyncio.get_running_loop().call_soon(run.stop)
        result = await run.result()
        assert result.interrupted
        assert isinstance(run._worker, Worker)
        assert 0 < len(run._worker.slots) < 10_000

    run_async(main())


def test_a_stop_is_heard_while_the_last_replies_are_awaited(run_async: RunAsync) -> None:
    def silent(sock: socket.socket) -> None:
        while sock.recv(100):
            pass

    async def main() -> None:
        with scripted(silent) as address:
            run = Run(address, "line", Load(duration=0.1, warmup=0, timeout=7200))
            loop = asyncio.get_running_loop()
            run._on_row = lambda row: loop.call_soon(run.stop) if row.tally.requests else None
            async with asyncio.timeout(30):
                result = await run.result()
        assert (result.interrupted, result.total.unanswered) == (True, 1)

    run_async(main())


@pytest.mark.parametrize(
    "options",
    [{"processes": 257}, {"depth": 1_000_001}, {"size": (1 << 30) + 1}, {"slow_rate": 1e16}, {"interval": 1e-9}],
)
def test_sizes_that_would_take_all_memory_or_never_end(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="expected"):
        Load(**options)


def test_requests_in_flight_that_would_take_all_memory() -> None:
    told = (
        r"depth: 1000000 requests of 2001 octets in flight on each of 5 connections, expected no more than 4294967296"
    )
    with pytest.raises(OptionError, match=told):
        Run("127.0.0.1:1", "line", load(depth=1_000_000, size=2000, connections=9, processes=2))
    with pytest.raises(OptionError, match=r"depth: 1000 requests .* on each of 10001 connections, expected no more"):
        load(depth=1000, connections=10_001)
    assert load(depth=1000, connections=10_000).of_a_process == 10_000
    Run("127.0.0.1:1", "line", load(connections=10_001, rate=1.0, size=1 << 20))


# -- TLS, PROXY, Unix sockets -----------------------------------------------------------------------------


def test_a_load_over_tls_checks_the_certificate(run_async: RunAsync, tmp_path: Path) -> None:
    files = Files(tmp_path)

    async def main() -> None:
        async with serving(echo("line"), tls=Tls(certificate=files.both)) as (server, _):
            address = f"localhost:{server.address.port}"
            options = load(requests=50, connections=3, depth=2, expect="same")
            result = await bench(address, "line", options, tls=Tls(ca=files.ca))
            well(result)
            assert result.total.handshaking.count == 3
            with pytest.raises(TlsCertificateRefused):
                await bench(address, "line", options, tls=True)
            with pytest.raises(OptionError, match="context cannot be sent"):
                await bench(address, "line", load(processes=2), tls=ssl.create_default_context())

    run_async(main())


@pytest.mark.parametrize("version", [1, 2])
def test_each_connection_begins_with_a_proxy_header(run_async: RunAsync, version: int) -> None:
    async def main() -> None:
        async with serving(echo("line"), proxy=Proxy(protocol="required")) as (server, seen):
            options = load(requests=10, connections=2, expect="same")
            well(await bench(server.address, "line", options, proxy_header=version))
            assert len(await seen.wait(events.Closed, 2)) == 2
            assert not seen.of(events.MessageFailed)

    run_async(main())


def test_a_load_connects_to_a_unix_socket(run_async: RunAsync, tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(echo("line"), "nested", f"unix:{tmp_path}/s") as (server, _):
            options = load(requests=100, connections=10, churn=2, expect="same")
            result = await bench(server.address, "line", options)
        well(result)
        assert result.total.connects >= 50

    run_async(main())


def test_a_unix_socket_whose_accept_queue_is_full(run_async: RunAsync, tmp_path: Path) -> None:
    path = str(tmp_path / "s")

    async def main() -> None:
        with socket.socket(socket.AF_UNIX) as passive:
            passive.bind(path)
            passive.listen(0)
            passive.setblocking(False)
            run = asyncio.ensure_future(bench(f"unix:{path}", "line", load(requests=4, connections=4, depth=1)))
            peers = []
            while len(peers) < 4:
                try:
                    peers.append(passive.accept()[0])
                except BlockingIOError:
                    await asyncio.sleep(0)
            for peer in peers:
                peer.setblocking(False)
                octets = await asyncio.get_running_loop().sock_recv(peer, 100)
                await asyncio.get_running_loop().sock_sendall(peer, octets)
            for peer in peers:
                assert await asyncio.get_running_loop().sock_recv(peer, 100) == b""
                peer.close()
            well(await run)

    run_async(main())


def test_several_local_addresses(run_async: RunAsync) -> None:
    async def main() -> None:
        async with serving(echo("line")) as (server, seen):
            options = load(requests=20, connections=4, churn=5, local="127.0.0.2, 127.0.0.3")
            well(await bench(server.address, "line", options))
            accepted = seen.of(events.Accepted)
            assert {each.name.remote_ip for each in accepted} == {"127.0.0.2", "127.0.0.3"}

    run_async(main())


def test_ramps_and_connect_rates_open_all_in_the_end(run_async: RunAsync) -> None:
    async def main() -> None:
        for options in ({"ramp": 0.1}, {"connect_rate": 100.0}):
            async with serving(echo("line")) as (server, _):
                run = Run(str(server.address), "line", load(connections=6, interval=0.02, **options))
                run._on_row = lambda row, run=run: run.stop() if row.open == 6 else None
                result = await run.result()
                well(result)
                assert result.series[0].open <= 1, "nothing is opened before the load begins"
                assert result.total.connects == 6
                assert [row.open for row in result.series if row.open] == sorted(
                    row.open for row in result.series if row.open
                )

    run_async(main())


def pushing(sock: socket.socket) -> None:
    """A push at the beginning, and one before each reply, in the same segment."""
    sock.sendall(b"EVENT begins\n")
    with suppress(ConnectionResetError):  # by an adversary, at its end
        while octets := sock.recv(65536):
            for line in octets.splitlines(keepends=True):
                sock.sendall(b"EVENT x\n" + line)


PUSHING: list[dict[str, Any]] = [*OPTIONS, {"replies": 0}, {"fragmenters": 1, "connections": 0, "duration": 0.05}]


@pytest.mark.parametrize("options", PUSHING)
def test_a_push_is_no_reply(run_async: RunAsync, options: dict[str, Any]) -> None:
    async def main() -> None:
        with scripted(pushing) as address:
            result = await bench(
                address,
                "line",
                load(**{"requests": 20} | options),
                messages=[b"hello"],
                is_push=lambda message: message.startswith(b"EVENT"),
            )
        assert result.ok, result.total.samples
        assert result.total.unasked == 0
        if options.get("replies", 1) and "fragmenters" not in options:
            assert (result.total.replies, result.total.pushes) == (20, 21)

    run_async(main())


def test_a_push_is_no_part_of_a_greeting(run_async: RunAsync) -> None:
    def greeting(sock: socket.socket) -> None:
        sock.sendall(b"EVENT x\nwelcome\n")
        echoing(sock)

    async def main() -> None:
        with scripted(greeting) as address:
            result = await bench(
                address, "line", load(requests=3, greeting=1, expect="same"), is_push=pattern("is_push", "starts:EVENT")
            )
        assert (result.ok, result.total.replies, result.total.pushes) == (True, 3, 1)

    run_async(main())


def test_an_is_push_that_raises_ends_the_run(run_async: RunAsync) -> None:
    async def main() -> None:
        with scripted(echoing) as address:
            # It does not wait for the reply that was thrown away.
            await bench(address, "line", load(timeout=7000.0), is_push=lambda message: message["kind"] == "event")

    with pytest.raises(OptionError, match="is_push: the function raised TypeError for a message of the server"):
        run_async(main())
