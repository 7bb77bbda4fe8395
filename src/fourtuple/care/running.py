"""The connection itself: it sends all the time; its reader stops for a while, and reads again."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from fourtuple.care.packets import turned
from fourtuple.care.path import Path
from fourtuple.care.tunnel import HERE, THERE, open_device, read_packet, write_packet
from fourtuple.net.tcpinfo import TcpInfo

#: The reader's buffer: small, so that the window closes soon after it stops.
_BUFFER = 64 * 1024
#: What is sent, again and again, so that the reader can check that nothing is missing, doubled or out of order.
_PATTERN = bytes(range(256)) * 257
_CHUNK, _READ = 16 * 1024, 64 * 1024
#: Packets that are taken from the device before the sockets have their turn.
_MOST = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the path is like, and what happens when. Rates are octets a second, times seconds."""

    rate: float = 125_000.0
    delay: float = 0.03
    loss: float = 0.02
    queue: int = 32_000
    duration: float = 10.0
    every: float = 0.1
    seed: int = 1

    @property
    def stops(self) -> float:
        """When the reader stops."""
        return self.duration * 0.5

    @property
    def resumes(self) -> float:
        """When it reads again."""
        return self.duration * 0.75


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment: TCP_INFO of the sender, what the reader has read, what the path has lost."""

    time: float
    info: TcpInfo
    #: Octets in the sender's queue, not yet acknowledged.
    send_queue: int
    #: Octets read so far.
    read: int
    reading: bool
    #: Whether every octet so far came once, and in order.
    intact: bool
    lost: int
    overflowed: int
    queued: int


def run(settings: Settings) -> Iterator[Sample]:
    """Make the connection in the namespace that was entered; yield a sample now and then. Raises :class:`OSError`."""
    with ExitStack() as stack:
        device = open_device()
        stack.callback(os.close, device)
        listener = stack.enter_context(socket.create_server((HERE, 0), backlog=1))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        listener.setblocking(False)
        sender = stack.enter_context(socket.socket())
        sender.setblocking(False)
        sender.connect_ex((THERE, listener.getsockname()[1]))
        yield from _Run(settings, device, listener, sender, stack).samples()


class _Run:
    """One thread: packets, sockets and samples, each when it is due."""

    def __init__(
        self, settings: Settings, device: int, listener: socket.socket, sender: socket.socket, stack: ExitStack
    ) -> None:
        self._settings = settings
        self._device, self._listener, self._sender, self._stack = device, listener, sender, stack
        self._reader: socket.socket | None = None
        # The acknowledgements have a path of their own: as slow, and without losses.
        self._forth = Path(settings.rate, settings.delay, settings.queue, settings.loss, settings.seed)
        self._back = Path(settings.rate, settings.delay, settings.queue, 0.0)
        self._port = listener.getsockname()[1]
        self._sent = self._read = 0
        self._reading = self._intact = True

    def samples(self) -> Iterator[Sample]:
        began = time.monotonic()
        due = began
        while (now := time.monotonic()) - began < self._settings.duration:
            elapsed = now - began
            self._reading = not self._settings.stops <= elapsed < self._settings.resumes
            self._wait(now, due)
            self._carry(time.monotonic())
            self._serve()
            if now >= due:
                due = now + self._settings.every
                yield self._sample(elapsed, now)

    def _wait(self, now: float, due: float) -> None:
        poll = select.poll()
        poll.register(self._device, select.POLLIN)
        poll.register(self._sender, select.POLLOUT)
        if self._reader is None:
            poll.register(self._listener, select.POLLIN)
        elif self._reading:
            poll.register(self._reader, select.POLLIN)
        moments = [each for each in (self._forth.due, self._back.due, due) if each is not None]
        poll.poll(max(0.0, (min(moments) - now) * 1000))

    def _carry(self, now: float) -> None:
        for _ in range(_MOST):
            packet = read_packet(self._device)
            if packet is None:
                break
            back = turned(packet)
            if back is not None:
                # To the listener's port: the sender's segments; from it: the acknowledgements.
                header = (packet[0] & 15) * 4
                forth = int.from_bytes(packet[header + 2 : header + 4], "big") == self._port
                (self._forth if forth else self._back).push(back, now)
        for path in (self._forth, self._back):
            for packet in path.pop(now):
                write_packet(self._device, packet)

    def _serve(self) -> None:
        if self._reader is None:
            try:
                self._reader = self._stack.enter_context(self._listener.accept()[0])
            except BlockingIOError:
                return
            self._reader.setblocking(False)
        try:
            at = self._sent % 256
            self._sent += self._sender.send(_PATTERN[at : at + _CHUNK])
        except BlockingIOError:
            pass
        if self._reading:
            try:
                octets, at = self._reader.recv(_READ), self._read % 256
            except BlockingIOError:
                return
            self._intact = self._intact and octets == _PATTERN[at : at + len(octets)]
            self._read += len(octets)

    def _sample(self, elapsed: float, now: float) -> Sample:
        info = TcpInfo.of(self._sender)
        queue = (info.notsent_bytes or 0) + info.unacked * info.snd_mss
        forth = self._forth
        return Sample(
            elapsed,
            info,
            queue,
            self._read,
            self._reading,
            self._intact,
            forth.lost,
            forth.overflowed,
            forth.queued(now),
        )
