"""Reads recordings: classic pcap files with TCP conversations, as ``--pcap`` and tcpdump write them.

Segments are put in order by their sequence numbers, and what was sent twice counts once; what is missing ends the
conversation there. https://www.tcpdump.org/linktypes.html names the link types.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from fourtuple.errors import OptionError

_MAGIC = {0xA1B2C3D4: "", 0xA1B23C4D: ""}  # microseconds, nanoseconds
#: Link types, with the octets in front of the IP header: BSD loopback, Ethernet, raw IP, Linux cooked (1 and 2).
_LINKS = {0: 4, 1: 14, 12: 0, 101: 0, 113: 16, 228: 0, 229: 0, 276: 20}
_TCP = 6
_FIN, _SYN, _ACK = 0x01, 0x02, 0x10

End: TypeAlias = tuple[bytes, int]


@dataclass
class Recording:
    """One conversation: what the client and the server said, in turns."""

    #: ``(by_client, octets)`` in order; no octets mean the end of file of that side.
    turns: list[tuple[bool, bytes]] = field(default_factory=list)


class _Conversation:
    def __init__(self, client: End) -> None:
        self.client = client
        self.recording = Recording()
        #: The next sequence number of each side, once it is known, and what came too early.
        self._next: dict[bool, int] = {}
        self._early: dict[bool, dict[int, bytes]] = {True: {}, False: {}}
        #: The sequence number of each side's FIN, and the sides that have finished.
        self._end: dict[bool, int] = {}
        self._finished: set[bool] = set()

    def take(self, by_client: bool, sequence: int, flags: int, payload: bytes) -> None:
        if flags & _SYN:
            self._next[by_client] = sequence + 1 & 0xFFFFFFFF
            return
        self._next.setdefault(by_client, sequence)
        if payload:
            self._early[by_client][sequence] = payload
            self._deliver(by_client)
        if flags & _FIN:
            self._end[by_client] = sequence + len(payload) & 0xFFFFFFFF
        if self._end.get(by_client) == self._next[by_client] and by_client not in self._finished:
            self._finished.add(by_client)
            self.recording.turns.append((by_client, b""))

    def _deliver(self, by_client: bool) -> None:
        early = self._early[by_client]
        found = True
        while found:
            found = False
            for sequence, payload in sorted(early.items()):
                behind = self._next[by_client] - sequence & 0xFFFFFFFF
                if behind < 1 << 31:  # it begins at the next octet, or before
                    del early[sequence]
                    self._say(by_client, payload[behind:])
                    found = True

    def _say(self, by_client: bool, octets: bytes) -> None:
        if not octets:
            return
        self._next[by_client] = self._next[by_client] + len(octets) & 0xFFFFFFFF
        turns = self.recording.turns
        if turns and turns[-1][0] == by_client and turns[-1][1]:
            turns[-1] = by_client, turns[-1][1] + octets
        else:
            turns.append((by_client, octets))


def read_recordings(octets: bytes) -> list[Recording]:
    """Return the TCP conversations of a pcap file in which something was said, in the order of their beginnings.

    Raises :class:`~fourtuple.errors.OptionError` for octets that are no classic pcap file.
    """
    open_ones: dict[tuple[End, End], _Conversation] = {}
    all_ones: list[_Conversation] = []
    for source, target, sequence, flags, payload in _segments(octets):
        first = flags & (_SYN | _ACK) == _SYN
        conversation = open_ones.get((source, target)) or open_ones.get((target, source))
        if conversation is None or first:
            conversation = open_ones[source, target] = _Conversation(source)
            open_ones.pop((target, source), None)
            all_ones.append(conversation)
        conversation.take(source == conversation.client, sequence, flags, payload)
    return [each.recording for each in all_ones if any(octets for _, octets in each.recording.turns)]


def _segments(octets: bytes) -> Iterator[tuple[End, End, int, int, bytes]]:
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


def _segment(ip: bytes) -> tuple[End, End, int, int, bytes] | None:
    """The TCP segment of an IP packet; None for other packets, fragments, and those that are cut off."""
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
    return (source, here), (target, there), sequence, flags, ip[start + (offset >> 4) * 4 : end or len(ip)]
