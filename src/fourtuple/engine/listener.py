"""A listener: a passive socket and its accept loop.

To pause, the listener is unregistered. Connections then wait in the kernel's accept queue, and none is refused while
the queue has room. accept(2) fails in three ways:

- *try again*: the connection ended before it was accepted, or accept(2) reported a pending network error instead
  (accept(2) lists these errors for Linux). The listener itself is intact.
- *back off*: no descriptors or no memory. Accept pauses, reports this once, and tries again after a delay, or as soon
  as a connection has ended. The connections continue to wait in the kernel.
- *fatal*: any other error; the socket is no longer a listener.

::

               pause(why), or the lack of descriptors or memory ("resources")
    open -----------------------------------------------------------------------> paused, for one or more reasons
      ^                                                                             |
      +---------- the last reason is removed; "resources" goes by its timer --------+

    open, paused --- close() ---> closed          open --- a fatal error ---> closed, and ``died``
"""

from __future__ import annotations

import errno
import os
import socket
import threading
from asyncio import TimerHandle
from collections.abc import Callable

from fourtuple import events
from fourtuple.address import Address, from_sockaddr
from fourtuple.engine.engine import Engine
from fourtuple.engine.readiness import IN
from fourtuple.forking import holds
from fourtuple.net.backlog import AcceptQueue, drops
from fourtuple.net.passive import accept_queue_of, inode_of, remove_file, waiting_at

# accept(2), "Error handling": Linux reports errors that are already pending on the new connection as errors of
# accept(2), and asks programs to treat them like EAGAIN.
TRY_AGAIN = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPROTO,
        errno.EINTR,
        errno.EPERM,  # a firewall rule forbade this one connection (accept(2))
        errno.ENETDOWN,
        errno.ENOPROTOOPT,
        errno.EHOSTDOWN,
        errno.ENONET,
        errno.EHOSTUNREACH,
        errno.EOPNOTSUPP,
        errno.ENETUNREACH,
        errno.ETIMEDOUT,
        errno.ECONNRESET,
    }
)
# The queue stays as it is, so a level-triggered epoll set reports the listener again at once: without a pause, the loop
# would spin.
BACK_OFF = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

#: The reason for which accept pauses if the program or an operator has paused it, as views show it.
BY_REQUEST = "by request"

#: The most connections accepted in one turn before other sockets are served.
ACCEPTS_PER_TURN = 64
_FIRST_BACK_OFF = 0.1
#: An int that takes memory (CPython keeps small ones), and the longest texts of an IPv4 and an IPv6 address.
_LARGE = 1 << 20
_HOST = [15, 39]
_LONGEST_BACK_OFF = 1.0


