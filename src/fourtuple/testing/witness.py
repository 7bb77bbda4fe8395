"""An observer that makes a test fail if its handlers raise, or if its framing's code has a mistake."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from fourtuple import events
from fourtuple.errors import OptionError
from fourtuple.errors.framing import FramingError, is_mistake
from fourtuple.options import check_function, seen
from fourtuple.printable import error_text, traceback_of


class Witness:
    """Passes events on, and records the errors of handlers and the mistakes of framings.

    Raises OptionError for an ``observer`` that cannot be called with an event, and for a ``may_raise`` that is neither
    a class of exceptions nor a tuple of them.
    """

    def __init__(self, observer: events.Observer | None, may_raise: Any) -> None:
        check_function("observer", observer, "event")
        classes = may_raise if isinstance(may_raise, tuple) else (may_raise,)
        for each in classes:
            if not (isinstance(each, type) and issubclass(each, BaseException)):
                instead = f"; write {type(each).__name__}" if isinstance(each, BaseException) else ""
                raise OptionError(
                    f"may_raise: expected a class of exceptions, or a tuple of them, got {seen(each)}{instead}"
                )
        self._observer = observer
        self._may_raise = may_raise
        self._lock = threading.Lock()
        self.errors: list[BaseException] = []

    def __call__(self, event: events.Event) -> None:
        error = failure_of(event)
        if error is not None and not self._is_expected(error):
            with self._lock:
                self.errors.append(error)
        if self._observer is not None:
            self._observer(event)

    def _is_expected(self, error: BaseException) -> bool:
        """Whether a test expects this error, or the exception of the framing's function that is its cause."""
        caused = isinstance(error, FramingError) and isinstance(error.__cause__, self._may_raise)
        return caused or isinstance(error, self._may_raise)


def failure_of(event: events.Event) -> BaseException | None:
    """The error of an event that tells of a fault in the test's own code: in a handler or in a framing."""
    if isinstance(event, events.HandlerRaised):
        return event.error
    if isinstance(event, events.MessageFailed | events.MessageUnmapped) and is_mistake(event.error):
        return event.error
    return None


_RAISED = "handlers or framings of the test's servers raised; may_raise= names what a test expects"


def raise_all(errors: Sequence[BaseException]) -> None:
    """Raise an :class:`ExceptionGroup` of the errors, if there are any."""
    if errors:
        raise BaseExceptionGroup(_RAISED, errors)


def note_all(error: BaseException, errors: Sequence[BaseException]) -> None:
    """Note the errors on one that a test has raised: it may be their consequence."""
    for each in errors:
        lines = "\n".join(traceback_of(each))
        error.add_note(f"fourtuple: a handler or framing of the test's servers raised {error_text(each)}\n{lines}")
