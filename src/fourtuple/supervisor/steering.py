"""PURE: which sockets of a reuse-port group get the new connections.

The kernel keeps the passive sockets of one address, opened with SO_REUSEPORT, in an array. A classic BPF program on the
group (SO_ATTACH_REUSEPORT_CBPF, socket(7)) is run for each SYN, and returns the index of the socket that gets it. No
privilege is needed. Without a program the kernel chooses by a hash of the four-tuple, among all sockets.

The array's order is the order of listen(). When a socket is closed, the kernel moves the last one to the closed one's
index (reuseport_detach_sock(), net/core/sock_reuseport.c). :class:`Order` keeps the same table.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

#: linux/socket.h (asm-generic); the number is part of the ABI.
SO_ATTACH_REUSEPORT_CBPF = 51
#: A program has at most 4096 instructions (BPF_MAXINSNS, linux/bpf_common.h). One socket takes two of them.
MOST_SOCKETS = 2000

_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter: code, jt, jf, k
_LOAD_WORD, _MODULO, _JUMP_EQUAL, _RETURN = 0x20, 0x94, 0x15, 0x06
#: SKF_AD_OFF + SKF_AD_RANDOM (linux/filter.h): a random number instead of octets of the segment.
_RANDOM = 0xFFFFF000 + 56


class Order:
    """The slots of one group in the order of the kernel's array."""

    def __init__(self, slots: Iterable[int] = ()) -> None:
        self._slots = list(slots)

    @property
    def slots(self) -> tuple[int, ...]:
        """The slots by index."""
        return tuple(self._slots)

    def add(self, slot: int) -> None:
        """A socket of this slot listens now."""
        self._slots.append(slot)

    def remove(self, slot: int) -> None:
        """The socket of this slot was closed: the last one has its index now."""
        index = self._slots.index(slot)
        last = self._slots.pop()
        if last != slot:
            self._slots[index] = last

    def indexes(self, slots: Iterable[int]) -> list[int]:
        """Return the indexes of these slots, as far as they are in the group."""
        wanted = set(slots)
        return [index for index, slot in enumerate(self._slots) if slot in wanted]


def program(indexes: Sequence[int]) -> bytes:
    """Return the instructions that choose one of these indexes at random, each with the same chance.

    Random, and not by the four-tuple's hash: a client whose SYN was dropped by a full queue tries another socket next.
    The ACK that ends the handshake finds the request that the SYN made, so it comes to the same socket.
    """
    if not 1 <= len(indexes) <= MOST_SOCKETS:
        raise ValueError(f"a program chooses among 1 to {MOST_SOCKETS} sockets, {len(indexes)} were given")
    if len(indexes) == 1:
        return _INSTRUCTION.pack(_RETURN, 0, 0, indexes[0])
    steps = [(_LOAD_WORD, 0, 0, _RANDOM), (_MODULO, 0, 0, len(indexes))]
    for chance, index in enumerate(indexes[:-1]):
        steps += [(_JUMP_EQUAL, 0, 1, chance), (_RETURN, 0, 0, index)]
    steps.append((_RETURN, 0, 0, indexes[-1]))
    return b"".join(_INSTRUCTION.pack(*step) for step in steps)


def choose(program: bytes, chance: int) -> int:
    """Run a program of :func:`program` as the kernel does, for one random number; return the index. For tests."""
    steps = list(_INSTRUCTION.iter_unpack(program))
    value = at = 0
    while True:
        code, yes, no, constant = steps[at]
        at += 1
        if code == _RETURN:
            return int(constant)
        if code == _LOAD_WORD:
            value = chance
        elif code == _MODULO:
            value %= constant
        else:
            at += yes if value == constant else no
