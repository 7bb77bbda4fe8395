"""What a slot needs of the worker that it belongs to."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from fourtuple.engine import Engine
from fourtuple.framing import Framing
from fourtuple.handlers import Host
from fourtuple.load.meter import Meter
from fourtuple.load.options import Load
from fourtuple.load.payload import Expectation
from fourtuple.load.plan import Plan
from fourtuple.load.pool import Pool
from fourtuple.options import Deadlines, Limits, Sockets
from fourtuple.service import Service


class Pacing(Protocol):
    """What gives requests to connections when they are due."""

    def due(self, now: int) -> bool:
        """Whether a request waits for room."""

    def take(self, now: int) -> int:
        """The intended moment of the request that is sent next: now."""

    def joined(self, slot: Any) -> None:
        """A connection has room."""


class SlotHost(Host, Protocol):
    """All that is said here is the worker's; slots read it, and count what they compose."""

    plan: Plan
    load: Load
    clock: Callable[[], int]
    engine: Engine
    meter: Meter
    framing: Framing
    service: Service
    sockets: Sockets
    limits: Limits
    deadlines: Deadlines
    tls_context: ssl.SSLContext | None
    expectation: Expectation
    source: Callable[[dict[str, int]], Any]
    #: The one message that is always sent; None where they differ, or each has a reply of its own.
    message: Any
    composed: int
    #: Requests on one connection before it is left.
    visit: int
    pool: Pool
    running: bool
    stopped: bool
    over: bool

    @property
    def pacer(self) -> Pacing | None:
        """What gives the requests of an open loop to its connections; None for a closed one."""

    @property
    def requesters(self) -> Sequence[object]:
        """The slots that make the load."""

    def dial(self, slot: Any) -> None:
        """Make a connection for a slot."""

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call something in a while, if the run still goes on."""

    def tried(self, slot: Any, error: Exception | None) -> None:
        """A slot has its connection, or its first error."""

    def perhaps_done(self) -> None:
        """The last of the requests that were asked for may have been answered."""
