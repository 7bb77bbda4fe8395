"""Spare tasks: one stands in as the current task while coroutines take their first step, and runs one that waits.

A task for each message costs far more than most async handlers do, and a coroutine that ends without waiting needs
none. But ``asyncio.timeout()``, ``TaskGroup``, ``current_task()`` and anyio need a current task from the first line on.
So a task that only waits, parked, is entered as the current task for the first steps of a whole batch::

    parked --------> stands in: coroutines take their first step, one after the other
      ^                 |                |
      |                 | all ended      | one waits, for a future
      |                 v                v
      +------------- parked          runs it: the task awaits this future in its place, and steps the coroutine to its
      |                                  |    end, in the coroutine's own context
      +----------------------------------+

A task that a handler has kept (see :mod:`fourtuple.handlers.task_references`) runs no other handler: it ends with this
one.

Each message has its own context. Few handlers change a context variable, and as long as none has, no code can tell
whether two messages of a batch have two contexts or one. So those behind the first run in the context of their task,
until a handler has changed it; from then on, each gets a copy.
"""

from __future__ import annotations

import asyncio
import contextvars
import types
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeAlias, TypeVar

from fourtuple.engine.eager_future import EagerFuture
from fourtuple.engine.fields import SparesFields
from fourtuple.handlers.own_generators import OwnGenerators, own_generators
from fourtuple.handlers.task_references import TaskReferences

T = TypeVar("T")

#: The most parked tasks: as many handlers may begin to wait without a new task for each.
_MOST_PARKED = 64

_NOTHING = object()

#: Called when a handler has ended: with the exception that it raised, and whether it was cancelled on request.
Done: TypeAlias = Callable[[BaseException | None, bool], None]
#: Called when a handler has ended and its task can run another: returns the work of the next, or None.
More: TypeAlias = Callable[[TaskReferences], Coroutine[Any, Any, None] | None]


class CancelledOnRequest(asyncio.CancelledError):
    """The end of a handler whose task was cancelled. A CancelledError without this is an error of the handler."""


@types.coroutine
def in_context(
    coroutine: Coroutine[Any, Any, T], context: contextvars.Context, yielded: Any = _NOTHING
) -> Generator[Any, Any, T]:
    """Await a coroutine in a context. If it has taken its first step, ``yielded`` is what it waits for."""
    run, send = context.run, coroutine.send
    try:
        if yielded is _NOTHING:
            yielded = run(send, None)
        while True:
            try:
                yield yielded
            except BaseException as error:
                yielded = run(coroutine.throw, error)
            else:
                yielded = run(send, None)
    # A coroutine that returns raises StopIteration from send() (PEP 492, PEP 380).
    except StopIteration as stop:
        made: T = stop.value
        return made


class Spare:
    """One task that waits to run a coroutine."""

    def __init__(self, spares: Spares) -> None:
        self._spares = spares
        self.parked: EagerFuture = EagerFuture(spares.loop)
        #: The work that it runs next, and the functions that make more of it, and that are called when it has ended.
        self._work: Coroutine[Any, Any, None] | None = None
        self._more: More | None = None
        self._done: Done | None = None
        self._made = False
        self._lends_context = spares.sharing
        self.task: asyncio.Task[None] = spares.loop.create_task(self._stand_by(), context=spares.context.copy())
        # A loop that is never run again leaves it parked, which is not a mistake of the program.
        self.task._log_destroy_pending = False  # type: ignore[attr-defined]
        self._made = True

    def run(self, work: Coroutine[Any, Any, None], more: More, done: Done) -> None:
        """Run ``work``."""
        self._work, self._more, self._done = work, more, done
        self.parked.wake(at_once=True)

    async def _stand_by(self) -> None:
        while not self._made:  # a task factory may take the first step within create_task()
            await asyncio.sleep(0)
        references = TaskReferences(self.task)
        references.begin()
        try:
            await self._run_each(references)
        finally:
            references.end()

    async def _run_each(self, references: TaskReferences) -> None:
        while self._spares.park(self):
            try:
                await self.parked
            except asyncio.CancelledError:
                if self._work is None:
                    raise
                if self.task.cancelling():  # by its handler, before it waited: now it cancels what this waits for
                    self.task.cancel()
                    # cancel() counts (Task.cancelling()): without this, asyncio.timeout() and TaskGroup in the handler
                    # would see two.
                    self.task.uncancel()
            if self._work is None:
                return  # it stood in for a handler that has kept it
            await self._run(references)
            if references.kept:
                return  # a later cancellation may be meant for the handler that has ended
            if self._lends_context and not self._spares.sharing:
                return  # its context may hold what a handler has set

    async def _run(self, references: TaskReferences) -> None:
        work, more, done = self._work, self._more, self._done
        assert more is not None and done is not None
        error: BaseException | None = None
        on_request = False
        try:
            while work is not None:
                await work
                work = None if references.kept else more(references)
        except BaseException as raised:
            error = raised
            on_request = isinstance(error, asyncio.CancelledError) and self.task.cancelling() > 0
            if isinstance(error, KeyboardInterrupt | SystemExit):
                self.task.add_done_callback(asyncio.Task.exception)  # it has reached the loop, and needs no log
                raise
            if on_request:
                raise
        finally:
            self._work = self._more = self._done = None
            self._spares.loop.call_soon(done, None if on_request else error, on_request)
            del error


