"""A plain function that returns code which nothing runs, such as the coroutine of an async function that it calls.

At registration it looks right. Its work would silently never be done.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fourtuple import Alarm, Connection, Reason, Server, Service, events
from fourtuple.errors import HandlerMistake, OptionError, ServiceError
from fourtuple.testing import async_memory_pair
from rig import Peer, limits, serving, until


async def work(*_: Any) -> None:
    raise AssertionError("nothing awaits it")


def generator(*_: Any) -> Iterator[Any]:
    raise AssertionError("nothing runs it")
    yield


async def async_generator(*_: Any) -> AsyncIterator[Any]:
    raise AssertionError("nothing runs it")
    yield


UNRUN = pytest.mark.parametrize(
    ("returns", "what"),
    [
        (work, "a coroutine, which is not awaited"),
        (generator, "a generator, which would not run"),
        (async_generator, "an async generator, which would not run"),
    ],
)


@UNRUN
@pytest.mark.parametrize("kind", ["blocking", "async", "speaks first"])
def test_a_conversation(run_async: Any, readiness: str, kind: str, returns: Callable[..., Any], what: str) -> None:
    async def main() -> None:
        service = Service("line")

        async def talk(connection: Any) -> Any:
            return returns(connection)

        if kind == "async":
            service.conversation(talk)
        else:
            service.conversation(speaks_first=kind == "speaks first")(lambda connection: returns(connection))
        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"x\n")
                assert await peer.receive_all() == b""
            closed = await seen.closed()
        assert closed.reason is Reason.HANDLER_ERROR
        (raised,) = seen.of(events.HandlerRaised)
        assert isinstance(raised.error, HandlerMistake)
        assert str(raised.error).startswith("conversation: ")
        assert f" returned {what}: expected a function that has done its work" in str(raised.error)

    run_async(main())


@UNRUN
def test_the_hook_closed(run_async: Any, readiness: str, returns: Callable[..., Any], what: str) -> None:
    async def main() -> None:
        service = Service("line")
        service.reply(lambda message: message)
        service.closed(lambda connection: returns(connection))
        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"x\n") == b"x\n"
            (raised,) = await seen.wait(events.HandlerRaised)
        assert str(raised.error).startswith("closed: ")
        assert f" returned {what}: " in str(raised.error)

    run_async(main())


def test_the_state_of_a_connection(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line", state=lambda: work())
        service.reply(lambda message: message)
        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                assert await peer.receive_all() == b""
            assert (await seen.closed()).reason is Reason.HANDLER_ERROR
        (raised,) = seen.of(events.HandlerRaised)
        assert "state: " in str(raised.error)
        assert " returned a coroutine, which is not awaited: " in str(raised.error)

    run_async(main())


@pytest.mark.parametrize("hook", ["opened", "failed", "unmapped", "goodbye", "reply"])
def test_a_hook_whose_result_is_sent(run_async: Any, readiness: str, hook: str) -> None:
    """It cannot be encoded, which is reported anyway."""

    async def main() -> None:
        coroutine = work()
        service = Service("json-lines")
        service.reply((lambda message: coroutine) if hook == "reply" else (lambda message: 1 / message))
        if hook != "reply":
            getattr(service, hook)(lambda *_: coroutine)
        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                if hook != "opened":
                    await peer.send(b"{\n" if hook == "unmapped" else b"0\n" if hook == "failed" else b"1\n")
                if hook == "goodbye":
                    assert await peer.receive(4) == b"1.0\n"
                    draining = asyncio.create_task(server.drain())
                await peer.receive_all()
            if hook == "goodbye":
                await draining
            await until(lambda: any("coroutine" in str(each.error) for each in seen.of(events.HandlerRaised)))
        coroutine.close()

    run_async(main())


@pytest.mark.parametrize("call", ["every", "later"])
def test_a_timer_s_function_that_is_a_generator(run_async: Any, readiness: str, call: str) -> None:
    async def main() -> None:
        service = Service("line")
        service.reply(lambda message: message)
        service.opened(lambda connection: getattr(connection, call)(0.001, lambda: generator()) and None)
        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                assert await peer.receive_all() == b""
            assert (await seen.closed()).reason is Reason.HANDLER_ERROR
        (raised,) = seen.of(events.HandlerRaised)
        assert "<lambda> returned a generator, which would not run: " in str(raised.error)

    run_async(main())


@pytest.mark.parametrize("call", ["every", "later"])
@pytest.mark.parametrize(("function", "kind"), [(generator, "a generator"), (async_generator, "an async generator")])
def test_a_timer_refuses_a_generator_function(run_async: Any, call: str, function: Any, kind: str) -> None:
    async def main() -> None:
        connection = async_memory_pair("line").near
        with pytest.raises(OptionError) as caught:
            getattr(connection, call)(1, function)
        assert getattr(connection, call)(1, work).active  # it is awaited
        connection.abort()
        assert str(caught.value).startswith(f"{call}: {__name__}.{function.__name__} is {kind}, which would not run: ")

    run_async(main())


def test_an_async_function_in_a_thread(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        rows = iter([b"one", b"two"])

        @service.reply
        async def answer(message: bytes, connection: Connection) -> bytes:
            if message == b"rows":  # it may return a generator, whose steps are calls of their own
                return await connection.in_thread(next, await connection.in_thread(lambda: (row for row in rows)))
            await connection.in_thread(work)
            return message

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"rows\nx\n")
                assert await peer.receive_all() == b"one\n"
            await seen.closed()
        (raised,) = seen.of(events.HandlerRaised)
        assert f"in_thread: {__name__}.work returned a coroutine, which is not awaited: " in str(raised.error)

    run_async(main())


@asynccontextmanager
async def reported() -> AsyncIterator[list[dict[str, Any]]]:
    """What the loop's exception handler gets."""
    loop, reports = asyncio.get_running_loop(), list[dict[str, Any]]()
    loop.set_exception_handler(lambda _, context: reports.append(context))
    try:
        yield reports
    finally:
        loop.set_exception_handler(None)


