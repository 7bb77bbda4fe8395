"""Moves the octets of one direction, as a flow decides: one task reads, another sends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Protocol

from fourtuple.relay.flow import MOST, Flow, Step, What


class Source(Protocol):
    """Where octets come from."""

    async def receive(self, most: int) -> bytes:
        """Return at least one and at most ``most`` octets; none at the end of file. Raises OSError."""


class Sink(Protocol):
    """Where octets go."""

    async def send(self, octets: bytes) -> None:
        """Send octets; return when there is room for more. Raises OSError."""

    async def finish(self) -> None:
        """Send FIN."""


class Transform(Protocol):
    """What becomes of the octets that were read, before they are held."""

    @property
    def gap_timeout(self) -> float | None:
        """Seconds of silence after which :meth:`silence` is called; None for never."""

    def __call__(self, octets: bytes) -> Iterable[bytes]:
        """Take the octets of one read, none at the end of file; return the octets to pass on, in pieces.

        A piece without octets stands for work that was done. Others may go first behind each piece.
        """

    def silence(self) -> Iterable[bytes]:
        """Take a silence; return the octets to pass on."""


class Pump:
    """One direction of one relayed conversation.

    Parameters
    ----------
    flow
        Decides what happens to the octets.
    source, sink
        Where they come from, and where they go.
    clock
        Returns the time, in seconds.
    on_end
        Called with CLOSE or RESET, if the flow ends the whole conversation.
    on_passed
        Called with the number of octets, before they are sent: when the receiver has them, they are counted.
    transform
        What becomes of the octets of each read; a piece is what toxics take for a message. Default: they pass as they
        came.
    turn
        Asked behind each piece: what to await before the next, if the task has used its share of the loop. Default:
        never.
    """

    def __init__(
        self,
        flow: Flow,
        source: Source,
        sink: Sink,
        clock: Callable[[], float],
        on_end: Callable[[What], None],
        on_passed: Callable[[int], None],
        transform: Transform | None = None,
        turn: Callable[[], Awaitable[None] | None] = lambda: None,
    ) -> None:
        self.flow = flow
        self._source = source
        self._sink = sink
        self._clock = clock
        self._on_end = on_end
        self._on_passed = on_passed
        self._transform = transform
        self._turn = turn
        #: Set when more or fewer octets are held, or when the toxics have changed.
        self._changed = asyncio.Event()
        self._room = asyncio.Event()

    def wake(self) -> None:
        """Look again: the toxics have changed, or octets were put into the flow."""
        self._changed.set()
        self._room.set()

    async def read(self) -> None:
        """Read and hold octets while there is room, until the end of file."""
        flow = self.flow
        while True:
            while flow.room <= 0:
                self._room.clear()
                await self._room.wait()
            octets = await self._receive()
            for piece in self._pieces(octets):
                if piece:  # nothing means end of file in a flow
                    flow.put(piece, self._clock())
                waiting = self._turn()
                if waiting is not None:
                    self._changed.set()
                    await waiting
            if octets == b"":
                flow.end(self._clock())
            self._changed.set()
            if octets == b"":
                return

    async def _receive(self) -> bytes | None:
        """Return the octets of one read, none at the end of file; None for a silence that the transform waits for."""
        receiving = self._source.receive(min(MOST, self.flow.room))
        gap = None if self._transform is None else self._transform.gap_timeout
        if gap is None:
            return await receiving
        waiting = asyncio.timeout(gap)
        try:
            async with waiting:
                return await receiving
        except TimeoutError:
            if not waiting.expired():
                raise  # a deadline of the connection
            return None

    def _pieces(self, octets: bytes | None) -> Iterable[bytes]:
        if self._transform is None:
            return (octets,) if octets else ()
        return self._transform.silence() if octets is None else self._transform(octets)

    async def write(self) -> None:
        """Send the octets that are due, until the flow is over."""
        flow = self.flow
        while True:
            # Before the look at the flow: what comes after the look sets it again.
            self._changed.clear()
            step = flow.next(self._clock())
            if step.what is What.OVER:
                self._room.set()
                return
            if step.what is What.SEND:
                await self._send(step)
            elif step.what is What.WAIT:
                self._room.set()
                await self._wait(step.seconds)
            elif step.what is What.FINISH:
                await self.finish()
            else:
                await self.end(step.what)

    async def _send(self, step: Step) -> None:
        self._on_passed(len(step.octets))
        try:
            await self._sink.send(step.octets)
        except OSError:
            if self.flow.over:  # meanwhile, by the other direction
                return
            raise
        if not self.flow.over:
            self.flow.sent(len(step.octets), self._clock())
        self._room.set()

    async def _wait(self, seconds: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def reading(self) -> None:
        """As :meth:`read`; a sender that has vanished sends no RST."""
        try:
            await self.read()
        except OSError:
            if not self.flow.vanished:
                raise
            self._stop()

    async def writing(self, opposite: Pump) -> None:
        """As :meth:`write`; the loss of a receiver does not pass on if it has vanished for the other end."""
        try:
            await self.write()
        except OSError:
            if not opposite.flow.vanished:
                raise
            self._stop()

    def _stop(self) -> None:
        self.flow.finish()
        self.wake()

    async def finish(self) -> None:
        """Send FIN. Later octets are read and discarded."""
        if self.flow.over:
            return
        self.flow.finish()
        self.wake()
        await self._sink.finish()

    async def end(self, what: What) -> None:
        """End the whole conversation; nothing more is sent in this direction."""
        self.flow.finish()
        self.wake()
        if what is What.CLOSE:
            await self._sink.finish()
        self._on_end(what)
