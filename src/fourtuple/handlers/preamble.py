"""A connection whose PROXY header or TLS handshake comes first. The service knows nothing of it yet."""

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
    """The consumer of a channel until its stream is ready; then ``enter()`` makes the runner that takes its place.

    It makes none for one that is turned away.
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
        """Wait for what comes first."""
        self.channel.start(self)

    def readable(self) -> None:
        """Octets came: let the connection in when it has shown what it has to."""
        self.channel.due = -math.inf  # another layer has another deadline
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
        """Nobody sends yet."""

    def deadline(self, error: DeadlinePassed) -> None:
        """The header or the handshake did not come in time; there is no word to say in either."""
        if self.stream.reason is Reason.REFUSED:
            return  # that is told already
        self.host.observer(events.DeadlineMissed(self.connection.id, self.connection.name, error))

    def left(self) -> None:
        """It ended before it was opened: the service has not heard of it."""
        self.stream.let_go()
