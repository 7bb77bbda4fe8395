"""The control socket: a Unix socket at which ``fourtuple status`` and the other commands act on a running server.

One line of JSON for each request and one for each reply::

    {"op": "close", "id": "17"}        {"ok": true, "value": true}
    {"op": "workers", "count": 2}      {"ok": false, "error": "workers 2: this server runs in one process; ..."}

It is a separate :class:`~fourtuple.Server`, with limits of its own: nothing that its clients do costs the service more
than the turns of the loop that their requests take. Only the user that runs the server, and root, may connect: the
socket file has the mode 0600, and the peer's user, as the kernel tells it, is also checked. Silent clients keep no
other waiting: see :class:`~fourtuple.operations.places.Places`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from fourtuple import events
from fourtuple.address import Address
from fourtuple.errors import (
    ConnectionEnded,
    ConnectionLost,
    EndOfFile,
    FourTupleError,
    MessageTooLong,
    OperationError,
    OptionError,
)
from fourtuple.four_tuple import UnixName
from fourtuple.framing import Line
from fourtuple.observe.log import log_failures
from fourtuple.operations.places import AnyConnection, Places
from fourtuple.operations.servers import check_service
from fourtuple.operations.subject import Subject, as_json
from fourtuple.options import Deadlines, Limits, Sockets, check_timeout
from fourtuple.options.processes import MOST_WORKERS
from fourtuple.printable import error_text, repr_of
from fourtuple.server import Server
from fourtuple.service import Service

#: The most octets of a request: a change of all limits has less than 2 KiB.
MAX_REQUEST = 64 * 1024
#: The most connections that a reply tells of; each takes about 300 octets.
MOST_CONNECTIONS = 10_000

#: The most connections that wait for a request, for their client to read, or for an answer. With one more, one of them
#: is aborted. The rest of max_connections is for those that come meanwhile.
MAX_WAITING = 24

_LIMITS = Limits(max_connections=32, max_buffered=64 * 1024 * 1024, read_size=16 * 1024)
_DEADLINES = Deadlines(
    first_message_timeout=10.0,
    message_timeout=10.0,
    idle_timeout=300.0,  # `fourtuple top` asks again and again, and a person may pause it
    write_timeout=10.0,
    linger_timeout=0.5,
    handler_timeout=None,  # workers have to start before their count is reached; start_timeout bounds that
    # The server has stopped already: a client that only waits must not keep the process.
    drain_timeout=1.0,
    drain_idle_timeout=0.0,
    drain_first_message_timeout=0.0,
)

Operation = Callable[[Subject, Mapping[str, Any]], Awaitable[Any]]


class ControlServer:
    """Serves the control socket of a subject.

    Parameters
    ----------
    subject
        What is operated.
    path
        The path of the socket file. A file that a dead process has left is replaced; a socket at which another process
        listens is refused with :class:`~fourtuple.errors.ListenAddressInUse`, and so is a file of another kind.
    owner
        The user that owns the socket file, if the process will become another user.
    """

    def __init__(self, subject: Subject, path: str, owner: str | None = None) -> None:
        self._subject = subject
        self.path = path
        self._places = Places(lambda: self.server.connections.values(), MAX_WAITING)
        service: Service[bytes, bytes, None, None] = Service(
            Line(max_message=MAX_REQUEST, max_sent=None), name="control"
        )
        service.conversation(self._converse)
        self.server: Server[bytes, bytes, None, None] = Server(
            service,
            Address(path=path),
            limits=_LIMITS,
            deadlines=_DEADLINES,
            sockets=Sockets(unix_mode="0600", unix_owner=owner),
            observer=_failures,
        )

    async def start(self) -> None:
        """Listen. Raises :class:`~fourtuple.errors.ListenError`."""
        await self.server.start()

    async def stop(self) -> None:
        """Send the replies that are under way, then close, and remove the socket file."""
        await self.server.drain()

    async def _converse(self, connection: AnyConnection) -> None:
        name = connection.name
        if isinstance(name, UnixName) and name.uid not in (0, os.geteuid()):
            connection.abort()
            return
        with suppress(EndOfFile, ConnectionLost, ConnectionEnded), self._places.taken(connection):
            while True:
                try:
                    line = await connection.receive()
                except MessageTooLong as error:
                    # What follows is the rest of the request: it is not read, and no other request can be found.
                    await connection.send(_line({"ok": False, "error": _too_long(error)}))
                    return
                with self._places.at_work(connection):
                    reply = await self._answer(line)
                await connection.send(reply)

    async def _answer(self, line: bytes) -> bytes:
        try:
            value = await perform(self._subject, line)
        except FourTupleError as error:
            return _line({"ok": False, "error": str(error)})
        except Exception as error:
            log_failures(events.HandlerRaised(0, UnixName(self.path, os.getpid(), os.geteuid()), "control", error))
            return _line({"ok": False, "error": f"it failed: {error_text(error)}"})
        return _line({"ok": True, "value": value})


def _too_long(error: MessageTooLong) -> str:
    return (
        f"the request is too long: {error.size:,} octets have come without an end of line, and a request has at most "
        f"{error.allowed:,}; the connection is closed"
    )


def _failures(event: events.Event) -> None:
    """Log handlers that raise, but not a call that holds the loop: the service's observer gets that."""
    if not isinstance(event, events.LoopHeld | events.HandlerSlow):
        log_failures(event)


