"""The channel between a supervisor and one worker: requests and replies, both ways, with descriptors.

A message is four octets of length (big-endian), and then JSON::

    {"op": "ping", "id": 7, "with": {...}}           a request; without "id", no reply is wanted
    {"re": 7, "value": ...}                          its reply
    {"re": 7, "error": "..."}                        it has failed

``"fds": 2`` in a request tells that two descriptors came with it (SCM_RIGHTS, unix(7)). Nothing here waits for the
other end: what the socket does not take is kept, and written when it is writable.
"""

from __future__ import annotations

import array
import asyncio
import json
import os
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from inspect import isawaitable
from typing import Any, TypeAlias

from fourtuple.errors import ChannelError
from fourtuple.forking import ours
from fourtuple.printable import error_text

_LENGTH = struct.Struct("!I")
#: The largest message: the list of ten thousand connections takes a tenth of it.
MOST_OCTETS = 64 * 1024 * 1024
#: SCM_MAX_FD (net/core/scm.c).
_MOST_FDS = 253
_READ = 256 * 1024

#: ``answer(op, arguments, descriptors)`` returns the reply's value, or an awaitable of it. It owns the descriptors.
Answer: TypeAlias = Callable[[str, dict[str, Any], list[int]], Any]


class Channel:
    """One end of the channel, on the running loop. It owns its socket.

    Parameters
    ----------
    sock
        A connected Unix stream socket.
    answer
        Called with each request.
    on_end
        Called once, when the other end is closed.
    """

    def __init__(self, sock: socket.socket, answer: Answer, on_end: Callable[[], object]) -> None:
        self._socket = ours(sock)
        self._answer = answer
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._in = bytearray()
        self._fds: list[int] = []
        self._out: deque[tuple[bytearray, list[int]]] = deque()
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._last = 0
        self._writing = False
        self.closed: bool = False
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._readable)

    # -- asking -------------------------------------------------------------------------------------------

    async def request(self, op: str, *, fds: Sequence[int] = (), timeout: float | None = None, **arguments: Any) -> Any:
        """Send a request and return its reply's value.

        Raises :class:`ChannelError` if the other end fails or ends, and :class:`TimeoutError` after ``timeout``
        seconds (default: None, no bound).
        """
        if self.closed:
            raise ChannelError(f"{op}: the process has ended")
        self._last += 1
        number = self._last
        reply: asyncio.Future[Any] = self._loop.create_future()
        self._asked[number] = reply
        try:
            self._send({"op": op, "id": number, "with": arguments}, fds)
            async with asyncio.timeout(timeout):
                return await reply
        finally:
            self._asked.pop(number, None)

    def tell(self, op: str, **arguments: Any) -> None:
        """Send a request without a reply. Does nothing if the other end has ended."""
        if not self.closed:
            self._send({"op": op, "with": arguments}, ())

    def _send(self, message: dict[str, Any], fds: Sequence[int]) -> None:
        if fds:
            message["fds"] = len(fds)
        octets = json.dumps(message).encode()
        # The caller may close its descriptors before these are sent.
        self._out.append((bytearray(_LENGTH.pack(len(octets)) + octets), [os.dup(fd) for fd in fds]))
        self._write()

    # -- the socket ---------------------------------------------------------------------------------------

    def _write(self) -> None:
        while self._out and not self.closed:
            octets, fds = self._out[0]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            try:
                sent = self._socket.sendmsg([octets], rights)
            except BlockingIOError:
                break
            except OSError:
                self._ended()
                return
            # The kernel has references of its own from here on (unix(7)). The list is empty then, so that the rest of a
            # message that was sent in part goes without descriptors.
            _close_all(fds)
            del octets[:sent]
            if not octets:
                self._out.popleft()
        if not self.closed and bool(self._out) != self._writing:
            self._writing = bool(self._out)
            if self._writing:
                self._loop.add_writer(self._socket.fileno(), self._write)
            else:
                self._loop.remove_writer(self._socket.fileno())

    def read_all(self) -> None:
        """Take what the other end has sent up to now."""
        while not self.closed and self._readable():
            pass

    def read_rest(self) -> None:
        """Take what the other end sent before it ended, and close."""
        self.read_all()
        self.close()

    def _readable(self) -> bool:
        """Read once; return whether there may be more."""
        space = socket.CMSG_SPACE(_MOST_FDS * array.array("i").itemsize)
        try:
            # With MSG_CMSG_CLOEXEC (recvmsg(2)), a program that another thread starts at this moment inherits none of
            # them.
            octets, ancillary, _, _ = self._socket.recvmsg(_READ, space, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return False
        except OSError:
            octets, ancillary = b"", []
        for level, kind, given in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds = array.array("i")
                # The kernel may cut the list off (MSG_CTRUNC), even inside a number.
                fds.frombytes(given[: len(given) - len(given) % fds.itemsize])
                self._fds += fds
        if not octets:
            self._ended()
            return False
        self._in += octets
        try:
            for message in self._messages():
                self._take(message)
        except (ValueError, KeyError, TypeError):
            self._ended()  # the other end does not speak this protocol
        return not self.closed

    def _messages(self) -> list[dict[str, Any]]:
        found = []
        at = 0
        while len(self._in) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._in, at)
            if length > MOST_OCTETS:
                raise ValueError(f"a message of {length} octets, no more than {MOST_OCTETS} are allowed")
            end = at + _LENGTH.size + length
            if len(self._in) < end:
                break
            message = json.loads(self._in[at + _LENGTH.size : end])
            if not isinstance(message, dict):
                raise ValueError(f"a message is an object, {type(message).__name__} came")
            found.append(message)
            at = end
        del self._in[:at]
        return found

    def _take(self, message: dict[str, Any]) -> None:
        if "re" in message:
            self._replied(message)
            return
        count = message.get("fds", 0)
        fds, self._fds = self._fds[:count], self._fds[count:]
        number, op, arguments = message.get("id"), message["op"], message["with"]
        try:
            value = self._answer(op, arguments, fds)
        except Exception as error:
            self._reply(number, error=error_text(error))
            return
        if isawaitable(value):
            task = self._loop.create_task(self._await(number, value))
            # The loop keeps only weak references to tasks (asyncio.create_task).
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._reply(number, value=value)

    async def _await(self, number: int | None, value: Awaitable[Any]) -> None:
        try:
            result = await value
        except Exception as error:
            self._reply(number, error=error_text(error))
        else:
            self._reply(number, value=result)

    def _reply(self, number: int | None, **outcome: Any) -> None:
        if number is None or self.closed:
            return
        try:
            self._send({"re": number, **outcome}, ())
        except (TypeError, ValueError) as error:  # the value cannot be JSON
            self._send({"re": number, "error": error_text(error)}, ())

    def _replied(self, message: dict[str, Any]) -> None:
        reply = self._asked.get(message["re"])
        if reply is None or reply.done():
            return  # its caller has given up
        if "error" in message:
            reply.set_exception(ChannelError(message["error"]))
        else:
            reply.set_result(message["value"])

    # -- the end ------------------------------------------------------------------------------------------

    def _ended(self) -> None:
        if not self.closed:
            self.close()
            self._on_end()

    def close(self) -> None:
        """Close this end. Requests that wait for a reply raise :class:`ChannelError`. Idempotent."""
        if self.closed:
            return
        self.closed = True
        with suppress(OSError, ValueError):  # user code has closed the descriptor
            self._loop.remove_reader(self._socket.fileno())
            self._loop.remove_writer(self._socket.fileno())
        self._socket.close()
        for _, fds in self._out:
            _close_all(fds)
        self._out.clear()
        _close_all(self._fds)
        for reply in self._asked.values():
            if not reply.done():
                reply.set_exception(ChannelError("the process has ended"))
        for task in self._tasks:
            task.cancel()


def _close_all(fds: list[int]) -> None:
    while fds:
        with suppress(OSError):
            os.close(fds.pop())