class Spares(SparesFields):
    """The spare tasks of one server.

    Parameters
    ----------
    loop, context
        Where the tasks run. Each message gets a copy of ``context``.
    """

    __slots__ = ("_closed", "_parked", "_spare", "_starting", "_variables", "generators", "sharing")

    def __init__(self, loop: asyncio.AbstractEventLoop, context: contextvars.Context) -> None:
        self.loop = loop
        self.context = context
        #: The task that stands in, and the future for which it waits; None while none is parked.
        self.task: asyncio.Task[None] | None = None
        self.parked: EagerFuture | None = None
        self._spare: Spare | None = None
        self._parked: list[Spare] = []
        self._starting: Spare | None = None
        self._closed = False
        #: The hook of async generators: installed where a handler is one.
        self.generators: OwnGenerators = OwnGenerators(None)
        self._variables = dict(context)
        #: Whether messages may run in the context of their task: no handler has changed one yet.
        self.sharing: bool = True

    def expect_generators(self) -> None:
        """The handler is an async generator: its generators are ours, and not the loop's."""
        self.generators = own_generators()

    def look_at_context(self) -> None:
        """Note whether a handler has changed the current context, which was a copy of :attr:`context`."""
        now, variables = contextvars.copy_context(), self._variables
        if len(now) == len(variables):
            for variable, value in variables.items():  # not any(): its generator costs more than the rest
                if now.get(variable, _NOTHING) is not value:
                    break
            else:
                return
        self.sharing = False

    def ready(self) -> bool:
        """Return whether a task can stand in now: one is parked, and no other task is running."""
        self.begin()
        return self.parked is not None and asyncio.current_task(self.loop) is None

    def begin(self) -> None:
        """Let a task stand in from the loop's next iteration on, if none does yet."""
        if self.parked is None or self.parked._callback is None:  # the latter: it was cancelled
            self._advance()

    def park(self, spare: Spare) -> bool:
        """Take a task that waits for its future next. Returns False if it has to end."""
        if spare is self._starting:
            self._starting = None
        if self._closed or len(self._parked) >= _MOST_PARKED:
            return False
        if self._spare is None:
            self._put(spare)
        else:
            self._parked.append(spare)
        return True

    def _put(self, spare: Spare) -> None:
        self._spare, self.task, self.parked = spare, spare.task, spare.parked

    def _advance(self) -> None:
        """Let the next parked task stand in; begin another one if none is left."""
        self._spare = self.task = self.parked = None
        while self._parked and self._spare is None:
            spare = self._parked.pop()
            if spare.parked._callback is not None:  # else it was cancelled
                self._put(spare)
        starts = self._starting is not None and not self._starting.task.done()
        if self._spare is None and not (starts or self._closed):
            self._starting = Spare(self)

    def enter(self) -> asyncio.Task[None]:
        """Let a task stand in as the current task, and return it. Call it if :meth:`ready`."""
        task = self.task
        assert task is not None
        # What asyncio calls around each step of a task. Third-party loops and eager tasks also use it (documented in
        # asyncio's "Extending").
        _enter_task(self.loop, task)
        return task

    def leave(self, task: asyncio.Task[None]) -> None:
        """End :meth:`enter`."""
        _leave_task(self.loop, task)

    def replace(self, error: BaseException | None) -> BaseException | None:
        """Replace the task that stands in: a handler raised, has cancelled the task, or has kept it.

        Returns the exception for the handler's end: the given one, or CancelledOnRequest. If it has returned, there is
        none: its reply is sent, even if it has cancelled the task before.
        """
        task, parked = self.task, self.parked
        if task is None or parked is None:
            return error
        cancelled = parked._callback is None and task.cancelling() > 0
        self._advance()
        parked.wake()  # it ends, and calls what a handler has added to be called then
        on_request = cancelled and isinstance(error, asyncio.CancelledError)
        return CancelledOnRequest() if on_request else error

    def adopt(self, work: Coroutine[Any, Any, None], more: More, done: Done) -> None:
        """Let the task that stood in run ``work``, and then what ``more`` returns, until that is None.

        Another one stands in from now on. ``done`` is called on the loop when the work has ended.
        """
        spare = self._spare
        assert spare is not None
        self._advance()
        spare.run(work, more, done)

    async def close(self) -> None:
        """End all parked tasks."""
        self._closed = True
        spares = [spare for spare in (self._spare, self._starting, *self._parked) if spare is not None]
        self._spare = self.task = self.parked = self._starting = None
        self._parked.clear()
        for spare in spares:
            spare.task.cancel()
        if spares:
            await asyncio.wait([spare.task for spare in spares])
