"""Events of a client that stays connected, and its counters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from fourtuple.errors import Fate
from fourtuple.events.base import Event, event

#: The states of a client.
ClientState: TypeAlias = Literal[
    "new", "connecting", "greeting", "ready", "waiting", "failed", "draining", "closed", "forked", "loop closed"
]


@event
class ClientStateChanged(Event):
    """A client's state is now ``state``; it was ``was``.

    States are ``new``, ``connecting``, ``greeting``, ``ready``, ``waiting`` (for ``seconds``, to the next attempt),
    ``failed`` (greet raised PermanentFailure), ``draining`` and ``closed``.

    ``address`` is that of its server.
    """

    address: str
    state: ClientState
    was: ClientState
    seconds: float = 0.0


@event
class ClientConnected(Event):
    """A client has made a connection, and greeted; ``attempts`` counts the attempts that it took.

    ``address`` is that of its server. ``connection`` names the connection.
    """

    address: str
    connection: str
    attempts: int


@event
class ClientConnectFailed(Event):
    """An attempt of a client to connect or to greet has failed; the next is at the earliest in ``pause`` seconds.

    ``pause`` is None if there is no next one: greet raised PermanentFailure.

    ``address`` is that of its server. ``error`` says why it failed, ``attempt`` is its number since the last
    connection.
    """

    address: str
    error: Exception
    attempt: int
    pause: float | None


@event
class ClientDisconnected(Event):
    """A connection of a client has ended.

    ``why`` is ``peer`` (end of file), ``error``, ``unexpected`` (a message that answers no request), ``check``,
    ``ping`` (a ping could not be made or sent), ``abandoned``, ``idle``, ``age``, ``requests``, ``expired``, ``fresh``
    (it made room for a new one) or ``closed``.

    ``address`` is that of its server. ``connection`` names the connection; ``error`` is the error that ended it, or
    None.
    """

    address: str
    connection: str
    why: str
    error: Exception | None = None


@event
class ClientRetried(Event):
    """A client repeats a request; ``fate`` says what may have happened to it, ``error`` why it failed.

    ``address`` is that of its server.
    """

    address: str
    fate: Fate
    error: Exception


@event
class Reconnected(Event):
    """A client that takes pushes is connected again: pushes since ``gap_since`` (seconds since 1970) may be missing.

    ``address`` is that of its server; it was disconnected for ``seconds``.
    """

    address: str
    gap_since: float
    seconds: float


@event
class PushesDropped(Event):
    """The inbox of pushes is full, and the oldest are dropped. Reported once, until the inbox has had room again.

    ``address`` is that of the client's server, ``waiting`` the number of pushes in the inbox.
    """

    address: str
    waiting: int


@event
class PushConsumerFailed(Event):
    """The function ``on_push`` of a client raised, or the consumer of its ``pushes()`` ended without closing it.

    ``address`` is that of the client's server; ``error`` is what was raised, or None.
    """

    address: str
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class ClientStatistics:
    """Counters of a client at one moment.

    - ``open`` connections are ``in_use`` (a request waits for a reply there) or ``idle``.
    - ``waiting`` requests wait for a connection now; ``wait_count`` have waited, for ``wait_seconds`` together.
    - ``requests`` were begun, ``replies`` came. ``late_replies`` counts replies to requests that had been given up,
      ``abandoned`` those that are still owed.
    - ``connects`` and ``connects_failed`` count attempts to connect, ``greet`` included.
    - ``retried_not_sent`` and ``retried_perhaps_sent`` count requests that were tried again, by their fate;
      ``retries_refused`` those that the budget did not allow. ``retry_budget`` is the number of retries of
      ``perhaps_sent`` requests that are allowed now.
    - Connections ended, by reason: ``closed_peer`` (the server's FIN), ``closed_error`` (a failure),
      ``closed_unexpected`` (a message that answers nothing), ``closed_check`` (the check before use, or an unanswered
      ping), ``closed_ping`` (a ping could not be made or sent), ``closed_abandoned`` (abandoned replies: too many, or
      too old), ``closed_fresh`` (to make room for a new connection), ``closed_idle``, ``closed_age``,
      ``closed_requests`` and ``closed_expired`` (``max_idle``, ``max_age``, ``max_requests``, ``expire()``),
      ``closed_closed`` (``close()`` and ``drain()``).
    - ``pings`` were sent. ``pushes`` were received: ``pushes_waiting`` wait now, ``pushes_dropped`` were dropped;
      ``gaps`` counts the times when pushes may have been missed: reconnects, and each run of dropped pushes.
    """

    open: int = 0
    in_use: int = 0
    idle: int = 0
    waiting: int = 0
    abandoned: int = 0
    wait_count: int = 0
    wait_seconds: float = 0.0
    requests: int = 0
    replies: int = 0
    late_replies: int = 0
    connects: int = 0
    connects_failed: int = 0
    retried_not_sent: int = 0
    retried_perhaps_sent: int = 0
    retries_refused: int = 0
    retry_budget: int = 0
    closed_peer: int = 0
    closed_error: int = 0
    closed_unexpected: int = 0
    closed_check: int = 0
    closed_ping: int = 0
    closed_abandoned: int = 0
    closed_idle: int = 0
    closed_age: int = 0
    closed_requests: int = 0
    closed_expired: int = 0
    closed_fresh: int = 0
    closed_closed: int = 0
    pings: int = 0
    pushes: int = 0
    pushes_waiting: int = 0
    pushes_dropped: int = 0
    gaps: int = 0
