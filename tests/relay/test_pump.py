"""A pump between a source and a sink of the test."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from fourtuple.relay.flow import Flow
from fourtuple.relay.pump import Pump
from fourtuple.relay.toxics import Toxics


class Ends:
    """A source that gives these reads, then the end of file; a sink that notes what it gets."""

    def __init__(self, *reads: bytes) -> None:
        self.reads = [*reads, b""]
        self.got: list[bytes] = []

    async def receive(self, most: int) -> bytes:
        return self.reads.pop(0)

    async def send(self, octets: bytes) -> None:
        self.got.append(octets)

    async def finish(self) -> None:
        self.got.append(b"FIN")


class Edit:
    """A transform that passes each octet as a piece, and none for an x."""

    gap_timeout = None

    def __call__(self, octets: bytes) -> list[bytes]:
        return [octets[at : at + 1].replace(b"x", b"") for at in range(len(octets))]

    def silence(self) -> list[bytes]:
        raise AssertionError


def test_a_piece_without_octets_is_no_end_of_file(run_async: Any) -> None:
    async def main() -> None:
        loop, ends = asyncio.get_running_loop(), Ends(b"axb", b"x", b"cx")
        flow = Flow(Toxics(), 65536, random.Random(1), loop.time())
        pump = Pump(flow, ends, ends, loop.time, lambda what: None, lambda count: None, Edit())
        await asyncio.gather(pump.read(), pump.write())
        assert ends.got == [b"a", b"b", b"c", b"FIN"]

    run_async(main())
