"""Which sockets can be read or written: an epoll set of our own nested in the host loop, or the loop itself.

An epoll descriptor is itself pollable (epoll(7)): :class:`Nested` keeps its sockets in a set of its own and
registers that one descriptor with the host. One callback then serves every ready socket in a batch, without a
transport, a protocol or a handle per event, and any asyncio loop can be the host. :class:`Portable` uses the
loop's add_reader per socket and keeps the same interface.
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
#: The peer's FIN has come, behind octets that nobody has read yet. 0 where poll(2) knows nothing of it.
RDHUP = getattr(select, "POLLRDHUP", 0)
#: What to register for where nothing is wanted but to hear that the connection is lost: that is always told.
LOSS = ERR
#: None of the kernel's: a timer says that the framing's gap may be over.
SILENCE = 0x100000

#: The most events that one look into the set brings: a turn ends after as many anyway.
MAX_EVENTS = 256


class Watcher(Protocol):
    """What waits for a socket.

    Events carry the watcher, never a bare descriptor, which may be somebody else's by then.
    """

    fd: int
    #: What is registered now, of IN, OUT, RDHUP and LOSS; 0: nothing. Kept by the readiness.
    mask: int

    def on_ready(self, events: int) -> None:
        """Serve the socket; guarded by the engine. No events: it asked to be revisited."""

    def on_failure(self, error: BaseException) -> None:
        """Serving it raised."""

    def on_slow(self, seconds: float) -> None:
        """Serving it held the loop for long."""


class Swept(Watcher, Protocol):
    """A watcher that the engine looks after: its outbox at the end of a turn, its deadlines in the sweep."""

    #: The earliest moment at which a deadline may pass.
    due: float

    def on_dirty(self) -> None:
        """Write what was sent meanwhile."""

    def on_due(self, now: float) -> None:
        """A deadline may have passed."""

    def abort(self) -> None:
        """The engine closes: end now."""

    def disown(self) -> None:
        """In a forked child: the socket is the parent's."""

    def forget(self) -> int | None:
        """The engine is gone, unclosed: give up the descriptor, where the socket never became an object."""


Ready = list[tuple[Watcher, int]]


class Readiness(Protocol):
    """The interface of both."""

    def watch(self, watcher: Watcher, mask: int) -> None:
        """Register for exactly these events; 0 unregisters. Always before the descriptor is closed."""

    def poll(self) -> Ready:
        """What is ready now, without waiting."""

    def look(self) -> Ready:
        """What has happened of that which brings no event by itself: for the sweep to ask, without waiting."""

    def close(self) -> None:
        """Unhook from the loop and forget all sockets."""

    def disown(self) -> None:
        """In a forked child: let go without touching what is shared with the parent."""


class Nested:
    """Readiness by an epoll set that the host loop sees as one readable descriptor."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_ready: Callable[[], None]) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        #: By descriptor; the same dict as long as the set is open: the turn in C enters connections here.
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
                # While a duplicate of the descriptor lives, a close would leave its events in the set for
                # ever, with no descriptor to delete them by (epoll(7), Q6): unregister first, close then.
                with suppress(OSError):
                    self._epoll.unregister(fd)
                self.watchers.pop(fd, None)
                watcher.mask = 0
        elif watcher.mask:
            self._epoll.modify(fd, mask)
            watcher.mask = mask
        else:
            self.watchers[fd] = watcher
            try:
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
        # The descriptors become watchers before any of them is served: a socket that is closed in this
        # turn keeps its number until the turn's end, so none of these pairs can be stale.
        return [(watchers[fd], events) for fd, events in self._epoll.poll(0, MAX_EVENTS) if fd in watchers]

    def look(self) -> Ready:
        return []

    def close(self) -> None:
        if self._epoll.closed:
            return
        # Order: a loop that polls a closed descriptor fails, or watches whatever takes its number next.
        if not self._loop.is_closed():
            self._loop.remove_reader(self._epoll.fileno())
        for watcher in self.watchers.values():
            watcher.mask = 0
        self.watchers.clear()
        self._epoll.close()

    def disown(self) -> None:
        # The set itself is shared with the parent across fork(2): unregistering here would make the parent
        # deaf. Closing only drops the child's reference.
        for watcher in self.watchers.values():
            watcher.mask = 0
        self.watchers = {}
        self._epoll.close()


class Portable:
    """Readiness by the host loop's own add_reader and add_writer, for loops and systems without epoll."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_event: Callable[[Watcher, int], None]) -> None:
        self._loop = loop
        self._serve = on_event
        # libuv stops watching a descriptor with an error after telling so once (uv__poll_io in src/unix/poll.c),
        # so that a reset behind octets that were not read yet would never be heard of.
        self._on_event = on_event if isinstance(loop, asyncio.SelectorEventLoop) else self._serve_and_rearm
        self._watchers: dict[int, Watcher] = {}
        #: Those who are watched for what a loop tells nothing of, and what asks the kernel in its place.
        self._quiet: dict[int, Watcher] = {}
        self._poll = select.poll()
        self._owned = True

    def _serve_and_rearm(self, watcher: Watcher, events: int) -> None:
        self._serve(watcher, events)
        if not watcher.mask or not self._owned:
            return
        errors = select.poll()
        errors.register(watcher.fd, 0)  # ERR and HUP are told whether asked for or not
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
                # A half of it may be registered: then none of it is to be, or its number would mean another socket.
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
        loop.add_reader(fd, callback, *args)
    except NotImplementedError as error:
        raise UnsupportedLoop(
            f"{type(loop).__name__} has no add_reader, which fourtuple needs; use a selector loop "
            "(asyncio.SelectorEventLoop) or uvloop"
        ) from error
