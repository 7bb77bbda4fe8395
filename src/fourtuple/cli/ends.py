"""The user's end of ``fourtuple connect``: pipes and files, or a prompt on a terminal.

Standard input and output are whatever the shell made them, and an epoll set takes neither regular files nor, politely,
descriptors that are shared with other programs: a thread blocks in each.
"""

from __future__ import annotations

import asyncio
import os
from typing import Protocol

import click

from fourtuple.handlers import Threads

_STDIN, _STDOUT = 0, 1
_READ_OCTETS = 65536


class Ends(Protocol):
    """The user's end of the conversation."""

    async def read(self) -> bytes:
        """Return the next octets of the input; empty octets at its end."""

    async def write(self, octets: bytes) -> None:
        """Write what the peer sent."""

    async def say(self, text: str) -> None:
        """Print a line about the conversation, on standard error."""

    def close(self) -> None:
        """Release threads and the terminal."""


class StandardFiles:
    """Standard input and output: one thread reads, and another one writes."""

    def __init__(self) -> None:
        self._threads = Threads(asyncio.get_running_loop(), 2, _nothing, _nothing)

    async def read(self) -> bytes:
        octets: bytes = await self._threads.run(_read)
        return octets

    async def write(self, octets: bytes) -> None:
        await self._threads.run(lambda: write_all(octets))

    async def say(self, text: str) -> None:
        click.echo(text, err=True)

    def close(self) -> None:
        self._threads.close()


def _nothing() -> None:
    """There is one thread for each direction, so no direction waits for the other."""


def _read() -> bytes:
    """Return the next octets of standard input; empty octets at its end, or if it is closed. Called in a thread."""
    try:
        return os.read(_STDIN, _READ_OCTETS)
    except OSError:
        return b""


def write_all(octets: bytes) -> None:
    """Write all octets to standard output, past Python's buffer."""
    view = memoryview(octets)
    while view:
        view = view[os.write(_STDOUT, view) :]
