"""Requests: who waits for which of the replies, in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any


class Request:
    """The place of one request in the order of replies.

    ``wake`` is called once, when the reply or the error is there; a request that was given up keeps its place,
    and its late reply is dropped and counted.
    """

    __slots__ = ("abandoned", "done", "error", "reply", "wake")

    def __init__(self, wake: Callable[[], None] | None = None) -> None:
        self.done = False
        self.abandoned = False
        self.reply: Any = None
        self.error: Exception | None = None
        self.wake = wake

    def resolve(self, reply: Any = None, error: Exception | None = None) -> None:
        """Fill in the outcome and wake whoever waits for it."""
        self.done, self.reply, self.error = True, reply, error
        if self.wake is not None:
            self.wake()

    def result(self) -> Any:
        """The reply; raises the error."""
        if self.error is not None:
            raise self.error
        return self.reply


class Requests(deque[Request]):
    """The requests without a reply, the oldest first. A stream has them from its first request on."""

    __slots__ = ("late",)

    def __init__(self) -> None:
        super().__init__()
        #: Replies to requests that had been given up.
        self.late = 0

    @property
    def outstanding(self) -> int:
        """Those that somebody still waits for."""
        return sum(not each.abandoned for each in self)

    def next(self) -> Request | None:
        """Whose reply the next message is; None where that is late, and counted here."""
        request = self.popleft()
        if not request.abandoned:
            return request
        self.late += 1
        return None

    def fail(self, error: Exception) -> None:
        """No reply will come: each of them has this error."""
        while self:
            request = self.popleft()
            if not request.abandoned:
                request.resolve(error=error)
