"""Closing sockets of other processes: SOCK_DESTROY of sock_diag(7)."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from errno import ENOENT

from fourtuple.inspector import diag, states
from fourtuple.inspector.model import ActiveSocket, PassiveSocket
from fourtuple.inspector.netlink import Netlink
from fourtuple.inspector.reading import dump

_WHY = {
    errno.EPERM: "it needs CAP_NET_ADMIN, as root has, to close sockets of other processes",
    errno.EACCES: "it needs CAP_NET_ADMIN, as root has, to close sockets of other processes",
    errno.EOPNOTSUPP: "this kernel cannot: it is built without CONFIG_INET_DIAG_DESTROY, or does not close this state",
    ENOENT: "it has gone meanwhile",
}


@dataclass(frozen=True, slots=True)
class Closed:
    """What became of one socket: ``why`` the kernel refused, or an empty text where it closed it."""

    socket: PassiveSocket | ActiveSocket
    errno: int = 0
    why: str = ""

    @property
    def gone(self) -> bool:
        """Whether there was nothing left to close: closing one end of a connection also ends the other."""
        return self.errno == ENOENT


def close_sockets(sockets: Sequence[PassiveSocket | ActiveSocket]) -> list[Closed]:
    """Close these sockets as tcp_abort() of the kernel does: RST to the peer, ECONNABORTED to the program.

    Each is found by its cookie, so that a new connection with the same four-tuple is not touched. Raises
    :class:`OSError` if netlink does not answer.
    """
    wanted = {each.cookie: each for each in sockets if each.cookie}
    with Netlink() as netlink:
        found = {
            answer.socket.cookie: answer
            for family in diag.FAMILIES
            for answer in dump(netlink, family, frozenset(states.ALL))
            if answer.socket.cookie in wanted
        }
        return [_closed(netlink, each, found.get(each.cookie)) for each in sockets]


def _closed(netlink: Netlink, each: PassiveSocket | ActiveSocket, answer: diag.Answer | None) -> Closed:
    if answer is None:
        return Closed(each, ENOENT, _WHY[ENOENT])
    try:
        netlink.ask(diag.SOCK_DESTROY, diag.question_for(answer))
    except OSError as error:
        code = error.errno or errno.EIO
        return Closed(each, code, _WHY.get(code, error.strerror or str(error)))
    return Closed(each)
