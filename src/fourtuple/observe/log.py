"""The default observer."""

from __future__ import annotations

import logging

from fourtuple import events
from fourtuple.errors.framing import is_mistake
from fourtuple.printable import printable, traceback_of

_log = logging.getLogger("fourtuple")


def log_failures(event: events.Event) -> None:
    """The default observer, which logs errors of handlers and framings so that they do not go unnoticed.

    It writes to the standard library's logger ``fourtuple``: an exception that leaves a handler, with its traceback; a
    mistake in the framing's code, with the traceback of the function that raised; and a call that holds the loop, if
    that is watched. A mistake is a :class:`~fourtuple.errors.FramingMistake`, or an error of a message whose cause is a
    NameError, AttributeError, TypeError, ImportError, NotImplementedError or AssertionError. Any other ``event`` is not
    logged. Octets of peers are escaped: the text of an exception takes one line, cut at 1,000 characters.
    """
    if isinstance(event, events.LoopHeld):
        told = "\n".join([printable(event.handler), *(f"  {printable(line)}" for line in event.stack)])
        _log.error("the loop has been held for %.1f s, and still is, by %s", event.seconds, told)
    if isinstance(event, events.HandlerRaised):
        _log.error("%s: %s raised", printable(str(event.name)), printable(event.handler), exc_info=event.error)
    if isinstance(event, events.MessageFailed | events.MessageUnmapped) and is_mistake(event.error):
        _log.error("%s: a mistake in the framing's code", printable(str(event.name)), exc_info=event.error)


def _with_printable_traceback(record: logging.LogRecord) -> bool:
    """A filter that passes every record and formats its traceback: :mod:`logging` then does not format it again."""
    if record.exc_info and record.exc_info[1] is not None and not record.exc_text:
        record.exc_text = "\n".join(f"  {line}" for line in traceback_of(record.exc_info[1]))
    return True


_log.addFilter(_with_printable_traceback)
