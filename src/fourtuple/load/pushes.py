"""Messages that the server sends unasked: they are counted, and are no replies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fourtuple.errors import OptionError
from fourtuple.load.meter import Meter
from fourtuple.printable import shortened, text_of

Handle = Callable[[Any], Any]


def without_pushes(
    handle: Handle, is_push: Callable[[Any], bool] | None, meter: Meter, failed: Callable[[Exception], None]
) -> Handle:
    """Return ``handle`` for the messages that are no pushes; the others are counted.

    ``failed`` gets an :class:`~fourtuple.errors.OptionError` if ``is_push`` raises.
    """
    if is_push is None:
        return handle

    def heard(message: Any) -> Any:
        try:
            pushed = is_push(message)
        except Exception as error:
            raised = OptionError(
                f"is_push: the function raised {type(error).__name__} for a message of the server: "
                f"{shortened(text_of(error))}"
            )
            raised.__cause__ = error
            failed(raised)
            return None
        if pushed:
            meter.tally.pushes += 1
            return None
        return handle(message)

    return heard
