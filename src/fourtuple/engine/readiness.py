"""Which sockets can be read or written: an epoll set nested in the host loop, or the loop itself.

An epoll descriptor can itself be polled (epoll(7)). :class:`Nested` keeps its sockets in one epoll set and registers
only the set's descriptor with the host loop. One callback then serves every ready socket in a batch, without a
transport, a protocol or a handle per event, and any asyncio loop can be the host. :class:`Portable` uses the
loop's add_reader for each socket and has the same interface.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from fourtuple import fast_path
from fourtuple.errors import UnsupportedLoop

IN = 0x001
OUT = 0x004
ERR = 0x008
HUP = 0x010
#: The peer's FIN has come, perhaps after unread octets (poll(2)). 0 if the system does not have this event.
RDHUP = getattr(select, "POLLRDHUP", 0)
#: Register this to hear only of a loss: the kernel always reports ERR (epoll_ctl(2)).
LOSS = ERR
#: Not an event of the kernel: a timer reports that the framing's gap may be over.
SILENCE = 0x100000

#: The most events that one poll returns: a turn ends after as many anyway.
MAX_EVENTS = 256


class Watcher(Protocol):
    """An object that waits for events of a socket.

    Events carry the watcher, never a bare descriptor, whose number may belong to another socket by then.
    """

    fd: int
    #: The registered events, of IN, OUT, RDHUP and LOSS; 0 if not registered. Set by the readiness.
    mask: int

    def on_ready(self, events: int) -> None:
        """Serve the socket; guarded by the engine. Without events: the watcher asked to be revisited."""

    def on_failure(self, error: BaseException) -> None:
        """Serving it raised."""

    def on_slow(self, seconds: float) -> None:
        """Serving it blocked the loop for a long time."""


class Swept(Watcher, Protocol):
    """A watcher whose outbox the engine writes at the end of a turn, and whose deadlines the sweep checks."""

    #: The earliest moment at which a deadline may pass.
    due: float

    def on_dirty(self) -> None:
        """Write what was sent in the meantime."""

    def on_due(self, now: float) -> None:
        """A deadline may have passed."""

    def abort(self) -> None:
        """The engine closes: end now."""

    def disown(self, reason: Callable[[str], str]) -> None:
        """Drop the socket: this is a forked child of its process, or its loop was closed, as ``reason`` tells."""

    def forget(self) -> int | None:
        """Return the descriptor if there is no socket object for it. For an engine that is deleted but not closed."""


Ready = list[tuple[Watcher, int]]


class Readiness(Protocol):
    """The interface of :class:`Nested` and :class:`Portable`."""

    def watch(self, watcher: Watcher, mask: int) -> None:
        """Register for exactly these events; 0 unregisters. Unregister before the descriptor is closed."""

    def poll(self) -> Ready:
        """Return the events that are ready now, without waiting."""

    def look(self) -> Ready:
        """Return the events that :meth:`poll` and the loop do not report, without waiting. The sweep calls it."""

    def close(self) -> None:
        """Detach from the loop and forget all sockets."""

    def disown(self) -> None:
        """Drop everything, without changing what a forked child shares with its parent, or using a closed loop."""


class Nested:
    """Readiness by an epoll set that the host loop sees as one readable descriptor."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_ready: Callable[[], None]) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        #: The watchers by descriptor. Always the same dict object while the set is open: the turn in C adds to it.
        self.watchers: dict[int, Watcher] = {}
        _add_reader(loop, self._epoll.fileno(), on_ready)

    def fileno(self) -> int:
        """The descriptor of the set; -1 once closed."""
        return self._epoll.fileno()

    def watch(self, watcher: Watcher, mask: int) -> None:
        fd = watcher.fd
        if self._epoll.closed:
            watcher.mask = 0
        elif not mask:
            if watcher.mask:
                # Unregister before closing: while a duplicate of the descriptor exists, close(2) does not remove it
                # from the set, and there would be no descriptor left to remove it by (epoll(7), Q6).
                with suppress(OSError):
                    self._epoll.unregister(fd)
                self.watchers.pop(fd, None)
                watcher.mask = 0
        elif watcher.mask:
            self._epoll.modify(fd, mask)
            watcher.mask = mask
        else:
            # The entry first: without memory for it, nothing is registered that has no watcher.
            self.watchers[fd] = watcher
            try:
                # Level-triggered, without EPOLLET (epoll(7)): what a turn does not finish is reported again by the next
                # poll. An edge would be reported once, and each read would have to go on until EAGAIN.
                self._epoll.register(fd, mask)
            except BaseException:
                del self.watchers[fd]
                raise
            watcher.mask = mask

    def poll(self) -> Ready:
        watchers = self.watchers
        if fast_path.turn is not None:
            found: Ready = fast_path.turn.poll(self._epoll.fileno(), watchers, MAX_EVENTS)
            return found
        # Descriptors are replaced by watchers before any is served. A socket that ends in this turn keeps its
        # number until the end of the turn, so none of these pairs can be stale.
        return [(watchers[fd], events) for fd, events in self._epoll.poll(0, MAX_EVENTS) if fd in watchers]

    def look(self) -> Ready:
        return []

    def close(self) -> None:
        if self._epoll.closed:
            return
        # Remove the reader first: a loop that polls a closed descriptor fails, or watches the next file that gets the
        # same number.
        if not self._loop.is_closed():
            self._loop.remove_reader(self._epoll.fileno())
        for watcher in self.watchers.values():
            watcher.mask = 0
        self.watchers.clear()
        self._epoll.close()

    def disown(self) -> None:
        # The set is shared with the parent across fork(2): unregistering here would remove the sockets for the parent,
        # too. Closing only drops the child's reference.
        for watcher in self.watchers.values():
            watcher.mask = 0
        self.watchers = {}
        self._epoll.close()


