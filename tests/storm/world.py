"""One round: the server in its storm, a calm one beside it, peers on another thread's loop; then what must hold."""

from __future__ import annotations

import asyncio
import gc
import os
import ssl
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from certificates import Files, trusting
from fourtuple import Deadlines, Limits, Proxy, Server, Service, Tls, events
from fourtuple.engine import Engine
from fourtuple.errors import FourTupleError
from fourtuple.stream import Reason
from storm.peers import Came, Running
from storm.plan import Round
from storm.services import Storm
from storm.words import MARKS, NEWS

#: What other connections may get between a question and its answer: messages handled and replies made. Eight of them
#: may have their share, of 4,096, in each of three turns: the first question comes in a turn behind the connection. But
#: no stream of 100,000 goes by in one piece.
MOST_BETWEEN = 99_000


@dataclass
class Heard:
    """The observer of a round."""

    told: list[events.Event] = field(default_factory=list)

    def __call__(self, event: events.Event) -> None:
        self.told.append(event)

    def of(self, *kinds: type[events.Event]) -> list[Any]:
        return [event for event in self.told if isinstance(event, kinds)]


class Bystander:
    """Asks, waits for the answer, and asks again: served throughout, whatever the others do."""

    def __init__(self, storm: Storm) -> None:
        self._storm = storm
        self.replies = 0
        self.longest = 0
        self.enough = asyncio.Event()

    async def run(self, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while not self.enough.is_set() or not self.replies:
                before = self._storm.items
                writer.write(b"question\n")
                assert await reader.readline() == b"question\n"
                self.replies += 1
                self.longest = max(self.longest, self._storm.items - before)
                await asyncio.sleep(0.001)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


class World:
    """A round under way, and what was wrong with it."""

    def __init__(self, round_: Round, folder: Path) -> None:
        self.round = round_
        self.storm = Storm(round_)
        self.heard = Heard()
        self.wrong: list[str] = []
        self._folder = folder

    def run(self) -> list[str]:
        """Run it, and return what was wrong, nothing most often."""
        before = held()
        with outside(self.wrong):
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.get_loop().set_exception_handler(self._uncaught)
                came = runner.run(self._main())
            gc.collect()
        left = held() - before
        if left:
            self.wrong.append(f"left behind: {', '.join(sorted(left))}")
        for each in came:
            who = f"peer {each.peer.number} ({each.peer.reading}, {each.peer.ending})"
            self.wrong += [f"{who}: {text}" for text in self._peer(each)]
        self.wrong += self._books()
        return self.wrong

    def _uncaught(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.wrong.append(f"uncaught: {context['message']}: {error!r}")

    async def _main(self) -> list[Came]:
        files = Files(self._folder)
        mode = self.round.tls
        engine = Engine(readiness=self.round.readiness)  # type: ignore[arg-type]
        calm_service = Service("line", name="calm")
        calm_service.reply(lambda message: message)
        server = Server(
            self.storm.service,
            own_address(),
            limits=Limits(**self.round.limits),
            deadlines=Deadlines(**self.round.deadlines),
            tls=None if mode == "none" else Tls(certificate=files.certificate, key=files.key, mode=mode),
            proxy=Proxy(protocol=self.round.proxy),
            observer=self.heard,
            engine=engine,
        )
        self.server = self.storm.server = server
        calm = Server(calm_service, engine=engine)
        bystander = Bystander(self.storm)
        try:
            async with calm, asyncio.TaskGroup() as beside:
                await server.start()
                watching = beside.create_task(bystander.run(calm.port))
                meanwhile = beside.create_task(self._meanwhile(server))
                came = await self._storming(server)
                meanwhile.cancel()
                bystander.enough.set()
                await watching
        finally:
            engine.close()
        if bystander.longest > MOST_BETWEEN:
            self.wrong.append(f"the bystander's longest wait: {bystander.longest} of others' messages and replies")
        self.longest = bystander.longest
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            self.wrong.append(f"tasks left: {left}")
        if engine.channels:
            self.wrong.append(f"channels left: {list(engine.channels)}")
        return came

    async def _storming(self, server: Server) -> list[Came]:
        context = trusting()
        peers = asyncio.get_running_loop().run_in_executor(
            None, blow, self.round, (server.address.host, server.port), context
        )
        if "early" in self.round.ending:
            await asyncio.sleep(0.05 + self.round.seed % 7 / 50)
        else:
            await asyncio.wait([peers], timeout=1.0)  # whoever stays, or does not read, meets the end
        stopping = [asyncio.ensure_future(server.abort() if "drain" not in self.round.ending else server.drain())]
        if "," in self.round.ending:
            await asyncio.sleep(0.05)
            stopping.append(asyncio.ensure_future(server.abort()))
        for stop in stopping:
            await stop
        return await peers

    async def _meanwhile(self, server: Server) -> None:
        began = asyncio.get_running_loop().time()
        for moment, call in self.round.meanwhile:
            await asyncio.sleep(max(0.0, began + moment - asyncio.get_running_loop().time()))
            if call == "pause":
                server.pause()
                await asyncio.sleep(0.05)
                server.resume()
            elif call == "change_limits":
                server.change_limits(max_batch=self.storm.dice.choice((1, 3, 512)), max_message_rate=None)
            elif call == "broadcast":
                with suppress(FourTupleError):
                    server.broadcast(self.round.way.pack(NEWS))
            elif call == "reload":
                server.reload_certificates()
            elif call == "find":
                for connection in server.connections.values():
                    assert server.find(connection.name) is connection
            else:
                assert repr(getattr(server, call))

    # -- what must hold -------------------------------------------------------------------------------------

    def _books(self) -> Iterator[str]:
        """The counters, the events and what is held agree that all is over."""
        server, heard = self.server, self.heard
        statistics = server.statistics
        accepted, closed = heard.of(events.Accepted), heard.of(events.Closed)
        if statistics.active or server._core.registry.runners or server._core.tasks or server._core.threads.busy:
            counts = len(server._core.registry.runners), len(server._core.tasks), server._core.threads.busy
            yield f"not over: {statistics.active} active; {counts} runners, tasks, threads"
        numbers = [statistics.accepted, statistics.closed, len(accepted), len(closed)]
        if len(set(numbers)) != 1:
            yield f"accepted, closed, and told of both: {numbers}"
        if statistics.refused != len(heard.of(events.Refused)):
            yield f"refused {statistics.refused}, told of {len(heard.of(events.Refused))}"
        if len({event.id for event in closed}) != len(closed):
            yield "a connection was closed twice"
        sums = [sum(getattr(event.statistics, name) for event in closed) for name in ("octets_in", "octets_out")]
        if sums != [statistics.octets_in, statistics.octets_out]:
            yield f"octets: {sums} of the connections, {[statistics.octets_in, statistics.octets_out]} of the server"
        if statistics.abandoned:
            yield f"{statistics.abandoned} handlers were abandoned"
        begun = {event.id for event in accepted}
        if any(event.id not in begun for event in closed):
            yield "a connection was closed that was never accepted"
        if not server.stopped:
            yield "the server has not stopped"

    def _peer(self, came: Came) -> Iterator[str]:
        """What a peer got is whole, in order, and all of it, or there is an event that says why not."""
        if came.end == "hung":
            yield f"hung, after {len(came.messages)} messages"
        if came.peer.head or came.peer.proxy in ("garbage", "none", "local"):
            return  # what its octets mean is the framing's affair
        if came.wrong:
            yield f"got what no encoder writes: {came.wrong}"
        if came.end == "eof" and came.rest:
            yield f"{came.rest} octets of a message, and then the end of file"
        expected: list[bytes] = []
        for ask in came.peer.asks:
            expected += ask.replies
            if ask.last:
                break
        got = [message for message in came.messages if not message.startswith(MARKS)]
        if got != expected[: len(got)]:
            pairs = enumerate(zip(got, expected, strict=False))
            place = next((n for n, (one, other) in pairs if one != other), len(expected))
            wanted = expected[place] if place < len(expected) else b"nothing"
            yield f"reply {place} is {got[place][:60]!r}, expected {wanted[:60]!r}"
        elif came.end == "eof" and len(got) < len(expected) and came.sent == len(came.peer.asks):
            yield from self._missing(came, len(got), len(expected))

    def _missing(self, came: Came, got: int, expected: int) -> Iterator[str]:
        (closed,) = [event for event in self.heard.of(events.Closed) if event.name == came.name] or (None,)
        if closed is None and came.peer.proxy:
            return  # it was ended before its header was read: by its socket's name
        if closed is None:
            yield f"{got} of {expected} replies, and no event tells of it"
            return
        complete = (Reason.PEER_CLOSED, Reason.CLOSED, Reason.HANDLER_ERROR, Reason.MESSAGE_ERROR)
        told = self.heard.of(events.HandlerRaised, events.MessageFailed, events.DeadlineMissed, events.LimitExceeded)
        failed = [event for event in told if event.id == closed.id]
        hooks = [event for event in failed if isinstance(event, events.HandlerRaised) and "hook" in event.handler]
        if closed.reason in complete and closed.name not in self.storm.meddled and not hooks:
            if "closes" in self.round.hooks.values():
                return
            yield f"{got} of {expected} replies, closed as {closed.reason.value!r}, events {failed}"


def blow(round_: Round, address: tuple[str, int], context: ssl.SSLContext) -> list[Came]:
    """In a thread of its own: all peers, to their ends."""

    async def main() -> list[Came]:
        return list(await asyncio.gather(*(Running(peer, round_, address, context).run() for peer in round_.peers)))

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(main())


def own_address() -> str:
    """An address of this process alone: a peer that comes late must not meet the server of another one."""
    return f"127.{100 + os.getpid() // 250 // 250 % 100}.{os.getpid() // 250 % 250}.{os.getpid() % 250 + 1}:0"


@contextmanager
def outside(wrong: list[str]) -> Iterator[None]:
    """Whatever nobody caught, in threads and in finalizers, is wrong."""
    hooks = sys.unraisablehook, threading.excepthook

    def unraisable(about: Any) -> None:
        wrong.append(f"unraisable: {about.exc_value!r} in {about.object!r}")

    def in_thread(about: Any) -> None:
        wrong.append(f"in a thread: {about.exc_value!r}")

    sys.unraisablehook, threading.excepthook = unraisable, in_thread
    try:
        yield
    finally:
        sys.unraisablehook, threading.excepthook = hooks


def held() -> Counter[str]:
    """Descriptors and threads."""
    found: Counter[str] = Counter(f"thread {thread.name}" for thread in threading.enumerate())
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found[f"descriptor {os.readlink(f'/proc/self/fd/{number}').partition('[')[0]}"] += 1
    return found


def weather(round_: Round) -> tuple[list[str], int]:
    """Run a round; return what was wrong, and the bystander's longest wait."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(round_, Path(folder))
        return world.run(), world.longest
