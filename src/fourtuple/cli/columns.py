"""PURE: the columns of the tables of sockets: what each shows, and which of them leave first where it is narrow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fourtuple.address import Address
from fourtuple.inspector import states
from fourtuple.inspector.fields import FIELDS
from fourtuple.inspector.model import NOT_ASKED, ActiveSocket, PassiveSocket, Socket, UnixSocket
from fourtuple.inspector.units import rate, short_octets, short_seconds

#: What stands in a cell where the kernel does not say.
UNKNOWN = "-"
#: As wide as any IPv4 address with its port; and as most programs with their number.
ADDRESS, PROGRAM = 21, 12


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, its text for a socket, whether it is a number, and its rank: rank 0 is always shown."""

    heading: str
    text: Callable[[Socket], str]
    right: bool = False
    rank: int = 0
    style: Callable[[Socket], str] = lambda _socket: ""
    #: The narrowest to which it may be folded; 0 for never.
    fold: int = 0


def listener_columns(service: Callable[[int], str]) -> tuple[Column, ...]:
    """The columns of listeners; ``service`` says what a port is assigned to."""
    return (
        Column("LISTENING AT", lambda each: str(_passive(each).address), fold=ADDRESS),
        Column("WAITING", lambda each: f"{_passive(each).queue.waiting}", right=True, style=_queue_style),
        Column("BACKLOG", _backlog, right=True, style=_queue_style),
        Column("PROGRAM", holders),
        Column("SERVICE", lambda each: service(_passive(each).address.port) or UNKNOWN, rank=1),
        Column("USER", _user, rank=2),
        Column("SHARED", lambda each: f"{_passive(each).sharing}" if _passive(each).sharing > 1 else "", True, 3),
        Column("DEVICE", lambda each: each.device or "", rank=3),
        Column("CONTAINER", lambda each: each.container or "", rank=4),
    )


def connection_columns() -> tuple[Column, ...]:
    """The columns of connections."""
    return (
        Column("STATE", lambda each: each.state, style=_state_style),
        Column("LOCAL", lambda each: str(_active(each).name.local), fold=ADDRESS),
        Column("PEER", lambda each: str(_active(each).name.remote), fold=ADDRESS),
        Column("RCV/SND", _queues, right=True, style=_send_style),
        Column("PROGRAM", holders, rank=1, fold=PROGRAM),
        Column("RTT", _duration("rtt"), right=True, rank=2),
        Column("RETRANS", _number("retrans"), right=True, rank=3, style=_retrans_style),
        Column("IDLE", _duration("idle"), right=True, rank=4),
        Column("LIMITED BY", _word("limited"), rank=5),
        Column("RTTVAR", _duration("rttvar"), right=True, rank=6),
        Column("CWND", _number("cwnd"), right=True, rank=6),
        Column("SENT", _size("sent"), right=True, rank=6),
        Column("RECEIVED", _size("received"), right=True, rank=6),
        Column("RATE", _rate("rate"), right=True, rank=7),
        Column("USER", _user, rank=7),
        Column("TIMER", _timer, rank=8),
        Column("CONGESTION", _word("congestion"), rank=9),
        Column("SEGS OUT", _number("segments-out"), right=True, rank=9),
        Column("SEGS IN", _number("segments-in"), right=True, rank=9),
        Column("CONTAINER", lambda each: each.container or "", rank=9),
        Column("AT THE OTHER END", lambda each: _active(each).peer_programs, rank=9),
    )


def unix_columns() -> tuple[Column, ...]:
    """The columns of Unix sockets."""
    return (
        Column("STATE", lambda each: each.state, style=_state_style),
        Column("PATH", lambda each: _unix(each).path or UNKNOWN, fold=ADDRESS),
        Column("WAITING", lambda each: "" if (queue := _unix(each).queue) is None else f"{queue.waiting}", right=True),
        Column("BACKLOG", lambda each: _backlog(each) if _unix(each).queue else "", right=True),
        Column("RECV-Q", lambda each: short_octets(_unix(each).receive_queue), right=True),
        Column("PROGRAM", holders, rank=1, fold=PROGRAM),
        Column("AT THE OTHER END", lambda each: _unix(each).peer_programs or UNKNOWN, rank=2),
        Column("USER", _user, rank=3),
    )


