"""The inbox of pushes: messages that answer no request, until the program consumes them."""

from __future__ import annotations

import weakref
from collections import deque
from dataclasses import dataclass
from typing import Any, Final, Protocol

from fourtuple.errors import OptionError, PushConsumerDied
from fourtuple.options import Pushes


@dataclass(frozen=True, slots=True)
class Gap:
    """Something may be missing here, in the place of the pushes that were missed.

    There are two causes. After a reconnect, ``since`` is the moment at which the connection was lost (seconds since
    1970), and ``seconds`` is how long the client was not connected. If the inbox was full and dropped pushes
    (``Pushes(overflow="drop_oldest")``), ``dropped`` is their number; ``since`` and ``seconds`` are 0 unless there also
    was a reconnect among them.
    """

    since: float = 0.0
    seconds: float = 0.0
    dropped: int = 0


class Nothing:
    """Returned instead of a push while there is none."""


NOTHING: Final = Nothing()


def no_pushes(on_push: object) -> OptionError:
    """Return the error of ``pushes()`` for a client that has none to iterate over."""
    if on_push is None:
        return OptionError(
            "pushes(): make the client with pushes=Pushes(): it closes connections that send messages unasked"
        )
    return OptionError(
        "pushes(): on_push= takes the pushes of this client, and pushes= beside it has the options of its inbox; make "
        "the client without on_push="
    )


class PushConsumer(Protocol):
    """The code that consumes pushes, as far as the inbox needs to know it."""

    def died(self) -> tuple[bool, BaseException | None]:
        """Whether it has ended without saying so, and the exception that ended it, if that is known."""


class PushWatch:
    """A :class:`PushConsumer`: the code that iterates over pushes; it has died if it left by an exception or let go."""

    def __init__(self, pushes: object) -> None:
        self._pushes = weakref.ref(pushes)
        self._error: BaseException | None = None
        #: Whether it left by an exception.
        self.has_failed: bool = False

    def failed(self, error: BaseException) -> None:
        """Note that the consumer left by an exception."""
        self.has_failed, self._error = True, error.with_traceback(None)

    def died(self) -> tuple[bool, BaseException | None]:
        return self.has_failed or self._pushes() is None, self._error


class PushSource:
    """What the iterators over pushes have in common: they are the consumer of an inbox until they are closed."""

    def __init__(self, inbox: PushInbox, watch: PushWatch) -> None:
        self._inbox = inbox
        inbox.consumer = self._consumer = watch
        inbox.unwanted = False

    def close(self) -> None:
        """Say that no pushes are wanted any more: those that come are dropped and counted. Idempotent."""
        if self._inbox.consumer is self._consumer:
            self._inbox.consumer, self._inbox.unwanted = None, True

    def _left(self, error: BaseException | None) -> None:
        """Take the end of a ``with`` block: it closes, unless it was left by an exception."""
        if error is None:
            self.close()
        else:
            self._consumer.failed(error)


class PushInbox:
    """A queue of pushes, bounded in octets.

    With the policy ``stop_reading``, a full inbox stops reading, unless a request waits for its reply: the reply is
    behind the pushes, and the consumer itself may be the one that waits for it. So while a request is outstanding, the
    inbox may grow to twice its bound; beyond that the connection is closed.
    """

    def __init__(self, options: Pushes, whom: str) -> None:
        self._options = options
        self._whom = whom
        self._items: deque[tuple[Any, int]] = deque()
        #: Octets that wait, and pushes dropped since the last one was taken.
        self.size: int = 0
        self._dropped_here = 0
        self._gap_here: Gap | None = None  # a Gap of a reconnect that was dropped too, until it is told with the pushes
        self.received: int = 0
        self.dropped: int = 0
        #: The consumer; None before there is one, and after it has said that it ends.
        self.consumer: PushConsumer | None = None
        #: Whether the consumer has said that it ends: pushes are then dropped and counted.
        self.unwanted = False
        #: What ``on_push`` raised, until a request has raised it.
        self.failure: BaseException | None = None

    def put(self, message: Any, octets: int) -> bool:
        """Add a push; return whether this was the first one dropped since there was room."""
        self.received += 1
        if self.unwanted:
            self.dropped += 1
            return False
        self._items.append((message, octets))
        self.size += octets
        return self._options.overflow == "drop_oldest" and self._drop()

    def _drop(self) -> bool:
        before = self._dropped_here
        while self.size > self._options.max_inbox and len(self._items) > 1:
            message, octets = self._items.popleft()
            self.size -= octets
            if not isinstance(message, Gap):
                self.dropped += 1
                self._dropped_here += 1
            elif self._gap_here is None:  # the first: since then something may be missing
                self._gap_here = message
        return not before and self._dropped_here > 0

    def put_gap(self, gap: Gap) -> None:
        """Mark the place where something may be missing."""
        self._items.append((gap, 0))

    def take(self) -> Any:
        """Return the next push or Gap; NOTHING if there is none."""
        if self._dropped_here or self._gap_here is not None:
            first = self._gap_here or Gap()
            gap = Gap(first.since, first.seconds, self._dropped_here)
            self._gap_here, self._dropped_here = None, 0
            return gap
        if not self._items:
            return NOTHING
        message, octets = self._items.popleft()
        self.size -= octets
        return message

    def may_read(self, *, waited_for: bool, before: bool = False) -> bool:
        """Whether more may be read now.

        ``waited_for``: a request waits for a reply that may be behind pushes. ``before``: a request is sent only when
        the pushes before it are read.
        """
        if waited_for or self._options.overflow != "stop_reading":
            return True
        return self.size < self._options.max_inbox * (2 if before else 1)

    @property
    def flooded(self) -> bool:
        """Whether so many pushes wait that a reply behind them cannot be waited for."""
        return self.size >= 2 * self._options.max_inbox and self._options.overflow == "stop_reading"

    @property
    def allowed(self) -> int:
        """The bound, in octets."""
        return self._options.max_inbox

    def trouble(self) -> PushConsumerDied | None:
        """Return the error for a consumer that has died; None while all is well."""
        if self.failure is not None:
            return self._died("on_push raised; the push that it was given is lost, the next one is given to it", None)
        if self.consumer is not None:
            died, error = self.consumer.died()
            if died:
                hint = "iterate over pushes() again, or close() it if no pushes are wanted any more"
                return self._died(f"the code that consumed pushes() has ended; {hint}", error)
        return None

    def _died(self, what: str, error: BaseException | None) -> PushConsumerDied:
        died = PushConsumerDied(f"{self._whom}: {what}; {len(self)} pushes wait")
        died.__cause__ = self.failure or error
        return died

    def __len__(self) -> int:
        return len(self._items)
