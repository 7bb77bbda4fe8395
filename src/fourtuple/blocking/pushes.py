"""The pushes of a blocking client, as an iterator."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

from fourtuple.errors import ConnectionEnded
from fourtuple.pool import Gap, PushInbox
from fourtuple.pool.pushes import PushSource, PushWatch
from fourtuple.typevars import Generic, In_co


class PushStream(PushSource, Generic[In_co]):
    """The messages of the server that answer no request, and a :class:`Gap` where some may be missing.

    ``for push in client.pushes()``. If the loop ends without :meth:`close`, or its thread ends, the next request raises
    :class:`~fourtuple.errors.PushConsumerDied`: otherwise a client whose pushes are not
    read would seem to work. Leaving a ``with`` block without an error closes it.

    :meth:`fourtuple.blocking.Client.pushes` makes it: ``inbox`` holds the pushes that have come, and ``take`` waits for
    the next one.
    """

    def __init__(self, inbox: PushInbox, take: Callable[[float | None], Any]) -> None:
        self._take = take
        self._watch = Watch(self)
        super().__init__(inbox, self._watch)

    def receive(self, timeout: float | None = None) -> In_co | Gap:
        """Return the next push or Gap; wait for it at most ``timeout`` seconds (default: no bound).

        Raises :class:`~fourtuple.errors.DeadlinePassed` after ``timeout`` (nothing is lost), and
        :class:`~fourtuple.errors.ConnectionEnded` after the client is closed.
        """
        self._watch.thread = threading.current_thread()
        push: In_co | Gap = self._take(timeout)
        return push

    def __iter__(self) -> Iterator[In_co | Gap]:
        return self

    def __next__(self) -> In_co | Gap:
        try:
            return self.receive()
        except ConnectionEnded:
            raise StopIteration from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left(error)


class Watch(PushWatch):
    """Knows whether the code that consumes pushes still can: its thread runs, and it still has the iterator."""

    thread: threading.Thread | None = None

    def died(self) -> tuple[bool, BaseException | None]:
        known, error = super().died()
        return known or (self.thread is not None and not self.thread.is_alive()), error
