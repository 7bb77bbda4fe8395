"""An observer that raises: the error goes to the loop, and the server goes on."""

from __future__ import annotations

import asyncio

from fourtuple import events
from fourtuple.errors.base import interrupts
from fourtuple.options import call_plain
from fourtuple.printable import repr_of


def guarded(observer: events.Observer) -> events.Observer:
    """Wrap an observer: if it raises, the loop's exception handler gets the error, and the caller goes on."""

    def tell(event: events.Event) -> None:
        try:
            call_plain("observer", observer, event)
        except BaseException as error:
            if interrupts(error):  # Ctrl-C in an observer ends the program as anywhere else
                raise
            # Any other one, a CancelledError too, has nothing to do with the task that calls the observer.
            observer_failed(observer, event, error)

    return tell


def observer_failed(observer: events.Observer, event: events.Event, error: BaseException) -> None:
    """Report an observer that raised."""
    asyncio.get_running_loop().call_exception_handler(
        {"message": f"fourtuple: the observer {repr_of(observer)} failed at {repr_of(event)}", "exception": error}
    )
