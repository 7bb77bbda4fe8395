"""The places of a server of operations: which connection is aborted when too many clients are silent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from fourtuple.connection import Connection

AnyConnection = Connection[bytes, bytes, None, None]


class Places:
    """The open connections, and which of them is aborted when there are too many.

    A client that connects and is silent, or that does not read its response, costs no client of good manners its
    answer: the kubelet waits for a second. First go the connections that have ended but for the client's FIN, then the
    one whose client has let us wait for the longest, then the one whose answer takes the longest. Streams of events
    have a bound of their own.

    Parameters
    ----------
    opened
        Returns the connections of the server that are open.
    most
        The most connections that may wait: for a request, for their client to read, or for an answer.
    """

    def __init__(self, opened: Callable[[], Iterable[AnyConnection]], most: int) -> None:
        self._opened = opened
        self._most = most
        #: In the order in which they began to wait.
        self._idle: dict[AnyConnection, None] = {}
        self._working: dict[AnyConnection, None] = {}
        self._streams: set[AnyConnection] = set()
        #: Their handler has ended; the client may not have closed its end yet.
        self._ending: list[AnyConnection] = []

    @property
    def streams(self) -> int:
        """How many streams of events are open."""
        return len(self._streams)

    @contextmanager
    def taken(self, connection: AnyConnection) -> Iterator[None]:
        """Count a connection while the block runs, and abort others if there are too many now."""
        self._idle[connection] = None
        self._make_room()
        try:
            yield
        finally:
            self._idle.pop(connection, None)
            self._ending.append(connection)

    def _make_room(self) -> None:
        opened = set(self._opened())
        self._ending = [each for each in self._ending if each in opened]
        over = len(self._idle) + len(self._working) + len(self._ending) - self._most
        # The last idle one has just come.
        for each in [*self._ending, *list(self._idle)[:-1], *self._working][: max(0, over)]:
            each.abort()

    @contextmanager
    def at_work(self, connection: AnyConnection) -> Iterator[None]:
        """While the block runs, the connection waits for its answer, not for its client."""
        del self._idle[connection]
        self._working[connection] = None
        try:
            yield
        finally:
            del self._working[connection]
            self._idle[connection] = None

    @contextmanager
    def streaming(self, connection: AnyConnection) -> Iterator[None]:
        """While the block runs, the connection is a stream of events."""
        del self._idle[connection]
        self._streams.add(connection)
        try:
            yield
        finally:
            self._streams.discard(connection)
            self._idle[connection] = None
