"""Values that a server returns: statistics, and the result of a broadcast."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    """Counters of a server at one moment. Octets and messages include those of open and of ended connections.

    ``accepted``, ``active``, ``closed``, ``refused``, ``aborted``: connections. ``probes``: those that the peer ended
    without an octet. ``octets_in``, ``octets_out``, ``messages_in``, ``messages_out``: what was received and sent.
    ``abandoned``: handlers that did not end when the server stopped. ``limited``: connections aborted by
    ``max_buffered`` or ``max_buffered_per_connection``. ``accept_failures``: of accept(2). ``handshakes``: completed
    TLS handshakes. ``tls_failures``: connections that failed by a TLS error. ``tls_without_close_notify``: peers that
    ended TLS by FIN alone.
    """

    accepted: int
    active: int
    closed: int
    probes: int
    refused: int
    aborted: int
    #: Handlers that did not end when the server stopped, and were abandoned.
    abandoned: int
    octets_in: int
    octets_out: int
    messages_in: int
    messages_out: int
    #: Connections aborted by ``max_buffered`` or ``max_buffered_per_connection``.
    limited: int
    #: Failures of accept(2): no descriptors, no memory, or a connection that ended in the accept queue.
    accept_failures: int
    #: Completed TLS handshakes, and connections that failed by a TLS error, in the handshake or later.
    handshakes: int
    tls_failures: int
    #: Peers that ended TLS by FIN without close_notify: an end of file after a whole message, otherwise an error.
    tls_without_close_notify: int

    @classmethod
    def sum(cls, several: Iterable[ServerStatistics]) -> ServerStatistics:
        """Add the counters of several up, field by field; return the sums."""
        columns = zip(*(astuple(each) for each in several), strict=True)
        return cls(*map(sum, columns))


#: What happens to a consumer that is too slow.
Slow = Literal["skip", "close", "abort"]


@dataclass(frozen=True, slots=True)
class Broadcast:
    """The result of a broadcast: the number of connections in each case.

    ``sent``: the message was sent. ``slow``: the outbox was crowded, and the connection was skipped, closed or
    aborted. ``out_of_reach``: the connection is ending, or a thread or a program uses its socket. ``unfit``: the
    connection has changed its framing, and that framing cannot carry the message.
    """

    sent: int
    slow: int
    out_of_reach: int
    unfit: int = 0
