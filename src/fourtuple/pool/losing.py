"""What becomes of a connection that ends, and of the calls that waited for its replies."""

from __future__ import annotations

from fourtuple.errors import ConnectionEnded, Fate
from fourtuple.events import ClientDisconnected, ClientRetried
from fourtuple.pool.calls import Call, Kind
from fourtuple.pool.member import Member
from fourtuple.pool.report import LOSSES
from fourtuple.pool.state import PoolState


class Losing(PoolState):
    """Ends connections, and decides which calls are tried again."""

    def _lose(self, member: Member, why: str, error: Exception | None, now: float) -> None:
        """Remove a connection, close it, and decide about the calls that wait for its replies."""
        if not self.members.remove(member):
            return
        self._report.count(f"closed_{why}")
        attempts = list(member.outstanding)
        taken = member.link.taken
        member.link.close()
        self._report.tell(ClientDisconnected(self.address, member.link.name, why, error))
        if self.inbox is not None and self._lost is None:
            self._lost = (self._wall(), now)
        if why in LOSSES:
            lost_at = member.last_active if why == "check" else now
            self.dialler.lost(member.greeted_at, lost_at, held=now - member.greeted_at)
        reason = error or ConnectionEnded(f"{member.link.name}: closed by this side ({why})")
        for attempt in reversed(attempts):  # those that go back to the front of the queue keep their order
            attempt.over = True
            call, attempt.call = attempt.call, None
            if call is not None:
                self._failed(call, reason, attempt.fate(taken), now, kept=not attempt.fresh)

    def _look_at(self, member: Member, now: float) -> None:
        """Retire a connection that has served long enough; close it when it owes no reply that a call waits for."""
        member.retiring = member.retiring or self.members.reason(member, now)
        # Behind a FIN there may be pushes, too; a client that takes them reads on to the end of file.
        why = member.retiring or ("peer" if member.finishing and self.inbox is None else "")
        if why and not member.live and not member.ended:
            self._lose(member, why, None, now)

    def _failed(self, call: Call, error: Exception, fate: Fate, now: float, *, kept: bool = False) -> None:
        """Decide about a call whose attempt has failed: it is tried again, or raises."""
        call.attempt = None
        call.perhaps_sent = call.perhaps_sent or fate is Fate.PERHAPS_SENT
        call.kept_losses += kept and fate is Fate.NOT_SENT
        if self._tries_again(call, fate, now):
            self._report.count(f"retried_{fate.value}")
            self._report.tell(ClientRetried(self.address, fate.value, error))
            self._requeue(call)
        else:
            call.fail(error, fate)

    def _tries_again(self, call: Call, fate: Fate, now: float) -> bool:
        if self.closed or call.kind is not Kind.REQUEST or (call.gone is not None and call.gone()):
            return False
        if call.deadline is not None and now >= call.deadline:
            return False
        if fate is Fate.NOT_SENT:
            return True
        if not call.idempotent:
            return False
        if self._budget.take(now):
            return True
        self._report.count("retries_refused")
        return False

    def _requeue(self, call: Call) -> None:
        """Put a call in front of the queue: it has waited its turn already."""
        self._waiting[call] = None
        self._waiting.move_to_end(call, last=False)

    def _fail_waiting(self, error: Exception, *, ready_too: bool = True) -> None:
        for call in list(self._waiting):
            if ready_too or call.kind is not Kind.READY:
                del self._waiting[call]
                call.fail(error, Fate.NOT_SENT)
