"""One attempt of a blocking client to connect: what other threads need to know of it, to end it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from fourtuple.blocking.connection import BlockingConnection
from fourtuple.blocking.descriptor import Alarm
from fourtuple.blocking.link import left_receiving
from fourtuple.blocking.opening import opened
from fourtuple.blocking.polling import after
from fourtuple.blocking.shared_socket import Latest
from fourtuple.errors import ConnectionBusy, ConnectionEnded, DeadlinePassed, PermanentFailure
from fourtuple.options import unrun
from fourtuple.pool.functions import failure_of
from fourtuple.pool.plan import Plan


class Attempt:
    """An attempt to connect and to greet, which :meth:`end` ends from another thread."""

    def __init__(self, plan: Plan, clock: Callable[[], float]) -> None:
        self._plan = plan
        self._clock = clock
        self._until = after(plan.chosen.timeout, clock)
        #: The connection, as soon as there is one.
        self.connection: BlockingConnection | None = None
        #: Whether no thread works on it any more.
        self.over: bool = False
        #: The thread that calls ``greet`` now.
        self.greeting: int | None = None
        self._ended = False
        self._alarm = Alarm()
        self._lock = threading.RLock()  # reentrant: a signal handler may close the client

    # -- for the code that connects -------------------------------------------------------------------------

    @property
    def rung(self) -> bool:
        """Whether it is to end."""
        return self._ended

    def fileno(self) -> int | None:
        """Return a descriptor that is readable once it is to end; None if none can be made."""
        with self._lock:
            return self._alarm.fileno()

    def connect(self) -> None:
        """Connect, TLS included. Raises as :func:`fourtuple.blocking.connect`, and ConnectionEnded if it is ended."""
        opened(self._plan.address, self._plan.framing, self._plan.chosen, self)

    def made(self, connection: BlockingConnection) -> None:
        """Take the connection, before its TLS handshake."""
        self.connection = connection
        if self._ended:  # looked at after the assignment, as end() assigns before it looks: one of both sees the other
            raise self.why_ended()

    def greet(self, greet: Callable[[Any], object]) -> None:
        """Call ``greet``. Raises DeadlinePassed if it has not returned in time, PermanentFailure if it did not run."""
        connection, timeout = self.connection, self._plan.chosen.timeout
        assert connection is not None
        if self._until is not None and timeout is not None:
            connection._socket.latest = Latest(self._until, timeout)
        try:
            self.greeting = threading.get_ident()
            mistake = unrun("greet", greet, greet(connection))
            if mistake is not None:  # it would be so each time
                raise PermanentFailure(f"{connection.name}: {mistake}")
        finally:
            self.greeting = None
        connection._socket.latest = None
        if self._until is not None and self._clock() >= self._until:
            raise DeadlinePassed("connect", timeout or 0.0, str(self._plan.address), "greet was not done in time")
        try:
            connection._in.alone(_nothing)
        except ConnectionBusy as error:
            raise left_receiving(str(connection.name), error) from None

    def failed(self, error: BaseException) -> Exception:
        """Return why it failed, for the pool: without the frames of a traceback, which would keep the connection."""
        return failure_of(error, f"{self._plan.address}: greet")

    def drop(self) -> None:
        """Close the connection, if there is one."""
        if self.connection is not None:
            self.connection.abort()

    def close(self) -> None:
        """Close the descriptor."""
        with self._lock:
            self._alarm.close()

    def __del__(self) -> None:
        # An interrupt may have come before close() was called, or inside __init__.
        alarm: Alarm | None = getattr(self, "_alarm", None)
        if alarm is not None:
            alarm.close()

    # -- for other threads ----------------------------------------------------------------------------------

    def end(self) -> None:
        """End it now, in whatever thread it is."""
        with self._lock:
            self._ended = True
            self._alarm.ring()
        self.drop()

    def why_ended(self) -> ConnectionEnded:
        """Return the error of an attempt that was ended."""
        return ConnectionEnded(f"client of {self._plan.address}: closed by this side while it connected")


def _nothing() -> None:
    """Change nothing: only whether it could be changed matters."""
