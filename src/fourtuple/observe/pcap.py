"""Conversations as a capture file for Wireshark and tcpdump. They are decrypted, because the tap is above TLS.

The packets are synthetic: one for each read and write, with the real addresses and ports, correct sequence numbers and
checksums, a handshake at the beginning and FIN or RST at the end. The real packets (retransmissions, segments, window)
are not in the file; capture the interface to see them.

The format is classic pcap with LINKTYPE_RAW (101): packets begin with their IP header, so one file can hold IPv4 and
IPv6. https://www.tcpdump.org/linktypes.html, pcap-savefile(5), RFC 791, RFC 8200, RFC 9293.
"""

from __future__ import annotations

import array
import errno
import os
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Self

from fourtuple import events
from fourtuple.four_tuple import FourTuple, Name
from fourtuple.stream import Reason, Stream

LINKTYPE_RAW = 101
#: The longest IP packet has 65,535 octets; both headers have at most 60.
MAX_PAYLOAD = 65_000

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10

_FILE = struct.Struct("=IHHiIII")
_RECORD = struct.Struct("=IIII")
_IP4 = struct.Struct("!BBHHHBBH4s4s")
_IP6 = struct.Struct("!IHBB16s16s")
_TCP = struct.Struct("!HHIIBBHHH")
_TCP_PROTOCOL = 6

#: Connections that ended without FIN.
_RESETS = {Reason.RESET, Reason.LOST, Reason.ABORTED, Reason.LIMIT}


