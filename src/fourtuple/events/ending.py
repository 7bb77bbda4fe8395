"""Why a connection ended, and what it counted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Reason(Enum):
    """Why a connection ended. The first reason is kept, but what a drain half-closed and then aborted was aborted."""

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
        """Whether a connection closed for this reason is closed by the server and not by its handler."""
        return self in (Reason.DEADLINE, Reason.LIMIT, Reason.MESSAGE_ERROR, Reason.HANDLER_ERROR)

    @property
    def by_peer(self) -> bool:
        """Whether the peer, or the network between, ended the connection."""
        return self in (Reason.PEER_CLOSED, Reason.NO_CLOSE_NOTIFY, Reason.RESET, Reason.LOST)

    @property
    def is_end_of_file(self) -> bool:
        """Whether the peer sent its end of file first."""
        return self in (Reason.PEER_CLOSED, Reason.NO_CLOSE_NOTIFY)


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counters of one connection at one moment.

    ``octets_in`` and ``octets_out`` count octets on the wire. ``messages_in`` and ``messages_out`` count messages when
    they are decoded or encoded. ``late_replies`` counts replies to requests that had been given up. ``inbox`` and
    ``outbox`` are the messages and octets that wait now. ``discarded`` counts octets that were not decoded: plain ones
    before start_tls(), and those that waited for a rate when the connection was lost or closed. ``skipped`` counts
    octets that the framing skipped, because they belong to no message: those before a start marker, for example.
    """

    octets_in: int
    octets_out: int
    messages_in: int
    messages_out: int
    late_replies: int
    inbox: int
    outbox: int
    discarded: int = 0
    skipped: int = 0
