"""The server of a connection, as a handler sees it: :class:`fourtuple.Server` without the methods that start it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, TypeVarTuple, Unpack, overload

from fourtuple.address import Address
from fourtuple.four_tuple import Name
from fourtuple.framing import Framing
from fourtuple.options import Limits
from fourtuple.serving.values import Broadcast, ServerStatistics, Slow
from fourtuple.tls.certificates import Certificates, TlsChoice

if TYPE_CHECKING:
    from fourtuple.ignored import Awaited, Lost, NeverRun
    from fourtuple.options.changes import LimitsChanges

C_co = TypeVar("C_co", covariant=True)
#: The types of the arguments of a function that is called on the loop.
Arguments = TypeVarTuple("Arguments")


class ServiceHandle(Protocol):
    """The type of ``connection.server.service`` for a handler: :class:`fourtuple.Service` without its decorators."""

    @property
    def framing(self) -> Framing:
        """The framing with which a connection begins."""

    @property
    def name(self) -> str:
        """The name of the service in events and logs."""


class DialHandle(Protocol[C_co]):
    """The type of ``connection.server.dial(...)``: :class:`fourtuple.Dial`."""

    address: Address
    failures: int

    @property
    def connection(self) -> C_co | None:
        """The open connection; None while there is none."""

    @property
    def active(self) -> bool:
        """Whether it calls, or will call again when its connection has ended."""

    def cancel(self) -> None:
        """Call no more."""


class ServerHandle(Protocol[C_co]):
    """The type of ``connection.server``; ``C_co`` is the class of its connections."""

    #: Set when the server begins to stop.
    draining: asyncio.Event

    @property
    def limits(self) -> Limits:
        """The limits in force."""

    @property
    def service(self) -> ServiceHandle:
        """The service that it serves."""

    @property
    def stopped(self) -> bool:
        """Whether the server has stopped, including the service's tear-down."""

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The addresses at which the server listens, with the ports that the kernel chose."""

    @property
    def connections(self) -> Mapping[int, C_co]:
        """The open connections by id: a snapshot."""

    @property
    def statistics(self) -> ServerStatistics:
        """An immutable snapshot of the counters."""

    @property
    def certificates(self) -> Certificates | None:
        """The certificates in force; None without TLS."""

    def _certificates_of(self, id: int) -> Certificates | None:
        """The certificates that the connection with this id uses: those of its endpoint."""

    def find(self, name: Name | str) -> C_co | None:
        """Return the open connection with this name; None if there is none."""

    def adopt(self, sock: socket.socket) -> C_co | None:
        """Serve ``sock``, a connected socket; return its connection, or None if it is refused."""

    def dial(
        self,
        address: Address | str,
        *,
        timeout: float | None = 10.0,
        local_address: Address | str | None = None,
        tls: TlsChoice | None = None,
        server_hostname: str | None = None,
    ) -> DialHandle[C_co]:
        """Connect to an address, serve the connection, and call again when it has ended: returns a handle of that.

        ``timeout``, in seconds (default: 10), ``local_address``, ``tls`` and ``server_hostname`` are those of
        :meth:`fourtuple.Server.dial`.
        """

    def broadcast(
        self, message: Any, *, slow: Slow = "skip", to: Callable[[C_co], bool] | Iterable[Any] | None = None
    ) -> Broadcast:
        """Send one message to all connections, or to those in ``to``; return how many got it.

        ``slow`` says what to do with a connection whose outbox is full. Default: ``"skip"`` it.
        """

    def change_limits(self, **changes: Unpack[LimitsChanges]) -> Limits:
        """Put other limits in force while serving, ``changes``; return all of them."""

    def pause(self) -> None:
        """Stop accepting until ``resume()``."""

    def resume(self) -> None:
        """Accept again after ``pause()``."""

    @overload
    def call_soon(self, function: Callable[[Unpack[Arguments]], Awaited], *arguments: *Arguments) -> None: ...
    @overload
    def call_soon(  # type: ignore[overload-overlap]
        self, function: Callable[[Unpack[Arguments]], NeverRun], *arguments: *Arguments
    ) -> Lost: ...
    @overload
    def call_soon(self, function: Callable[[Unpack[Arguments]], object], *arguments: *Arguments) -> None: ...
    def call_soon(  # type: ignore[misc]
        self, function: Callable[[Unpack[Arguments]], object], *arguments: *Arguments
    ) -> None:
        """Call ``function(*arguments)`` on the server's loop, from any thread."""

    async def drain(self, timeout: float | None = None) -> int:
        """Stop gracefully, within ``timeout`` seconds. Default: ``drain_timeout``. Return how many were aborted."""

    async def abort(self) -> None:
        """Stop now."""
