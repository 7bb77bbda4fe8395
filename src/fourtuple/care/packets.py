"""PURE: IPv4 packets with TCP in them, as far as the path has to know them."""

from __future__ import annotations

_TCP = 6
_SYN = 0x02


def turned(packet: bytes) -> bytes | None:
    """Return a packet with its addresses exchanged; None for what is not IPv4.

    So it comes back to the machine that sent it, from the address that it was sent to. The checksums stay right: a sum
    does not depend on the order (RFC 1071).
    """
    if len(packet) < 20 or packet[0] >> 4 != 4:
        return None
    return packet[:12] + packet[16:20] + packet[12:16] + packet[20:]


def payload_of(packet: bytes) -> int:
    """Return how many octets of data a TCP segment carries; 0 for anything else."""
    if len(packet) < 40 or packet[9] != _TCP:
        return 0
    header = (packet[0] & 15) * 4
    total = int.from_bytes(packet[2:4], "big")
    if header + 13 > len(packet):
        return 0
    return max(0, total - header - (packet[header + 12] >> 4) * 4)


def is_syn(packet: bytes) -> bool:
    """Return whether it begins a connection: those are never lost, so that the show can begin."""
    header = (packet[0] & 15) * 4 if packet else 0
    return len(packet) > header + 13 and packet[9] == _TCP and bool(packet[header + 13] & _SYN)
