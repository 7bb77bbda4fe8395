"""Requests: the order in which replies belong to requests."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any


class Request:
    """The place of one request in the order of replies.

    ``wake`` is called once, when the reply or the error has come. An abandoned request keeps its place; its late reply
    is dropped and counted.
    """

    __slots__ = ("abandoned", "done", "error", "reply", "wake")

    def __init__(self, wake: Callable[[], None] | None = None) -> None:
        self.done: bool = False
        self.abandoned: bool = False
        self.reply: Any = None
        self.error: Exception | None = None
        self.wake: Callable[[], None] | None = wake

    def resolve(self, reply: Any = None, error: Exception | None = None) -> None:
        """Set the outcome and wake the task that waits for it."""
        self.done, self.reply, self.error = True, reply, error
        if self.wake is not None:
            self.wake()

    def result(self) -> Any:
        """Return the reply, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.reply


class Requests(deque[Request]):
    """The requests without a reply, oldest first. A stream has this object from its first request on."""

    __slots__ = ("late",)

    def __init__(self) -> None:
        super().__init__()
        #: The number of replies to abandoned requests.
        self.late: int = 0

    @property
    def outstanding(self) -> int:
        """The number of requests that are not abandoned."""
        return sum(not each.abandoned for each in self)

    def next(self) -> Request | None:
        """Return the request that the next message answers; None, and count the reply, if that was abandoned."""
        request = self.popleft()
        if not request.abandoned:
            return request
        self.late += 1
        return None

    def fail(self, error: Exception) -> None:
        """Resolve all requests with this error: no reply will come."""
        while self:
            request = self.popleft()
            if not request.abandoned:
                request.resolve(error=error)
