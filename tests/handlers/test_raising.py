"""Whatever a handler or a hook raises costs its own connection, behind the replies that it made before.

CancelledError, its subclasses and other exceptions that are no Exception are as good as any; those that end programs
(Ctrl-C, sys.exit()) end the server, too, when the turn is complete.
"""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from fourtuple import BlockingConnection, Connection, Reason, Server, Service, events
from fourtuple.errors import EncodeError
from fourtuple.framing import Framing, Line, mapped
from hostile import Unspeakable
from rig import PATIENT, Peer, Seen, serving, until


class Cancelled(asyncio.CancelledError):
    """As libraries derive their own."""


class Unheard(BaseException):
    """No Exception, and nothing that Python knows."""


OWN = [ValueError, asyncio.CancelledError, Cancelled, Unheard, GeneratorExit, Unspeakable]
ENDING = [KeyboardInterrupt, SystemExit]
KINDS = [
    "inline",
    "generator",
    "async",
    "async behind a wait",
    "async generator",
    "concurrent",
    "threads",
    "generator in a thread",
    "conversation",
    "conversation behind a wait",
    "blocking",
]


def service_of(kind: str, error: type[BaseException], framing: Framing | str = "line") -> Service:
    """Echoes, and raises at a message that says so; a generator has replied to it before."""
    service = Service(framing)

    def handle(message: bytes) -> bytes:
        if message == b"raise":
            raise error("enough")
        return message

    def several(message: bytes) -> Iterator[bytes]:
        yield message
        handle(message)

    if kind in ("inline", "threads"):
        service.reply(threads=kind == "threads")(handle)
    elif kind in ("generator", "generator in a thread"):
        service.reply(threads=kind != "generator")(several)
    elif kind in ("async", "async behind a wait", "concurrent"):

        @service.reply(concurrency=3 if kind == "concurrent" else 1)
        async def awaiting(message: bytes) -> bytes:
            if kind != "async":
                await asyncio.sleep(0)
            return handle(message)

    elif kind == "async generator":

        @service.reply
        async def asynchronously(message: bytes) -> AsyncIterator[bytes]:
            yield message
            handle(message)

    elif kind in ("conversation", "conversation behind a wait"):

        @service.conversation
        async def talk(connection: Connection) -> None:
            async for message in connection:
                if kind != "conversation":
                    await asyncio.sleep(0)
                await connection.send(handle(message))

    else:

        @service.conversation
        def converse(connection: BlockingConnection) -> None:
            for message in connection:
                connection.send(handle(message))

    return service


def replies_of(kind: str) -> bytes:
    return b"a\nb\nraise\n" if "generator" in kind else b"a\nb\n"


def seen_as(error: type[BaseException], kind: str) -> type[BaseException]:
    """A coroutine cannot be resumed with what closes it: a thread's is told as RuntimeError, as PEP 479 has it."""
    return (
        RuntimeError if error is GeneratorExit and kind in ("threads", "generator in a thread", "blocking") else error
    )


def listen(told: list[Any]) -> None:
    """Remember what the loop is told: nothing, because the observer is."""
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))


@pytest.mark.parametrize("error", OWN)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pieces", [[b"a\nb\nraise\nc\n"], [b"a\n", b"b\n", b"raise\n"]])
def test_the_replies_before_it_are_sent(
    run_async: Any, readiness: str, kind: str, error: type[BaseException], pieces: list[bytes]
) -> None:
    async def main() -> None:
        told: list[Any] = []
        listen(told)
        async with serving(service_of(kind, error), readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                got = b""
                for number, piece in enumerate(pieces):
                    await peer.send(piece)
                    if number < len(pieces) - 1:
                        got += await peer.receive(2)
                assert got + await peer.receive_all() == replies_of(kind)
            assert (await seen.closed()).reason is Reason.HANDLER_ERROR
            assert [type(each.error) for each in seen.of(events.HandlerRaised)] == [seen_as(error, kind)]
        assert not told

    run_async(main())


@pytest.mark.parametrize("error", OWN)
@pytest.mark.parametrize("kind", KINDS)
def test_last_words_are_said(run_async: Any, readiness: str, kind: str, error: type[BaseException]) -> None:
    async def main() -> None:
        service = service_of(kind, error)
        service.failed(lambda failure, _connection: type(failure.__cause__).__name__.encode())
        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"a\nb\nraise\n")
                name = seen_as(error, kind).__name__.encode()
                assert await peer.receive_all() == replies_of(kind) + name + b"\n"

    run_async(main())


@pytest.mark.parametrize("error", OWN)
@pytest.mark.parametrize("hook", ["opened", "closed", "failed", "unmapped"])
def test_a_hook_that_raises(run_async: Any, readiness: str, hook: str, error: type[BaseException]) -> None:
    async def main() -> None:
        told: list[Any] = []
        listen(told)
        service = Service("line+json")

        def fail(*_: object) -> None:
            raise error

        @service.reply
        def reply(message: Any) -> Any:
            if message == "fail":
                raise ZeroDivisionError
            return message

        getattr(service, hook)(fail)
        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                expected = b"" if hook == "opened" else b"1\n"
                try:
                    await peer.send({"failed": b'1\n"fail"\n', "unmapped": b"1\n{\n"}.get(hook, b"1\n"))
                    if hook == "closed":
                        peer.finish()
                except OSError:
                    assert hook == "opened"
                assert await peer.receive_all() == expected
            await seen.closed()
            raised = [ZeroDivisionError, error] if hook == "failed" else [error]
            assert [type(each.error) for each in seen.of(events.HandlerRaised)] == raised
        assert not told

    run_async(main())


