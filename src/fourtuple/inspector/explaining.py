"""PURE: what a state and a number mean for this socket, in sentences, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator

from fourtuple.inspector import states
from fourtuple.inspector.model import ActiveSocket, Counters, PassiveSocket, Snapshot, Socket, UnixSocket
from fourtuple.inspector.units import octets, seconds
from fourtuple.net.backlog import AcceptQueue
from fourtuple.net.tcpinfo import TcpInfo

#: What each state is: the first sentence of every explanation.
STATES = {
    states.LISTEN: "It awaits connections; it has no peer, and sends and receives nothing itself.",
    states.SYN_SENT: "This end has sent its SYN and waits for the peer's answer.",
    states.SYN_RECV: "A SYN came in and was answered; the last ACK of the handshake has not come.",
    states.ESTABLISHED: "The connection is open in both directions.",
    states.FIN_WAIT_1: "This end has sent its FIN, and the peer has not acknowledged it yet.",
    states.FIN_WAIT_2: (
        "This end has finished sending, and the peer has acknowledged that; the peer has not finished yet."
    ),
    states.CLOSING: (
        "Both ends sent their FIN at the same time; this one waits for the peer's acknowledgement of its own."
    ),
    states.TIME_WAIT: (
        "The connection has ended. The end that closed first keeps its name for a minute, so that late segments "
        "cannot get into a new connection of the same name (RFC 9293, 3.6.1)."
    ),
    states.CLOSE_WAIT: "The peer has finished sending (FIN), and the program on this end has not closed yet.",
    states.LAST_ACK: "Both ends have closed; this one waits for the acknowledgement of its FIN.",
    states.CLOSED: "There is no connection: the socket is not connected yet, or not any more.",
}

#: Milliseconds in which a queue has to move, before it is called standing.
_STANDING = 1000
#: A CLOSE-WAIT that is older than this was forgotten by its program, in milliseconds.
_FORGOTTEN = 10_000
#: Shares that are worth a word.
_MANY_RETRANSMITTED = 0.02
_UNLIMITED_SSTHRESH = 0x7FFFFFFF
#: As many of the connections in an accept queue are named.
_WAITING = 5
#: So many TIME-WAIT are worth a word.
MANY_TIME_WAIT = 1000


def explained(socket: Socket, counters: Counters | None = None) -> list[str]:
    """Return sentences: what its state means, then what stands out in its numbers, and what to do."""
    if isinstance(socket, PassiveSocket):
        return [STATES[socket.state], *_listener(socket, counters or Counters())]
    if isinstance(socket, UnixSocket):
        return list(_unix(socket))
    sentences = [STATES.get(socket.state, f"The kernel names its state {socket.state}.")]
    sentences += _state(socket)
    sentences += _queues(socket)
    if socket.info is not None and socket.state not in (states.SYN_SENT, states.CLOSED):
        sentences += _numbers(socket.info)
    if socket.unowned and socket.waits_at is None:
        sentences.append(_sentence(socket.unowned))
    return sentences


# -- listeners --------------------------------------------------------------------------------------------


def _listener(socket: PassiveSocket, counters: Counters) -> Iterator[str]:
    yield from queue_explained(socket.queue)
    if socket.queue.waiting and not socket.queue.full:
        yield (
            "The program has not accepted these connections: it is busy, stopped, or accepts too few at a time. "
            "Clients see an open connection without an answer."
        )
    if socket.waiting:
        some = ", ".join(str(name.remote) for name in socket.waiting[:_WAITING])
        more = len(socket.waiting) - _WAITING
        yield f"Waiting: {some}{f' and {more:,} more' if more > 0 else ''}."
    if socket.queue.full and counters.overflows is not None:
        yield (
            f"The machine has counted {counters.overflows:,} overflows of accept queues since it started; "
            "the kernel does not say of which listener."
        )
    if socket.sharing > 1:
        yield (
            f"{socket.sharing} listeners share this port (SO_REUSEPORT): the kernel gives each new connection to one "
            "of them by a hash of its four-tuple, and each has an accept queue of its own."
        )
    if socket.device is not None:
        yield f"It is bound to {socket.device}: only what comes in by that interface reaches it."
    if socket.unowned:
        yield _sentence(socket.unowned)


def queue_explained(queue: AcceptQueue) -> Iterator[str]:
    """Say what an accept queue's numbers are."""
    if queue.limit is None:
        yield (
            f"{_counted(queue.waiting, 'connection')} waiting to be accepted; the limit is unknown, because /proc does "
            "not have it."
        )
        return
    yield (
        f"{_counted(queue.waiting, 'connection')} waiting to be accepted, of a backlog of {queue.limit:,}; "
        f"Linux holds one more than the backlog, here {queue.limit + 1:,}."
    )
    if queue.full:
        yield (
            "The accept queue is full: the kernel drops every new SYN without a word, and clients try again after 1, 3 "
            "and 7 s. Accept faster or in more processes; a larger backlog (and net.core.somaxconn) only buys time."
        )


