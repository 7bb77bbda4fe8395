"""What every call of an async connection checks: the thread of its loop, and the share of it that a task may use."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from fourtuple.connection.awaitables import Failed, Later
from fourtuple.connection.waiters import behind_others, had_its_share
from fourtuple.engine import Channel
from fourtuple.engine.eager_future import EagerFuture
from fourtuple.engine.fields import ConnectionFields
from fourtuple.stream import Stream

if TYPE_CHECKING:
    from fourtuple.four_tuple import Name

#: How many errors of one connection's calls a handler may catch before the next call yields to other tasks.
_MANY_FAILURES = 16


class OnLoop(ConnectionFields):
    """A connection that belongs to the thread of a loop, and shares the loop with others."""

    __slots__ = ("_failures",)

    if TYPE_CHECKING:
        _channel: Channel
        _stream: Stream
        _receiver: EagerFuture | None

        @property
        def name(self) -> Name: ...
        @property
        def server(self) -> Any: ...

    #: The number of calls that raised since their caller last yielded to other tasks.
    _failures: int

    def _check_thread(self, call: str, *, awaited: bool = False) -> None:
        engine = self._channel.engine
        if threading.get_ident() != engine.thread:
            plain, loop = "loop.call_soon_threadsafe", "loop"
            if self.server is not None:
                plain, loop = "server.call_soon", "server.loop"
            engine.check_thread(
                str(self.name),
                f"connection.{call}",
                f"asyncio.run_coroutine_threadsafe(connection.{call}(...), {loop}); {plain}() is for plain functions"
                if awaited
                else f"{plain}(connection.{call}, ...)",
            )

    def _had_its_share(self) -> bool:
        """Count one await; return whether the task has used its share of the loop.

        In another thread nothing is counted: the next call raises WrongThread there.
        """
        channel = self._channel
        return threading.get_ident() == channel.engine.thread and had_its_share(channel)

    def _behind_others(self) -> EagerFuture:
        """Return the future that a task awaits when it has used its share: it is done when other tasks have run."""
        return behind_others(self._channel)

    def _others_first(self) -> Later[None]:
        """Return what send() returns to a task that has used its share: awaiting it lets other tasks run first."""
        return Later(self._behind_others)

    def _failed(self, error: Exception) -> Failed:
        """Raise the error of a failed call, and count the failure as a message.

        The caller then awaits nothing. A task that catches errors again and again would hold the loop. So when such a
        task has used its share, this returns an awaitable that lets other tasks run and then raises the error.
        """
        self._failures += 1
        over, loop = self._had_its_share(), self._channel.engine.loop
        if not over or self._failures < _MANY_FAILURES or asyncio.current_task(loop) is None:
            raise error
        self._failures = 0
        return Failed(error, self._behind_others)
