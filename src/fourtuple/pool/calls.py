"""Calls: a request of a client, its attempts, and what is told about it when it fails."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from fourtuple.errors import Fate, HandlerFailed, OptionError
from fourtuple.options import check_timeout
from fourtuple.printable import error_text
from fourtuple.stream.ended import copy_of

_put = BaseException.__setattr__

#: What a fate means, for readers of a traceback.
_NOTES = {
    Fate.NOT_SENT: "not_sent: no octet of the request was given to the kernel",
    Fate.PERHAPS_SENT: "perhaps_sent: the server may have carried the request out",
    Fate.ANSWERED: "answered: the reply came, and this error is about the reply",
}


class Kind(Enum):
    """What a call wants."""

    REQUEST = "request"
    #: Only that a connection is ready: nothing is sent.
    READY = "ready"
    #: A check of an idle connection: it stays on that connection.
    PING = "ping"


def no_one() -> None:
    """Wake no one: the pool itself waits for the outcome."""


class Call:
    """One request, from the call to its result. It may take several attempts::

    waiting ----- handed to a connection -----> outstanding ---- reply, or an error that is final ----> done
      |  ^                                          |
      |  +---- not_sent, or idempotent and in ------+
      |        the budget: in front of the queue
      +---- deadline, give_up(), close() -----------------------------------------------------------> done
    """

    __slots__ = (
        "asked",
        "asked_in",
        "attempt",
        "deadline",
        "done",
        "error",
        "failure",
        "gone",
        "idempotent",
        "kept_losses",
        "kind",
        "message",
        "perhaps_sent",
        "reply",
        "tries",
        "wake",
        "whole_timeout",
    )

    def __init__(
        self,
        message: Any = None,
        *,
        kind: Kind = Kind.REQUEST,
        timeout: float | None = None,
        idempotent: bool = False,
        wake: Callable[[], object] = no_one,
        gone: Callable[[], bool] | None = None,
    ) -> None:
        self.message: Any = message
        self.kind: Kind = kind
        #: Seconds for the whole call, and the moment at which they are over, if that is known before it is asked.
        self.whole_timeout: float | None = timeout
        self.deadline: float | None = None
        self.idempotent: bool = idempotent
        #: Called once, when the call is done.
        self.wake: Callable[[], object] = wake
        #: Whether no one waits for the result any more, although give_up() was not called yet.
        self.gone: Callable[[], bool] | None = gone
        self.asked: float = 0.0
        self.asked_in: int = 0
        #: The attempt that waits for a reply; None while the call waits for a connection.
        self.attempt: Attempt | None = None
        #: How many attempts were begun, and how many of them ended unsent on a connection that had served before.
        self.tries: int = 0
        self.kept_losses: int = 0
        #: Whether an earlier attempt, which was repeated, was perhaps sent.
        self.perhaps_sent: bool = False
        #: Why the last attempt failed.
        self.failure: Exception | None = None
        self.done: bool = False
        self.reply: Any = None
        self.error: Exception | None = None

    @property
    def needs_fresh(self) -> bool:
        """Whether only a new connection will do: two that had served before were lost under this call."""
        return self.kept_losses >= 2

    def succeed(self, reply: Any = None) -> None:
        """Finish with the reply."""
        if not self.done:
            self.done, self.reply, self.attempt = True, reply, None
            self.wake()

    def fail(self, error: Exception, fate: Fate, cause: BaseException | None = None) -> None:
        """Finish with an error, and the fate of the latest attempt. What was perhaps sent before stays so."""
        if not self.done:
            if fate is Fate.NOT_SENT and self.perhaps_sent:
                fate = Fate.PERHAPS_SENT
            self.done, self.error, self.attempt = True, told(error, fate, cause), None
            self.wake()

    def result(self) -> Any:
        """Return the reply, or raise the error."""
        error, self.error = self.error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # breaks the reference cycle: exception, traceback, this frame
        return self.reply

    def __repr__(self) -> str:
        state = "done" if self.done else "outstanding" if self.attempt is not None else "waiting"
        return f"<Call {self.kind.value}, {state}, attempts {self.tries}>"


class Attempt:
    """A call that was handed to one connection: its place there. A place without a call is abandoned."""

    __slots__ = (
        "behind",
        "call",
        "fresh",
        "given_up_before",
        "key",
        "late_before",
        "made_for",
        "member",
        "over",
        "sent_at",
        "start",
    )

    def __init__(self, call: Call, member: Any, key: Any, start: int, sent_at: float, *, fresh: bool) -> None:
        self.call: Call | None = call
        #: The call for which it was made, which stays when it is abandoned; and the earlier one of that call and key.
        self.made_for: Call = call
        self.behind: Attempt | None = None
        #: The :class:`~fourtuple.pool.Member` of the connection, which knows attempts and so is not known here.
        self.member: Any = member
        #: The late replies that this connection had brought before the request.
        self.late_before: int = member.late
        #: The requests that had been given up there before this one: see ``Member.given_up``.
        self.given_up_before: int = member.given_up
        #: Whether its reply has come, or never will.
        self.over: bool = False
        #: What its reply is told by; None if replies come in order.
        self.key: Any = key
        #: The octets that the connection had sent before this request; -1 if a TLS record of it was made.
        self.start: int = start
        self.sent_at: float = sent_at
        #: Whether the connection had served no request before.
        self.fresh: bool = fresh

    def fate(self, taken: int) -> Fate:
        """Return the fate of the request, if the kernel took so many octets of the connection."""
        return Fate.PERHAPS_SENT if taken > self.start else Fate.NOT_SENT


def told(error: Exception, fate: Fate, cause: BaseException | None = None) -> Exception:
    """Return a copy of the error for one caller, with the fate of its request.

    One loss fails many requests. Each caller gets an exception of its own, because a traceback belongs to one raise.
    One of the program that cannot be copied whole is the cause of a HandlerFailed with its text. So is a StopIteration,
    which no coroutine can raise.
    """
    copy = None if isinstance(error, StopIteration | StopAsyncIteration) else copy_of(error)
    if copy is None:
        copy = HandlerFailed(f"a function of the program raised {error_text(error).rstrip(': ')}")
        cause = cause or error.with_traceback(None)
    # An exception of the user's own code also gets these; a frozen dataclass refuses them by assignment.
    _put(copy, "__cause__", cause or error.__cause__)
    _put(copy, "__notes__", list(getattr(error, "__notes__", ())))
    return with_fate(copy, fate)


def with_fate(error: Exception, fate: Fate) -> Exception:
    """Give an error itself the fate of the request of its one caller."""
    _put(error, "fate", fate)
    if _NOTES[fate] not in getattr(error, "__notes__", ()):  # the program may raise one exception again
        error.add_note(_NOTES[fate])
    return error


def check_timeout_of_call(timeout: float | None) -> None:
    """Check a ``timeout`` of a client's call. Raises OptionError, which has a fate as each of its errors."""
    try:
        check_timeout(timeout)
    except OptionError as error:
        with_fate(error, Fate.NOT_SENT)
        raise
