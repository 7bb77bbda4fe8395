"""What ``fourtuple serve --workers`` keeps for its operators: the control socket, the pages, and the process's file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

from fourtuple.cli.failure import Exit, Failure
from fourtuple.errors import FourTupleError
from fourtuple.events import Observer
from fourtuple.operations.pidfile import PidFile
from fourtuple.operations.running import operating
from fourtuple.options import Operations
from fourtuple.supervisor.subject import Supervised, collecting

#: Seconds that an upgraded program waits for the control socket and the file of the one before it.
_TAKE_OVER = 10.0


class SuperviseOperations:
    """The control socket, the pages and the process's file of a supervisor.

    With ``takes_over``, the supervisor before this one has them, and lets go of them when it has handed over.
    """

    def __init__(self, options: Operations, *, takes_over: bool) -> None:
        self._options = options
        self._takes_over = takes_over
        self._pidfile = PidFile(options.pidfile)
        #: Set when they are to end.
        self._released = asyncio.Event()
        #: Done when they are served.
        self._served: asyncio.Future[None]

    def lock(self) -> None:
        """Lock the process's file before anything is opened: a second supervisor ends here."""
        if self._takes_over:
            return
        try:
            self._pidfile.lock()
        except FourTupleError as error:
            raise Failure(error, Exit.NO_START) from error

    async def begin(
        self,
        subject: Supervised,
        name: str,
        tell: Observer,
        soon: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]],
    ) -> asyncio.Task[None]:
        """Return when they are served, with the task that serves them until :meth:`release`. Raises :class:`Failure`.

        ``soon`` runs a coroutine as a task of the run.
        """
        self._served = asyncio.get_running_loop().create_future()
        serving = soon(self._serve(subject, name, tell, soon))
        await asyncio.wait([self._served, serving], return_when=asyncio.FIRST_COMPLETED)
        if not self._served.done():
            try:
                await serving
            except Failure as failure:
                if not self._takes_over:
                    raise
                # The program before this one has ended: to serve without these is better than not to serve.
                failure.show()
        return serving

    def release(self) -> None:
        """End them, for the supervisor that has taken over, or because this one has stopped."""
        self._released.set()

    def close(self) -> None:
        """Remove the process's file, however the run ends."""
        self._pidfile.close()

    async def _serve(
        self, subject: Supervised, name: str, tell: Observer, soon: Callable[[Coroutine[Any, Any, Any]], object]
    ) -> None:
        """Serve them until they are released. The supervisor before this one may hold them a moment longer."""
        loop = asyncio.get_running_loop()
        until = loop.time() + (_TAKE_OVER if self._takes_over else 0)
        while True:
            try:
                async with AsyncExitStack() as stack:
                    stack.enter_context(self._pidfile)
                    await stack.enter_async_context(operating(subject, self._options, name, tell))
                    self._write_pidfile()
                    if self._options.counts:
                        soon(collecting(subject))
                    self._served.set_result(None)
                    await self._released.wait()
                    return
            except FourTupleError as error:
                if self._served.done() or loop.time() >= until:
                    raise Failure(error, Exit.NO_START) from error
            await asyncio.sleep(0.05)

    def _write_pidfile(self) -> None:
        try:
            self._pidfile.write()
        except FourTupleError as error:
            if not self._takes_over:
                raise
            # The program before this one has ended: to serve without the number is better than not to serve.
            Failure(error, Exit.NO_START).show()
