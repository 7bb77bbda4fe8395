"""Tells exceptions that a signal handler of the program raised from those of the call that it interrupted."""

from __future__ import annotations

import functools
import signal
import threading
from types import CodeType
from typing import Any


def raised_by_handler(error: BaseException) -> bool:
    """Return whether a signal handler raised it: the frame of an installed handler is in its traceback.

    The interpreter runs handlers between any two instructions of the main thread, so the call that raised does not
    tell. A handler that has replaced itself before it raises is not recognized.
    """
    if threading.current_thread() is not threading.main_thread():
        return False
    codes = {_code_of(signal.getsignal(number)) for number in signal.valid_signals()} - {None}
    trace = error.__traceback__
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
