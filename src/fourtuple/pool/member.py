"""A connection of the pool: its age, its use, and the attempts that wait for replies there."""

from __future__ import annotations

from fourtuple.pool.correlation import Outstanding
from fourtuple.pool.link import Link


class Member:
    """One connection::

    ready --- old, idle, expired, FIN, too many abandoned replies ---> retiring: no new request
      |                                                                    |
      |  lost, unexpected message, stuck                                   |  the last reply has come
      v                                                                    v
    ended <----------------------------------------------------------------+
    """

    __slots__ = (
        "checking",
        "ended",
        "expires",
        "finishing",
        "generation",
        "given_up",
        "given_up_since",
        "greeted_at",
        "last_active",
        "last_used",
        "late",
        "link",
        "live",
        "outstanding",
        "retiring",
        "served",
    )

    def __init__(self, link: Link, outstanding: Outstanding, now: float, generation: int, expires: float) -> None:
        self.link: Link = link
        self.outstanding: Outstanding = outstanding
        self.greeted_at: float = now
        self.last_used: float = now
        self.last_active: float = now
        self.generation: int = generation
        #: When it has served long enough.
        self.expires: float = expires
        #: The attempts whose calls wait for their replies; the other outstanding ones are abandoned.
        self.live: int = 0
        #: The late replies that it has brought, which were dropped.
        self.late: int = 0
        #: The requests that were given up here since one that was sent after them was answered in time, or no reply was
        #: owed any more, which both show that the server answers each; and the moment of the first.
        self.given_up: int = 0
        self.given_up_since: float = now
        #: The requests that it was given.
        self.served: int = 0
        #: Why it gets no new request any more; empty while it does.
        self.retiring: str = ""
        #: Whether a ping is outstanding, which decides whether it is still used.
        self.checking: bool = False
        #: Whether the peer's FIN has come; replies before it may not be read yet.
        self.finishing: bool = False
        self.ended: bool = False

    @property
    def up(self) -> bool:
        """Whether it is in order, as far as is known; it may be being checked."""
        return not (self.ended or self.retiring or self.finishing)

    @property
    def usable(self) -> bool:
        """Whether it may get a new request."""
        return self.up and not self.checking

    @property
    def idle(self) -> bool:
        """Whether it owes no reply, not even an abandoned one."""
        return not len(self.outstanding)

    @property
    def in_doubt(self) -> bool:
        """Whether a request was given up, and none behind it has been answered in time, where the order tells replies.

        The server may leave that request without a reply. Then the reply to the next one is taken for the late one, and
        dropped: that request gets none. But the reply to one more behind it would be given to it. So there is only one
        at a time until one is answered in time.
        """
        return self.outstanding.in_order and self.given_up > 0

    @property
    def abandoned(self) -> int:
        """The number of replies that it owes and that no call waits for."""
        return len(self.outstanding) - self.live

    def __repr__(self) -> str:
        state = "ended" if self.ended else self.retiring or ("idle" if self.idle else "in use")
        return f"<Member {self.link.name}, {state}, {self.live} outstanding, {self.abandoned} abandoned>"