class Listener:
    """A passive socket: it accepts connections at its name. It cannot send or receive.

    ``on_accept(sock, peer)`` gets each accepted socket, non-blocking, with the peer's socket address.

    ``accept_many(listener, most)`` does the same in C, for connections on the fast path. It returns how many it
    accepted, and the errno of the accept(2) call that failed then, or 0. If it returns 0 and 0, ``on_accept`` has to
    take the next connection. With ``keeps_file``, closing leaves the file of a Unix socket: another program made it.

    ``sock`` is the passive socket, and ``engine`` watches it. ``observer`` gets its events, ``asked`` is the backlog
    that was asked of listen(), and ``on_dead(listener)`` is called when a fatal error of accept(2) has closed it. A
    server makes its listeners.
    """

    def __init__(
        self,
        engine: Engine,
        sock: socket.socket,
        on_accept: Callable[[socket.socket, object], None],
        observer: events.Observer,
        asked: int,
        on_dead: Callable[[Listener], None] | None = None,
        accept_many: Callable[[Listener, int], tuple[int, int]] | None = None,
        keeps_file: bool = False,
    ) -> None:
        self._engine = engine
        self._socket: socket.socket | None = sock
        self._on_accept = on_accept
        self._accept_many = accept_many
        self._observer = observer
        self._on_dead = on_dead
        self.fd: int = sock.fileno()
        self.mask: int = 0
        #: The address where the socket listens; with the port that the kernel chose for port 0.
        self.name: Address = from_sockaddr(sock.getsockname())
        #: The local half of all its connections' names, packed; None if it differs between connections.
        self.local: bytes | None = _local_half(sock, self.name)
        #: Identifies our socket file: when we close, another server's file may be at the path. None if it stays.
        self._inode = None if keeps_file else inode_of(self.name)
        #: The backlog that was asked of listen().
        self.asked_backlog = asked
        #: Whether accept(2) failed with a fatal error.
        self.died: bool = False
        #: How often accept(2) failed.
        self.failures: int = 0
        self._pauses: set[str] = set()
        self._back_off = _FIRST_BACK_OFF
        #: Whether the current lack of descriptors or memory was reported.
        self._told = False
        self._retry: TimerHandle | None = None
        holds(self)

    # -- observable state --------------------------------------------------------------------------------

    def queue(self) -> AcceptQueue | None:
        """Return the accept queue as the kernel has it now: how many connections wait for accept(), and the limit.

        None for a Unix socket, and after the listener was closed.
        """
        return accept_queue_of(self._socket) if self._socket else None

    @property
    def backlog(self) -> int:
        """The limit of the accept queue in the kernel: the requested backlog, reduced to somaxconn (listen(2))."""
        queue = self.queue()
        return self.asked_backlog if queue is None or queue.limit is None else queue.limit

    @property
    def accept_queue(self) -> int | None:
        """The number of established connections that wait for accept(); None if the kernel does not tell."""
        queue = self.queue()
        return None if queue is None else queue.waiting

    @property
    def drops(self) -> int | None:
        """How many connections the kernel dropped here, mostly because the accept queue was full; see ``drops()``.

        The count belongs to the socket, not to the process. None if the kernel does not tell it, for a Unix socket, and
        after the listener was closed.
        """
        return None if self._socket is None or self.name.is_unix else drops(self._socket)

    @property
    def queued(self) -> int:
        """The number of connections that wait for accept(); if the kernel does not tell it, 1 for any number."""
        return 0 if self._socket is None else waiting_at(self._socket)

    @property
    def paused(self) -> frozenset[str]:
        """The reasons why accept pauses; empty while it does not."""
        return frozenset(self._pauses)

    @property
    def backing_off(self) -> bool:
        """Whether it waits for descriptors or memory."""
        return self._retry is not None

    @property
    def closed(self) -> bool:
        """Whether the passive socket is closed."""
        return self._socket is None

    # -- the accept loop ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to accept."""
        self._engine.readiness.watch(self, IN)

    def on_ready(self, _events: int) -> None:
        """Accept queued connections, a bounded number; level-triggered readiness (epoll(7)) brings the rest."""
        if self._pauses:
            self._watch()  # unregistering failed before
            return
        left = ACCEPTS_PER_TURN
        while left > 0 and self._socket is not None and not self._pauses:
            many, code = 0, 0
            # A subclass of socket (in tests) accepts by its own method.
            if self._accept_many is not None and type(self._socket) is socket.socket:
                many, code = self._accept_many(self, left)
            left -= many or 1
            if many:
                self._back_off = _FIRST_BACK_OFF
            if code == errno.EAGAIN:
                self._told = False
                return
            if code:
                if not self._failed(OSError(code, os.strerror(code))):
                    return
            elif not many and not self.accept_one():
                return

    def accept_one(self) -> bool:
        """Accept one connection; return False if accepting has to stop for now."""
        assert self._socket is not None
        try:
            sock, peer = _accepted(self._socket)
        except BlockingIOError:
            self._told = False  # the accept queue is empty: the next lack of resources is a new one
            return False
        except OSError as error:
            return self._failed(error)
        self._back_off = _FIRST_BACK_OFF
        try:
            # The socket is always closed in the end: by on_accept if it raises, else by its new owner.
            # On Linux an accepted socket does not inherit O_NONBLOCK (accept(2)); on other systems it may.
            sock.setblocking(False)
            self._engine.guard(self, self._on_accept, sock, peer)
        except BaseException:
            sock.close()
            raise
        return True

    def _failed(self, error: OSError) -> bool:
        self.failures += 1
        if error.errno in TRY_AGAIN:
            self._observer(events.AcceptFailed(self.name, error, False))
            return True
        if error.errno in BACK_OFF:
            self._lacks(error)
            self._rest()
            return False
        self._observer(events.AcceptFailed(self.name, error, True))
        self.died = True
        self.close()
        if self._on_dead is not None:
            self._on_dead(self)
        return False

    def _lacks(self, error: OSError) -> None:
        """Report a lack of descriptors or memory, once until the accept queue is empty again."""
        if not self._told:
            self._told = True
            self._observer(events.AcceptFailed(self.name, error, False))

    def _rest(self) -> None:
        """Pause until there are descriptors or memory. The timer is set first, so that no pause is without an end."""
        if self._retry is not None:
            self._retry.cancel()
        # Doubled each time, up to a second: a short lack costs little delay, and a long one little work.
        self._retry = self._engine.loop.call_later(self._back_off, self._try_again)
        self._back_off = min(_LONGEST_BACK_OFF, self._back_off * 2)
        self.pause("resources")

    def _try_again(self) -> None:
        self._retry = None
        try:
            self.resume("resources")
        except BaseException:
            self._engine.sweep_on()  # which looks here again
            raise

    def look(self) -> None:
        """Register or unregister again if that failed before. The sweep calls it."""
        if self._retry is None and "resources" in self._pauses:
            self._try_again()
        self._watch()

    def capacity_freed(self) -> None:
        """Try to accept now if accept waits for descriptors or memory: a connection has ended."""
        if self._retry is not None:
            self._retry.cancel()
            self._try_again()

    # -- pausing and the end ------------------------------------------------------------------------------

    def pause(self, why: str = BY_REQUEST) -> None:
        """Stop accepting for the reason ``why``; new connections wait in the kernel's queue.

        Several reasons may hold at once; accept continues when the last one is removed. The default is ``by request``.
        """
        self._check_thread("pause")
        self._pauses.add(why)
        self._watch()

    def resume(self, why: str = BY_REQUEST) -> None:
        """Remove the reason ``why``, by default ``by request``; accept continues when it was the last one."""
        self._check_thread("resume")
        self._pauses.discard(why)
        self._watch()

    def _check_thread(self, call: str) -> None:
        if threading.get_ident() != self._engine.thread:
            self._engine.check_thread(f"listener {self.name}", f"listener.{call}", f"server.call_soon(listener.{call})")

    def _watch(self) -> None:
        if self._socket is not None:
            mask = 0 if self._pauses else IN
            if mask != self.mask:
                try:
                    self._engine.readiness.watch(self, mask)
                except (OSError, MemoryError) as error:
                    self._engine.sweep_on()
                    self._lacks(error if isinstance(error, OSError) else _no_memory())

    def close(self) -> None:
        """Unregister and close; the kernel resets connections still in the accept queue. Idempotent."""
        if self._socket is not None:
            self._check_thread("close")
        sock, self._socket = self._socket, None
        if sock is None:
            return
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        # Guarded, because the socket has to be closed even if it cannot be unregistered.
        self._engine.guard(self, self._engine.readiness.watch, self, 0)
        self._engine.close_later(sock)
        # A Unix socket's file outlives its socket (unix(7)), and the next bind(2) would fail with EADDRINUSE.
        remove_file(self.name, self._inode)

    def _disown(self) -> None:
        """In a forked child: drop the listener. It belongs to the parent, and so does its socket file."""
        sock, self._socket = self._socket, None
        self.fd, self.mask, self._retry = -1, 0, None
        if sock is not None:
            sock.close()

    def on_failure(self, error: BaseException) -> None:
        """Serving an accepted socket raised ``error``: the listener itself is intact, unless there is no memory."""
        if isinstance(error, MemoryError) and self._socket is not None:
            self._failed(_no_memory())

    def on_slow(self, seconds: float) -> None:
        """Do nothing after ``seconds`` in a call: connections measure their own ``opened`` hooks."""

    def fileno(self) -> int:
        """Return the descriptor, or -1 once closed."""
        return self._socket.fileno() if self._socket else -1

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"paused ({', '.join(sorted(self._pauses))})" if self._pauses else "open"
        return f"<Listener {self.name} {state}, backlog {self.backlog}>"


