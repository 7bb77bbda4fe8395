"""A crowd of peers that plays a script to a server, and what can be told of that from outside.

Of two servers that do the same, in C and in Python, nobody can tell which is which.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import strategies as st

from conftest import RunAsync
from fourtuple import Connection, FourTuple, Reason, Server, Service, events, reply_and_close
from fourtuple.engine import Engine
from fourtuple.framing import Fixed, Framing, Length, Line, Netstring, Varint
from rig import Peer, Seen, limits, serving, turns

#: What a handler does with a message that begins with this; with others it replies.
DEEDS = ["nothing", "value", "subclass", "send", "raise", "goodbye", "close", "abort", "change", "other", "unencodable"]
#: More than a message of any framing here may have.
TOO_LONG = b"z" * 40
MAX = 20
FRAMINGS: dict[str, Framing] = {
    "fixed": Fixed(4),
    "line": Line(max_message=MAX),
    "u16": Length(2, max_message=MAX),
    "netstring": Netstring(max_message=MAX),
    "varint": Varint(max_message=MAX),  # whose decoder is always in Python
}
KINDS = ["plain", "with connection", "generator", "async", "async that waits", "async generator", "conversation"]
KINDS += ["batches", "batches with connection"]


def each_once(kinds: list[str], framings: list[str]) -> list[Any]:
    """All pairs as parameters of a test. By default, it takes each of both once; the other pairs are slow."""
    few = {(kind, framings[at % len(framings)]) for at, kind in enumerate(kinds)}
    return [
        pytest.param(kind, framing, marks=[] if (kind, framing) in few else [pytest.mark.slow])
        for kind in kinds
        for framing in framings
    ]


class Octets(bytes):
    """Not quite bytes."""


#: What one peer does: these messages, cut at these places, and "finish", "reset" or "stay" at the end.
Script = tuple[list[bytes], list[int], str]
WORDS = [deed[:3].encode() for deed in DEEDS] + [b"echo"] * 20 + [b"broken"]
scripts = st.lists(
    st.tuples(
        st.lists(st.sampled_from(WORDS), max_size=9),
        st.lists(st.integers(0, 80), max_size=3),
        st.sampled_from(["finish", "reset", "stay"]),
    ),
    min_size=1,
    max_size=20,  # more than are received from in one stage
)


@dataclass
class Outcome:
    """What can be told from outside of one connection."""

    octets: bytes = b""
    end: str = "open"
    handled: list[bytes] = field(default_factory=list)
    told: list[str] = field(default_factory=list)


def encoded(framing: Framing, batch: list[bytes]) -> bytes:
    """A batch on the wire; what is broken in it is broken in the framing's own way."""
    octets = b""
    for word in batch:
        if word == b"broken":
            octets += {"Fixed": b"xy", "Line": TOO_LONG + b"\n", "Netstring": b"4;brok,"}.get(
                type(framing).__name__, b"\x3f" + TOO_LONG
            )
        else:
            octets += framing.encode(word[:4].ljust(4, b"-"))
    return octets


def pieces_of(framing: Framing, script: Script) -> list[bytes]:
    octets, places = encoded(framing, script[0]), sorted({0, *script[1]})
    return [octets[start:stop] for start, stop in zip(places, [*places[1:], len(octets)], strict=True)]


def act(message: bytes, connection: Connection | None, framing: Framing) -> Any:
    """What the handlers do."""
    deed = message[:3]
    if deed == b"not":
        return None
    if deed == b"val":
        return bytearray(message)
    if deed == b"sub":
        return Octets(message)
    if deed == b"rai":
        raise ValueError("on purpose")
    if deed == b"goo":
        return reply_and_close(message)
    if deed == b"une":
        return {"Fixed": b"no", "Line": b"a\nb"}.get(type(framing).__name__, TOO_LONG)
    if connection is not None:
        if deed == b"sen":
            connection.send(b"sent")
        elif deed == b"clo":
            connection.close()
        elif deed == b"abo":
            connection.abort()
        elif deed == b"cha":
            connection.change_framing(Fixed(3))
            return b"new"
        elif deed == b"oth":
            connection.change_framing(sends=Length(1))
    return message


