"""What the functions of the program raise that a client calls: ``key``, ``is_push``, ``ping``, ``greet``, ``observer``.

An Exception is told as the failure of the function. So is any other exception that does not end the program, a stray
CancelledError for example: raised where the client works, it would end a task or a turn that other requests need.
What is an interrupt instead, each kind of client says, by the function ``passes(error)`` that it gives to its pool:

- The async client's tells True for none. It raises KeyboardInterrupt and SystemExit out of the loop, a moment later.
- The blocking client's tells True for all of them: they may come from a signal handler, and its caller is below.
"""

from __future__ import annotations

from fourtuple.errors import HandlerFailed
from fourtuple.errors.base import interrupts
from fourtuple.printable import error_text


def no_error(error: BaseException) -> bool:
    """Whether it is no :class:`Exception`."""
    return not isinstance(error, Exception)


def failure_of(error: BaseException, what: str) -> Exception:
    """Return what a function of the program raised, as an Exception, without the frames of a traceback.

    Any other one becomes the cause of a HandlerFailed that names ``what`` was called: a request that raised
    CancelledError would look cancelled itself.
    """
    if isinstance(error, Exception):
        return error.with_traceback(None)
    failed = HandlerFailed(f"{what} raised {error_text(error).rstrip(': ')}")
    if not interrupts(error):
        failed.__cause__ = error.with_traceback(None)
    return failed
