"""Events of a supervisor, for its observer. ``slot`` is the number of a worker's slot, from 1."""

from __future__ import annotations

from fourtuple.address import Address
from fourtuple.events.base import Event, event


@event
class WorkerReady(Event):
    """A worker accepts connections; ``seconds`` is the time since it was started."""

    slot: int
    pid: int
    seconds: float


@event
class WorkerNotReady(Event):
    """A worker did not start; ``why`` says how it ended. The next attempt follows in ``seconds``; None: there is none.

    The worker itself has printed its error.
    """

    slot: int
    why: str
    seconds: float | None


@event
class WorkerDied(Event):
    """A worker that served has ended by itself; the next one is started in ``seconds``."""

    slot: int
    pid: int
    why: str
    seconds: float


@event
class WorkerEnded(Event):
    """A worker that was asked to stop has ended."""

    slot: int
    pid: int
    why: str


@event
class WorkerKilled(Event):
    """A worker had not stopped ``seconds`` after it was asked to, its own deadlines included, and was killed."""

    slot: int
    pid: int
    seconds: float


@event
class WorkerReplaced(Event):
    """Another worker serves a slot; the old one drains."""

    slot: int
    old: int
    new: int
    why: str


@event
class WorkerSilent(Event):
    """A worker has not answered the supervisor for ``seconds``: new connections go to the others meanwhile."""

    slot: int
    pid: int
    seconds: float


@event
class WorkerAnswers(Event):
    """A silent worker answers again, and gets new connections again."""

    slot: int
    pid: int


@event
class QueueLent(Event):
    """The accept queue of a slot without a worker is served by the worker of another slot, ``by``."""

    slot: int
    by: int


@event
class RollBegun(Event):
    """The workers are replaced one by one; ``why`` names the cause."""

    why: str


@event
class RollDone(Event):
    """All workers were replaced."""

    workers: int


@event
class RollAbandoned(Event):
    """A new worker did not start: the roll ends, and the old workers go on."""

    why: str


@event
class WorkersChanged(Event):
    """The number of workers has changed."""

    before: int
    after: int


@event
class UpgradeBegun(Event):
    """A new supervisor was started, and takes over when its workers are ready."""

    pid: int


@event
class UpgradeDone(Event):
    """The new supervisor has taken over; this one drains its workers and ends."""

    pid: int


@event
class UpgradeAbandoned(Event):
    """The new supervisor did not start: everything goes on as before."""

    why: str


@event
class SocketShared(Event):
    """All workers accept at one socket: the load is less even, and a worker without a place is not avoided."""

    address: Address
    why: str


@event
class Supervising(Event):
    """Workers listen at an address."""

    address: Address
    workers: int


@event
class Stopping(Event):
    """The supervisor stops its workers."""

    workers: int


@event
class Stopped(Event):
    """All workers have ended; ``unclean`` of them had to abort conversations or handlers, or were killed."""

    unclean: int