def _line(reply: dict[str, Any]) -> bytes:
    return json.dumps(reply, separators=(",", ":")).encode()


async def perform(subject: Subject, line: bytes) -> Any:
    """Do what one request asks; return the value of the reply.

    Raises :class:`~fourtuple.errors.OperationError` for a request that cannot be read or done.
    """
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise OperationError(f"the request is not JSON: {error_text(error)}") from error
    if not isinstance(request, dict) or not isinstance(request.get("op"), str):
        raise OperationError(f'a request is an object with "op", this is {repr_of(request)}')
    operation = _OPERATIONS.get(request["op"])
    if operation is None:
        known = ", ".join(_OPERATIONS)
        raise OperationError(f"there is no operation {repr_of(request['op'])}; there are {known}")
    return as_json(await operation(subject, request))


def _argument(request: Mapping[str, Any], name: str, kind: type, *, default: Any = ...) -> Any:
    value = request.get(name, default)
    if value is ...:
        raise OperationError(f'{request["op"]} needs "{name}"')
    if value is default or (isinstance(value, kind) and not (kind is int and isinstance(value, bool))):
        return value
    raise OperationError(f'{request["op"]}: "{name}" is {repr_of(value)}; expected {kind.__name__}')


async def _drain(subject: Subject, request: Mapping[str, Any]) -> None:
    timeout = request.get("timeout")
    try:
        check_timeout(timeout)
    except OptionError as error:
        raise OperationError(f"drain: {error}") from error
    await subject.drain(timeout)


async def _limits(subject: Subject, request: Mapping[str, Any]) -> dict[str, str]:
    changes = _argument(request, "changes", dict)
    if not changes or not all(isinstance(each, str) for each in changes.values()):
        raise OperationError(f"limits: the changes are {repr_of(changes)}; expected texts by the name of the limit")
    return await subject.set_limits(changes, _argument(request, "service", str, default=None))


async def _show_limits(subject: Subject, request: Mapping[str, Any]) -> Any:
    service = _argument(request, "service", str, default=None)
    found = await subject.limits()
    if service is not None:
        check_service(service, [each["service"] for each in found])
    return [each for each in found if service in (None, each["service"])]


async def _connections(subject: Subject, request: Mapping[str, Any]) -> Any:
    most = _argument(request, "most", int, default=1000)
    return await subject.connections(max(0, min(most, MOST_CONNECTIONS)))


async def _close(subject: Subject, request: Mapping[str, Any]) -> bool:
    abort = _argument(request, "abort", bool, default=False)
    return await subject.close(_argument(request, "id", str), abort=abort)


async def _workers(subject: Subject, request: Mapping[str, Any]) -> None:
    count = _argument(request, "count", int)
    if not 1 <= count <= MOST_WORKERS:
        raise OperationError(f"workers: expected a number from 1 to {MOST_WORKERS}, got {count}")
    await subject.set_workers(count)


_OPERATIONS: dict[str, Operation] = {
    "status": lambda subject, _request: subject.status(),
    "metrics": lambda subject, _request: subject.metrics(),
    "suspend": lambda subject, _request: subject.suspend(),
    "resume": lambda subject, _request: subject.resume(),
    "drain": _drain,
    "workers": _workers,
    "upgrade": lambda subject, _request: subject.upgrade(),
    "limits": _limits,
    "show_limits": _show_limits,
    "connections": _connections,
    "close": _close,
}
