"""A request: somebody who waits for the reply in its place."""

from __future__ import annotations

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
