"""A server in a process of its own, so that its memory and descriptors can be counted.

``python target.py CONFIGURATION`` (JSON) prints one line of JSON once it listens, answers each line of standard
input by one with its numbers, and ends with standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import sys
import threading
from collections import Counter
from dataclasses import asdict
from typing import Any

from fourtuple import Deadlines, Limits, Proxy, Server, Service, Sockets, Tls, events
from fourtuple import framing as framings
from fourtuple.errors import DeadlinePassed


def echo(message: Any) -> Any:
    return message


def blast(message: bytes) -> bytes:
    """A large reply to a small question: what a peer that does not read has us hold."""
    return message[:8] + b"." * 1_000_000


def swallow(_message: Any) -> None:
    """No reply to anything: not every message can be encoded that can be decoded."""


def in_a_thread(connection: Any) -> None:
    for message in connection:
        connection.send(message)


async def pours(connection: Any) -> None:
    """Sends without an end to a peer that keeps up: no send ever waits."""
    await connection.receive()
    while True:
        await connection.send(b"y")
        COUNTED.messages += 1


async def rows(message: bytes) -> Any:
    while True:
        yield message
        COUNTED.messages += 1


async def parks(message: bytes) -> bytes:
    """Waits for something that never comes."""
    COUNTED.started += 1
    try:
        await asyncio.Event().wait()
    finally:
        COUNTED.ended += 1
    return message


async def works(connection: Any) -> None:
    """Waits for something else, and looks whether its peer has finished."""
    await connection.receive()
    COUNTED.started += 1
    await connection.peer_finished.wait()
    COUNTED.ended += 1


def puts_back(message: bytes, connection: Any) -> bytes:
    """As many octets as one read brings, once."""
    if message == b"again":
        connection.unread(b"x" * connection._stream.limits.read_size + b"\n")
    return b"%d" % len(message)


#: Kinds of services by what their handler does, and how it is registered.
REPLIES = {
    "echo": echo, "blast": blast, "swallow": swallow, "rows": rows, "parks": parks, "puts back": puts_back,
}  # fmt: skip
CONVERSATIONS = {"threads": in_a_thread, "pours": pours, "works": works}


def service(kind: str, framing: str) -> Service:
    made = Service(endless_events() if framing == "events" else framing, name=kind)
    if kind in CONVERSATIONS:
        made.conversation(CONVERSATIONS[kind])
    else:
        made.reply(REPLIES[kind])
    return made


def endless_events() -> Any:
    """A parser of messages with a sentinel that its framing does not know: it gives that again and again."""

    class Parser:
        def __init__(self) -> None:
            self.lines: list[bytes] = []

        def receive_data(self, data: bytes) -> None:
            self.lines += data.splitlines()

        def next_event(self) -> object:
            return self.lines.pop(0) if self.lines else PAUSED

    return framings.event_parser(Parser, need_data=(object(),))


PAUSED = object()


class Counted:
    """What handlers did, and the most messages that one of them sent between two turns of the loop."""

    messages = started = ended = most = 0

    async def watch(self) -> None:
        while True:
            before = self.messages
            await asyncio.sleep(0)
            self.most = max(self.most, self.messages - before)


COUNTED = Counted()


class Tally:
    """An observer that adds up, so that the server's own counters can be compared."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.octets = [0, 0]

    def __call__(self, event: events.Event) -> None:
        self.kinds[event.kind] += 1
        if isinstance(event, events.Closed):
            self.kinds[f"closed: {event.reason.value}"] += 1
            self.octets[0] += event.statistics.octets_in
            self.octets[1] += event.statistics.octets_out
        elif isinstance(event, events.DeadlineMissed) and isinstance(event.error, DeadlinePassed):
            self.kinds[event.error.which] += 1
        elif isinstance(event, events.HandlerRaised):
            print(f"{event.handler} raised {event.error!r}", file=sys.stderr, flush=True)


def report(servers: list[Server], tally: Tally) -> dict[str, Any]:
    return {
        "statistics": [asdict(server.statistics) for server in servers],
        "told": dict(tally.kinds),
        "octets": tally.octets,
        "descriptors": len(os.listdir("/proc/self/fd")) - 1,
        "threads": threading.active_count(),
        "cpu": sum(os.times()[:2]),
        "started": COUNTED.started,
        "ended": COUNTED.ended,
        "most": COUNTED.most,
    }


async def main(configuration: dict[str, Any]) -> None:
    tally, loop, done = Tally(), asyncio.get_running_loop(), asyncio.Event()
    servers = [
        Server(
            service(configuration["kinds"][number > 0], framing),
            limits=Limits(**configuration["limits"]),
            deadlines=Deadlines(**configuration["deadlines"]),
            sockets=Sockets(**configuration["sockets"]),
            tls=Tls(**configuration["tls"]),
            proxy=Proxy(**configuration["proxy"]),
            readiness=configuration["readiness"],
            observer=tally,
        )
        for number, framing in enumerate(configuration["framings"])
    ]

    def say() -> None:
        print(json.dumps(report(servers, tally)), flush=True)

    def listen_to_the_test() -> None:
        for _ in sys.stdin:
            loop.call_soon_threadsafe(say)
        loop.call_soon_threadsafe(done.set)

    async with contextlib.AsyncExitStack() as stack:
        for server in servers:
            await stack.enter_async_context(server)
        if configuration["descriptors_left"] is not None:
            limit = len(os.listdir("/proc/self/fd")) - 1 + configuration["descriptors_left"]
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        threading.Thread(target=listen_to_the_test, daemon=True).start()
        watching = loop.create_task(COUNTED.watch()) if configuration["kinds"][0] in ("pours", "rows") else None
        print(json.dumps([server.port for server in servers]), flush=True)
        await done.wait()
        for server in servers:
            await server.abort()
        if watching is not None:
            watching.cancel()


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    if given["nofile"] is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (given["nofile"], given["nofile"]))
    factory = None
    if given["loop"] == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main(given))