def service_of(kind: str, framing: Framing, handled: Callable[[bytes, Connection | None], None]) -> Service:
    service = Service(framing)

    def handle(message: bytes, connection: Connection | None = None) -> Any:
        handled(message, connection)
        return act(message, connection, framing)

    if kind == "plain":
        service.reply(lambda message: handle(message))
    elif kind == "with connection":

        @service.reply
        def replies(message: bytes, connection: Connection) -> Any:
            return handle(message, connection)

    elif kind == "batches":

        @service.replies
        def all_of_them(messages: list[bytes]) -> list[Any]:
            return [handle(message) for message in messages]

    elif kind == "batches with connection":

        @service.replies
        def all_of_it(messages: list[bytes], connection: Connection) -> list[Any] | tuple[Any, ...]:
            replies = [handle(message, connection) for message in messages]
            if messages[-1] == b"not-":
                messages.clear()  # the list is the handler's
            return tuple(replies) if len(replies) > 2 else replies

    elif kind == "generator":

        @service.reply
        def several(message: bytes, connection: Connection) -> Iterator[Any]:
            yield handle(message, connection)
            yield message

    elif kind.startswith("async"):

        async def answer(message: bytes, connection: Connection) -> Any:
            if kind != "async" and message[:1] in b"en":
                await asyncio.sleep(0)
            return handle(message, connection)

        async def answers(message: bytes, connection: Connection) -> AsyncIterator[Any]:
            yield await answer(message, connection)
            yield message

        service.reply(answers if kind == "async generator" else answer)
    else:

        @service.conversation
        async def talk(connection: Connection) -> None:
            async for message in connection:
                reply = handle(message, connection)
                if not connection.closed and isinstance(reply, bytes):
                    await connection.send(reply)

    return service


class Speaker(Peer):
    """A peer that says a piece at a time."""

    #: Whether it is known how many octets the same replies are on the wire. Records of TLS may hold one or several.
    knows_size = True
    #: The octets of the wire that it has received.
    received = 0

    async def begin(self) -> None:
        """Do what comes before the first piece."""
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def say(self, piece: bytes) -> None:
        self.socket.send(piece)

    def hear(self) -> bytes:
        """What has come; empty at the end of file. Raises BlockingIOError and ConnectionResetError."""
        octets = self.socket.recv(65536)
        self.received += len(octets)
        return octets

    def end(self, how: str) -> None:
        """End as the script says; "stay" does nothing."""
        if how == "finish":
            self.finish()


def read(peer: Speaker, outcome: Outcome) -> None:
    """What has come, and whether it has ended."""
    while outcome.end == "open":
        try:
            octets = peer.hear()
        except BlockingIOError:
            return
        except ConnectionResetError:
            outcome.end = "reset"
            return
        outcome.octets += octets
        if not octets:
            outcome.end = "end of file"


async def listen(peer: Speaker, outcome: Outcome, seen: Seen) -> None:
    """As read(). If the server has closed the connection, wait for its end: a busy machine delivers that later."""
    read(peer, outcome)
    if outcome.end == "open":
        port = peer.socket.getsockname()[1]
        if any(isinstance(each.name, FourTuple) and each.name.remote_port == port for each in seen.of(events.Closed)):
            while outcome.end == "open":
                await turns(1)
                read(peer, outcome)


async def settled(engine: Engine) -> None:
    """All that was sent is served: on loopback it is there when send(2) returns, without Nagle's algorithm."""
    await turns()
    while engine.in_turn or engine._scheduled or engine._remainder or engine._revisits or engine.readiness.poll():
        await turns()


#: The octets of a connection before its first piece, in and out. If the latter is None, those are not compared.
Before = tuple[int, int | None]


def told(event: events.Event, before: Before) -> str:
    """An event without what differs from run to run: identifiers, names, times, the octets of a handshake."""
    names = [name for name in ("reason", "error", "statistics", "limit") if hasattr(event, name)]
    if isinstance(event, events.Closed):
        found = event.statistics
        octets_out = 0 if before[1] is None else found.octets_out - before[1]
        found = replace(found, octets_in=found.octets_in - before[0], octets_out=octets_out)
        event = replace(event, statistics=found)
        if event.reason is Reason.ABORTED:
            names.remove("statistics")
    return " ".join([event.kind, *(f"{name}={getattr(event, name)!r}" for name in names)])