def test_a_call_of_another_thread(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        service.reply(lambda message: message)
        async with reported() as reports, serving(service, readiness) as (server, _):
            with pytest.raises(
                OptionError, match=rf"^call_soon: {__name__}.generator is a generator, which would not run"
            ):
                server.call_soon(generator)
            thread = threading.Thread(target=server.call_soon, args=(lambda: (each for each in "abc"),))
            thread.start()
            await until(lambda: reports)
            thread.join()
        assert "returned a generator, which would not run: " in str(reports[0]["exception"])

    run_async(main())


def test_an_observer_and_the_callback_of_an_alarm(run_async: Any) -> None:
    async def main() -> None:
        service = Service("line")
        service.reply(lambda message: message)
        alarm = Alarm(1, callback=lambda event: work())
        async with (
            reported() as reports,
            Server(service, observer=lambda event: work(), alarms=[alarm]) as server,
        ):
            await until(lambda: reports)
            with await Peer.connect(server) as peer:
                await peer.send(b"x\n")
                assert await peer.receive(2) == b"x\n"
                server.engine.sweep()
                await until(lambda: any("the callback of" in each["message"] for each in reports))
        told = {str(each["exception"]).split(":")[0] for each in reports}
        assert told == {"observer", "callback"}
        assert all(isinstance(each["exception"], HandlerMistake) for each in reports)

    run_async(main())


@pytest.mark.parametrize("function", [lambda: None, lambda: work()])
def test_a_lifespan_that_is_none(run_async: Any, readiness: str, function: Callable[[], Any]) -> None:
    async def main() -> None:
        service = Service("line", lifespan=function)
        service.reply(lambda message: message)
        with pytest.raises(ServiceError, match=r"lifespan: .*<lambda> returned .*; expected an async context manager"):
            async with serving(service, readiness, limits=limits()):
                """Never reached."""

    run_async(main())
