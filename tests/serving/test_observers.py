"""Observers that raise: the loop is told, and neither a connection nor another observer pays for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fourtuple import Server, Service, connect, events
from fourtuple.observe.combine import each_of

RunAsync = Callable[[Coroutine[Any, Any, Any]], Any]


class Panic(BaseException):
    """As Rust's panics are: no Exception."""


@pytest.mark.parametrize("kind", [ValueError, asyncio.CancelledError, GeneratorExit, Panic])
@pytest.mark.parametrize("form", ["inline", "task"])
def test_an_observer_costs_no_connection(run_async: RunAsync, form: str, kind: type[BaseException]) -> None:
    service = Service("line")
    if form == "inline":
        service.reply(lambda message: message)
    else:

        @service.reply
        async def echo(message: bytes) -> bytes:
            return message

    told: list[dict[str, Any]] = []

    def observer(event: events.Event) -> None:
        raise kind

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        async with Server(service, "127.0.0.1:0", observer=observer) as server:
            for _ in range(3):
                async with connect(server.address, "line") as connection:
                    assert await connection.request(b"one", 30) == b"one"

    run_async(main())
    assert all(isinstance(each["exception"], kind) for each in told)
    assert any("Accepted" in each["message"] for each in told)


def test_several_observers_are_all_told_and_an_interrupt_is_raised_first() -> None:
    heard: list[events.Event] = []

    def raising(kind: type[BaseException]) -> events.Observer:
        def observe(event: events.Event) -> None:
            heard.append(event)
            raise kind

        return observe

    event = events.CertificatesRead()
    with pytest.raises(asyncio.CancelledError):
        each_of(raising(asyncio.CancelledError), raising(ValueError))(event)
    with pytest.raises(KeyboardInterrupt):
        each_of(raising(ValueError), raising(KeyboardInterrupt), raising(SystemExit))(event)
    assert heard == [event] * 5
