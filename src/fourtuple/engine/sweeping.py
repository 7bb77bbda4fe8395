"""The channels of an engine, and the timer of the sweep that checks their deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Set
from contextlib import suppress

from fourtuple.engine.fields import EngineFields
from fourtuple.engine.readiness import Swept


class Sweeping(EngineFields):
    """Keeps the channels, and calls :meth:`sweep` at an interval while there are any, or while a step has failed."""

    #: The fields that C reads for every message are slots of the base; all others are in ``__dict__``.
    __slots__ = ("__dict__", "__weakref__")

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], float], sweep_seconds: float) -> None:
        self.loop = loop
        self.clock = clock
        #: The time of the current turn; outside of turns use :meth:`time`.
        self.now: float = clock()
        #: The keys are the channels that have not left yet. With thousands, a set takes three times the memory.
        self._channels: dict[Swept, None] = {}
        #: Functions called with the time at each sweep, after the deadlines.
        self.on_sweep: list[Callable[[float], None]] = []
        self.closed: bool = False
        self.inert: bool = False
        #: Whether a step failed and has to be repeated: then the sweep continues, even without channels.
        self.unwell: bool = False
        #: During a sweep: whether it repeats failed steps.
        self.recovering: bool = False
        self._sweep_seconds = sweep_seconds
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def channels(self) -> Set[Swept]:
        """The live channels."""
        return self._channels.keys()

    def add(self, channel: Swept) -> None:
        """Watch a channel's deadlines."""
        self._channels[channel] = None
        if self._sweeper is None:
            with suppress(MemoryError):  # the end of the next turn tries again
                self._keep_sweeping()

    def knows(self, channel: Swept) -> bool:
        """Whether the engine has the channel: from :meth:`add` to :meth:`discard`."""
        return channel in self._channels

    def discard(self, channel: Swept) -> None:
        """Forget the channel: it has ended."""
        self._channels.pop(channel, None)

    def sweep_on(self) -> None:
        """Keep the sweep running until the failed steps have succeeded."""
        self.unwell = True
        if self._sweeper is None:
            self._keep_sweeping()

    def _keep_sweeping(self) -> None:
        if (self._channels or self.unwell) and not (self.closed or self.inert):
            # Without channels there is no timer: an idle engine never wakes its process.
            self._sweeper = self.loop.call_later(self._sweep_seconds, self._sweep_again)

    def _sweep_again(self) -> None:
        self._sweeper = None
        if self.inert or self.closed:
            return
        try:
            self.sweep()
        finally:
            if self._sweeper is None:
                self._keep_sweeping()

    def sweep(self) -> None:
        """Check the deadlines of all channels once."""
        raise NotImplementedError
