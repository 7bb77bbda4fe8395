"""timerfd(2), from Python where it has it (3.13), from the C library before."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TypeAlias

_CLOCK_MONOTONIC = 1
_TFD_TIMER_ABSTIME = 1
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC  # TFD_NONBLOCK and TFD_CLOEXEC are these
_SECOND = 1_000_000_000

#: ``settime(fd, moment)``: become readable at this moment of CLOCK_MONOTONIC, in nanoseconds; 0 disarms.
SetTime: TypeAlias = Callable[[int, int], None]


def open_timerfd() -> tuple[int, SetTime]:
    """Return a new timer's descriptor, and what sets it.

    Raises OSError where the kernel grants none, AttributeError or ImportError where the C library has none.
    """
    if sys.version_info >= (3, 13):
        return os.timerfd_create(_CLOCK_MONOTONIC, flags=_FLAGS), _settime
    return _from_the_c_library()


if sys.version_info >= (3, 13):

    def _settime(fd: int, moment: int) -> None:
        os.timerfd_settime_ns(fd, flags=os.TFD_TIMER_ABSTIME, initial=moment)


def _from_the_c_library() -> tuple[int, SetTime]:
    # Imported here: on newer systems libffi opens a file of its own, at the import.
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
