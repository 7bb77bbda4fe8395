"""What becomes of a connection that ends, and of the calls that waited for its replies."""

from __future__ import annotations

from fourtuple.errors import ConnectionEnded, EndOfFile, Fate
from fourtuple.events import ClientDisconnected
from fourtuple.pool.calls import Kind
from fourtuple.pool.member import Member
from fourtuple.pool.report import LOSSES
from fourtuple.pool.retries import Retrying


class Losing(Retrying):
    """Ends connections."""

    def _lose(self, member: Member, why: str, error: Exception | None, now: float) -> None:
        """Remove a connection, close it, and decide about the calls that wait for its replies."""
        if not self.members.remove(member):
            return
        self._report.count(f"closed_{why}")
        attempts = list(member.outstanding)
        member.link.close()
        taken = member.link.taken  # after the close, which may have sent what waited in the outbox
        self._report.tell(ClientDisconnected(self.address, member.link.name, why, error))
        if self.inbox is not None and self._lost is None:
            # The first loss counts: from then on pushes may be missing, whatever is connected and lost until the next
            # success.
            self._lost = (self._wall(), now)
        if why in LOSSES:
            # A check finds a connection that may have been dead for long: the pause is counted from its last sign of
            # life.
            lost_at = member.last_active if why == "check" else now
            why_lost = error or EndOfFile(
                f"{member.link.name}: the peer sent end of file while the connection was idle"
            )
            self.dialler.lost(member.greeted_at, lost_at, now - member.greeted_at, why_lost)
            # A server may end a connection that is idle and has served. One that was never used, or owed a reply, it
            # did not serve.
            self._unserved = member.live > 0 or not member.served
        elif why != "abandoned":
            self._unserved = False
        reason = error or ConnectionEnded(f"{member.link.name}: closed by this side ({why})")
        for attempt in reversed(attempts):  # those that go back to the front of the queue keep their order
            attempt.over = True
            call, attempt.call = attempt.call, None
            if call is not None:
                self._failed(call, reason, attempt.fate(taken), now, kept=not attempt.fresh)

    def _look_at(self, member: Member, now: float) -> None:
        """Retire a connection that has served long enough; close it when it owes no reply that a call waits for."""
        member.retiring = member.retiring or self.members.reason(member, now)
        # Behind a FIN there may also be pushes; a client that takes them reads on to the end of file.
        why = member.retiring or ("peer" if member.finishing and self.inbox is None else "")
        if why and not member.live and not member.ended:
            self._lose(member, why, None, now)

    def _fail_waiting(self, error: Exception, *, ready_too: bool = True) -> None:
        for call in list(self._waiting):
            if ready_too or call.kind is not Kind.READY:
                del self._waiting[call]
                call.fail(error, Fate.NOT_SENT)
