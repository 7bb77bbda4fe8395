"""Batches never leak: what a handler does at any message of a batch holds from the very next octet on.

A peer sends five lines in one segment. At line number ``at`` the handler closes, aborts, changes the framing,
goes on with raw octets, sends, or does it to another connection: in inline, async and blocking handlers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fourtuple import BlockingConnection, Connection, Reason, Service, events
from fourtuple.errors import EndOfFile
from fourtuple.framing import Framing, Line, Varint
from handlers.kinds import service_by
from rig import Peer, serving, until

LINES = [b"line%d" % number for number in range(5)]
BATCH = b"".join(line + b"\n" for line in LINES)

KINDS = ["inline", "generator", "async", "conversation", "blocking"]
Act = Callable[[Any], None]


def service_of(kind: str, at: int, act: Act, seen: list[bytes]) -> Service:
    """Echoes lines, and does ``act(connection)`` before it answers line number ``at``."""

    def handle(message: bytes, connection: Any) -> bytes:
        seen.append(message)
        if message == LINES[at]:
            act(connection)
        return message

    return service_by(kind, handle)


everywhere = pytest.mark.parametrize("at", range(5))
every_kind = pytest.mark.parametrize("kind", KINDS)


def lines(messages: list[bytes]) -> bytes:
    return b"".join(message + b"\n" for message in messages)


@everywhere
@every_kind
def test_closing_ends_the_batch(run_async: Any, readiness: str, kind: str, at: int) -> None:
    async def main() -> None:
        handled: list[bytes] = []
        service = service_of(kind, at, lambda connection: connection.close(), handled)
        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(BATCH)
                assert await peer.receive_all() == lines(LINES[:at])
                peer.close()
                closed = await seen.closed()
                assert closed.reason is Reason.CLOSED
                assert closed.statistics.messages_in == at + 1
            assert handled == LINES[: at + 1]
            assert not seen.of(events.HandlerRaised)

    run_async(main())


@everywhere
@every_kind
def test_aborting_ends_the_batch(run_async: Any, readiness: str, kind: str, at: int) -> None:
    async def main() -> None:
        handled: list[bytes] = []
        service = service_of(kind, at, lambda connection: connection.abort(), handled)
        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(BATCH)
                with pytest.raises(ConnectionResetError):
                    await peer.receive_all()
                assert (await seen.closed()).reason is Reason.ABORTED
            assert handled[: at + 1] == LINES[: at + 1]
            if kind != "blocking":  # which is at work in another thread, with what it had
                assert handled == LINES[: at + 1]
            assert not seen.of(events.HandlerRaised)

    run_async(main())


@everywhere
@every_kind
def test_changing_the_framing_cuts_the_rest_of_the_batch_anew(
    run_async: Any, readiness: str, kind: str, at: int
) -> None:
    async def main() -> None:
        handled: list[bytes] = []
        service = service_of(kind, at, lambda connection: connection.change_framing("fixed:5"), handled)
        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                left = lines(LINES[at + 1 :])
                pieces = [left[start : start + 5] for start in range(0, len(left) - 4, 5)]
                # What is returned or yielded belongs to its message; what is sent, to the framing of that moment.
                last = LINES[at] if kind in ("conversation", "blocking") else lines([LINES[at]])
                assert await peer.talk(BATCH) == lines(LINES[:at]) + last + b"".join(pieces)
                assert handled == LINES[: at + 1] + pieces
                closed = await seen.closed()
                assert closed.statistics.messages_in == len(handled)
                assert len(seen.of(events.MessageFailed)) == (1 if len(left) % 5 else 0)

    run_async(main())


@everywhere
@pytest.mark.parametrize("kind", ["conversation", "blocking"])
def test_raw_octets_begin_behind_the_last_delivered_message(run_async: Any, readiness: str, kind: str, at: int) -> None:
    async def main() -> None:
        got: list[bytes] = []
        service = Service("line")

        if kind == "conversation":

            @service.conversation
            async def talk(connection: Connection) -> None:
                got.extend([await connection.receive() for _ in range(at + 1)])
                got.append(await connection.receive_exactly(2))
                got.append(await connection.receive_until(b"\n", 100))
                connection.unread(b"once more\nand ")
                while True:
                    got.append(await connection.receive())

        else:

            @service.conversation
            def converse(connection: BlockingConnection) -> None:
                got.extend(connection.receive() for _ in range(at + 1))
                got.append(connection.receive_exactly(2))
                got.append(connection.receive_until(b"\n", 100))
                connection.unread(b"once more\nand ")
                while True:
                    got.append(connection.receive())

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                assert await peer.talk(BATCH + b"extra\n") == b""
            await seen.closed()
            rest = [*LINES[at + 1 :], b"extra"]
            assert got[: at + 1] == LINES[: at + 1]
            assert got[at + 1 : at + 3] == [rest[0][:2], rest[0][2:] + b"\n"]
            assert got[at + 3] == b"once more"
            assert lines(got[at + 4 :]) == b"and " + lines(rest[1:]) if rest[1:] else got[at + 4 :] == []
            raised = [type(each.error) for each in seen.of(events.HandlerRaised)]
            assert raised in ([], [EndOfFile])

    run_async(main())


@everywhere
@every_kind
def test_sending_stands_before_the_reply(run_async: Any, readiness: str, kind: str, at: int) -> None:
    async def main() -> None:
        service = service_of(kind, at, lambda connection: connection.send(b"by the way"), [])
        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                assert await peer.talk(BATCH) == lines([*LINES[:at], b"by the way", *LINES[at:]])

    run_async(main())


@everywhere
@every_kind
@pytest.mark.parametrize("how", ["close", "abort", "send", "change_framing"])
def test_another_connection_of_the_same_batch(run_async: Any, readiness: str, kind: str, at: int, how: str) -> None:
    """Two connections are ready at once; the handler of the first acts on the other, which has a batch to come."""

    async def main() -> None:
        handled: list[bytes] = []

        def act(connection: Any) -> None:
            def really() -> None:
                for other in server.connections.values():
                    if other.id != connection.id:
                        if how == "send":
                            other.send(b"hello")
                        elif how == "change_framing":
                            other.change_framing("fixed:1")
                        else:
                            getattr(other, how)()

            if kind == "blocking":
                server.call_soon(really)
            else:
                really()

        service = service_of(kind, at, act, handled)
        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer, await Peer.connect(server) as other:
                await seen.wait(events.Accepted, 2)
                if kind == "blocking" and how in ("send", "change_framing"):
                    return  # a lent connection belongs to its thread
                other.socket.send(b"unfinished")
                peer.socket.send(BATCH)
                assert await peer.talk(b"") == BATCH
                if how == "send":
                    assert await other.receive(6) == b"hello\n"
                elif how == "close":
                    assert await other.receive_all() == b""
                elif how == "abort":
                    with pytest.raises(ConnectionResetError):
                        await other.receive_all()
                elif kind != "conversation":
                    assert await other.receive(10) == b"unfinished"
            await until(lambda: not server.connections)
            assert not seen.of(events.HandlerRaised)

    run_async(main())


@everywhere
@every_kind
def test_a_half_close_of_ours_in_the_batch(run_async: Any, readiness: str, kind: str, at: int) -> None:
    """The rest of the batch is still handled; there is nobody to hear the replies."""

    async def main() -> None:
        handled: list[bytes] = []
        service = service_of(kind, at, lambda connection: connection.send_eof(), handled)
        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(BATCH)
                assert await peer.receive_all() == lines(LINES[:at])
                peer.close()
                await seen.closed()
            assert handled == LINES

    run_async(main())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("framing", [Line(max_message=10), Varint(max_message=10)], ids=["in C", "in Python"])
def test_a_broken_message_behind_good_ones_is_reported_at_once(
    run_async: Any, readiness: str, kind: str, framing: Framing
) -> None:
    async def main() -> None:
        service = service_of(kind, 0, lambda connection: None, [])
        service.framing = framing
        good = framing.encode_many(LINES)
        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(good + b"\x0bnot so good")  # and it waits: for the end of file, with no octet more
                assert await peer.receive_all() == good
            closed = await seen.closed()
            assert closed.reason is Reason.MESSAGE_ERROR
            assert closed.statistics.messages_in == len(LINES)

    run_async(main())


@pytest.mark.parametrize("times", [20, 200, 1000])
def test_behind_a_full_batch_whose_replies_had_to_wait_comes_the_next(
    run_async: Any, readiness: str, times: int
) -> None:
    """It is handled in several goes, and the last of them is not a full batch."""

    async def main() -> None:
        service = Service("line")
        service.reply(lambda message: message * times)
        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"01234\n" * 1500)
                for _ in range(1500):
                    assert await peer.receive(5 * times + 1) == b"01234" * times + b"\n"

    run_async(main())
