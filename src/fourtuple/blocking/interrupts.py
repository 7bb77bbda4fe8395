"""Tells exceptions that a signal handler of the program raised from those of the call that it interrupted."""

from __future__ import annotations

import functools
import signal
import threading
from types import CodeType
from typing import Any


def interrupted(error: OSError) -> bool:
    """Return whether a signal handler raised the error of a system call, and not the kernel: its errors have a number.

    A handler may raise one with a number, too, as of its own system call. Call it in the function that has called the
    system.
    """
    return error.errno is None or raised_by_handler(error)


def raised_by_handler(error: BaseException) -> bool:
    """Return whether a signal handler raised it: the frame of an installed handler is in its traceback.

    The interpreter runs handlers between any two instructions of the main thread, so the call that raised does not
    tell. A handler that has replaced itself before it raises is not recognized.
    """
    trace = error.__traceback__
    if trace is None or trace.tb_next is None or threading.current_thread() is not threading.main_thread():
        return False  # the first frame is that of the function which has caught it
    codes = {_code_of(signal.getsignal(number)) for number in signal.valid_signals()} - {None}
    while trace is not None:
        if trace.tb_frame.f_code in codes:
            return True
        trace = trace.tb_next
    return False


def _code_of(handler: Any) -> CodeType | None:
    """Return the code of a handler that is written in Python; None for another one, and where none is installed."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    if callable(handler) and not hasattr(handler, "__code__") and not hasattr(handler, "__func__"):
        handler = type(handler).__call__
    return getattr(getattr(handler, "__func__", handler), "__code__", None)
