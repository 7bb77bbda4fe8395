"""The handlers of the storm: every kind of them, and all that a handler may do to a connection, its own or another."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

from fourtuple import BlockingConnection, Connection, Server, Service, reply_and_close
from fourtuple.errors import DeadlinePassed, EndOfFile, FourTupleError
from fourtuple.four_tuple import Name
from storm.plan import SEVERAL, UNORDERED, Round
from storm.words import BY_TEXT, CHANGE, GREETING, LAST, NEWS, UNMAPPED, Asked, Way, asked, asking, reply


class Failure(Exception):
    """What handlers raise."""


class BaseFailure(BaseException):
    """What handlers raise that is not an Exception."""


class Bye(Exception):
    """The reply is the last one."""


class Storm:
    """The service of one round, and what it has done."""

    def __init__(self, round_: Round) -> None:
        self.round = round_
        self.dice = random.Random(round_.seed + 1)
        self.server: Server | None = None
        #: Messages that were handled and replies that were made: what another connection's wait is counted in.
        self.items = 0
        #: Connections that a handler of another one ended.
        self.meddled: set[Name] = set()
        self.service = self._made()

    # -- one message ----------------------------------------------------------------------------------------

    def way(self, connection: Any) -> Way:
        """The framing in force on a connection."""
        if connection.state is None:
            connection.state = {"way": self.round.way}
        way: Way = connection.state["way"]
        return way

    def act(self, message: Any, connection: Any) -> tuple[list[Any], Asked]:
        """Do what a message asks for, all that needs no waiting; return the replies, packed."""
        self.items += 1
        way = self.way(connection)
        what = asked(way.unpack(message))
        replies = [reply(what.number, 0, what.size)]
        command = what.command
        if command == "none":
            replies = []
        elif command == "many":
            several = self.round.kind in SEVERAL or self.round.kind not in _SINGLE
            replies = [reply(what.number, part, 10) for part in range(what.size if several else 1)]
        elif command in _ACTS:
            replies = _ACTS[command](self, what, connection, replies)
        elif command not in ("echo", "big", "sleep", "bye", "finished", "raw"):
            raise Failure(f"there is no {command}")
        self.items += len(replies)
        way = self.way(connection)
        return [each if type(each) is object else way.pack(each) for each in replies], what

    def pure(self, message: Any) -> tuple[list[Any], Asked]:
        """:meth:`act` in a thread, or where another message may be before: nothing is done to connections."""
        self.items += 1
        way = self.round.way
        what = asked(way.unpack(message))
        if what.command in ("raise", "raise-base", "cancel"):
            _fail(self, what, None, [])
        if what.command in ("close", "abort", "eof"):  # the connection is another's: it fails, which ends it, too
            raise Failure(what.command)
        if what.command == "none":
            return [], what
        if what.command == "bad":
            return [object()], what
        count = what.size if what.command == "many" and self.round.kind in SEVERAL else 1
        size = 10 if what.command == "many" else what.size
        self.items += count
        return [way.pack(reply(what.number, part, size)) for part in range(count)], what

    def others(self, connection: Any) -> list[Connection]:
        """Connections of this server, but for its own."""
        assert self.server is not None
        return [each for each in self.server.connections.values() if each.id != connection.id]

    # -- the kinds ------------------------------------------------------------------------------------------

    def _made(self) -> Service:
        service = Service(self.round.way.text, name=self.round.kind, silent_peers=self.round.seed % 3 == 0)
        getattr(self, "_" + self.round.kind.replace("-", "_"))(service)
        for name, how in self.round.hooks.items():
            getattr(service, name)(self._hook(name, how))
        return service

    def _hook(self, name: str, how: str) -> Callable[..., Any]:
        words = {"opened": GREETING, "failed": LAST, "unmapped": UNMAPPED, "closed": b""}[name]

        def hook(*given: Any) -> Any:
            connection = given[-1]
            self.items += 1
            if how == "raises":
                raise Failure(f"the hook {name}")
            if how == "raises-base":
                raise BaseFailure(f"the hook {name}")
            if how == "closes":
                connection.close() if self.dice.random() < 0.5 else connection.abort()
            if how == "bad":
                return object()
            return self.way(connection).pack(words) if how == "says" else None

        return hook

    def _def(self, service: Service) -> None:
        @service.reply
        def storm(message: Any, connection: Connection) -> Any:
            replies, what = self.act(message, connection)
            if what.command == "sleep":
                time.sleep(min(what.size, 10) / 10_000)
            return _one(replies, what)

    def _generator(self, service: Service) -> None:
        @service.reply
        def storm(message: Any, connection: Connection) -> Iterator[Any]:
            replies, what = self.act(message, connection)
            yield from replies if what.command != "bye" else [_one(replies, what)]

    def _async(self, service: Service, *, kept: bool = False) -> None:
        @service.reply(cancel_on_lost=not kept)
        async def storm(message: Any, connection: Connection) -> Any:
            replies, what = self.act(message, connection)
            if what.command == "sleep":
                await asyncio.sleep(what.size / 1000)
            return _one(replies, what)

    def _async_kept(self, service: Service) -> None:
        self._async(service, kept=True)

    def _async_generator(self, service: Service) -> None:
        @service.reply
        async def storm(message: Any, connection: Connection) -> AsyncIterator[Any]:
            replies, what = self.act(message, connection)
            for each in replies if what.command != "bye" else [_one(replies, what)]:
                if what.command == "sleep":
                    await asyncio.sleep(what.size / 1000)
                yield each

    def _threads(self, service: Service) -> None:
        @service.reply(threads=True)
        def storm(message: Any) -> Any:
            replies, what = self.pure(message)
            if what.command == "sleep":
                time.sleep(what.size / 10_000)
            return _one(replies, what)

    def _thread_generator(self, service: Service) -> None:
        @service.reply(threads=True)
        def storm(message: Any) -> Iterator[Any]:
            replies, what = self.pure(message)
            yield from replies if what.command != "bye" else [_one(replies, what)]

    def _concurrent(self, service: Service) -> None:
        @service.reply(concurrency=5)
        async def storm(message: Any) -> Any:
            replies, what = self.pure(message)
            await asyncio.sleep(what.size / 1000 if what.command == "sleep" else self.dice.choice((0, 0, 0.001)))
            return _one(replies, what)

    def _concurrent_threads(self, service: Service) -> None:
        @service.reply(concurrency=5, threads=True)
        def storm(message: Any) -> Any:
            replies, what = self.pure(message)
            time.sleep(what.size / 10_000 if what.command == "sleep" else 0)
            return _one(replies, what)

    def _batch(self, messages: list[Any], connection: Connection) -> list[Any]:
        """The replies to a batch. Before a failure, those to the messages before it are sent, as by other kinds."""
        made: list[Any] = []
        for message in messages:
            try:
                replies, what = self.pure(message)
            except BaseException:
                with suppress(FourTupleError):
                    connection.send_many([each for each in made if each is not None])
                raise
            made.append(_one(replies, what))
            if what.command == "bye":
                break
        return made + [None] * (len(messages) - len(made))

    def _batches(self, service: Service) -> None:
        @service.replies
        def storm(messages: list[Any], connection: Connection) -> list[Any]:
            return self._batch(messages, connection)

    def _async_batches(self, service: Service) -> None:
        @service.replies
        async def storm(messages: list[Any], connection: Connection) -> list[Any]:
            await asyncio.sleep(self.dice.choice((0, 0, 0.001)))
            return self._batch(messages, connection)

    async def _each(self, message: Any, connection: Connection) -> None:
        replies, what = self.act(message, connection)
        if what.command == "sleep":
            await asyncio.sleep(what.size / 1000)
        if what.command == "finished":
            with suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    await connection.peer_finished.wait()
        if what.command == "raw":
            assert await connection.receive_exactly(what.size) == b"r" * what.size
        for each in replies:
            await connection.send(each)
        if what.command == "bye":
            raise Bye

    def _conversation(self, service: Service, *, kept: bool = False) -> None:
        @service.conversation(cancel_on_lost=not kept)
        async def storm(connection: Connection) -> None:
            with suppress(Bye):
                async for message in connection:
                    await self._each(message, connection)

    def _conversation_kept(self, service: Service) -> None:
        self._conversation(service, kept=True)

    async def _received(self, connection: Connection) -> None:
        with suppress(Bye, EndOfFile):
            while True:
                await self._each(await connection.receive(), connection)

    def _conversation_receive(self, service: Service) -> None:
        @service.conversation
        async def storm(connection: Connection) -> None:
            await self._received(connection)

    def _conversation_timeout(self, service: Service) -> None:
        @service.conversation
        async def storm(connection: Connection) -> None:
            with suppress(Bye, EndOfFile):
                while True:
                    try:
                        message = await connection.receive(timeout=0.01)
                    except DeadlinePassed:
                        continue
                    await self._each(message, connection)

    def _speaker(self, service: Service) -> None:
        @service.conversation
        async def storm(connection: Connection) -> None:
            for _ in range(self.round.others["produces"]):
                self.items += 1
                await connection.send(self.round.way.pack(NEWS))
            await self._received(connection)

    def _blocking(self, service: Service) -> None:
        @service.conversation
        def storm(connection: BlockingConnection) -> None:
            for message in connection:
                replies, what = self.act(message, connection)
                if what.command == "sleep":
                    time.sleep(what.size / 10_000)
                if what.command == "finished":
                    connection.peer_finished.wait(timeout=0.02)
                if what.command == "raw":
                    assert connection.receive_exactly(what.size) == b"r" * what.size
                for each in replies:
                    connection.send(each)
                if what.command == "bye":
                    return


_SINGLE = ("def", "async", "async-kept", "threads", *UNORDERED)


def _one(replies: list[Any], what: Asked) -> Any:
    """The value that a handler of one reply returns."""
    found = replies[0] if replies else None
    return reply_and_close(found) if what.command == "bye" else found


# -- what a message may ask for ---------------------------------------------------------------------------

Act = Callable[[Storm, Asked, Any, list[Any]], list[Any]]


def _fail(_storm: Storm, what: Asked, _connection: Any, _replies: list[Any]) -> list[Any]:
    raise {"raise": Failure, "raise-base": BaseFailure, "cancel": asyncio.CancelledError}[what.command](what.number)


def _end(_storm: Storm, what: Asked, connection: Any, _replies: list[Any]) -> list[Any]:
    {"close": connection.close, "abort": connection.abort, "eof": connection.send_eof}[what.command]()
    return []


def _news(storm: Storm, _what: Asked, connection: Any, replies: list[Any]) -> list[Any]:
    if isinstance(connection, Connection) and (others := storm.others(connection)):
        other = storm.dice.choice(others)
        with suppress(FourTupleError):
            other.send(storm.way(other).pack(NEWS))
    return replies


def _cast(storm: Storm, _what: Asked, connection: Any, replies: list[Any]) -> list[Any]:
    if isinstance(connection, Connection):
        assert storm.server is not None
        slow: Any = storm.dice.choice(("skip", "skip", "close", "abort"))
        if slow != "skip":
            storm.meddled.update(each.name for each in storm.server.connections.values())
        with suppress(FourTupleError):
            storm.server.broadcast(storm.round.way.pack(NEWS), slow=slow)
    return replies


def _look(_storm: Storm, _what: Asked, connection: Any, replies: list[Any]) -> list[Any]:
    assert repr(connection)
    assert connection.name
    assert connection.statistics.messages_in >= 0
    with suppress(FourTupleError):
        connection.info()
    return replies


def _framing(storm: Storm, what: Asked, connection: Any, replies: list[Any]) -> list[Any]:
    connection.send(storm.way(connection).pack(CHANGE + b"framing"))
    new = BY_TEXT[what.rest]
    connection.change_framing(new.text)
    connection.state["way"] = new
    for each in replies:
        connection.send(new.pack(each))  # in the new framing; what is returned goes out in that of its message
    return []


def _unread(storm: Storm, what: Asked, connection: Any, replies: list[Any]) -> list[Any]:
    way = storm.way(connection)
    connection.unread(way.framing.encode(way.pack(asking(f"{what.number}u", "echo", 5))))
    return replies


def _tls(storm: Storm, _what: Asked, connection: Any, replies: list[Any]) -> list[Any]:
    connection.send(storm.way(connection).pack(CHANGE + b"tls"))
    connection.start_tls()
    return replies


def _bad(_storm: Storm, _what: Asked, _connection: Any, _replies: list[Any]) -> list[Any]:
    return [object()]


def _other(storm: Storm, what: Asked, connection: Any, replies: list[Any]) -> list[Any]:
    if isinstance(connection, Connection) and (others := storm.others(connection)):
        other = storm.dice.choice(others)
        storm.meddled.add(other.name)
        other.close() if what.command == "close-other" else other.abort()
    return replies


_ACTS: dict[str, Act] = {
    "raise": _fail, "raise-base": _fail, "cancel": _fail, "close": _end, "abort": _end, "eof": _end, "news": _news,
    "cast": _cast, "look": _look, "framing": _framing, "unread": _unread, "tls": _tls, "bad": _bad,
    "close-other": _other, "abort-other": _other,
}  # fmt: skip