class Portable:
    """Readiness by the host loop's add_reader and add_writer, for loops and systems without epoll."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_event: Callable[[Watcher, int], None]) -> None:
        self._loop = loop
        self._serve = on_event
        # libuv reports an error of a descriptor once and then stops watching it (uv__poll_io in src/unix/poll.c).
        # Without registering again, a reset after unread octets would be missed.
        self._on_event = on_event if isinstance(loop, asyncio.SelectorEventLoop) else self._serve_and_rearm
        self._watchers: dict[int, Watcher] = {}
        #: Watchers of events that a loop does not report (RDHUP, LOSS), and the poll object that asks the kernel.
        self._quiet: dict[int, Watcher] = {}
        self._poll = select.poll()
        self._owned = True

    def _serve_and_rearm(self, watcher: Watcher, events: int) -> None:
        self._serve(watcher, events)
        if not watcher.mask or not self._owned:
            return
        errors = select.poll()
        errors.register(watcher.fd, 0)  # ERR and HUP are always reported (poll(2))
        if errors.poll(0):
            mask = watcher.mask
            self.watch(watcher, 0)
            self.watch(watcher, mask)

    def watch(self, watcher: Watcher, mask: int) -> None:
        if not self._owned:
            watcher.mask = 0
            return
        try:
            self._change(watcher, watcher.mask, mask)
        except BaseException:
            if mask:
                # Only a part may be registered. Unregister all of it, or the number could later mean another socket.
                watcher.mask |= mask
                self.watch(watcher, 0)
            raise

    def _change(self, watcher: Watcher, old: int, mask: int) -> None:
        fd, loop = watcher.fd, self._loop
        if mask & IN and not old & IN:
            _add_reader(loop, fd, self._on_event, watcher, IN)
        elif old & IN and not mask & IN:
            loop.remove_reader(fd)
        if mask & OUT and not old & OUT:
            loop.add_writer(fd, self._on_event, watcher, OUT)
        elif old & OUT and not mask & OUT:
            loop.remove_writer(fd)
        if mask & ~(IN | OUT):
            self._quiet[fd] = watcher
            # LOSS needs no bit: poll(2) always reports ERR and HUP.
            self._poll.register(fd, mask & RDHUP)
        elif fd in self._quiet:
            with suppress(KeyError):
                self._poll.unregister(fd)
            del self._quiet[fd]
        watcher.mask = mask
        if mask:
            self._watchers[fd] = watcher
        else:
            self._watchers.pop(fd, None)

    def poll(self) -> Ready:
        return []

    def look(self) -> Ready:
        quiet = self._quiet
        return [(quiet[fd], events) for fd, events in self._poll.poll(0) if fd in quiet] if quiet else []

    def close(self) -> None:
        if not self._loop.is_closed():
            for watcher in list(self._watchers.values()):
                self.watch(watcher, 0)
        self._owned = False

    def disown(self) -> None:
        self._owned = False
        self._watchers = {}
        self._quiet = {}


def _add_reader(loop: asyncio.AbstractEventLoop, fd: int, callback: Callable[..., None], *args: object) -> None:
    try:
        # AbstractEventLoop, and Windows' ProactorEventLoop with it, raises NotImplementedError.
        loop.add_reader(fd, callback, *args)
    except NotImplementedError as error:
        raise UnsupportedLoop(
            f"{type(loop).__name__} has no add_reader, which fourtuple needs; use a selector loop "
            "(asyncio.SelectorEventLoop) or uvloop"
        ) from error
