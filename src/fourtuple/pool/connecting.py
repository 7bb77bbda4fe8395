"""From an attempt to connect to a member of the pool: what its beginning, its success and its failure change."""

from __future__ import annotations

from fourtuple.errors import AddressError, FourTupleError, OptionError, PermanentFailure, UnsupportedLoop
from fourtuple.events import ClientConnected, ClientConnectFailed, Reconnected
from fourtuple.pool.link import Link
from fourtuple.pool.member import Member
from fourtuple.pool.pushes import Gap
from fourtuple.pool.receiving import Receiving
from fourtuple.pool.reconnecting import Dial
from fourtuple.printable import error_text, shortened, text_of


class Connecting(Receiving):
    """Notes the steps of attempts to connect, which the clients make one at a time."""

    def dial_due(self, now: float) -> bool:
        """Whether an attempt to connect should begin now."""
        moment = self.dial_at()
        return moment is not None and now >= moment

    def dial_begins(self, now: float) -> None:
        """Note that an attempt begins."""
        self._wants_more = False
        # Taken now: an expire() during the attempt also concerns the connection that it makes.
        self._dial_generation = self.members.generation
        self.dialler.begin(now)
        self.tell_state(now)

    def dial_greets(self, now: float) -> None:
        """Note that the connection is made, and ``greet`` begins."""
        self.dialler.connected()
        self.tell_state(now)

    def dial_done(self, link: Link, now: float) -> Member:
        """Add a connection that has greeted."""
        attempts = self.dialler.done(now)
        member = self.members.add(link, now, self._dial_generation)
        self._framing = link.framing
        self._report.count("connects")
        self._report.tell(ClientConnected(self.address, link.name, attempts))
        if self.inbox is not None and self._lost is not None:
            (since, at), self._lost = self._lost, None
            self._report.count("gaps")
            self.inbox.put_gap(Gap(since, now - at))
            self._report.tell(Reconnected(self.address, since, now - at))
        self._look_at(member, now)  # expire() may have been called meanwhile
        return member

    def dial_failed(self, error: Exception, now: float) -> None:
        """Note that an attempt failed.

        One that failed for this side's own arguments, which only connecting has shown to be wrong, is the last: the
        next attempt would fail in the same way.
        """
        if self.dialler.state is Dial.CONNECTING and isinstance(error, AddressError | OptionError | UnsupportedLoop):
            cause, error = error, PermanentFailure(f"client of {self.address}: no attempt can succeed: {said(error)}")
            error.__cause__ = cause
        attempt = self.dialler.attempts
        pause = self.dialler.failed(error, now)
        self._report.count("connects_failed")
        self._report.tell(ClientConnectFailed(self.address, error, attempt, pause))
        if pause is None:
            self._fail_waiting(error)
        elif self._options.fail_fast and not self.members.ready:
            self._fail_waiting(error, ready_too=False)


def said(error: BaseException) -> str:
    """Return what an error says, with its class if that is the program's own: their texts often need it."""
    return shortened(text_of(error) if isinstance(error, FourTupleError) else error_text(error).rstrip(": "))