@pytest.mark.parametrize("error", OWN)
@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_that_raises(run_async: Any, readiness: str, kind: str, error: type[BaseException]) -> None:
    """The values before the one that it cannot encode are sent."""

    def encode(message: bytes) -> bytes:
        if message == b"hm":
            raise error
        return message

    async def main() -> None:
        told: list[Any] = []
        listen(told)
        service = service_of(kind, ValueError, mapped(Line(), bytes, encode))
        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"a\nb\nhm\nc\n")
                assert await peer.receive_all() == b"a\nb\n"
            assert (await seen.closed()).reason is Reason.HANDLER_ERROR
            in_a_thread = kind == "blocking"  # replies of the others are encoded on the loop
            expected = (
                EncodeError if error in (ValueError, Unspeakable) else seen_as(error, kind) if in_a_thread else error
            )
            assert [type(each.error) for each in seen.of(events.HandlerRaised)] == [expected]
        assert not told

    run_async(main())


@pytest.mark.parametrize("kind", ["conversation", "async", "concurrent"])
def test_what_a_handler_awaits_is_cancelled(run_async: Any, readiness: str, kind: str) -> None:
    """Nobody asked the handler to end: it is told like any other failure."""

    async def main() -> None:
        service = Service("line")

        async def answer(message: bytes) -> bytes:
            if message == b"raise":
                task = asyncio.ensure_future(asyncio.sleep(60))
                asyncio.get_running_loop().call_soon(task.cancel)
                await task
            return message

        if kind == "conversation":

            @service.conversation
            async def talk(connection: Connection) -> None:
                async for message in connection:
                    await connection.send(await answer(message))

        else:
            service.reply(concurrency=3 if kind == "concurrent" else 1)(answer)

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"a\nb\nraise\nc\n")
                assert await peer.receive_all() == b"a\nb\n"
            (raised,) = seen.of(events.HandlerRaised)
            assert type(raised.error) is asyncio.CancelledError

    run_async(main())


@pytest.mark.parametrize("kind", ["conversation", "async", "concurrent"])
def test_a_cancelled_task_has_not_raised(run_async: Any, readiness: str, kind: str) -> None:
    async def main() -> None:
        service = Service("line")

        async def wait(*_: object) -> None:
            await asyncio.Event().wait()

        if kind == "conversation":
            service.conversation(wait)
        else:
            service.reply(concurrency=3 if kind == "concurrent" else 1)(wait)
        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"x\n")
                await until(lambda: server._core.tasks and server.statistics.messages_in == (kind != "conversation"))
                for task in server._core.tasks:
                    task.cancel()
                with pytest.raises(ConnectionResetError):
                    await peer.receive_all()
            assert (await seen.closed()).reason is Reason.ABORTED
            assert not seen.of(events.HandlerRaised)

    run_async(main())


@pytest.mark.parametrize("error", OWN)
def test_a_generator_that_raises_when_it_is_dropped(run_async: Any, readiness: str, error: type[BaseException]) -> None:
    async def main() -> None:
        service = Service("line")

        @service.reply
        def several(message: bytes, connection: Connection) -> Iterator[bytes]:
            try:
                yield message
                connection.send_eof()
                yield b"nobody hears this"
            finally:
                if error is not GeneratorExit:
                    raise error

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"x\n") == b"x\n"
            await seen.closed()
            raised = [] if error is GeneratorExit else [error]
            assert [type(each.error) for each in seen.of(events.HandlerRaised)] == raised

    run_async(main())


# -- what ends programs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("error", ENDING)
@pytest.mark.parametrize("kind", KINDS)
def test_what_ends_programs_ends_the_server_behind_the_replies(
    run_async: Any, readiness: str, kind: str, error: type[BaseException]
) -> None:
    seen: list[Seen] = []
    torn_down: list[bool] = []
    told: list[Any] = []

    async def main(sock: socket.socket) -> None:
        listen(told)
        seen.append(Seen())
        service = service_of(kind, error)

        @service.lifespan
        async def lifespan() -> AsyncIterator[None]:
            yield
            torn_down.append(True)

        async with Server(service, deadlines=PATIENT, observer=seen[0], readiness=readiness) as server:  # type: ignore[arg-type]
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", server.port))
            sock.send(b"a\nb\nraise\nc\n")
            await server.serve_forever()

    with socket.socket() as sock:
        sock.setblocking(False)
        with pytest.raises(error):
            run_async(main(sock))
        assert torn_down == [True]
        assert sock.recv(100) == replies_of(kind)
        assert [type(each.error) for each in seen[0].of(events.HandlerRaised)] == [error]
    seen.clear()  # the events hold the exceptions
    gc.collect()
    assert not told  # no task ends with an exception that was never retrieved


@pytest.mark.parametrize("error", ENDING)
def test_the_turn_is_complete_before_the_server_ends(run_async: Any, error: type[BaseException]) -> None:
    """Of eight that are served in one turn, the replies of all are with their peers when it is raised."""

    async def main(kind: str) -> None:
        async with serving(service_of(kind, error), "nested") as (server, seen):
            engine = server.engine
            engine.turn_seconds = 60.0
            peers = [await Peer.connect(server) for _ in range(8)]
            await seen.wait(events.Accepted, len(peers))
            for number, peer in enumerate(peers):
                peer.socket.send(b"a\nraise\n" if number == 3 else b"a\n")
            with pytest.raises(error):
                engine._turn()
            for peer in peers:
                assert peer.socket.recv(10) == (
                    replies_of(kind)[:2] + replies_of(kind)[4:] if peer is peers[3] else b"a\n"
                )
                peer.close()
            await until(lambda: not server.connections)
            assert [type(each.error) for each in seen.of(events.HandlerRaised)] == [error]

    for kind in ("inline", "generator"):
        run_async(main(kind))
