"""What the parts of a server need of it: its engine, its options, who is here, whom to tell."""

from __future__ import annotations

from typing import Protocol

from fourtuple.engine import Engine, Listener
from fourtuple.handlers import Host
from fourtuple.options import Deadlines, Limits
from fourtuple.service import Service
from fourtuple.serving.admission import Admission
from fourtuple.serving.preamble import Preamble
from fourtuple.serving.registry import Registry
from fourtuple.serving.throttling import Throttling
from fourtuple.stream import Tap


class ServerCore(Host, Protocol):
    """A server, as those see it that take connections in and see them off, and that stop it."""

    service: Service
    engine: Engine
    limits: Limits
    deadlines: Deadlines
    tap: Tap | None
    preamble: Preamble
    admission: Admission
    registry: Registry
    throttling: Throttling

    @property
    def max_connections(self) -> int:
        """The limit in force."""

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """The passive sockets."""
