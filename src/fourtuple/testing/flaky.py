"""Scripted errors of accept(2): no descriptors, no memory, a connection that was reset in the accept queue."""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from types import TracebackType
from typing import Any, Self

from fourtuple.engine import Listener
from fourtuple.errors import OptionError
from fourtuple.options import check_type
from fourtuple.server import Server


class FlakyListener:
    """Makes a listener's accept(2) fail by a script, inside its ``with`` block::

        with FlakyListener(server, errno.EMFILE, errno.ECONNABORTED) as flaky:
            connect(server.address, "line").close()  # waits in the queue, and is accepted later

    ``listener`` is a started :class:`~fourtuple.Server` (meaning its first listener) or one of its listeners.
    ``script`` has one entry for each call of accept(2): a number of :mod:`errno` or an :class:`OSError` to raise, or
    None for a normal call. After the script, and after the block, all calls are normal. The server calls accept(2) when
    a connection is queued; if the call fails, the connection stays in the accept queue. Usable from any thread. Raises
    :class:`~fourtuple.errors.OptionError` for an argument of another type, a server that does not listen, and a closed
    listener.
    """

    def __init__(self, listener: Listener | Server, *script: int | OSError | None) -> None:
        check_type("listener", listener, Listener, Server, optional=False)
        if isinstance(listener, Server) and not listener.listeners:
            raise OptionError(f"listener: {listener!r} does not listen")
        for step in script:
            check_type("script", step, int, OSError, hint="errno.EMFILE")
        self._listener = listener.listeners[0] if isinstance(listener, Server) else listener
        self._script = deque(script)
        #: The errors raised so far, in order.
        self.raised: list[OSError] = []

    @property
    def left(self) -> int:
        """The number of entries left in the script."""
        return len(self._script)

    def __enter__(self) -> Self:
        original = self._listener._socket
        if original is None:
            raise OptionError(f"listener: {self._listener!r} is closed")
        self._listener._socket = _FlakySocket(original, self)  # type: ignore[assignment]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        flaky = self._listener._socket
        if isinstance(flaky, _FlakySocket):  # otherwise it was closed meanwhile
            self._listener._socket = flaky.original

    def next_error(self) -> OSError | None:
        """Take the next entry of the script; return the error to raise, or None."""
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
    """The passive socket with another accept()."""

    def __init__(self, original: socket.socket, script: FlakyListener) -> None:
        self.original = original
        self._flaky = script

    def accept(self) -> tuple[socket.socket, Any]:
        error = self._flaky.next_error()
        if error is not None:
            raise error
        return self.original.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)
