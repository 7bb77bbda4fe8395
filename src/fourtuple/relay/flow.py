"""One direction of a relayed conversation, without sockets and clock: octets in, and what to do next.

::

    put() --> [ corrupt, duplicate, reorder ] --> [ held: octets, each with the moment they are due ] --> next()
                                                       |                  |                  |
                                                   latency,            silence,          slice, bandwidth,
                                                   jitter              half-open         the octet, or the moment,
                                                                                         at which it ends

:mod:`fourtuple.relay.pump` reads and sends.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from enum import Enum, auto

from fourtuple.relay.toxics import Toxics

#: The most octets that are sent at once.
MOST = 65536
#: Seconds that an overtaken message waits for the next one.
OVERTAKE_SECONDS = 0.1


class What(Enum):
    """What a flow wants done next."""

    SEND = auto()
    WAIT = auto()  #: for octets, for other toxics, or for some seconds
    FINISH = auto()  #: send FIN; then the flow is over
    CLOSE = auto()  #: send FIN in both directions
    RESET = auto()  #: send RST to both ends
    OVER = auto()  #: nothing more will be sent


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next, with the octets to send, or the seconds to wait; None seconds means no bound."""

    what: What
    octets: bytes = b""
    seconds: float | None = None


_FINISH, _CLOSE, _RESET, _OVER = Step(What.FINISH), Step(What.CLOSE), Step(What.RESET), Step(What.OVER)


