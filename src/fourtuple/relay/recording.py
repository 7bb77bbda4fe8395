"""Reads recordings: classic pcap files with TCP conversations, as ``--pcap`` and tcpdump write them.

Segments are put in order by their sequence numbers, and what was sent twice counts once; what is missing ends the
conversation there. https://www.tcpdump.org/linktypes.html names the link types.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from fourtuple.errors import OptionError

_MAGIC = {0xA1B2C3D4: "", 0xA1B23C4D: ""}  # microseconds, nanoseconds
#: Link types, with the octets in front of the IP header: BSD loopback, Ethernet, raw IP, Linux cooked (1 and 2).
_LINKS = {0: 4, 1: 14, 12: 0, 101: 0, 113: 16, 228: 0, 229: 0, 276: 20}
_TCP = 6
_FIN, _SYN, _RST, _ACK = 0x01, 0x02, 0x04, 0x10

End: TypeAlias = tuple[bytes, int]


@dataclass
class Recording:
    """One conversation: what the client and the server said, in turns."""

    #: ``(by_client, octets)`` in order; no octets mean the end of file of that side.
    turns: list[tuple[bool, bytes]] = field(default_factory=list)


class _Side:
    """The stream of one side, put together from its segments (RFC 9293, 3.4 and 3.10.7.4).

    Positions are sequence numbers that are not cut to 32 bits, so that they are in order when those wrap around.
    """

    def __init__(self) -> None:
        #: The sequence number of the SYN. None if it is not in the file.
        self.began: int | None = None
        #: The position of the next octet. None as long as no segment came.
        self._next: int | None = None
        #: What came too early: the lowest position first, then what came first. The number makes each entry unique.
        self._early: list[tuple[int, int, bytes]] = []
        self._taken = 0
        #: The position of the FIN.
        self._end: int | None = None
        self.finished = False

    @property
    def known(self) -> bool:
        """Whether a segment of this side came."""
        return self._next is not None

    def begin(self, sequence: int) -> bool:
        """Take a SYN. Return whether it belongs to this stream: it is the first, or the same one sent again."""
        if self.began is None:
            self.began = sequence
            if self._next is None:
                self._next = sequence + 1
        return sequence == self.began

    def take(self, sequence: int, size: int, payload: bytes, *, fin: bool) -> Iterator[bytes]:
        """Take a segment that announces ``size`` octets. Yield the octets that are now in order."""
        if self.finished:
            return
        if self._next is None:
            self._next = sequence
        position = self._next + _distance(self._next, sequence)
        if fin and self._end is None and position + size >= self._next:
            self._end = position + size
        if position <= self._next and not self._early:  # in order, as segments normally come
            yield from self._cut(position, payload)
        elif payload and position + len(payload) > self._next:
            self._taken += 1
            heapq.heappush(self._early, (position, self._taken, payload))
        while self._early and self._early[0][0] <= self._next:
            position, _, payload = heapq.heappop(self._early)
            yield from self._cut(position, payload)

    def _cut(self, position: int, payload: bytes) -> Iterator[bytes]:
        """Yield what is new of a payload that begins at the next octet or before, up to the FIN."""
        assert self._next is not None
        end = position + len(payload)
        if self._end is not None:
            end = min(end, self._end)
        if end > self._next:
            start, self._next = self._next, end
            yield payload[start - position : end - position]

    def finish(self) -> bool:
        """Return whether the FIN is reached, once."""
        if self.finished or self._end is None or self._end != self._next:
            return False
        self.finished = True
        self._early.clear()
        return True

    def is_next(self, sequence: int) -> bool:
        """Whether a segment begins at the next octet."""
        return self._next is None or _distance(self._next, sequence) == 0


def _distance(here: int, sequence: int) -> int:
    """How far a sequence number is ahead of a position: from -2**31 to 2**31 - 1."""
    return (sequence - here + (1 << 31) & 0xFFFFFFFF) - (1 << 31)


class _Conversation:
    def __init__(self, client: End) -> None:
        self.client = client
        self._sides = {True: _Side(), False: _Side()}
        #: The turns, each with its pieces: they are joined once, at the end.
        self._turns: list[tuple[bool, list[bytes]]] = []
        self._reset = False

    @property
    def recording(self) -> Recording:
        """What was said."""
        return Recording([(by_client, b"".join(pieces)) for by_client, pieces in self._turns])

    def is_another(self, by_client: bool, sequence: int) -> bool:
        """Whether a SYN without ACK begins another conversation between the same ends.

        It does not if it is sent again, or if both ends have sent one (RFC 9293, figure 7).
        """
        if self._reset or all(side.finished for side in self._sides.values()):
            return True
        side = self._sides[by_client]
        return side.known if side.began is None else side.began != sequence

    def take(self, by_client: bool, sequence: int, flags: int, size: int, payload: bytes) -> None:
        side = self._sides[by_client]
        if self._reset:
            return
        if flags & _RST:
            # RFC 5961, 3.2: any other number is ignored, so that no third party can guess one.
            self._reset = side.is_next(sequence)
            return
        if flags & _SYN:
            if not side.begin(sequence):
                return  # of another conversation, whose beginning is not in the file
            sequence = sequence + 1 & 0xFFFFFFFF
        for octets in side.take(sequence, size, payload, fin=bool(flags & _FIN)):
            self._pieces(by_client).append(octets)
        if side.finish():
            self._turns.append((by_client, []))

    def _pieces(self, by_client: bool) -> list[bytes]:
        """The pieces of the turn of one side, which is the last one or a new one."""
        if not self._turns or self._turns[-1][0] != by_client:
            self._turns.append((by_client, []))
        return self._turns[-1][1]


def read_recordings(octets: bytes) -> list[Recording]:
    """Return the TCP conversations of a pcap file in which something was said, in the order of their beginnings.

    Raises :class:`~fourtuple.errors.OptionError` for octets that are no classic pcap file.
    """
    open_ones: dict[tuple[End, End], _Conversation] = {}
    all_ones: list[_Conversation] = []
    for source, target, sequence, flags, size, payload in _segments(octets):
        syn = flags & (_SYN | _ACK)
        conversation = open_ones.get((source, target)) or open_ones.get((target, source))
        if conversation is None or (syn == _SYN and conversation.is_another(source == conversation.client, sequence)):
            # A SYN with ACK is the answer to a SYN: it comes from the server.
            client, server = (target, source) if syn == _SYN | _ACK else (source, target)
            open_ones.pop((server, client), None)
            conversation = open_ones[client, server] = _Conversation(client)
            all_ones.append(conversation)
        conversation.take(source == conversation.client, sequence, flags, size, payload)
    recordings = [each.recording for each in all_ones]
    return [each for each in recordings if any(octets for _, octets in each.turns)]


def _segments(octets: bytes) -> Iterator[tuple[End, End, int, int, int, bytes]]:
    for link, packet in _records(octets):
        ip = packet[_LINKS[link] :]
        if link == 1 and packet[12:14] == b"\x81\x00":  # a VLAN tag
            ip = ip[4:]
        segment = _segment(ip)
        if segment is not None:
            yield segment


def _records(octets: bytes) -> Iterator[tuple[int, bytes]]:
    if len(octets) < 24:
        raise OptionError("this is not a pcap file: it is too short")
    order = next((each for each in "<>" if struct.unpack_from(f"{each}I", octets)[0] in _MAGIC), None)
    if order is None:
        hint = "; a pcapng file becomes one by: tshark -r FILE -F pcap -w OTHER" if octets[:4] == b"\n\r\r\n" else ""
        raise OptionError(f"this is not a pcap file: it begins with {octets[:4]!r}{hint}")
    link = struct.unpack_from(f"{order}I", octets, 20)[0] & 0xFFFF
    if link not in _LINKS:
        raise OptionError(f"the pcap file has link type {link}, only {', '.join(map(str, _LINKS))} can be read")
    at = 24
    while at + 16 <= len(octets):
        size = struct.unpack_from(f"{order}I", octets, at + 8)[0]
        yield link, octets[at + 16 : at + 16 + size]
        at += 16 + size


def _segment(ip: bytes) -> tuple[End, End, int, int, int, bytes] | None:
    """The TCP segment of an IP packet; None for other packets, fragments, and those that are cut off.

    Its payload may be shorter than the size before it: a capture with a snapshot length cuts packets off.
    """
    if len(ip) < 40:
        return None
    if ip[0] >> 4 == 4:
        start, end = (ip[0] & 15) * 4, struct.unpack_from("!H", ip, 2)[0]
        protocol, fragment = ip[9], struct.unpack_from("!H", ip, 6)[0] & 0x3FFF
        source, target = ip[12:16], ip[16:20]
    else:
        start, end = 40, 40 + struct.unpack_from("!H", ip, 4)[0]
        protocol, fragment = ip[6], 0
        source, target = ip[8:24], ip[24:40]
    if protocol != _TCP or fragment or len(ip) < start + 20:
        return None
    here, there, sequence, _, offset, flags = struct.unpack_from("!HHIIBB", ip, start)
    # No length at all: the network card divides what the kernel sends (segmentation offload).
    payload = slice(start + (offset >> 4) * 4, end or len(ip))
    size = max(payload.stop - payload.start, 0)
    return (source, here), (target, there), sequence, flags, size, ip[payload]
