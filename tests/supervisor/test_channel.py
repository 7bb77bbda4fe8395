"""The channel between a supervisor and a worker."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from conftest import RunAsync
from fourtuple.errors import ChannelError
from fourtuple.supervisor.channel import Answer, Channel


def refuses(op: str, arguments: dict[str, Any], fds: list[int]) -> Any:
    raise ValueError(f"no {op}")


@asynccontextmanager
async def channels(answer: Answer) -> AsyncIterator[tuple[Channel, Channel, list[str]]]:
    here, there = socket.socketpair()
    ends: list[str] = []
    one = Channel(here, refuses, lambda: ends.append("here"))
    other = Channel(there, answer, lambda: ends.append("there"))
    try:
        yield one, other, ends
    finally:
        one.close()
        other.close()


def test_requests_have_replies_in_any_order(run_async: RunAsync) -> None:
    later = asyncio.Event()

    async def slow(number: int) -> int:
        await later.wait()
        return number

    def answer(op: str, arguments: dict[str, Any], fds: list[int]) -> Any:
        return slow(arguments["number"]) if op == "slow" else arguments

    async def main() -> None:
        async with channels(answer) as (one, _, _):
            first = asyncio.ensure_future(one.request("slow", number=7))
            assert await one.request("quick", text="é", list=[1, None]) == {"text": "é", "list": [1, None]}
            later.set()
            assert await first == 7

    run_async(main())


def test_a_large_value_passes_through_a_small_buffer(run_async: RunAsync) -> None:
    async def main() -> None:
        async with channels(lambda op, arguments, fds: arguments["text"] * 2) as (one, _, _):
            assert await one.request("double", text="x" * 3_000_000) == "x" * 6_000_000

    run_async(main())


def test_descriptors_come_with_their_request(run_async: RunAsync) -> None:
    got: list[tuple[str, bytes]] = []

    def answer(op: str, arguments: dict[str, Any], fds: list[int]) -> None:
        assert not any(os.get_inheritable(fd) for fd in fds)
        for fd in fds:
            got.append((op, os.read(fd, 10)))
            os.close(fd)

    async def main() -> None:
        async with channels(answer) as (one, _, _):
            asked = []
            for name in ("a", "bc", "d"):
                pipes = [os.pipe() for _ in name]
                for (_, write), octet in zip(pipes, name, strict=True):
                    os.write(write, octet.encode())
                    os.close(write)
                # The text makes the messages longer than the buffer of the socket.
                asked.append(
                    asyncio.ensure_future(one.request(name, fds=[read for read, _ in pipes], text="x" * 300_000))
                )
                await asyncio.sleep(0)
                for read, _ in pipes:
                    os.close(read)
            await asyncio.gather(*asked)

    run_async(main())
    assert got == [("a", b"a"), ("bc", b"b"), ("bc", b"c"), ("d", b"d")]


def test_errors_and_values_that_are_no_json_come_back_as_errors(run_async: RunAsync) -> None:
    async def fails() -> None:
        raise OSError("disk full")

    def answer(op: str, arguments: dict[str, Any], fds: list[int]) -> Any:
        if op == "raise":
            raise ValueError("not so")
        return fails() if op == "await" else {1, 2}

    async def main() -> None:
        async with channels(answer) as (one, _, _):
            for op, text in (("raise", "not so"), ("await", "disk full"), ("set", "not JSON serializable")):
                with pytest.raises(ChannelError, match=text):
                    await one.request(op)

    run_async(main())


def test_the_end_of_the_other_process_ends_all_requests(run_async: RunAsync) -> None:
    async def main() -> None:
        async with channels(lambda op, arguments, fds: asyncio.Event().wait()) as (one, other, ends):
            asked = asyncio.ensure_future(one.request("wait"))
            await asyncio.sleep(0)
            other.close()
            with pytest.raises(ChannelError, match="the process has ended"):
                await asked
            with pytest.raises(ChannelError, match="the process has ended"):
                await one.request("again")
            one.tell("nothing")
            assert ends == ["here"]

    run_async(main())


@pytest.mark.parametrize("octets", [b"\xff\xff\xff\xff", b"\0\0\0\x01{", b"\0\0\0\x02[]", b'\0\0\0\x0b{"op": "x"}'])
def test_what_is_no_message_ends_the_channel(run_async: RunAsync, octets: bytes) -> None:
    async def main() -> None:
        here, there = socket.socketpair()
        with there:
            ended = asyncio.Event()
            Channel(here, refuses, ended.set)
            there.sendall(octets)
            await ended.wait()

    run_async(main())
