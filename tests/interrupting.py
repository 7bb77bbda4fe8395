"""An interrupt at each place where a signal handler may run: one after the other, and none by chance.

CPython runs signal handlers at the beginning of a function and when a call has returned (and at the end of a loop's
turn, which is left out). A profile function counts these places in the given files, and raises at one of them: as if
the call had raised, although it was carried out.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from types import FrameType, ModuleType
from typing import Any


class Interrupt(BaseException):
    """What the signal handler raises."""


class Interrupting:
    """Raises at the place with this number."""

    def __init__(self, modules: tuple[ModuleType, ...], number: int, kind: type[Interrupt]) -> None:
        self._files = {str(each.__file__) for each in modules}
        self._number = number
        self._kind = kind
        self._passed = 0
        self.where = ""

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event not in ("call", "return", "c_return") or self.where:
            return
        if event == "c_return" and argument.__name__ == "__enter__":
            # Since 3.14 `with` calls it as any other function, which a profile function sees. In 3.14 a signal handler
            # may run there, and leaves the lock taken: no code within the `with` can see that. In 3.15 none runs there.
            return
        code, back = frame.f_code, frame.f_back
        caller = back.f_code.co_filename if event == "return" and back is not None else ""
        if not {code.co_filename, caller} & self._files or code.co_flags & inspect.CO_GENERATOR:
            return
        names = {code.co_name, back.f_code.co_name if back is not None else ""}
        if names & {"__del__", "_remove"}:
            return  # what is raised as an object goes is printed, and ends nothing
        self._passed += 1
        if self._passed == self._number:
            self.where = f"{event} in {code.co_qualname}, line {frame.f_lineno}"
            raise self._kind


def interrupts(
    function: Callable[[], object], *modules: ModuleType, kind: type[Interrupt] = Interrupt
) -> Iterator[str]:
    """Call ``function`` again and again, and interrupt it at the next place each time; yield where that was.

    It ends when a call has no such place any more.
    """
    number = 0
    while True:
        number += 1
        interrupting = Interrupting(modules, number, kind)
        profiling = sys.getprofile()
        sys.setprofile(interrupting)
        try:
            function()
        except Interrupt:
            pass
        finally:
            sys.setprofile(profiling)
        if not interrupting.where:
            return
        yield interrupting.where