# -- connections ------------------------------------------------------------------------------------------


def _state(socket: ActiveSocket) -> Iterator[str]:
    info, timer = socket.info, socket.timer
    if socket.waits_at is not None:
        yield (
            f"It waits in the accept queue of {socket.waits_at}: the handshake is done and the peer believes that it "
            "is connected, but the program has not accepted it."
        )
    elif socket.state == states.SYN_SENT:
        count = timer.count if timer is not None else 0
        if count:
            yield (
                f"The SYN was sent {count + 1} times without an answer: the host is down, a firewall drops it, or the "
                "accept queue over there is full. fourtuple probe tells more."
            )
    elif socket.state == states.SYN_RECV:
        again = timer.count if timer is not None else 0
        yield (
            f"The SYN-ACK was sent {again + 1} times. Many of these are a SYN flood, clients whose way back is "
            "broken, or a listener with TCP_DEFER_ACCEPT whose clients say nothing."
        )
    elif socket.state == states.FIN_WAIT_2 and socket.inode:
        yield "Its program still holds it, and can receive: the peer may send as long as it likes (half-close)."
    elif socket.state == states.TIME_WAIT and timer is not None:
        yield (
            f"It is gone in {seconds(timer.seconds)}, costs a few hundred octets, and needs nothing. The same "
            "four-tuple cannot be opened again until then; other ports can."
        )
    elif socket.state == states.CLOSE_WAIT:
        age = "" if info is None else f" The last data came {seconds(info.last_data_recv / 1000)} ago."
        forgotten = info is not None and info.last_data_recv > _FORGOTTEN
        yield (
            f"Nothing ends this state but the program: it has to close.{age}"
            + (" It has probably forgotten to: a leak of descriptors, in its code." if forgotten else "")
        )
    elif socket.state == states.CLOSED:
        yield "connect(2) has not been called, has failed, or the connection has ended; the program has not closed it."


def _queues(socket: ActiveSocket) -> Iterator[str]:
    info = socket.info
    if socket.receive_queue:
        age = None if info is None else info.last_data_recv
        standing = f", and nothing new came for {seconds(age / 1000)}" if age is not None and age > _STANDING else ""
        reader = (
            "the program has not read it"
            if socket.waits_at is None
            else "it cannot be read before the connection is accepted"
        )
        yield (
            f"{octets(socket.receive_queue)} arrived, and {reader}{standing}. When its buffer is full the window "
            "closes, and the peer has to stop."
        )
    if not socket.send_queue or socket.state in (states.SYN_SENT, states.SYN_RECV):
        return
    text = f"{octets(socket.send_queue)} were sent by the program and not acknowledged by the peer"
    if info is None:
        yield f"{text}."
        return
    if socket.timer is not None and socket.timer.kind == "zero window":
        yield (
            f"{text}. The peer's receive window is closed: its program does not read. The kernel asks again in "
            f"{seconds(socket.timer.seconds)}; only the peer's program can change that."
        )
    elif info.retransmits:
        yield (
            f"{text}. {_counted(info.retransmits, 'timeout')} in a row brought no answer: the peer or the way to it "
            "is gone, and this goes on for a quarter of an hour (tcp_retries2). TCP_USER_TIMEOUT, or the program's "
            "own deadline, ends it earlier."
        )
    elif info.last_ack_recv > _STANDING:
        yield f"{text}, and no acknowledgement came for {seconds(info.last_ack_recv / 1000)}: it stands still."
    else:
        unsent = f"; {octets(info.notsent_bytes)} of it still here" if info.notsent_bytes else ""
        yield f"{text}: it is on its way{unsent}."


