"""What a pool tells: counters, and events."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import fields

from fourtuple.errors.base import interrupts
from fourtuple.events import ClientState, ClientStateChanged, ClientStatistics, Event, Observer
from fourtuple.options import call_plain
from fourtuple.pool.functions import no_error

_log = logging.getLogger("fourtuple")

#: The reasons for which a connection ends that say something about the server: the next attempt waits a little.
LOSSES = frozenset({"peer", "error", "unexpected", "check"})


class Report:
    """Counts, and calls the observer."""

    def __init__(
        self,
        address: str,
        observer: Observer | None,
        passes: Callable[[BaseException], bool] = no_error,
    ) -> None:
        self.address = address
        self._observer = observer
        self._passes = passes
        self._counters: Counter[str] = Counter()
        self.wait_seconds: float = 0.0
        self._state: ClientState = "new"

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter of :class:`~fourtuple.events.ClientStatistics`."""
        self._counters[name] += by

    def tell(self, event: Event) -> None:
        """Call the observer. What it raises is logged: the pool is in the middle of a decision, and goes on."""
        if self._observer is None:
            return
        try:
            call_plain("observer", self._observer, event)
        except BaseException as error:
            if self._passes(error):
                raise
            if interrupts(error):
                return
            _log.exception("the observer of the client of %s raised for %s", self.address, event.kind)

    def state_is(self, state: ClientState, seconds: float) -> None:
        """Tell of the state if it has changed."""
        if state != self._state:
            was, self._state = self._state, state
            self.tell(ClientStateChanged(self.address, state, was, seconds))

    def statistics(self, now: dict[str, int]) -> ClientStatistics:
        """Return the counters, together with these numbers."""
        values = {field.name: self._counters[field.name] for field in fields(ClientStatistics)} | now
        return ClientStatistics(**{**values, "wait_seconds": self.wait_seconds})  # type: ignore[arg-type]
