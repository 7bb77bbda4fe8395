"""A turn receives from several connections before their handlers run, and these run before anything is sent.

What a handler does in between to connections whose messages wait, or whose replies do, comes to the same as if each
were served alone.
"""

from __future__ import annotations

import asyncio
import gc
import select
import socket
import sys
import time
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import pytest

from fourtuple import Connection, Reason, Server, Service, events
from fourtuple.framing import Line, custom
from rig import Peer, Seen, limits, serving, until

#: More than are received from in one go.
CROWD = 20
MESSAGES = 3
Outcome = bytes | None


def batch(number: int) -> bytes:
    return b"".join(b"%02d-%d\n" % (number, line) for line in range(MESSAGES))


async def heard(peer: Peer) -> Outcome:
    """Everything that came until the end of file; None where there was an RST instead."""
    try:
        return await peer.receive_all()
    except ConnectionResetError:
        return None


async def talk(server: Server, seen: Seen, octets: Any = batch) -> list[Outcome]:
    """Let a crowd send before the engine looks again; return what each of them got."""
    with ExitStack() as stack:
        peers = [stack.enter_context(await Peer.connect(server)) for _ in range(CROWD)]
        await seen.wait(events.Accepted, CROWD)
        for number, peer in enumerate(peers):
            peer.socket.send(octets(number))
            peer.finish()
        return list(await asyncio.gather(*map(heard, peers)))


class Meddler:
    """Echoes lines; in call number ``at`` it does something to all connections but its own."""

    def __init__(self, at: int, how: str) -> None:
        self.at, self.how, self.calls, self.own = at, how, 0, -1
        self.service = Service("line")
        self.service.reply(self.reply)

    def reply(self, message: bytes, connection: Connection) -> bytes:
        self.calls += 1
        if self.calls == self.at:
            self.own = int(message[:2])
            for other in list(self.server.connections.values()):
                if other.id != connection.id:
                    self.act(other)
        return message

    def act(self, other: Connection) -> None:
        if self.how == "send":
            other.send(b"hello")
        elif self.how == "change_framing":
            other.change_framing("fixed:3")  # other messages, of the same octets
        else:
            getattr(other, self.how)()

    server: Server