def _numbers(info: TcpInfo) -> Iterator[str]:
    if info.rtt:
        spread = (
            " It varies much: the way is loaded, or wireless." if info.rttvar > info.rtt and info.rtt > 1000 else ""
        )
        yield f"A round trip takes {seconds(info.rtt / 1e6)}, give or take {seconds(info.rttvar / 1e6)}.{spread}"
    if info.total_retrans:
        share = info.total_retrans / info.data_segs_out if info.data_segs_out else None
        told = "" if share is None or share > 1 else f", {share:.1%} of those with data"
        judged = (
            " That is more than a good path loses: look for a full link, a bad cable or Wi-Fi."
            if share is not None and share > _MANY_RETRANSMITTED
            else ""
        )
        yield f"{_counted(info.total_retrans, 'segment')} had to be sent again{told}.{judged}"
    if info.lost:
        yield f"{_counted(info.lost, 'segment')} are believed lost just now."
    if info.snd_ssthresh != _UNLIMITED_SSTHRESH and info.snd_cwnd <= info.snd_ssthresh and info.snd_cwnd < 10:
        yield (
            f"The congestion window is {_counted(info.snd_cwnd, 'segment')}: losses or idleness have closed it, and it "
            "opens with every acknowledgement."
        )
    limit = _LIMITS.get(info.limited_by or "")
    if limit:
        yield limit


_LIMITS = {
    "receive window": "Most of the time the peer's receive window limited sending: its program reads too slowly.",
    "send buffer": "Most of the time our send buffer limited sending: a larger SO_SNDBUF (or none, for autotuning) "
    "helps.",
    "network": "The network limits sending: the congestion window is what the path takes.",
    "application": "The application limits sending: the path would take more than it offers.",
}


def _unix(socket: UnixSocket) -> Iterator[str]:
    if socket.state == states.LISTEN:
        yield "It awaits connections at its path."
        if socket.queue is not None:
            yield from queue_explained(socket.queue)
    elif socket.state == states.ESTABLISHED:
        yield "The connection is open."
    else:
        yield "It is not connected."
    if socket.unowned:
        yield _sentence(socket.unowned)


# -- the whole machine ------------------------------------------------------------------------------------


def overview(seen: Snapshot) -> list[str]:
    """Return sentences about all sockets together: what no single one shows."""
    sentences = []
    ended = sum(each.state == states.TIME_WAIT for each in seen.connections)
    if ended >= MANY_TIME_WAIT:
        sentences.append(
            f"{ended:,} connections are in TIME-WAIT: so many were closed by this machine in the last minute. They "
            "cost little. Where this machine is their client, each keeps one local port from being used towards the "
            "same server: keep connections open instead of making one for each request (fourtuple ports tells how "
            "near the end of the ports is)."
        )
    full = [each for each in seen.listeners if each.queue.full]
    if full:
        where = ", ".join(str(each.address) for each in full[:5])
        sentences.append(f"The accept queue is full at {where}: new clients get no answer there.")
    if seen.source == "proc":
        sentences.append(
            f"The kernel was read by /proc ({seen.why or 'as you asked'}): there is no TCP_INFO there, and no limit of "
            "accept queues."
        )
    return sentences


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
