"""The interface of the worker for its slots."""

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
    """The interface that gives requests to connections when they are due."""

    def due(self, now: int) -> bool:
        """Whether a request waits for room."""

    def take(self, now: int) -> int:
        """Take the request that is sent now; return its intended moment."""

    def joined(self, slot: Any) -> None:
        """Note that a connection has room."""


class SlotHost(Host, Protocol):
    """The attributes of the worker. Slots only read them, except that they count in ``composed``."""

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
    #: The only message, if all requests are the same; None if they differ or each expects a different reply.
    message: Any
    composed: int
    #: The number of requests on one connection before it is closed.
    visit: int
    pool: Pool
    running: bool
    stopped: bool
    over: bool

    @property
    def pacer(self) -> Pacing | None:
        """The pacer of an open loop; None in a closed loop."""

    @property
    def requesters(self) -> Sequence[object]:
        """The slots that make the load."""

    def without_pushes(self, handle: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return ``handle`` for the messages that are no pushes; pushes are counted."""

    def dial(self, slot: Any) -> None:
        """Make a connection for a slot."""

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call ``call`` after ``seconds``, if the run has not ended."""

    def tried(self, slot: Any, error: Exception | None) -> None:
        """Note that a slot has its connection, or its first error."""

    def perhaps_done(self) -> None:
        """Stop if all of the given number of requests have been answered."""