class Conversation:
    """One connection in the file: its addresses and sequence numbers. ``inward`` means from the peer to this end."""

    __slots__ = ("addresses", "finished", "next", "ports")

    def __init__(self, name: Name) -> None:
        self.addresses: tuple[bytes, bytes]
        self.ports: tuple[int, int]
        if isinstance(name, FourTuple):
            remote, local = (ip_address(ip.partition("%")[0]).packed for ip in (name.remote_ip, name.local_ip))
            self.addresses = (local, remote)
            self.ports = (name.local_port, name.remote_port)
        else:
            # A Unix connection has no IP addresses: use loopback, and ports that distinguish the peers.
            loopback = bytes((127, 0, 0, 1))
            self.addresses = (loopback, loopback)
            self.ports = (1, 1024 + name.pid % 64_000)
        #: The next sequence numbers of this end and of the peer. Real ones begin at random; 0 is easier to read.
        self.next: list[int] = [0, 0]
        #: The directions whose FIN is in the file, by whether they are inward.
        self.finished: set[bool] = set()

    def packet(self, inward: bool, flags: int, payload: bytes = b"") -> bytes:
        """The next packet of one direction."""
        source, target = (1, 0) if inward else (0, 1)
        sequence = self.next[source]
        acknowledged = self.next[target] if flags & ACK else 0
        self.next[source] = (sequence + len(payload) + bool(flags & (SYN | FIN))) & 0xFFFFFFFF
        ports = self.ports[source], self.ports[target]
        header = _TCP.pack(*ports, sequence, acknowledged, _TCP.size // 4 << 4, flags, 0xFFFF, 0, 0)
        addresses = self.addresses[source] + self.addresses[target]
        # The pseudo-headers of RFC 9293, 3.1 and RFC 8200, 8.1 differ in layout, but have the same sum.
        pseudo = addresses + struct.pack("!II", len(header) + len(payload), _TCP_PROTOCOL)
        check = checksum(pseudo + header + payload)
        segment = header[:16] + struct.pack("!H", check) + header[18:] + payload
        return self._ip(self.addresses[source], self.addresses[target], segment)

    @staticmethod
    def _ip(source: bytes, target: bytes, segment: bytes) -> bytes:
        if len(source) == 16:
            return _IP6.pack(6 << 28, len(segment), _TCP_PROTOCOL, 64, source, target) + segment
        length = _IP4.size + len(segment)
        header = _IP4.pack(4 << 4 | 5, 0, length, 0, 0x4000, 64, _TCP_PROTOCOL, 0, source, target)
        return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + segment


def checksum(octets: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    words = array.array("H", octets + b"\0" if len(octets) % 2 else octets)
    if sys.byteorder == "little":
        words.byteswap()
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Capture:
    """Writes a capture file. Register it as both tap and observer.

    ::

        with Capture("conversation.pcap") as capture:
            server = Server(service, tap=capture.tap, observer=capture)

    Parameters
    ----------
    path
        The file. It contains decrypted TLS, so it is always a new file, readable only for its owner. It replaces an
        existing file, so that a process with the old file open cannot read it. A FIFO or a device is used as it is.
    clock
        Returns nanoseconds since 1970; by default :func:`time.time_ns`.
    on_error
        Called once, with the error, when the file can no longer be written.

    When the file can no longer be written (a full disk, a FIFO whose reader does not keep up), the capture ends after
    its last complete packet, and :attr:`error` says why. The server continues. Raises :class:`OSError` if the file
    cannot be opened.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: Callable[[], int] = time.time_ns,
        on_error: Callable[[OSError], object] | None = None,
    ) -> None:
        self.path: Path = Path(path)
        self.error: OSError | None = None
        self._clock = clock
        # Blocking conversations call the tap in their threads.
        self._lock = threading.Lock()
        self._conversations: dict[Name, Conversation] = {}
        self._names: dict[int, Name] = {}
        self._on_error = on_error
        #: The number of octets up to the end of the last complete packet.
        self._whole = 0
        self._file: int | None = _opened(self.path)
        self._write(_FILE.pack(0xA1B2C3D4, 2, 4, 0, 0, 0xFFFF, LINKTYPE_RAW))

    # -- what happens -------------------------------------------------------------------------------------

    def tap(self, stream: Stream, inward: bool, octets: bytes) -> None:
        """Write ``octets`` of the connection of ``stream``: they came in if ``inward``, otherwise they went out."""
        with self._lock:
            conversation = self._conversation(stream.name)
            for at in range(0, len(octets), MAX_PAYLOAD):
                self._record(conversation.packet(inward, PSH | ACK, bytes(octets[at : at + MAX_PAYLOAD])))

    def __call__(self, event: events.Event) -> None:
        """Write the beginning and end of connections, given an event."""
        if isinstance(event, events.Accepted):
            with self._lock:
                self._names[event.id] = event.name
                self._conversation(event.name)
        elif isinstance(event, events.Closed):
            with self._lock:
                self._end(event.name, event.reason)
                # A connection with a PROXY header is accepted under the balancer's name and ends under the client's.
                accepted = self._names.pop(event.id, event.name)
                if accepted != event.name:
                    self._end(accepted, event.reason)
        elif isinstance(event, events.Refused) and event.name is not None:
            with self._lock:
                self._conversation(event.name)
                self._end(event.name, Reason.REFUSED)

    def half_close(self, name: Name, inward: bool) -> None:
        """Write the FIN of one direction now. Without this call it is written when the connection has ended.

        ``name`` is that of the connection; ``inward`` means that the peer sent the FIN.
        """
        with self._lock:
            self._finish(self._conversation(name), inward)

    def _finish(self, conversation: Conversation, inward: bool) -> None:
        if inward not in conversation.finished:
            conversation.finished.add(inward)
            self._record(conversation.packet(inward, FIN | ACK))

    def _conversation(self, name: Name) -> Conversation:
        conversation = self._conversations.get(name)
        if conversation is None:
            conversation = self._conversations[name] = Conversation(name)
            self._record(conversation.packet(True, SYN))
            self._record(conversation.packet(False, SYN | ACK))
            self._record(conversation.packet(True, ACK))
        return conversation

    def _end(self, name: Name, reason: Reason) -> None:
        conversation = self._conversations.pop(name, None)
        if conversation is None:
            return
        first = reason.by_peer
        if reason in _RESETS:
            self._record(conversation.packet(first, RST | ACK))
            return
        self._finish(conversation, first)
        self._finish(conversation, not first)
        self._record(conversation.packet(first, ACK))

    # -- the file -----------------------------------------------------------------------------------------

    def _record(self, packet: bytes) -> None:
        seconds, rest = divmod(self._clock(), 1_000_000_000)
        self._write(_RECORD.pack(seconds & 0xFFFFFFFF, rest // 1000, len(packet), len(packet)) + packet)

    def _write(self, octets: bytes) -> None:
        if self.error is not None or self._file is None:
            return
        left = memoryview(octets)
        try:
            while left:  # a nearly full disk takes a part
                left = left[os.write(self._file, left) :]
            self._whole += len(octets)
        except OSError as error:
            self.error = error
            with suppress(OSError):  # a FIFO or a device cannot be truncated
                os.ftruncate(self._file, self._whole)
            if self._on_error is not None:
                self._on_error(error)

    def close(self) -> None:
        """Close the file. Idempotent. Later octets are not captured."""
        with self._lock:
            number, self._file = self._file, None
            if number is not None:
                os.close(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _opened(path: Path) -> int:
    """Open the file for writing: a new file, readable only for its owner, in place of an old one."""
    flags = os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY
    if path.exists() and not path.is_file():
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        try:
            return os.open(path, flags | os.O_NONBLOCK)  # a slow reader must not block the server
        except OSError as error:
            if error.errno == errno.ENXIO:
                raise OSError(errno.ENXIO, "no process reads from it; start the reader first", str(path)) from error
            raise
    beside = path.with_name(f".{path.name[:100]}.{os.getpid()}")
    with suppress(FileNotFoundError):
        os.unlink(beside)
    number = os.open(beside, flags | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.replace(beside, path)
    except BaseException:
        os.close(number)
        os.unlink(beside)
        raise
    return number
