"""The loop is not told of a handler's own async generator, which the handler's runner closes, but of all others."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from fourtuple import Service
from fourtuple.handlers.own_generators import own_generators
from rig import Peer, serving, until


@contextmanager
def told() -> Iterator[list[str]]:
    """The names of the async generators of which the loop is told."""
    before, names = sys.get_asyncgen_hooks(), list[str]()

    def noted(generator: AsyncGenerator[Any, Any]) -> None:
        names.append(generator.__name__)
        assert before.firstiter is not None
        before.firstiter(generator)

    sys.set_asyncgen_hooks(firstiter=noted)
    try:
        yield names
    finally:
        sys.set_asyncgen_hooks(*before)


async def within(message: bytes) -> AsyncIterator[bytes]:
    for _ in range(2):
        yield message


def make(closed: list[bytes]) -> Service:
    service = Service("line")

    @service.reply
    async def answer(message: bytes) -> AsyncIterator[bytes]:
        try:
            if message == b"wait":
                await asyncio.sleep(0)
            async for each in within(message):
                yield each
            if message == b"stay":
                await asyncio.sleep(3600)
        finally:
            closed.append(message)

    return service


def test_the_loop_is_told_of_all_but_the_handlers(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        closed: list[bytes] = []
        with told() as names:
            async with serving(make(closed), readiness) as (server, _), serving(make(closed), readiness) as (other, _):
                for each in (server, other, server):
                    with await Peer.connect(each) as peer:
                        await peer.send(b"a\nwait\nb\n")
                        assert await peer.receive(18) == b"a\na\nwait\nwait\nb\nb\n"
                assert names.count("within") == 9
                assert "answer" not in names
                assert closed == [b"a", b"wait", b"b"] * 3
                hook = own_generators()
                assert hook is server._core.spares.generators is other._core.spares.generators
                assert hook.beginning is None

    run_async(main())


def test_what_the_loop_does_not_know_is_closed_with_its_connection(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        closed: list[bytes] = []
        async with serving(make(closed), readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"stay\n")
                assert await peer.receive(10) == b"stay\nstay\n"
                assert not closed
                peer.reset()
            await until(lambda: closed == [b"stay"])

    run_async(main())