def holders(each: Socket) -> str:
    """Who holds a socket: ``nginx(42), nginx(43) +6``.

    In parentheses, why no process holds it: ``(waiting)`` in an accept queue, ``(kernel)`` for a socket that no
    process holds any more or yet, ``(hidden)`` where we may not look. ``-`` if it was not looked up.
    """
    owners = list(dict.fromkeys(map(str, each.owners)))
    if owners:
        more = f" +{len(owners) - 2}" if len(owners) > 2 else ""
        return ", ".join(owners[:2]) + more
    if isinstance(each, ActiveSocket) and each.waits_at is not None:
        return "(waiting)"
    if each.state in (states.TIME_WAIT, states.SYN_RECV) or not each.inode:
        return "(kernel)"
    return UNKNOWN if each.unowned == NOT_ASKED else "(hidden)"


def _passive(each: Socket) -> PassiveSocket:
    assert isinstance(each, PassiveSocket)
    return each


def _active(each: Socket) -> ActiveSocket:
    assert isinstance(each, ActiveSocket)
    return each


def _unix(each: Socket) -> UnixSocket:
    assert isinstance(each, UnixSocket)
    return each


def _backlog(each: Socket) -> str:
    limit = FIELDS["backlog"].get(each)
    return "unknown" if limit is None else f"{limit}"


def _queues(each: Socket) -> str:
    active = _active(each)
    return f"{short_octets(active.receive_queue)}/{short_octets(active.send_queue)}"


def _user(each: Socket) -> str:
    return each.user or (UNKNOWN if each.uid is None else str(each.uid))


def _timer(each: Socket) -> str:
    timer = _active(each).timer
    return "" if timer is None else f"{timer.kind} {short_seconds(timer.seconds)}"


def _written(name: str, write: Callable[[float], str]) -> Callable[[Socket], str]:
    get = FIELDS[name].get
    return lambda each: UNKNOWN if (value := get(each)) is None else write(value)


def _duration(name: str) -> Callable[[Socket], str]:
    return _written(name, short_seconds)


def _size(name: str) -> Callable[[Socket], str]:
    return _written(name, short_octets)


def _rate(name: str) -> Callable[[Socket], str]:
    return _written(name, rate)


def _number(name: str) -> Callable[[Socket], str]:
    return _written(name, "{:g}".format)


def _word(name: str) -> Callable[[Socket], str]:
    return _written(name, str)


# -- colours: each says what the text also says ------------------------------------------------------------

_STATES = {
    states.ESTABLISHED: "green", states.LISTEN: "cyan", states.CLOSE_WAIT: "yellow", states.SYN_SENT: "yellow",
    states.SYN_RECV: "yellow",
}  # fmt: skip


def _state_style(each: Socket) -> str:
    return _STATES.get(each.state, "")


def _queue_style(each: Socket) -> str:
    queue = _passive(each).queue
    return "bold red" if queue.full else "yellow" if queue.waiting else ""


def _send_style(each: Socket) -> str:
    return "yellow" if _active(each).send_queue and FIELDS["slow"].get(each) else ""


def _retrans_style(each: Socket) -> str:
    return "yellow" if FIELDS["timeouts"].get(each) else ""


def address_of(each: Socket) -> str:
    """One line that names a socket: its four-tuple, its address, or its path."""
    if isinstance(each, PassiveSocket):
        return str(each.address)
    if isinstance(each, UnixSocket):
        return str(Address(path=each.path)) if each.path else f"unix socket {each.inode}"
    return str(each.name)
