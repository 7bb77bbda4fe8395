"""Idle connections and adversaries: what the server sees of each."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

import pytest

from conftest import RunAsync
from fourtuple import Deadlines, Service, events
from fourtuple.load import Result, Run
from fourtuple.net.tcpinfo import TcpInfo
from load.conftest import echo, load, scripted
from rig import PATIENT, serving, until


async def stopped_when(address: Any, condition: Any, framing: str = "line", **options: Any) -> Result:
    """Run until the rows so far say that enough has happened."""
    rows: list[Any] = []
    run = Run(str(address), framing, load(connections=0, interval=0.02, **options))

    def row(latest: Any) -> None:
        rows.append(latest)
        others = {}
        for each in rows:
            for name, count in each.tally.others.items():
                others[name] = others.get(name, 0) + count
        if condition(others, latest):
            run.stop()

    run._on_row = row
    return await run.result()


def test_idle_connections_are_held(run_async: RunAsync) -> None:
    async def main() -> None:
        async with serving(echo("line")) as (server, seen):
            result = await stopped_when(server.address, lambda others, row: row.open == 50, idle=50)
            assert result.total.others == {"idle: opened": 50}
            closed = await seen.wait(events.Closed, 50)
            assert {each.statistics.octets_in for each in closed} == {0}

    run_async(main())


def test_idle_connections_that_the_server_ends_are_counted_and_made_again(run_async: RunAsync) -> None:
    def goodbye(sock: socket.socket) -> None:
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""

    async def main() -> None:
        with scripted(goodbye) as address:
            result = await stopped_when(address, lambda others, _: others.get("idle: closed by peer", 0) >= 2, idle=1)
        assert result.total.others["idle: opened"] >= 2

    run_async(main())


def test_fragmenters_are_served_like_any_client(run_async: RunAsync) -> None:
    async def main() -> None:
        async with serving(echo("u16")) as (server, seen):
            result = await stopped_when(
                server.address,
                lambda others, _: others.get("fragmenters: replies", 0) >= 10,
                "u16",
                fragmenters=2,
                size=20,
                expect="same",
            )
            assert result.total.mismatches == 0
            assert result.total.others["fragmenters: opened"] == 2
            closed = await seen.wait(events.Closed, 2)
            assert sum(each.statistics.messages_in for each in closed) >= 10

    run_async(main())


def test_what_a_fragmenter_sends_comes_octet_by_octet(run_async: RunAsync) -> None:
    reads: list[bytes] = []
    segments: list[int] = []

    def look(sock: socket.socket) -> None:
        while not b"".join(reads).endswith(b"\n"):
            reads.append(sock.recv(100))
        segments.append(TcpInfo.of(sock).data_segs_in or 0)
        sock.sendall(b"".join(reads))
        with suppress(ConnectionResetError):
            while sock.recv(100):
                pass

    async def main() -> None:
        with scripted(look) as address:
            await stopped_when(
                address, lambda others, _: others.get("fragmenters: replies"), fragmenters=1, size=50, expect="same"
            )

    run_async(main())
    # The kernel may join what it could not send at once; one segment for a message of 51 octets would be none of ours.
    assert segments[0] > 5
    assert b"".join(reads) == b"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwx\n"


def test_a_wrong_reply_to_a_fragmented_request_counts(run_async: RunAsync) -> None:
    service = Service("line")

    @service.reply
    def wrong(message: bytes) -> bytes:
        return message[1:]

    async def main() -> None:
        async with serving(service) as (server, _):
            result = await stopped_when(
                server.address, lambda others, _: others.get("fragmenters: replies"), fragmenters=1, expect="same"
            )
        assert result.total.mismatches >= 1
        assert "the reply to a fragmented request is b'bcdefg" in result.total.samples[0]

    run_async(main())


def test_resetters_reset_in_mid_message_and_come_again(run_async: RunAsync) -> None:
    async def main() -> None:
        async with serving(echo("line")) as (server, seen):
            result = await stopped_when(
                server.address, lambda others, _: others.get("resetters: reset", 0) >= 5, resetters=2
            )
            assert result.total.others["resetters: opened"] >= 5
            closed = await seen.wait(events.Closed, 5)
            assert {each.reason.value for each in closed} == {"reset by peer"}
            assert {each.statistics.messages_in for each in closed} == {1}, "one whole request, and half of the next"

    run_async(main())


@pytest.mark.parametrize("kind", ["half_open", "slow_writers"])
def test_a_peer_that_never_ends_a_message_is_ended_by_the_deadline(run_async: RunAsync, kind: str) -> None:
    name = kind.replace("half_open", "half-open").replace("_", " ")

    async def main() -> None:
        deadlines = Deadlines(message_timeout=0.2, linger_timeout=0.2)
        async with serving(echo("line"), deadlines=deadlines) as (server, seen):
            result = await stopped_when(
                server.address, lambda others, _: others.get(f"{name}: closed by peer"), slow_rate=20.0, **{kind: 1}
            )
            assert result.total.others[f"{name}: opened"] >= 1
            missed = await seen.wait(events.DeadlineMissed)
            assert missed[0].error.which == "message_timeout"

    run_async(main())


@pytest.mark.slow  # it takes as long as the kernel's buffers last at 100 octets a second
def test_slow_readers_ask_on_and_do_not_take(run_async: RunAsync) -> None:
    async def main() -> None:
        deadlines = PATIENT.replace(write_timeout=0.3)
        async with serving(echo("u32"), deadlines=deadlines) as (server, seen):
            result = await stopped_when(
                server.address,
                lambda others, _: others.get("slow readers: reset by peer"),
                "u32",
                slow_readers=1,
                size=100_000,
                slow_rate=100.0,
            )
            assert result.total.others["slow readers: opened"] >= 1
            missed = await seen.wait(events.DeadlineMissed)
            assert missed[0].error.which == "write_timeout"
            late = missed[0].id
            await until(lambda: any(each.id == late for each in seen.of(events.Closed)))
            closed = next(each for each in seen.of(events.Closed) if each.id == late)
            assert closed.statistics.octets_in > 100_000, "requests came, many of them"

    run_async(main())


def test_beside_a_load(run_async: RunAsync) -> None:
    """All of them at once: the load's own replies are all right."""

    async def main() -> None:
        async with serving(echo("line")) as (server, _):
            options = load(
                connections=4, requests=500, expect="same", idle=5, slow_readers=1, slow_writers=1, fragmenters=1,
                resetters=1, half_open=1,
            )  # fmt: skip
            result = await Run(str(server.address), "line", options).result()
        assert result.ok, result.total
        assert (result.total.replies, result.total.connects) == (500, 4)
        opened = {name: count for name, count in result.total.others.items() if name.endswith(": opened")}
        assert opened["idle: opened"] == 5
        assert set(opened) == {
            f"{name}: opened"
            for name in ("idle", "slow readers", "slow writers", "fragmenters", "resetters", "half-open")
        }

    run_async(main())
