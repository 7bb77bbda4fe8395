"""accept(2) fails as the test wants: no descriptors, no memory, a connection that died in the queue."""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from types import TracebackType
from typing import Any, Self

from fourtuple.engine import Listener
from fourtuple.server import Server


class FlakyListener:
    """Lets a listener's accept(2) fail by a script, while its block runs::

        with FlakyListener(server, errno.EMFILE, errno.ECONNABORTED) as flaky:
            connect(server.address, "line").close()  # waits in the queue, and gets in

    ``listener`` is a started :class:`~fourtuple.Server` (its first listener) or one of its listeners. ``script`` has
    what each call of accept(2) comes to: a number of :mod:`errno`, an :class:`OSError`, or None for a call that does
    what it usually does. Behind the script, and behind the block, all do. A call comes when a connection waits, which
    stays in the kernel's queue when it fails. Usable from any thread. Raises ValueError for a listener that is closed.
    """

    def __init__(self, listener: Listener | Server, *script: int | OSError | None) -> None:
        self._listener = listener.listeners[0] if isinstance(listener, Server) else listener
        self._script = deque(script)
        #: The errors that were raised, in order.
        self.raised: list[OSError] = []

    @property
    def left(self) -> int:
        """How many calls the script still has."""
        return len(self._script)

    def __enter__(self) -> Self:
        usual = self._listener._socket
        if usual is None:
            raise ValueError(f"{self._listener!r} accepts nothing any more")
        self._listener._socket = _FlakySocket(usual, self)  # type: ignore[assignment]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        flaky = self._listener._socket
        if isinstance(flaky, _FlakySocket):  # else it was closed meanwhile
            self._listener._socket = flaky.usual

    def next_error(self) -> OSError | None:
        """What the next call raises; None: nothing."""
        step = self._script.popleft() if self._script else None
        if step is None:
            return None
        error = OSError(step, os.strerror(step)) if isinstance(step, int) else step
        self.raised.append(error)
        return error

    def __repr__(self) -> str:
        raised = ", ".join(errno.errorcode.get(each.errno or 0, repr(each)) for each in self.raised)
        return f"<FlakyListener on {self._listener!r}, raised {raised or 'nothing'}, {self.left} left>"


class _FlakySocket:
    """The passive socket, except for its accept()."""

    def __init__(self, usual: socket.socket, script: FlakyListener) -> None:
        self.usual = usual
        self._flaky = script

    def accept(self) -> tuple[socket.socket, Any]:
        error = self._flaky.next_error()
        if error is not None:
            raise error
        return self.usual.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.usual, name)
