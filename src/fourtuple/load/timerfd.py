"""timerfd_create(2), from Python 3.13 on through :mod:`os`, before that through the C library."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TypeAlias

_CLOCK_MONOTONIC = 1
_TFD_TIMER_ABSTIME = 1
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC  # TFD_NONBLOCK and TFD_CLOEXEC have these values
_SECOND = 1_000_000_000

#: ``settime(fd, moment)``: the descriptor becomes readable at this moment of CLOCK_MONOTONIC, in ns; 0 disarms.
SetTime: TypeAlias = Callable[[int, int], None]


def open_timerfd() -> tuple[int, SetTime]:
    """Return the descriptor of a new timer, and the function that sets it.

    Raises OSError if the kernel refuses one, and AttributeError or ImportError if the C library has no timerfd.
    """
    if sys.version_info >= (3, 13):
        return os.timerfd_create(_CLOCK_MONOTONIC, flags=_FLAGS), _settime
    return _from_the_c_library()


if sys.version_info >= (3, 13):

    def _settime(fd: int, moment: int) -> None:
        os.timerfd_settime_ns(fd, flags=os.TFD_TIMER_ABSTIME, initial=moment)


def _from_the_c_library() -> tuple[int, SetTime]:
    # Imported here, because importing it opens a file of libffi on newer systems.
    import ctypes

    class Timespec(ctypes.Structure):
        _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))

    class Itimerspec(ctypes.Structure):
        _fields_ = (("interval", Timespec), ("value", Timespec))

    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.timerfd_create(_CLOCK_MONOTONIC, _FLAGS)
    if fd < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    spec = Itimerspec()
    reference = ctypes.byref(spec)

    def settime(fd: int, moment: int) -> None:
        spec.value.seconds, spec.value.nanoseconds = divmod(moment, _SECOND)
        libc.timerfd_settime(fd, _TFD_TIMER_ABSTIME, reference, None)

    return fd, settime