class Flow:
    """The octets of one direction that were read and not sent yet.

    Parameters
    ----------
    toxics
        What happens to them. Assign others to change it: octets already held keep the moment at which they are due.
    room
        The most octets held, above which no more should be read. The last message read may exceed it.
    dice
        For what happens at random.
    began
        When the conversation began, on the clock of all other calls.
    """

    def __init__(self, toxics: Toxics, room: int, dice: random.Random, began: float) -> None:
        self.toxics = toxics
        #: Whether nothing more will be sent.
        self.over: bool = False
        #: The number of octets sent.
        self.passed: int = 0
        #: The number of octets held.
        self.size: int = 0
        self._most = room
        self._dice = dice
        self._began = began
        #: The octets of each read or message and the moment when they are due; empty octets mean end of file.
        self._held: deque[tuple[float, bytes]] = deque()
        #: A message that the next one is to overtake, and the moment at which it goes on without.
        self._overtaken: tuple[float, bytes] | None = None
        self._due = began
        self._not_before = began

    @property
    def room(self) -> int:
        """The number of octets that may be read now."""
        return self._most - self.size

    @property
    def vanished(self) -> bool:
        """Whether the sender of this direction has vanished for its receiver: see ``half_open_after``."""
        after = self.toxics.half_open_after
        return after is not None and self.passed >= after

    # -- what comes -----------------------------------------------------------------------------------------

    def put(self, octets: bytes, now: float) -> None:
        """Take the octets of one read, or of one message."""
        if self.over or self.vanished:
            return
        if self._dice_say(self.toxics.corrupt):
            octets = self._corrupted(octets)
        copies = 2 if self._dice_say(self.toxics.duplicate) else 1
        if self._overtaken is None and self._dice_say(self.toxics.reorder):
            self._overtaken = now + OVERTAKE_SECONDS, octets * copies
            self.size += len(octets) * copies
            return
        for _ in range(copies):
            self._hold(octets, now)
        self._release(now)

    def end(self, now: float) -> None:
        """Take the end of file."""
        if self.vanished:
            self.over = True
        elif not self.over:
            self._release(now)
            self._due = max(self._due, now + self.toxics.finish_delay)
            self._hold(b"", now)

    def _hold(self, octets: bytes, now: float) -> None:
        toxics = self.toxics
        delay = toxics.latency + (self._dice.uniform(0, toxics.jitter) if toxics.jitter else 0.0)
        self._due = max(self._due, now + delay)  # jitter must not change the order of octets
        self._held.append((self._due, octets))
        self.size += len(octets)

    def _release(self, now: float) -> None:
        """Let the overtaken message go on behind what has come since."""
        if self._overtaken is not None:
            _, octets = self._overtaken
            self._overtaken = None
            self.size -= len(octets)
            self._hold(octets, now)

    def _dice_say(self, probability: float) -> bool:
        return probability > 0 and self._dice.random() < probability

    def _corrupted(self, octets: bytes) -> bytes:
        if not octets:
            return octets
        changed = bytearray(octets)
        changed[self._dice.randrange(len(changed))] ^= 1 << self._dice.randrange(8)
        return bytes(changed)

    # -- what to do -----------------------------------------------------------------------------------------

    def next(self, now: float) -> Step:
        """Return what to do now. After SEND call :meth:`sent`, after FINISH :meth:`finish`."""
        if self.over:
            return _OVER
        toxics = self.toxics
        if _reached(toxics.reset_after, self.passed) or self._timed_out(toxics.reset_timeout, now):
            # Before all others: a toxic that resets wins over one that closes, and over octets that are held.
            return _RESET
        if _reached(toxics.close_after, self.passed) or self._timed_out(toxics.close_timeout, now):
            return _CLOSE
        if _reached(toxics.half_close_after, self.passed):
            return _FINISH
        if self.vanished:
            return self._vanish(now)
        if toxics.silent:
            return self._wait(now)
        if self._overtaken is not None and self._overtaken[0] <= now:
            self._release(now)
        if not self._held:
            return self._wait(now, *([self._overtaken[0]] if self._overtaken is not None else []))
        due, octets = self._held[0]
        moment = max(due, self._not_before)
        if moment > now:
            return self._wait(now, moment)
        if not octets:
            return _FINISH
        return self._send(octets)

    def _send(self, octets: bytes) -> Step:
        due, octets = self._held.popleft()
        piece = octets[: self._piece()]
        if len(octets) > len(piece):
            self._held.appendleft((due, octets[len(piece) :]))
        return Step(What.SEND, piece)

    def _piece(self) -> int:
        """The number of octets that may be sent at once."""
        toxics, most = self.toxics, MOST
        if toxics.slice is not None:
            vary = toxics.slice_variation
            most = max(1, toxics.slice + (self._dice.randint(-vary, vary) if vary else 0))
        if toxics.bandwidth is not None:
            most = min(most, max(1, int(toxics.bandwidth / 20)))  # spread over the second, in twentieths
        ends = (toxics.reset_after, toxics.half_close_after, toxics.close_after, toxics.half_open_after)
        return min([most, *(end - self.passed for end in ends if end is not None)])

    def _vanish(self, now: float) -> Step:
        """Discard what is held; if the end of file is among it, this direction is over, without a FIN."""
        ended = any(not octets for _, octets in self._held)
        self._forget()
        if ended:
            self.over = True
            return _OVER
        return self._wait(now)

    def _wait(self, now: float, *moments: float) -> Step:
        timeouts = (self.toxics.reset_timeout, self.toxics.close_timeout)
        all_moments = [*moments, *(self._began + each for each in timeouts if each is not None)]
        return Step(What.WAIT, seconds=max(0.0, min(all_moments) - now) if all_moments else None)

    def _timed_out(self, seconds: float | None, now: float) -> bool:
        return seconds is not None and now >= self._began + seconds

    def sent(self, count: int, now: float) -> None:
        """Note that octets of the last SEND were sent."""
        self.size -= count
        self.passed += count
        toxics = self.toxics
        if toxics.bandwidth is not None:
            self._not_before = now + count / toxics.bandwidth
        if toxics.slice is not None and toxics.slice_delay:
            self._not_before = max(self._not_before, now + toxics.slice_delay)

    def finish(self) -> None:
        """Note that this direction is over: octets that come later are discarded."""
        self.over = True
        self._forget()

    def _forget(self) -> None:
        self._held.clear()
        self._overtaken = None
        self.size = 0


def _reached(bound: int | None, passed: int) -> bool:
    return bound is not None and passed >= bound
