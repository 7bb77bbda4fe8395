"""The server of a connection, as a handler sees it: :class:`fourtuple.Server` without what makes and runs it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, TypeVarTuple, Unpack

from fourtuple.address import Address, Name
from fourtuple.framing import Framing
from fourtuple.options import Limits
from fourtuple.serving.values import Broadcast, ServerStatistics, Slow
from fourtuple.tls import TlsInfo
from fourtuple.tls.certificates import Certificates

if TYPE_CHECKING:
    from fourtuple.options.changes import LimitsChanges

C = TypeVar("C")
#: Of a function that is called on the loop.
Arguments = TypeVarTuple("Arguments")


class ServiceHandle(Protocol):
    """What ``connection.server.service`` is, to a handler: :class:`fourtuple.Service` without its decorators."""

    @property
    def framing(self) -> Framing:
        """How messages are cut when a connection begins."""

    @property
    def name(self) -> str:
        """What events and logs call the service."""


class ServerHandle(Protocol[C]):
    """What ``connection.server`` is; ``C`` is the class of its connections."""

    limits: Limits
    #: Set when the server begins to stop.
    draining: asyncio.Event

    @property
    def service(self) -> ServiceHandle:
        """What it serves."""

    @property
    def stopped(self) -> bool:
        """Whether the server has stopped and the service was torn down."""

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where the server listens, with the ports that the kernel chose."""

    @property
    def connections(self) -> Mapping[int, C]:
        """The living connections by their id: a snapshot."""

    @property
    def statistics(self) -> ServerStatistics:
        """An immutable snapshot of the counters."""

    @property
    def certificates(self) -> Certificates | None:
        """The certificates in force; None without TLS."""

    def find(self, name: Name | str) -> C | None:
        """The living connection of this name."""

    def broadcast(self, message: Any, *, slow: Slow = "skip", to: Callable[[C], bool] | None = None) -> Broadcast:
        """Send one message to all connections."""

    def change_limits(self, **changes: Unpack[LimitsChanges]) -> Limits:
        """Put other limits in force while serving."""

    def pause(self) -> None:
        """Stop accepting for a while."""

    def resume(self) -> None:
        """Accept again."""

    def call_soon(self, function: Callable[[Unpack[Arguments]], object], *arguments: *Arguments) -> None:
        """Call a function on the server's loop, from any thread."""

    async def drain(self, timeout: float | None = None) -> int:
        """Stop gracefully, in bounded time."""

    async def abort(self) -> None:
        """Stop now."""

    def secured(self, connection: C, tls: TlsInfo) -> None:
        """A handshake is done."""