async def played(
    server: Server,
    seen: Seen,
    handled: list[tuple[int, bytes]],
    crowd: list[tuple[list[bytes], str]],
    kind: type[Speaker] = Speaker,
) -> list[Outcome]:
    """Let the crowd play; what came of it."""
    engine = server.engine
    assert engine is not None
    outcomes = [Outcome() for _ in crowd]
    peers = [await kind.connect(server) for _ in crowd]
    for peer in peers:
        await peer.begin()
    places = {peer.socket.getsockname()[1]: place for place, peer in enumerate(peers)}
    await seen.wait(events.Accepted, len(peers))
    await settled(engine)
    streams = [runner.stream for runner in server._core.registry.runners.values()]
    before = {str(each.name): (each.octets_in, each.octets_out if kind.knows_size else None) for each in streams}
    for at in range(max(len(pieces) for pieces, _ in crowd)):
        for peer, (pieces, _), outcome in zip(peers, crowd, outcomes, strict=True):
            if at < len(pieces) and outcome.end == "open":
                try:
                    peer.say(pieces[at])
                except (ConnectionResetError, BrokenPipeError):
                    outcome.end = "gone"
        await settled(engine)
        for peer, outcome in zip(peers, outcomes, strict=True):
            await listen(peer, outcome, seen)
    for peer, (_, end), outcome in zip(peers, crowd, outcomes, strict=True):
        if end == "reset":
            peer.reset()
        elif outcome.end == "open":
            peer.end(end)
    await settled(engine)
    for peer, (_, end), outcome in zip(peers, crowd, outcomes, strict=True):
        if end != "reset":
            await listen(peer, outcome, seen)
        peer.close()
    await seen.wait(events.Closed, len(peers))
    for event in seen:
        name = getattr(event, "name", None)
        if isinstance(name, FourTuple) and not isinstance(event, events.HandlerSlow):  # which the machine is, not we
            place = places[name.remote_port]
            if isinstance(event, events.Closed) and outcomes[place].end == "end of file":
                assert event.statistics.octets_out == peers[place].received
            outcomes[place].told.append(told(event, before[str(name)]).replace(str(name), "NAME"))
    for port, message in handled:
        outcomes[places.get(port, 0)].handled.append(message)
    return outcomes


def forget_what_is_behind(one: Outcome, other: Outcome) -> None:
    """Behind a reply that cannot be encoded, compare only what the peer sees.

    Replies of a batch may be encoded together, so that later messages of the batch are handled by then, and may raise.
    """
    ends = [[at for at, each in enumerate(outcome.told) if "EncodeError" in each] for outcome in (one, other)]
    if all(ends):
        for outcome, (end, *_) in zip((one, other), ends, strict=True):
            del outcome.told[end + 1 :]
        handled = min(len(one.handled), len(other.handled))
        del one.handled[handled:], other.handled[handled:]


def forget_what_is_lost(one: Outcome, other: Outcome) -> None:
    """Before a reset, compare what both have received: the server's kernel drops octets that it could not send yet.

    It sends ten segments, and waits for an acknowledgement (RFC 6928), which is delayed or not as the machine goes.
    """
    received = min(len(one.octets), len(other.octets))
    one.octets, other.octets = one.octets[:received], other.octets[:received]


def both_played(
    run_async: RunAsync,
    readiness: str,
    kind: str,
    framing: Framing,
    crowd: list[tuple[list[bytes], str]],
    *,
    small: bool,
    speaker: type[Speaker] = Speaker,
    **options: Any,
) -> tuple[list[Outcome], list[Outcome]]:
    """What comes of a script with the turn in C, and with the one in Python: with a clock of its own, there is no C."""
    # What the same replies take in the outbox must be the same, or an outbox is full at other times.
    bounds = limits(max_batch=3, high_water=24, max_outbox=64 if speaker.knows_size else 4096) if small else limits()

    async def main(clock: Callable[[], float] | None) -> list[Outcome]:
        handled: list[tuple[int, bytes]] = []

        def note(message: bytes, connection: Connection | None) -> None:
            # Whom a plain handler serves it does not know: then all that they saw is compared, in whatever order.
            name = connection.name if connection is not None else None
            handled.append((name.remote_port if isinstance(name, FourTuple) else 0, message))

        service = service_of(kind, framing, note)
        async with serving(service, readiness, clock=clock, limits=bounds, **options) as (server, seen):
            assert server.engine is not None
            assert server.engine.fast_path is (clock is None)
            # Messages alone end a share: where the clock did, the machine would decide how many messages are handled
            # before a reply turns out not to be encodable, or before a reset is noticed.
            server.engine.turn_seconds = 3600.0
            outcomes = await played(server, seen, handled, crowd, speaker)
        if kind in ("plain", "batches"):
            outcomes[0].handled.sort()
        return outcomes

    with_c = run_async(main(None))
    in_python = run_async(main(lambda: time.monotonic()))
    for one, other in zip(with_c, in_python, strict=True):
        if "async" in kind or kind == "generator":
            forget_what_is_behind(one, other)
        if one.end == other.end == "reset":
            forget_what_is_lost(one, other)
    return with_c, in_python
