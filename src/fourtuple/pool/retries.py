"""A client's retries: which calls are tried again when their attempt has failed."""

from __future__ import annotations

from fourtuple.errors import Fate
from fourtuple.events import ClientRetried
from fourtuple.pool.calls import Call, Kind
from fourtuple.pool.state import PoolState


class Retrying(PoolState):
    """Decides which calls are tried again. Those that may have been carried out need the budget (``budget.py``)."""

    def _failed(self, call: Call, error: Exception, fate: Fate, now: float, *, kept: bool = False) -> None:
        """Decide about a call whose attempt has failed: it is tried again, or raises."""
        call.attempt = None
        call.failure = error
        call.perhaps_sent = call.perhaps_sent or fate is Fate.PERHAPS_SENT
        call.kept_losses += kept and fate is Fate.NOT_SENT
        if self._tries_again(call, fate, now):
            self._report.count(f"retried_{fate.value}")
            self._report.tell(ClientRetried(self.address, fate, error))
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
        # Only repeats that may be done twice cost budget: a request that was not sent adds no load to the server.
        if self._budget.take(now):
            return True
        self._report.count("retries_refused")
        return False

    def _requeue(self, call: Call) -> None:
        """Put a call in front of the queue: it has waited its turn already."""
        self._waiting[call] = None
        self._waiting.move_to_end(call, last=False)