@pytest.mark.parametrize(
    ("how", "others"),
    [
        ("send", lambda own: b"hello\n" + own),
        ("close", lambda own: b""),
        ("abort", lambda own: None),
        ("change_framing", lambda own: own),
    ],
)
def test_the_first_handler_of_a_turn_changes_connections_with_waiting_messages(
    run_async: Any, readiness: str, how: str, others: Any
) -> None:
    async def main() -> None:
        meddler = Meddler(1, how)
        async with serving(meddler.service, readiness) as (server, seen):
            meddler.server = server
            got = await talk(server, seen)
            expected = [batch(each) if each == meddler.own else others(batch(each)) for each in range(CROWD)]
            assert got == expected
            calls = {"send": MESSAGES, "change_framing": len(batch(0)) // 3}.get(how, 0)
            assert meddler.calls == MESSAGES + (CROWD - 1) * calls
            assert not seen.of(events.HandlerRaised)

    run_async(main())


@pytest.mark.parametrize("how", ["send", "close", "abort", "change_framing"])
def test_the_last_handler_of_a_turn_changes_connections_with_waiting_replies(
    run_async: Any, readiness: str, how: str
) -> None:
    async def main() -> None:
        meddler = Meddler(MESSAGES * CROWD, how)
        async with serving(meddler.service, readiness) as (server, seen):
            meddler.server = server
            got = await talk(server, seen)
            assert got.pop(meddler.own) == batch(meddler.own)
            own = [batch(each) for each in range(CROWD) if each != meddler.own]
            if how == "send":
                # Who had all that it wanted before the call has ended its connection since.
                assert all(each in (mine, mine + b"hello\n") for each, mine in zip(got, own, strict=True))
            elif how == "abort":
                assert all(each in (None, mine) for each, mine in zip(got, own, strict=True))
            else:
                assert got == own
            assert not seen.of(events.HandlerRaised)

    run_async(main())


def test_what_is_broken_costs_its_own_connection_what_comes_behind_it(run_async: Any, readiness: str) -> None:
    def octets(number: int) -> bytes:
        return batch(number) + (b"%02d" % number * 6 + b"\nmore\n" if number % 2 else b"")

    async def main() -> None:
        service = Service(Line(max_message=10))
        service.reply(bytes.upper)
        async with serving(service, readiness) as (server, seen):
            assert await talk(server, seen, octets) == [batch(each) for each in range(CROWD)]
            ends = await seen.wait(events.Closed, CROWD)
            broken = [each for each in ends if each.reason is Reason.MESSAGE_ERROR]
            assert len(broken) == CROWD // 2
            assert all(each.statistics.messages_in == each.statistics.messages_out == MESSAGES for each in ends)

    run_async(main())


def test_messages_in_pieces_are_whole_beside_any_other_connection(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        service.reply(bytes.upper)
        async with serving(service, readiness) as (server, seen):
            with ExitStack() as stack:
                peers = [stack.enter_context(await Peer.connect(server)) for _ in range(CROWD)]
                await seen.wait(events.Accepted, CROWD)
                for at in range(0, 15, 4):  # lines of five octets, in reads of four and one of three
                    for number, peer in enumerate(peers):
                        peer.socket.send(batch(number)[at : at + 4])
                    complete = min(at + 4, 15) // 5 - at // 5
                    for number, peer in enumerate(peers):
                        for line in range(at // 5, at // 5 + complete):
                            assert await peer.receive(5) == b"%02d-%d\n" % (number, line)

    run_async(main())


@pytest.mark.parametrize("at", [1, 2, MESSAGES])
def test_a_handler_that_raises_costs_no_other_connection(run_async: Any, readiness: str, at: int) -> None:
    async def main() -> None:
        service = Service("line")

        @service.reply
        def fails(message: bytes) -> bytes:
            if int(message[:2]) % 2 and message.endswith(b"-%d" % (at - 1)):
                raise ValueError("on purpose")
            return message

        async with serving(service, readiness) as (server, seen):
            got = await talk(server, seen)
            assert got == [batch(each)[: 5 * (at - 1)] if each % 2 else batch(each) for each in range(CROWD)]
            assert len(seen.of(events.HandlerRaised)) == CROWD // 2
            ends = await seen.wait(events.Closed, CROWD)
            assert sum(end.reason is Reason.HANDLER_ERROR for end in ends) == CROWD // 2
            assert server.statistics.messages_in == sum(end.statistics.messages_in for end in ends)

    run_async(main())


def test_behind_the_end_of_a_turn_no_handler_runs(run_async: Any, readiness: str) -> None:
    """Whoever was received from already is the first in the next one."""

    async def main() -> None:
        turns: list[float] = []
        service = Service("line")

        @service.reply
        def echo(message: bytes) -> bytes:
            if message.endswith(b"-0"):
                turns.append(server.engine.now)
            return message

        async with serving(service, readiness) as (server, seen):
            server.engine.turn_seconds = 0.0
            assert await talk(server, seen) == [batch(each) for each in range(CROWD)]
            assert len(set(turns)) == CROWD

    run_async(main())


def test_what_the_kernel_took_in_part_is_sent_once(run_async: Any, readiness: str) -> None:
    """A handler that fills the kernel's buffers by a broadcast, and then replies."""

    async def main() -> None:
        service = Service("line")
        news = b"n" * 300_000

        @service.reply
        def tell(message: bytes, connection: Connection) -> bytes:
            if message == b"a":
                server.broadcast(news, slow="skip")
            return message * 2

        async with serving(service, readiness, limits=limits(high_water=1 << 20)) as (server, seen):
            with await Peer.connect(server, receive_buffer=4096) as peer:
                (accepted,) = await seen.wait(events.Accepted)
                server.connections[accepted.id]._channel.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
                assert await peer.talk(b"a\nb\nc\n") == news + b"\naa\nbb\ncc\n"
            closed = await seen.closed()
            assert closed.statistics.octets_out == len(news) + 10
            assert closed.statistics.messages_out == 4

    run_async(main())


def test_replies_do_not_wait_again_for_a_handler_that_is_known_to_be_slow(run_async: Any, readiness: str) -> None:
    """It looks, from within, whether the others have what they were replied."""

    async def main() -> None:
        heard: list[bool] = []
        service = Service("line")

        @service.reply
        def reply(message: bytes) -> bytes:
            if message == b"slow":
                time.sleep(0.01)
            elif message == b"look":
                heard.extend(bool(select.select([other.socket], [], [], 10)[0]) for other in others)
            return message

        async with serving(service, readiness) as (server, seen):
            with ExitStack() as stack:
                *others, last = [stack.enter_context(await Peer.connect(server)) for _ in range(8)]
                await seen.wait(events.Accepted, 8)
                last.socket.send(b"slow\n")
                assert await last.receive(5) == b"slow\n"
                for other in others:
                    other.socket.send(b"fast\n")
                last.socket.send(b"look\n")
                assert await last.receive(5) == b"look\n"
            assert heard == [True] * len(others)

    run_async(main())


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["handler", "observer of what is slow", "loop's exception handler"])
def test_an_interrupt_costs_no_other(run_async: Any, interrupt: type[BaseException], where: str) -> None:
    async def main() -> None:
        service = Service("line")

        @service.reply
        def reply(message: bytes) -> bytes:
            if message == b"3" and where == "handler":
                raise interrupt
            if message == b"3" and where == "loop's exception handler":
                raise ValueError
            time.sleep(0.01 if message == b"3" else 0.0)
            return message

        def fail(_: Any, context: dict[str, Any]) -> None:
            assert isinstance(context["exception"], ArithmeticError)
            raise interrupt

        def observe(event: events.Event) -> None:
            seen(event)
            if isinstance(event, events.HandlerSlow):
                raise interrupt
            if isinstance(event, events.HandlerRaised):
                raise ArithmeticError

        async with serving(service, "nested") as (server, seen):
            engine = server.engine
            server._core.observer, engine._slow_seconds = observe, 0.005
            engine.turn_seconds = 60.0  # all of them in one turn, however busy the machine is
            with ExitStack() as stack:
                peers = [stack.enter_context(await Peer.connect(server)) for _ in range(8)]
                await seen.wait(events.Accepted, len(peers))
                asyncio.get_running_loop().set_exception_handler(fail)
                for number, peer in enumerate(peers):
                    peer.socket.send(b"%d\n" % number)
                with pytest.raises(interrupt):
                    engine._turn()
                asyncio.get_running_loop().set_exception_handler(None)
                assert not engine.in_turn
                for number, peer in enumerate(peers):
                    if number != 3 or where.startswith("observer"):
                        assert await peer.receive(2) == b"%d\n" % number

    run_async(main())


@pytest.mark.parametrize("what", ["decoder", "handler", "encoder"])
def test_a_slow_handler_is_named(run_async: Any, readiness: str, what: str) -> None:
    async def main() -> None:
        def work(name: str, octets: bytes) -> None:
            if name == what and octets.startswith(b"s"):
                time.sleep(0.02)

        def decode(buffer: memoryview, seen: int) -> tuple[bytes, int] | int:
            work("decoder", bytes(buffer))
            return (bytes(buffer[:2]), 2) if len(buffer) > 1 else 2

        def encode(message: bytes) -> bytes:
            work("encoder", message)
            return message

        service = Service(custom(decode, encode, max_message=100))

        @service.reply
        def reply(message: bytes) -> bytes:
            work("handler", message)
            return message

        async with serving(service, readiness) as (server, seen):
            server.engine._slow_seconds = 0.01
            with ExitStack() as stack:
                peers = [stack.enter_context(await Peer.connect(server)) for _ in range(5)]
                accepted = await seen.wait(events.Accepted, len(peers))
                for number, peer in enumerate(peers):
                    peer.socket.send(b"s2" if number == 2 else b"f%d" % number)
                peers[-1].finish()
                for peer in peers:
                    await peer.receive(2)
                (slow, *_) = await seen.wait(events.HandlerSlow)
                assert slow.id == accepted[2].id

    run_async(main())


def test_a_batch_of_octets_and_other_values_leaves_nothing_behind(run_async: Any, readiness: str) -> None:
    """Each value has the one reply before it encoded, which empties the list of pending ones by pop()."""
    rounds = 100
    octets = b"a\nV\nb\nc\n" * 4

    async def main() -> None:
        service = Service("line")
        service.reply(lambda message: bytearray(message) if message == b"V" else message)
        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:

                async def in_use() -> int:
                    for _ in range(rounds):
                        await peer.send(octets)
                        assert await peer.receive(len(octets)) == octets
                    gc.collect()
                    return sys.getallocatedblocks()

                counts = [await in_use() for _ in range(6)]
                assert min(after - before for before, after in pairwise(counts)) < rounds // 2, counts

    run_async(main())


def test_after_a_turn_a_connection_that_does_not_receive_is_not_read(run_async: Any, readiness: str) -> None:
    """Conversations: one uses up every turn, the other one has other things to do."""

    async def main() -> None:
        at_work: dict[bytes, Connection] = {}
        service = Service("line")

        @service.conversation
        async def talk(connection: Connection) -> None:
            at_work[await connection.receive()] = connection
            if len(at_work) == 1:
                async for message in connection:
                    time.sleep(server.engine.turn_seconds)
                    await connection.send(message)
            else:
                await asyncio.Event().wait()

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as first, await Peer.connect(server) as other:
                for peer, name in ((first, b"first"), (other, b"other")):
                    await peer.send(name + b"\n")
                    await until(lambda name=name: name in at_work)  # type: ignore[misc]
                for _ in range(5):
                    first.socket.send(b"?\n")
                    other.socket.send(b"!\n" * 10)
                    assert await first.receive(2) == b"?\n"
                assert at_work[b"other"].statistics.octets_in == len(b"other\n" + b"!\n" * 10)

    run_async(main())
