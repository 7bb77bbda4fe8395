"""Which reply answers which request: by order, or by a key that both carry."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from fourtuple.errors import ConnectionBusy, OptionError, UnexpectedMessage
from fourtuple.options import check_callable, check_function, refuse_unrun
from fourtuple.pool.calls import Attempt, Call
from fourtuple.pool.functions import no_error
from fourtuple.printable import repr_of, shortened, text_of
from fourtuple.typevars import Heard, Written

#: Returns the key of a message, or None for a message that is not a reply.
KeyOf = Callable[[Any], Hashable]
#: ``key=`` as a type checker sees it: one function, which takes what is received and what the program writes, or those
#: of requests and of replies.
Keys: TypeAlias = (
    Callable[[Heard | Written], Hashable] | tuple[Callable[[Written], Hashable], Callable[[Heard], Hashable]]
)


@dataclass(frozen=True, slots=True)
class Correlation:
    """How replies and pushes are told.

    Without key functions, the next message is the reply to the oldest request. ``takes_pushes`` permits messages that
    answer nothing. ``is_push`` recognises them; without it, a message is a push if no request waits for a reply, or
    none with its key.
    """

    of_request: KeyOf | None = None
    of_reply: KeyOf | None = None
    is_push: Callable[[Any], bool] | None = None
    takes_pushes: bool = False
    #: Whether what a function of the program raised is no failure of it, and is raised on: see ``functions.py``.
    passes: Callable[[BaseException], bool] = no_error

    @classmethod
    def of(
        cls, key: KeyOf | tuple[KeyOf, KeyOf] | None, is_push: Callable[[Any], bool] | None, takes_pushes: bool
    ) -> Correlation:
        """Return the correlation for ``key=``: one function for both kinds of messages, or a pair. Checks its type."""
        check_function("is_push", is_push, "message")
        if is_push is not None and not takes_pushes:
            raise OptionError("is_push: expected on_push= or pushes=Pushes() beside it, got neither")
        if key is None:
            return cls(None, None, is_push, takes_pushes)
        if isinstance(key, tuple):
            if len(key) != 2:
                raise OptionError(f"key: expected one function, or two: of requests and of replies, got {len(key)}")
            of_request, of_reply = key
        else:
            of_request = of_reply = key
        for each in (of_request, of_reply):
            check_callable("key", each, optional=False)
            check_function("key", each, "message")
        return cls(of_request, of_reply, is_push, takes_pushes)

    @property
    def by_time(self) -> bool:
        """Whether only the time tells a push from a reply: it came before the request was sent."""
        return self.takes_pushes and self.of_reply is None and self.is_push is None

    def outstanding(self, whom: str) -> Outstanding:
        """Return the record of outstanding requests for a new connection."""
        return ByOrder(whom) if self.of_request is None else ByKey(whom, self)

    def pushed(self, message: Any, whom: str) -> bool:
        """Return whether ``is_push`` recognises a push. Raises UnexpectedMessage if the function raises."""
        if self.is_push is None:
            return False
        try:
            pushed = self.is_push(message)
            refuse_unrun("is_push", self.is_push, pushed)
            return bool(pushed)
        except BaseException as error:
            if self.passes(error):
                raise
            raise _unreadable("is_push", error, whom) from error


class Outstanding(Protocol):
    """The attempts that wait for a reply on one connection."""

    @property
    def in_order(self) -> bool:
        """Whether a reply that never comes would move all replies after it to the wrong requests."""

    def key_for(self, message: Any, call: Call | None = None) -> Any:
        """Return the key of a request that is about to be sent. Raises if it has none, or one that is taken.

        An earlier attempt of the same call does not take it.
        """

    def add(self, attempt: Attempt) -> None:
        """Take a place for a request that is sent now."""

    def withdraw(self, attempt: Attempt) -> None:
        """Give up the place that was taken last: the request was not sent."""

    def take(self, message: Any) -> Attempt | None:
        """Return the attempt that this message answers, and forget it; None if it answers none."""

    def unmapped(self) -> Attempt | None:
        """Return the attempt that a message answers which could not be read; None if that cannot be told."""

    def __iter__(self) -> Iterator[Attempt]:
        """All attempts, the oldest first."""

    def __len__(self) -> int:
        """Their number, abandoned ones included."""


class ByOrder:
    """Replies come in the order of the requests."""

    __slots__ = ("_attempts",)

    in_order = True

    def __init__(self, whom: str) -> None:
        self._attempts: deque[Attempt] = deque()

    def key_for(self, message: Any, call: Call | None = None) -> Any:
        return None

    def add(self, attempt: Attempt) -> None:
        self._attempts.append(attempt)

    def withdraw(self, attempt: Attempt) -> None:
        last = self._attempts.pop()
        assert last is attempt

    def take(self, message: Any) -> Attempt | None:
        return self._attempts.popleft() if self._attempts else None

    def unmapped(self) -> Attempt | None:
        # In order, the message is the reply of the oldest request, even if it could not be read.
        return self.take(None)

    def __iter__(self) -> Iterator[Attempt]:
        return iter(self._attempts)

    def __len__(self) -> int:
        return len(self._attempts)


class ByKey:
    """Replies come in any order; each carries the key of its request.

    An abandoned attempt stays as a tombstone: its late reply is known by it. The pool bounds their number
    (``max_abandoned``). If its call is tried again on the same connection, the new attempt stands in front of it: the
    first reply answers the call, the other one is late. Both answer the same message.
    """

    __slots__ = ("_attempts", "_behind", "_correlation", "_whom")

    in_order = False

    def __init__(self, whom: str, correlation: Correlation) -> None:
        self._attempts: dict[Hashable, Attempt] = {}
        #: The number of attempts that stand behind others.
        self._behind = 0
        self._correlation = correlation
        self._whom = whom

    def key_for(self, message: Any, call: Call | None = None) -> Any:
        assert self._correlation.of_request is not None
        key = self._correlation.of_request(message)
        if key is None:
            raise OptionError(f"{self._whom}: the key function returned None for a request, its reply cannot be told")
        try:
            holder = self._attempts.get(key)
        except TypeError as error:
            raise OptionError(
                f"{self._whom}: the key function returned {shortened(repr_of(key))} for a request, which cannot be "
                f"looked up: {shortened(text_of(error))}; return a number, a text, octets, or a tuple of these"
            ) from error
        if holder is not None and holder.made_for is not call:
            state = "outstanding" if holder.call is not None else "owed a late reply"
            raise ConnectionBusy(f"{self._whom}: a request with the key {shortened(repr(key))} is {state} already")
        return key

    def add(self, attempt: Attempt) -> None:
        attempt.behind = self._attempts.get(attempt.key)
        self._behind += attempt.behind is not None
        self._attempts[attempt.key] = attempt

    def withdraw(self, attempt: Attempt) -> None:
        del self._attempts[attempt.key]
        self._step_up(attempt)

    def _step_up(self, attempt: Attempt) -> None:
        """Let the attempt behind one that is over have the key again."""
        if attempt.behind is not None:
            self._attempts[attempt.key], attempt.behind = attempt.behind, None
            self._behind -= 1

    def take(self, message: Any) -> Attempt | None:
        assert self._correlation.of_reply is not None
        try:
            key = self._correlation.of_reply(message)
            attempt = None if key is None else self._attempts.pop(key, None)
        except BaseException as error:  # the function raised, or the key cannot be hashed
            if self._correlation.passes(error):
                raise
            raise _unreadable("key", error, self._whom) from error
        if attempt is not None:
            self._step_up(attempt)
        return attempt

    def unmapped(self) -> Attempt | None:
        return None

    def __iter__(self) -> Iterator[Attempt]:
        # A copy: the end of an attempt, which a loop over these may bring, changes the dict.
        attempts: list[Attempt] = []
        for first in self._attempts.values():
            each: Attempt | None = first
            while each is not None:
                attempts.append(each)
                each = each.behind
        return iter(attempts)

    def __len__(self) -> int:
        return len(self._attempts) + self._behind


def _unreadable(what: str, error: BaseException, whom: str) -> UnexpectedMessage:
    return UnexpectedMessage(
        f"{whom}: the function {what}= raised {type(error).__name__} for a message of the server: "
        f"{shortened(text_of(error))}; the connection is closed"
    )
