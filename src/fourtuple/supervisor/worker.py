"""The worker's side: a server at passive sockets that the supervisor has opened, and its end of the channel."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias

from fourtuple import events
from fourtuple.engine import Listener
from fourtuple.errors import OptionError
from fourtuple.forking import ours
from fourtuple.operations.running import Operated, counting
from fourtuple.options import Limits
from fourtuple.server import Server, lifecycle_of
from fourtuple.supervisor.channel import Channel
from fourtuple.supervisor.seat import Seat
from fourtuple.supervisor.shares import Part, Shares

AnyServer: TypeAlias = Server[Any, Any, Any, Any]

#: ``operation(arguments)`` returns the reply's value, or an awaitable of it.
Operation = Callable[[dict[str, Any]], Any]


class WorkerEnd:
    """The part of a worker process that knows its supervisor.

    The supervisor asks it to stop by the channel, and by SIGTERM, as anyone may, if it does not answer. If the
    supervisor has died, the worker gets SIGTERM from itself: the other end of the channel is closed then.
    """

    def __init__(self, seat: Seat, stop_asked: Callable[[], bool] = lambda: False) -> None:
        self.seat = seat
        self._sockets = [(each.label, _adopted(each.fd)) for each in seat.sockets]
        self._channel_socket = _adopted(seat.channel)
        os.set_inheritable(seat.ready, False)
        #: Whether this process was asked to stop: then the death of the supervisor changes nothing.
        self.stop_asked = stop_asked
        self._not_orphaned = [True]
        self._shares = Shares(seat.place, seat.workers)
        self._channel: Channel | None = None
        #: The addresses at which it does not accept, by service.
        self._paused: dict[str, set[str]] = {}
        self._borrowed: dict[int, list[tuple[Server[Any, Any, Any, Any], Listener]]] = {}
        #: What the supervisor may ask for, by name.
        self.operations: dict[str, Operation] = {
            "ping": self._ping,
            "share": self._share,
            "limits": self._change_limits,
            "give_back": self._give_back,
        }
        threading.Thread(target=self._watch_parent, name="fourtuple-supervisor", daemon=True).start()

    # -- the server ---------------------------------------------------------------------------------------

    def sockets(self, label: str = "") -> tuple[socket.socket, ...]:
        """Return the passive sockets of this worker's slot that belong to a label."""
        return tuple(sock for owner, sock in self._sockets if owner == label)

    def shares(self, whole: Mapping[str, Limits]) -> dict[str, Limits]:
        """Return this worker's shares of the limits of all services, and of endpoints with their own, by label."""
        return self._shares.divide(whole)

    def observing(self, observer: events.Observer, service: str = "") -> events.Observer:
        """Return an observer that also tells the supervisor when this worker does not accept for a service.

        It also tells when all connections have ended: the tear-downs follow.
        """

        def observe(event: events.Event) -> None:
            if type(event) is events.AcceptPaused:
                self._pauses(service, str(event.address), True)
            elif type(event) is events.AcceptResumed:
                self._pauses(service, str(event.address), False)
            elif type(event) is events.Drained:
                self.tell("report", drained=True)
            observer(event)

        return observe

    def begin(self, parts: Mapping[str, Part]) -> None:
        """Tell the supervisor that this worker accepts connections. ``parts`` is what serves, by label.

        It is called in the turn of the loop in which the listeners were opened. What the supervisor has told this
        worker since its start (the server is suspended, other limits) is done here, before the first accept.
        """
        self._shares.parts = parts
        self._channel = Channel(self._channel_socket, self._answer, self._orphan)
        self._channel.read_all()
        with suppress(OSError):  # the supervisor has died; the channel tells it
            os.write(self.seat.ready, b"!")
        os.close(self.seat.ready)

    @asynccontextmanager
    async def operated(self, operated: Operated, servers: Sequence[Server[Any, Any, Any, Any]]) -> AsyncIterator[None]:
        """Let the supervisor operate this worker while the block runs, and tell it the last numbers at its end."""
        with counting(operated.counts) as loop_meter:
            subject = operated.subject(servers, loop_meter, listeners=False)
            self.operations |= {
                "status": lambda arguments: subject.status(),
                "numbers": lambda arguments: subject.numbers(),
                "metrics": lambda arguments: subject.snapshot().as_json(),  # for a supervisor of an earlier version
                # At once, without a task: the supervisor has refused these for a server that stops.
                "suspend": lambda arguments: _each(servers, Server.pause),
                "resume": lambda arguments: _each(servers, Server.resume),
                "connections": lambda arguments: subject.connections(**arguments),
                "close": lambda arguments: subject.close(**arguments),
            }
            try:
                yield
            finally:
                self.tell("last", **subject.numbers())

    def close(self) -> None:
        """Close the channel: the loop is about to close."""
        self._not_orphaned.clear()
        if self._channel is not None:
            self._channel.close()

    def tell(self, op: str, **arguments: Any) -> None:
        """Tell the supervisor something."""
        if self._channel is not None:
            self._channel.tell(op, **arguments)

    def _pauses(self, service: str, address: str, paused: bool) -> None:
        addresses = self._paused.setdefault(service, set())
        before = bool(addresses)
        (addresses.add if paused else addresses.discard)(address)
        if bool(addresses) != before:
            self.tell("report", full=self._full())

    def _full(self) -> list[str]:
        return [service for service, addresses in self._paused.items() if addresses]

    def _servers(self) -> set[Server[Any, Any, Any, Any]]:
        return {part.server for part in self._shares.parts.values()}

    # -- the supervisor's requests ------------------------------------------------------------------------

    def _answer(self, op: str, arguments: dict[str, Any], fds: list[int]) -> Any:
        if op == "borrow":
            return self._borrow(arguments, fds)
        if op not in self.operations:
            raise OptionError(f"{op}: a worker has no such operation")
        return self.operations[op](arguments)

    def _ping(self, _arguments: dict[str, Any]) -> dict[str, Any]:
        statistics = [server.statistics for server in self._servers()]
        return {
            "messages": sum(each.messages_in for each in statistics),
            "connections": sum(each.active for each in statistics),
            "full": self._full(),
        }

    def _borrow(self, arguments: dict[str, Any], fds: list[int]) -> None:
        """Also accept at another slot's sockets, until they are given back."""
        given = [_adopted(fd) for fd in fds]
        if arguments["slot"] in self._borrowed or any(server.draining.is_set() for server in self._servers()):
            for sock in given:
                sock.close()
            raise OptionError(f"slot {arguments['slot']}: cannot be borrowed now")
        borrowed = self._borrowed[arguments["slot"]] = []
        for label, sock in zip(arguments["labels"], given, strict=True):
            part = self._shares.parts[label]
            borrowed.append((part.server, lifecycle_of(part.server).borrow(sock, part.endpoint)))

    def _give_back(self, arguments: dict[str, Any]) -> None:
        for server, listener in self._borrowed.pop(arguments["slot"], ()):
            lifecycle_of(server).give_back(listener)

    def _share(self, arguments: dict[str, Any]) -> None:
        self._shares.change_place(arguments["place"], arguments["workers"])

    def _change_limits(self, arguments: dict[str, Any]) -> None:
        """Change limits of a whole service, or of all: this worker gets its share."""
        self._shares.change(arguments["service"], arguments["changes"])

    # -- the death of the supervisor ----------------------------------------------------------------------

    def _watch_parent(self) -> None:
        """Wait for the end of the channel, in a thread, even while the user's code is imported, or holds the loop."""
        look = select.poll()
        look.register(self._channel_socket.fileno(), 0)  # POLLHUP comes unasked (poll(2))
        # poll(2) without a timeout: this thread costs nothing until the other end of the channel is closed.
        look.poll()
        self._orphan()

    def _orphan(self) -> None:
        """Stop as by SIGTERM, once. It is called by the loop and by the thread, whichever sees the end first."""
        try:
            # list.pop() happens once, even if the thread and the loop come here together.
            self._not_orphaned.pop()
        except IndexError:
            return
        if not self.stop_asked():
            os.kill(os.getpid(), signal.SIGTERM)


def _each(servers: Sequence[AnyServer], call: Callable[[AnyServer], None]) -> None:
    for server in servers:
        call(server)


def _adopted(fd: int) -> socket.socket:
    sock = ours(socket.socket(fileno=fd))
    sock.set_inheritable(False)
    return sock
