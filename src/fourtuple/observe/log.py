"""The default observer."""

from __future__ import annotations

import logging

from fourtuple import events
from fourtuple.errors import HandlerFailed
from fourtuple.errors.framing import is_mistake
from fourtuple.observe.raised import is_users, outcome, tells_all, trimmed
from fourtuple.printable import printable, text_of, text_without, traceback_of

_log = logging.getLogger("fourtuple")


def log_failures(event: events.Event) -> None:
    """The default observer, which logs errors of handlers and framings so that they do not go unnoticed.

    It writes to the standard library's logger ``fourtuple``: an exception that leaves a handler, with its traceback; a
    message of a handler that cannot be sent, in one line; a mistake in the framing's code, with the traceback of the
    function that raised; and a call that holds the loop, if that is watched. A traceback has the frames of your code,
    without those of fourtuple that call it. A mistake is a :class:`~fourtuple.errors.FramingMistake`, or an error of a
    message whose cause is a NameError, AttributeError, TypeError, ImportError, NotImplementedError or AssertionError.
    Any other ``event`` is not logged. Octets of peers are escaped: the text of an exception takes one line, cut at
    1,000 characters.
    """
    if isinstance(event, events.LoopHeld):
        told = "\n".join([printable(event.handler), *(f"  {printable(line)}" for line in event.stack)])
        _log.error("the loop has been held for %.1f s, and still is, by %s", event.seconds, told)
    if isinstance(event, events.HandlerRaised):
        _log_raised(event)
    if isinstance(event, events.MessageFailed | events.MessageUnmapped) and is_mistake(event.error):
        _log.error("%s: a mistake in the framing's code", printable(str(event.name)), exc_info=event.error)


def _log_raised(event: events.HandlerRaised) -> None:
    name, error = printable(str(event.name)), event.error
    if isinstance(error, HandlerFailed):  # a program's error: it names the connection itself
        _log.error("%s", printable(text_of(error)))
    elif tells_all(error):
        what, text = printable(outcome(error)), printable(text_without(event.name, error))
        _log.error("%s: handler %s%s: %s", name, printable(event.handler), what, text)
    else:
        _log.error("%s: handler %s%s", name, printable(event.handler), printable(outcome(error)), exc_info=error)


def _with_printable_traceback(record: logging.LogRecord) -> bool:
    """A filter that passes every record and formats its traceback: :mod:`logging` then does not format it again."""
    if record.exc_info and record.exc_info[1] is not None and not record.exc_text:
        error = record.exc_info[1]
        # An exception in which no code of the user's is may be a fault of fourtuple's: then all frames are wanted.
        told = trimmed if is_users(error) or tells_all(error) else traceback_of
        record.exc_text = "\n".join(f"  {line}" for line in told(error))
    return True


_log.addFilter(_with_printable_traceback)
