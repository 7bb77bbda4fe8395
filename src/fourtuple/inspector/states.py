"""PURE: the states of TCP, named as in RFC 9293 and ss(8)."""

from __future__ import annotations

from fourtuple.net.tcpinfo import STATES

#: The kernel's names that the field writes otherwise. A SYN-RECV without a socket of its own is also SYN-RECV.
_WRITTEN = {"CLOSE": "closed", "FIN_WAIT1": "fin-wait-1", "FIN_WAIT2": "fin-wait-2", "NEW_SYN_RECV": "syn-recv"}

#: By the kernel's number.
NAMES = tuple(_WRITTEN.get(name, name.lower().replace("_", "-")) for name in STATES)

ESTABLISHED, SYN_SENT, SYN_RECV, FIN_WAIT_1, FIN_WAIT_2, TIME_WAIT, CLOSED, CLOSE_WAIT, LAST_ACK, LISTEN, CLOSING = (
    NAMES[1:12]
)
#: The eleven states, in the order in which a connection lives through them.
ALL = (
    LISTEN, SYN_SENT, SYN_RECV, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSING, TIME_WAIT, CLOSE_WAIT, LAST_ACK, CLOSED,
)  # fmt: skip


def name_of(number: int) -> str:
    """Return the name of a state; ``state-13`` for one that is newer than this table."""
    return NAMES[number] if number < len(NAMES) else f"state-{number}"


def mask(names: frozenset[str]) -> int:
    """Return the bits by which sock_diag is asked for these states."""
    return sum(1 << number for number, name in enumerate(NAMES) if name in names)
