"""The upgrade of the whole program: a new supervisor takes over the listeners, and the old one ends.

::

    old supervisor                                     new supervisor
      starts the program again, with all passive sockets
                                                         starts its workers at these sockets
                                                "r" <--  they accept connections
      "y" -->
      drains its workers, ends                           steers, and keeps the sockets from now on

What it promises is what tableflip promises: no old code keeps running after an upgrade; the new program has time to
start; if it fails while it starts, nothing has happened; only one upgrade runs at a time. If the old supervisor dies
meanwhile, the new one takes over when it is ready.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from fourtuple.address import Address
from fourtuple.errors import SupervisorError
from fourtuple.forking import ours
from fourtuple.options import Sockets
from fourtuple.supervisor.listen_address import ListenAddress
from fourtuple.supervisor.places import Place
from fourtuple.supervisor.process import Command, ending_of, signal_of
from fourtuple.supervisor.seat import UPGRADE, HandedPlace, Handover, for_child
from fourtuple.supervisor.slots import Slots
from fourtuple.supervisor.steering import Order

_READY, _YOURS = b"r", b"y"
#: The signals that would kill a new program before it has handlers. Operators send them again and again.
EARLY = frozenset((signal.SIGHUP, signal.SIGUSR2))
#: What the new supervisor gets of the service manager's variables. WATCHDOG_PID names the old one.
_KEPT = ("NOTIFY_SOCKET", "WATCHDOG_USEC")


class Successor:
    """The new supervisor, seen from the old one."""

    def __init__(self, command: Command, slots: Slots, *, suspended: bool) -> None:
        self._command = command
        self._slots = slots
        self._suspended = suspended
        self._process: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None
        self.has_taken_over: bool = False

    def begin(self) -> int:
        """Start the program; return its process id. Raises :class:`OSError`."""
        mine, theirs = socket.socketpair()
        with theirs, ExitStack() as failed:
            failed.callback(mine.close)
            places = tuple(_handed(place) for place in self._slots.places)
            handover = Handover(theirs.fileno(), places, len(self._slots), self._suspended)
            kept = {name: value for name, value in self._command.environment.items() if name in _KEPT}
            with _signals_wait():
                self._process = subprocess.Popen(
                    self._command.words,
                    pass_fds=(theirs.fileno(), *(fd for place in places for fd in place.fds)),
                    env=for_child(self._command.environment, **kept, **{UPGRADE: handover.text()}),
                    cwd=self._command.directory,
                )
            failed.pop_all()
        mine.setblocking(False)
        self._link = ours(mine)
        return self._process.pid

    async def ready(self, timeout: float | None) -> None:
        """Return when its workers accept connections. Raises :class:`~fourtuple.errors.SupervisorError` if not."""
        assert self._link is not None
        assert self._process is not None
        try:
            async with asyncio.timeout(timeout):
                told = await asyncio.get_running_loop().sock_recv(self._link, 1)
        except OSError as error:  # so is asyncio.timeout's TimeoutError
            self.end()
            why = f"it was not ready within {timeout:g} s" if isinstance(error, TimeoutError) else str(error)
            raise SupervisorError(f"the new program did not start: {why}") from error
        # End of file: it has closed its end, because it has failed or was killed.
        if told != _READY:
            self._link.close()
            code = await asyncio.get_running_loop().run_in_executor(None, self._process.wait)
            if signal_of(code) is not None:  # what its code does is not the cause
                raise SupervisorError(f"the new program was {ending_of(code)} before it was ready")
            raise SupervisorError(f"the new program did not start: {ending_of(code)}")

    def hand_over(self) -> None:
        """Let it take over."""
        assert self._link is not None
        assert self._process is not None
        with suppress(OSError):  # it has died in this very moment: that is as if it died after it took over
            self._link.send(_YOURS)
        self._link.close()
        self.has_taken_over = True
        for place in self._slots.places:
            place.leave_file()
        # It lives longer than this process. This keeps Popen from warning that it was not waited for.
        self._process.returncode = 0

    def end(self) -> None:
        """Stop it: the upgrade is abandoned."""
        if self._link is not None:
            self._link.close()
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                # This blocks the loop for a second at most. The workers serve meanwhile.
                process.wait(1.0)
            process.returncode = 0 if process.poll() is None else process.returncode


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Let a process that is started in the block inherit a mask with which :data:`EARLY` wait: see :func:`hear_all`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, EARLY)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def hear_all() -> None:
    """Get the signals now that came while this program started: it has handlers for them."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, EARLY)


class Link:
    """The old supervisor, seen from the new one."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = ours(sock)

    async def take_over(self) -> None:
        """Tell that all workers accept connections; return when the old supervisor has let go, or has died."""
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_sendall(self._socket, _READY)
            # One octet, or the end of file if the old supervisor has died: both mean that this one is the only one now.
            await loop.sock_recv(self._socket, 1)
        except OSError:
            pass
        finally:
            self.close()

    def close(self) -> None:
        """Close this end: if it is not ready yet, the old supervisor abandons the upgrade."""
        self._socket.close()


@dataclass
class Taken:
    """What a supervisor has of the one before it."""

    #: The link to the old supervisor; None if the service manager kept the sockets.
    link: Link | None
    places: list[Place]
    #: What is left to be opened.
    left: list[ListenAddress]
    #: The places that are not asked for any more. The old supervisor's workers accept what waits there.
    dropped: list[Place]


def taken_over(handover: Handover, wanted: Sequence[ListenAddress]) -> Taken:
    """Return what was handed over: as far as it is asked for, as places of the new program."""
    taken = Taken(Link(_adopted(handover.link)) if handover.link >= 0 else None, [], list(wanted), [])
    for place in map(_place, handover.places):
        owner = _owner(place, wanted)
        if owner is None:
            taken.dropped.append(place)
            continue
        place.belong_to(owner)
        taken.places.append(place)
        taken.left = [each for each in taken.left if each != owner]
    return taken


def _owner(place: Place, wanted: Sequence[ListenAddress]) -> ListenAddress | None:
    """Return what is asked for at a place: under its label, or, if the port tells it, under another one."""
    fit = [each for each in wanted if each.address in (place.address, place.name)]
    chosen = [each for each in fit if each.label == place.label]
    if not chosen and not (place.address.host and place.address.port == 0):
        chosen = fit
    return next(iter(chosen), None)


def _handed(place: Place) -> HandedPlace:
    slots = () if place.order is None else place.order.slots
    fds = tuple(place.socket_of(slot).fileno() for slot in slots or (0,))
    return HandedPlace(str(place.address), fds, slots, place.label, place.file)


def _place(handed: HandedPlace) -> Place:
    address = Address.parse(handed.address)
    sockets = [_adopted(fd) for fd in handed.fds]
    by_slot: dict[int | None, socket.socket] = {None: sockets[0]}
    if handed.slots:
        by_slot = dict(zip(handed.slots, sockets, strict=True))
    place = Place(address, by_slot, Sockets(), Order(handed.slots) if handed.slots else None)
    place.label, place.file = handed.label, handed.file
    return place


def _adopted(fd: int) -> socket.socket:
    sock = ours(socket.socket(fileno=fd))
    sock.set_inheritable(False)
    return sock
