"""The passive sockets of one place (an address of one family): one socket per slot, or one that all workers share.

The supervisor holds them all. A worker holds those of its slot, and for a while those of a sibling without a worker.
"""

from __future__ import annotations

import array
import socket
import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress

from fourtuple.address import Address, from_sockaddr
from fourtuple.inspector import states
from fourtuple.inspector.reading import snapshot
from fourtuple.net.given import take_given
from fourtuple.net.passive import inode_of, open_beside, open_listeners, remove_file, waiting_at
from fourtuple.options import Sockets
from fourtuple.supervisor.listen_address import ListenAddress, service_of
from fourtuple.supervisor.steering import SO_ATTACH_REUSEPORT_CBPF, Order, program

_FPROG = struct.Struct("HP")  # struct sock_fprog: the number of instructions, and where they are
_INSTRUCTION_SIZE = 8


class Place:
    """The passive sockets of one place.

    Parameters
    ----------
    address
        The address as it was asked for.
    sockets
        The sockets by slot; for a shared one, a single socket under ``None``.
    order
        The slots in the order of the kernel's array; None for a shared socket.
    """

    def __init__(
        self, address: Address, sockets: dict[int | None, socket.socket], options: Sockets, order: Order | None
    ) -> None:
        self.address: Address = address
        #: The service that it belongs to: see :mod:`fourtuple.supervisor.listen_address`.
        self.label: str = ""
        self.sockets = sockets
        self._options = options
        self.order = order
        #: The address in the kernel, with the port that it chose.
        self.name: Address = from_sockaddr(self._any.getsockname())
        self._steered: tuple[int, ...] = ()
        #: The file of a Unix socket that the server has made: its device and inode.
        self.file: tuple[int, int] | None = None
        self._owns_file = False

    def own_file(self) -> None:
        """From now on the file of a Unix socket is this process's to remove, unless another program made it."""
        if not self.address.is_given:
            self.file = self.file or inode_of(self.name)
            self._owns_file = True

    def leave_file(self) -> None:
        """Let the file of a Unix socket stay: another process has the socket, and goes on with it."""
        self._owns_file = False

    def belong_to(self, wanted: ListenAddress) -> None:
        """Take the options and the label of an address that is asked for."""
        self.address, self.label = wanted.address, wanted.label
        self._options = wanted.sockets if self.order is None else wanted.sockets.replace(reuse_port=True)

    @property
    def service(self) -> str:
        """The name of the service that it belongs to; empty for the only one."""
        return service_of(self.label)

    @property
    def shared(self) -> bool:
        """Whether all workers accept at one socket: nothing can be steered."""
        return self.order is None

    @property
    def _any(self) -> socket.socket:
        return next(iter(self.sockets.values()))

    def socket_of(self, slot: int) -> socket.socket:
        """Return the socket of a slot."""
        return self.sockets[None if self.shared else slot]

    def add(self, slot: int) -> None:
        """Open the socket of one more slot. It gets no connections before :meth:`steer` says so."""
        if self.order is None or slot in self.sockets:
            return
        if not self._steered:
            self.steer(self.order.slots)  # else the kernel would give the new socket its part at once
        self.sockets[slot] = open_beside(self._any, self._options)
        self.order.add(slot)

    def steer(self, slots: Iterable[int]) -> None:
        """Let only these slots get new connections."""
        if self.order is None:
            return
        indexes = self.order.indexes(slots)
        if indexes:
            _attach(self._any, program(indexes))
            self._steered = tuple(indexes)

    def waiting(self, slot: int) -> int:
        """Return how many connections wait in the accept queue of a slot; for a Unix socket, 1 for any number."""
        return waiting_at(self.socket_of(slot))

    def remove(self, slot: int) -> None:
        """Close the socket of a slot for all processes that have it: a child that user code forked, for example."""
        if self.order is None:
            return
        sock = self.sockets.pop(slot)
        _end(sock)
        sock.close()
        self.order.remove(slot)

    def end(self) -> None:
        """Close the sockets for all processes that have them, the service manager too, and remove the file if owned."""
        for sock in self.sockets.values():
            _end(sock)
        self.close()

    def close(self) -> None:
        """Close the supervisor's descriptors. The sockets live on where another process has them."""
        for sock in self.sockets.values():
            sock.close()
        if self._owns_file:
            remove_file(self.name, self.file)
            self._owns_file = False


def open_places(address: Address, slots: Sequence[int], options: Sockets) -> list[Place]:
    """Open the passive sockets of an address for these slots, one place for each of its families.

    ``[::]`` and ``0.0.0.0`` are two places. A Unix socket is shared, and so is TCP where SO_REUSEPORT is not to be had.
    An exclusive bind comes first, so that a running server's traffic is never shared silently. Raises a
    :class:`~fourtuple.errors.ListenError`; then no socket stays open.
    """
    if address.is_unix:
        (sock,) = open_listeners(address, options)
        place = shared_place(address, sock, options)
        place.own_file()
        return [place]
    if address.fd is not None:
        return [shared_place(address, take_given(address.fd, options)[0], options)]
    with_group = options.replace(reuse_port=True)
    places: list[Place] = []
    try:
        for sock in open_listeners(address, with_group):
            place = Place(address, {slots[0]: sock}, with_group, Order(slots[:1]))
            places.append(place)
            place.steer(slots[:1])
            for slot in slots[1:]:
                place.add(slot)
    except BaseException:
        for place in places:
            place.close()
        raise
    return places


def shared_place(address: Address, sock: socket.socket, options: Sockets) -> Place:
    """Return the place of one socket at which all workers accept."""
    return Place(address, {None: sock}, options, None)


def handshakes(places: Iterable[Place]) -> frozenset[object] | None:
    """Return the names of the handshakes under way (SYN-RECV) at these places; None if the kernel does not tell.

    The kernel does not tell to which socket of a group a handshake belongs. But once a slot is steered away from, no
    new one is its own: those that were there then, and still are, are a superset.
    """
    ports = {place.name.port for place in places if not place.name.is_unix}
    try:
        seen = snapshot(names=frozenset({states.SYN_RECV}))
    except OSError:
        return None
    return frozenset(each.name for each in seen.connections if each.name.local_port in ports)


def _end(sock: socket.socket) -> None:
    """Let a passive socket listen no more, in whatever process: the port is free then, and no client waits there."""
    # close(2) ends one descriptor, and a forked child may have another. On Linux, shutdown(2) of a listening socket
    # ends the socket itself (inet_shutdown() in net/ipv4/af_inet.c). POSIX does not promise that.
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _attach(sock: socket.socket, instructions: bytes) -> None:
    # The program belongs to the whole group of SO_REUSEPORT, so any of its sockets takes it (socket(7)). The kernel
    # copies the instructions during the call: the array must live until then.
    held = array.array("B", instructions)
    at, size = held.buffer_info()
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, _FPROG.pack(size // _INSTRUCTION_SIZE, at))
