"""The pushes of an async client, as an iterator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from fourtuple.errors import ConnectionEnded, DeadlinePassed
from fourtuple.options import check_timeout
from fourtuple.pool import Gap, PushInbox
from fourtuple.pool.pushes import PushSource, PushWatch
from fourtuple.typevars import Generic, In_co


class PushStream(PushSource, Generic[In_co]):
    """The messages of the server that answer no request, and a :class:`Gap` where some may be missing.

    ``async for push in client.pushes()``. If the loop ends without :meth:`close`, or its task fails, the next request
    raises :class:`~fourtuple.errors.PushConsumerDied`: otherwise a client whose pushes are not read
    would seem to work. Leaving an ``async with`` block without an error closes it.

    :meth:`fourtuple.Client.pushes` makes it: ``inbox`` holds the pushes that have come from ``whom``, ``take`` waits
    for the next one, and ``at_hand`` tells whether one waits.
    """

    def __init__(
        self, inbox: PushInbox, whom: str, take: Callable[[], Awaitable[Any]], at_hand: Callable[[], bool]
    ) -> None:
        self._whom = whom
        self._take = take
        self._at_hand = at_hand
        self._watch = Watch(self)
        super().__init__(inbox, self._watch)

    async def receive(self, timeout: float | None = None) -> In_co | Gap:
        """Return the next push or Gap; wait for it at most ``timeout`` seconds (default: no bound).

        Raises :class:`~fourtuple.errors.DeadlinePassed` after ``timeout`` (nothing is lost), and
        :class:`~fourtuple.errors.ConnectionEnded` after the client is closed.
        """
        check_timeout(timeout)
        self._watch.task = asyncio.current_task()
        try:
            async with asyncio.timeout(None if self._at_hand() else timeout):
                push: In_co | Gap = await self._take()
        except TimeoutError:
            raise DeadlinePassed("receive", timeout or 0.0, self._whom, "no push came, receive again") from None
        return push

    def __aiter__(self) -> AsyncIterator[In_co | Gap]:
        return self

    async def __anext__(self) -> In_co | Gap:
        try:
            return await self.receive()
        except ConnectionEnded:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left(error)


class Watch(PushWatch):
    """Knows whether the code that consumes pushes still can: its task has not failed, and it still has the iterator."""

    task: asyncio.Task[Any] | None = None

    def died(self) -> tuple[bool, BaseException | None]:
        task = self.task
        if not self.has_failed and task is not None and task.done() and not task.cancelled():
            error = task.exception()
            # A task that only waited for one push, with a timeout, may end like that; another one takes the next.
            if error is not None and not isinstance(error, DeadlinePassed | ConnectionEnded):
                return True, error
        return super().died()
