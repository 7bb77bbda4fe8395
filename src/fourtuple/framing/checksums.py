"""The check sequences of RFC 1662, appendix C."""

from __future__ import annotations

from binascii import crc32


def _entry(octet: int) -> int:
    for _ in range(8):
        octet = octet >> 1 ^ (0x8408 if octet & 1 else 0)
    return octet


_TABLE = [_entry(octet) for octet in range(256)]


def fcs16(octets: bytes) -> bytes:
    """FCS-16 as it is sent: the complement of CRC-CCITT (reflected), least significant octet first."""
    crc = 0xFFFF
    for octet in octets:
        crc = crc >> 8 ^ _TABLE[(crc ^ octet) & 255]
    return (crc ^ 0xFFFF).to_bytes(2, "little")


def fcs32(octets: bytes) -> bytes:
    """FCS-32 as it is sent: the CRC of Ethernet, least significant octet first."""
    return crc32(octets).to_bytes(4, "little")
