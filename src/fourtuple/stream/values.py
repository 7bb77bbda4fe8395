"""The states of a direction, why a conversation ended, and its counters: values, nothing else."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from enum import Enum

#: The next connection's number, unique in this process; whoever has a socket for a stream takes one.
new_id = itertools.count(1).__next__


class Half(Enum):
    """The state of one direction."""

    OPEN = "open"
    ENDING = "ending"
    ENDED = "ended"
    BROKEN = "broken"


class Reason(Enum):
    """Why a conversation ended. The first reason stays."""

    PEER_CLOSED = "closed by peer"
    NO_CLOSE_NOTIFY = "closed by peer without close_notify"
    CLOSED = "closed"
    RESET = "reset by peer"
    LOST = "lost"
    ABORTED = "aborted"
    MESSAGE_ERROR = "message error"
    TLS_ERROR = "TLS error"
    PROXY_ERROR = "PROXY header error"
    HANDLER_ERROR = "handler error"
    DEADLINE = "deadline"
    DRAINED = "drained"
    HANDED_ON = "handed on"
    REFUSED = "refused"
    LIMIT = "limit"

    @property
    def imposed(self) -> bool:
        """Whether a connection that is closed for it is closed over its handler's head, and not by its wish."""
        return self in (Reason.DEADLINE, Reason.LIMIT, Reason.MESSAGE_ERROR, Reason.HANDLER_ERROR)

    @property
    def by_peer(self) -> bool:
        """Whether the peer, or the way to it, ended it."""
        return self in (Reason.PEER_CLOSED, Reason.NO_CLOSE_NOTIFY, Reason.RESET, Reason.LOST)

    @property
    def is_end_of_file(self) -> bool:
        """Whether the peer sent its end of file first."""
        return self in (Reason.PEER_CLOSED, Reason.NO_CLOSE_NOTIFY)


@dataclass(frozen=True, slots=True)
class Unsendable:
    """In the place of pending replies, the first of which cannot be encoded: its error, until the driver takes it."""

    error: BaseException


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counters of one connection at one moment.

    Octets are those of the peer and of us on the wire; messages count when they are decoded or encoded.
    ``late_replies`` are replies to requests that had been given up, ``outbox`` and ``inbox`` what waits now;
    ``discarded`` are the plain octets that start_tls() threw away.
    """

    octets_in: int
    octets_out: int
    messages_in: int
    messages_out: int
    late_replies: int
    inbox: int
    outbox: int
    discarded: int = 0
