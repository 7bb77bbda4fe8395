"""A connection before its first message, while a PROXY header or a TLS handshake is expected.

The service does not know of the connection yet.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from fourtuple import events
from fourtuple.connection import Connection
from fourtuple.engine import Channel
from fourtuple.errors import DeadlinePassed
from fourtuple.handlers.runner import Host, Runner
from fourtuple.service import Service
from fourtuple.stream import Reason


class PreambleHandler(Runner):
    """The consumer of a channel until its stream is ready; then ``enter()`` makes the runner that replaces it.

    ``enter()`` returns None for a connection that is refused.
    """

    __slots__ = ("_enter",)

    def __init__(
        self,
        host: Host,
        service: Service,
        connection: Connection | None,
        channel: Channel,
        enter: Callable[[Connection, Channel], Runner | None],
    ) -> None:
        super().__init__(host, service, connection, channel)
        self._enter = enter

    def start(self) -> None:
        """Wait for the header or the handshake."""
        self.channel.start(self)

    def readable(self) -> None:
        """Admit the connection when the preamble is complete."""
        self.channel.due = -math.inf  # the next layer may have another deadline
        if self.stream.ready:
            if self.stream.closing:
                return
            runner = self._enter(self.connection, self.channel)
            if runner is None:
                return
            runner.start()
            if not self.channel.ended and not self.channel.detached:
                runner.readable()
        elif self.stream.exhausted:
            self.channel.close()

    def writable(self) -> None:
        """Do nothing: no handler sends yet."""

    def deadline(self, error: DeadlinePassed) -> None:
        """Report that the header or the handshake did not come in time. No last words: the service is not involved."""
        if self.stream.reason is Reason.REFUSED:
            return  # the refusal is reported already
        self.host.observer(events.DeadlineMissed(self.connection.id, self.connection.name, error))

    def left(self) -> None:
        """Release the stream. The service is not told: the connection was never opened."""
        self.stream.let_go()