def _no_memory() -> OSError:
    return OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


def _accepted(sock: socket.socket) -> tuple[socket.socket, object]:
    """As :meth:`socket.socket.accept`, which leaks the descriptor if there is no memory for the socket object."""
    if type(sock) is not socket.socket:
        return sock.accept()
    # socket.accept() is Python code around socket._accept(): between the two, the descriptor has no owner.
    # CPython's _accept() also leaks the descriptor if there is no memory for its result. Therefore as much memory is
    # allocated and freed before: if that fails, the connection stays in the kernel's queue.
    result = (_LARGE + 1, ("x" * _HOST[0], _LARGE + 2), ("x" * _HOST[1], _LARGE + 3, _LARGE + 4, _LARGE + 5))
    del result
    fd, peer = sock._accept()  # type: ignore[attr-defined]
    try:
        return socket.socket(sock.family, sock.type, sock.proto, fileno=fd), peer
    except BaseException:
        os.close(fd)
        raise


def _local_half(sock: socket.socket, name: Address) -> bytes | None:
    """Return a listener's name in the format of :meth:`~fourtuple.four_tuple.FourTuple.unpacked`.

    Returns None for a wildcard address, where each connection has its own local address, and for a Unix socket.
    """
    if name.is_unix:
        return None
    octets = socket.inet_pton(sock.family, sock.getsockname()[0].partition("%")[0])
    return octets + name.port.to_bytes(2, "big") if any(octets) else None
