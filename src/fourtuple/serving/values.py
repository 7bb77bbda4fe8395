"""What a server tells of itself: values, nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    """Counters of a server at one moment; octets and messages of ended and of living connections together."""

    accepted: int
    active: int
    closed: int
    probes: int
    refused: int
    aborted: int
    #: Handlers that did not end when the server stopped.
    abandoned: int
    octets_in: int
    octets_out: int
    messages_in: int
    messages_out: int
    #: Connections that were aborted at ``max_buffered`` or ``max_buffered_per_connection``.
    limited: int
    #: Times that accept(2) failed: no descriptors, no memory, a connection that died in the queue.
    accept_failures: int
    #: TLS handshakes that were done, and connections that TLS broke, in the handshake or later.
    handshakes: int
    tls_failures: int
    #: Peers that ended TLS by FIN alone, without close_notify: behind a whole message an end of file, else a failure.
    tls_without_close_notify: int


#: What happens to a consumer that is too slow.
Slow = Literal["skip", "close", "abort"]


@dataclass(frozen=True, slots=True)
class Broadcast:
    """What became of a broadcast.

    ``sent`` connections got the message, ``slow`` ones had a crowded outbox and were skipped, closed or aborted,
    ``out_of_reach`` ones are ending, or their socket is in the hands of a thread or a program, ``unfit`` ones have
    another framing than the rest, which cannot carry the message.
    """

    sent: int
    slow: int
    out_of_reach: int
    unfit: int = 0
