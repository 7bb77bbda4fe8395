"""Calls that other threads want made on the loop: one wake-up of the loop is for all that wait."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable

from fourtuple.errors import ConnectionEnded, WouldBlock

#: The most calls that wait. Threads may be faster than the loop, and each call holds a message.
MOST_WAITING = 65_536
#: The most calls between two iterations of the loop: about a millisecond.
_AT_ONCE = 256


class Mailbox:
    """Passes calls to the loop's thread, in order. Any thread may post."""

    __slots__ = ("_calls", "_lock", "_loop", "_woken")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._calls: deque[Callable[[], object]] = deque()
        self._lock = threading.Lock()
        self._woken = False

    def post(self, whom: str, call: Callable[[], object]) -> None:
        """Let the loop make a call, which must not raise, in its next iteration. ``whom`` is named in errors.

        Raises WouldBlock if MOST_WAITING calls wait, and ConnectionEnded if the loop is closed.
        """
        with self._lock:
            if len(self._calls) >= MOST_WAITING:
                raise WouldBlock(
                    f"{whom}: {len(self._calls)} messages of other threads wait for the loop, no more are taken; "
                    "the threads are faster than the loop: try later"
                )
            if not self._woken:
                try:
                    # A wake-up is a system call (asyncio writes to its self-pipe), so one is for all that wait. Flag
                    # and call are changed together under the lock: no call is left behind by an _empty() that has just
                    # found nothing.
                    self._loop.call_soon_threadsafe(self._empty)
                except RuntimeError as error:
                    raise ConnectionEnded(f"{whom}: its loop is closed") from error
                self._woken = True
            self._calls.append(call)

    def _empty(self) -> None:
        for _ in range(_AT_ONCE):
            with self._lock:
                if not self._calls:
                    self._woken = False
                    return
                call = self._calls.popleft()
            # Outside of the lock: the call may post, and the lock is not reentrant.
            call()
        # ``_woken`` stays set: this call is the wake-up of all that wait.
        self._loop.call_soon(self._empty)
