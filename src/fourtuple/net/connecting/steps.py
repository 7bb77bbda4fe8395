"""The steps of connecting, and the driver that takes them by blocking."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Resolve:
    """Look up a name; the answer is what getaddrinfo() returned or raised, or None if ``until`` came first."""

    host: str
    port: int
    until: float | None


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until one of these descriptors is writable or broken, or the moment ``until`` of the clock comes."""

    descriptors: tuple[int, ...]
    until: float | None


#: One entry of getaddrinfo()'s list: family, type, protocol, canonical name, socket address.
Found: TypeAlias = "tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]"
Answer: TypeAlias = "Sequence[Found] | Exception | None"
Step: TypeAlias = "Resolve | Wait"
Steps: TypeAlias = "Generator[Step, Answer, T]"


class Stop(Protocol):
    """How another thread ends the connecting of a thread that blocks."""

    @property
    def rung(self) -> bool:
        """Whether it is to end."""

    def fileno(self) -> int | None:
        """Return a descriptor that is readable once it is to end; None if none can be made."""

    def why_ended(self) -> Exception:
        """Return the error to raise then."""


#: Seconds between two looks whether to end, where no descriptor can tell.
_LOOK_SECONDS = 0.25

#: The clock of ``until``.
clock: Callable[[], float] = time.monotonic


def left(until: float | None) -> float | None:
    """Return the seconds left until a moment of the clock, at least 0; None for None."""
    return None if until is None else max(0.0, until - clock())


def run(steps: Steps[T], stop: Stop | None = None) -> T:
    """Take all steps by blocking, and return the result. ``stop`` ends it from another thread."""
    answer: Answer = None
    with closing(steps):
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as done:
                result: T = done.value
                return result
            answer = _look_up(step, stop) if isinstance(step, Resolve) else _wait(step, stop)
            if stop is not None and stop.rung:
                raise stop.why_ended()


def _wait(step: Wait, stop: Stop | None = None) -> Answer:
    poll = select.poll()
    seconds = left(step.until)
    if stop is not None:
        ringing = stop.fileno()
        if ringing is not None:
            poll.register(ringing, select.POLLIN)
        else:
            seconds = _LOOK_SECONDS if seconds is None else min(seconds, _LOOK_SECONDS)
    for descriptor in step.descriptors:
        # connect(2), EINPROGRESS: writable means that it is over, made or failed.
        poll.register(descriptor, select.POLLOUT)
    poll.poll(milliseconds(seconds))
    return None


def milliseconds(seconds: float | None) -> int | None:
    """Return the timeout for poll(2): at most eleven days, because it takes an int; the caller then polls again.

    It is rounded up: a poll that ends a little too early would be repeated in a busy loop.
    """
    return None if seconds is None else int(min(seconds, 1e6) * 1000 + 0.999)


def _look_up(step: Resolve, stop: Stop | None) -> Answer:
    answers: list[Answer] = []
    looking = look_up(step, answers.append)
    if stop is None:
        wait_for_thread(looking, left(step.until))
    else:
        while looking.is_alive() and not stop.rung and left(step.until) != 0:
            looking.join(_LOOK_SECONDS if step.until is None else min(_LOOK_SECONDS, left(step.until) or 0.0))
    return answers[0] if answers else None


def wait_for_thread(thread: threading.Thread, seconds: float | None) -> None:
    """Wait until a thread has ended, for any number of seconds: join() refuses large ones, with an OverflowError."""
    thread.join(None if seconds is None else min(seconds, threading.TIMEOUT_MAX))


def look_up(step: Resolve, then: Callable[[Answer], object]) -> threading.Thread:
    """Call ``then`` with what getaddrinfo() returns or raises, in the thread that is returned.

    getaddrinfo() has no timeout, and Ctrl-C does not interrupt it. So a thread waits for it, and the caller waits for
    the thread as long as it wants. The thread is not one of the loop's executor, nor one that Python joins at exit: a
    name server that does not answer would hold the program for half a minute after its end.
    """

    def work() -> None:
        try:
            answer: Answer = socket.getaddrinfo(step.host, step.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            answer = error
        then(answer)

    thread = threading.Thread(target=work, daemon=True, name="getaddrinfo")
    thread.start()
    return thread
