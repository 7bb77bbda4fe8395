"""What a thread does in a blocking client: for which call, and what it has reserved."""

from __future__ import annotations

import threading
from collections.abc import Callable

from fourtuple.blocking.link import BlockingLink
from fourtuple.pool import Call


class ThreadWork:
    """The work of one thread for a call of its own, or for pushes (``call`` is None), until ``done()``.

    ``until`` is a moment at which it ends in any case.
    """

    __slots__ = ("call", "done", "entered", "link", "thread", "until")

    def __init__(self, done: Callable[[], bool], call: Call | None, until: float | None = None) -> None:
        self.done: Callable[[], bool] = done
        self.call: Call | None = call
        self.until: float | None = until
        self.thread: int = threading.get_ident()
        #: Whether the client knows the thread as one that works.
        self.entered: bool = False
        #: The connection where the thread last was to read.
        self.link: BlockingLink | None = None

    def has_time(self, seconds: float | None, now: float) -> bool:
        """Return whether it can do something for so many seconds before its deadline."""
        moments = (self.until, None if self.call is None else self.call.deadline)
        return all(each is None or (seconds is not None and now + seconds <= each) for each in moments)
