"""What every call of a server checks: its event loop, and the thread in which that runs."""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Unpack, overload

from fourtuple.connection.server_handle import Arguments
from fourtuple.errors import LoopClosed, ServiceError, WrongThread
from fourtuple.options import check_runs, refuse_unrun
from fourtuple.printable import repr_of
from fourtuple.service import Service
from fourtuple.serving.server_info import ServerInfo
from fourtuple.typevars import Generic, In_co, L, Out_contra, S

if TYPE_CHECKING:
    from fourtuple.ignored import Awaited, Lost, NeverRun


class OnLoop(ServerInfo[In_co, Out_contra, S, L], Generic[In_co, Out_contra, S, L]):
    """A server that belongs to one loop, and to the thread of that."""

    service: Service[In_co, Out_contra, S, L]

    @overload
    def call_soon(self, function: Callable[[Unpack[Arguments]], Awaited], *arguments: *Arguments) -> None: ...
    @overload
    def call_soon(  # type: ignore[overload-overlap]
        self, function: Callable[[Unpack[Arguments]], NeverRun], *arguments: *Arguments
    ) -> Lost: ...
    @overload
    def call_soon(self, function: Callable[[Unpack[Arguments]], object], *arguments: *Arguments) -> None: ...
    def call_soon(  # type: ignore[misc]
        self, function: Callable[[Unpack[Arguments]], object], *arguments: *Arguments
    ) -> None:
        """Call ``function(*arguments)`` on the server's loop, from any thread: so other threads act on connections.

        A coroutine function runs as a task: ``server.call_soon(server.drain)``. What the function raises goes to the
        loop's exception handler. Raises :class:`~fourtuple.errors.LoopClosed` if the loop was closed,
        :class:`~fourtuple.errors.ServiceError` if the server is not started, and
        :class:`~fourtuple.errors.OptionError` for a generator function, which would not run.
        """
        check_runs("call_soon", function, awaits=True)
        if not self._life.started:
            raise ServiceError(f"call_soon: {self!r} has no event loop before it is started")
        try:
            self.loop.call_soon_threadsafe(functools.partial(_call, self.loop, function, arguments))
        except RuntimeError:
            if not self.loop.is_closed():
                raise
            raise LoopClosed(f"{self!r}: server.call_soon()", self._has_ended) from None

    @property
    def _has_ended(self) -> bool:
        """Whether it has stopped, or has not started: what is left of it is only what it has counted."""
        return self.stopped or self._life.given_up

    def _check_thread(self, call: str) -> None:
        """Raise WrongThread if called in another thread than the loop's, and LoopClosed if the loop was closed."""
        self._check_loop(call)
        self._check_caller(call)

    def _check_loop(self, call: str) -> None:
        if self._life.started and not self._has_ended and self.engine.look_at_loop():
            raise LoopClosed(f"{self!r}: server.{call}()", False)

    def _check_caller(self, call: str, argument: str = "...") -> None:
        if self._life.started and threading.get_ident() != self.engine.thread:
            # Not run_coroutine_threadsafe(): the loop may end with the server, and the call would never return.
            hint = f"server.{call}, {argument}" if argument else f"server.{call}"
            self.engine.check_thread(repr(self), f"server.{call}", f"server.call_soon({hint})")

    def _check_awaited(self, call: str) -> None:
        """As :meth:`_check_thread`, for a coroutine: it would wait for ever in another loop than the server's."""
        if not self._life.started or self._has_ended:
            return
        self._check_loop(call)
        if self.engine.inert:  # a forked child, where the server does nothing
            return
        self._check_caller(call, "")
        if asyncio.get_running_loop() is not self.loop:
            whom = f"{self!r}: server.{call}() was awaited in another event loop than the server's"
            if self.loop.is_running():
                raise WrongThread(whom, f"server.call_soon(server.{call})")
            raise WrongThread(f"{whom}, which does not run", f"server.loop.run_until_complete(server.{call}())")

    def __repr__(self) -> str:
        life, name = self._life, self.service.name
        if not life.started or life.given_up:
            state = "failed to start" if life.given_up else "stopped" if self.stopped else "not started"
            return f"<Server {name} {state}>"
        where = f" at {', '.join(map(str, self.addresses))}" if self.addresses else ", not listening"
        return f"<Server {name} {self._state}{where}, {sum(map(len, life.registries))} connections>"

    @property
    def _state(self) -> str:
        if self.stopped:
            return "stopped"
        if self.engine.look_at_loop():
            return "loop closed"
        if self.engine.inert:
            return "forked"
        if self._life.draining.is_set():
            return "draining"
        return "starting" if self._life.starting else "serving"


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    result = function(*arguments)
    if not inspect.iscoroutine(result):
        refuse_unrun("call_soon", function, result)
    else:
        task = loop.create_task(result)
        _running.add(task)  # the loop itself holds tasks only weakly
        task.add_done_callback(functools.partial(_called, function))


#: The tasks of coroutine functions that were given to :meth:`OnLoop.call_soon`.
_running: set[asyncio.Task[Any]] = set()


def _called(function: Callable[..., object], task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    error = None if task.cancelled() else task.exception()
    if error is not None:
        text = f"fourtuple: {repr_of(function)} failed, which was given to server.call_soon()"
        task.get_loop().call_exception_handler({"message": text, "exception": error, "task": task})
