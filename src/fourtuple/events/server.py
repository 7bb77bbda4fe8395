"""Events of a server and its listeners."""

from __future__ import annotations

from fourtuple.address import Address
from fourtuple.errors import OptionError
from fourtuple.events.base import Event, event
from fourtuple.four_tuple import Name


@event
class Listening(Event):
    """A listener is open at ``address``.

    ``backlog`` is the kernel's limit of its accept queue, ``asked`` the option's value.
    """

    address: Address
    backlog: int
    asked: int


@event
class Operating(Event):
    """A server can be operated: ``what`` is ``control`` (the socket of the commands) or ``http`` (/metrics and others).

    ``address`` has the port that the kernel chose.
    """

    what: str
    address: Address


@event
class Refused(Event):
    """A connection was accepted and then refused.

    ``limit`` is the name of the option that was exceeded, or ``vanished`` (the peer had reset the connection already,
    so that it has no name), or ``draining`` (a socket was given to a server that stops), or ``failed`` (there was no
    memory for it, or making it raised). ``why`` has the numbers.
    """

    name: Name | None
    limit: str
    why: str


@event
class DialFailed(Event):
    """A call of :meth:`fourtuple.Server.dial` to ``address`` made no connection. The next one follows in ``seconds``.

    ``error`` says why. ``failures`` counts those since the last connection that worked.
    """

    address: Address
    error: Exception
    failures: int
    seconds: float


@event
class CertificatesRead(Event):
    """The certificate files were read again; new connections use them."""


@event
class CertificatesFailed(Event):
    """The certificate files were read again and cannot be used (``error``); those read before stay in force."""

    error: OptionError


@event
class AcceptPaused(Event):
    """Accept pauses at ``address``: new connections wait in the accept queue; ``why`` names the limit."""

    address: Address
    why: str


@event
class AcceptResumed(Event):
    """Accept goes on at ``address``."""

    address: Address


@event
class AcceptDelayed(Event):
    """Connections come faster than ``accept_rate`` and wait in the accept queue; reported once a minute at most.

    ``why`` has the numbers.
    """

    why: str


@event
class AcceptFailed(Event):
    """accept(2) at ``address`` failed with ``error``; if ``fatal``, the listener is closed, otherwise it goes on."""

    address: Address
    error: OSError
    fatal: bool


@event
class LoopHeld(Event):
    """One call has held the loop for ``seconds``, and still does; ``handler`` is its function.

    ``stack`` has the lines of its stack, the innermost call last. Only this event is reported in another thread, that
    of the watchdog, because the loop's thread is held: the observer must not use objects of the loop then.
    """

    handler: str
    seconds: float
    stack: tuple[str, ...]


@event
class AlarmRaised(Event):
    """The number ``gauge`` has reached ``threshold``; it is ``value``."""

    gauge: str
    value: int
    threshold: int


@event
class Draining(Event):
    """The server begins to stop: it accepts connections already queued, and lets conversations end.

    After ``timeout`` seconds it has stopped in any case; None means no bound. ``connections`` is the number of open
    connections.
    """

    connections: int
    timeout: float | None = None


@event
class Drained(Event):
    """The server has stopped.

    ``aborted`` counts connections that were aborted, at the deadline or by a second signal. ``abandoned`` counts
    handlers that did not end when they were cancelled.
    """

    aborted: int
    abandoned: int = 0
