"""The accept queue: its arithmetic, who waits in it, and what happens to the one for whom there is no room."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from typing import Any

import pytest

from fourtuple.inspector import sockets, states
from fourtuple.inspector.explaining import explained, overview
from fourtuple.inspector.model import ActiveSocket
from fourtuple.inspector.reading import counters, snapshot
from fourtuple.net.backlog import AcceptQueue
from inspector.scenes import alone, arrived, listener_alone, port_of


def test_queue_and_info_are_one_model_on_both_sides() -> None:
    """What getsockopt() tells of one's own listener is what the inspector tells of anyone's."""
    with ExitStack() as stack:
        listener = stack.enter_context(listener_alone(backlog=3))
        clients = [stack.enter_context(socket.create_connection(listener.getsockname())) for _ in range(4)]
        seen = sockets(f"port={port_of(listener)}", owners=False)
        (passive,) = seen.listeners
        assert passive.queue == AcceptQueue.of(listener) == AcceptQueue(waiting=4, limit=3)
        assert passive.queue.full
        assert passive.queue.holds == 4
        assert {name.remote_port for name in passive.waiting} == {port_of(client) for client in clients}
        waiting = [each for each in seen.connections if each.waits_at is not None]
        assert len(waiting) == 4
        assert all(each.waits_at == passive.address and each.inode == 0 and each.both_ends_here for each in waiting)


def overflowed(times: int) -> Any:
    """Return the counters once they have so many overflows: loopback delivers a SYN behind the call that sends it."""
    while (now := counters()).overflows < times:
        time.sleep(0.01)
    return now


def backlog_of_three() -> dict[str, Any]:
    """In a namespace of its own, where nobody else moves the counters."""
    with ExitStack() as stack:
        before = counters()
        listener = stack.enter_context(listener_alone(backlog=3))
        for _ in range(4):
            stack.enter_context(socket.create_connection(listener.getsockname()))
        full = sockets(f"local-port={port_of(listener)}")
        between = counters()
        fifth = stack.enter_context(socket.socket())
        fifth.setblocking(False)
        fifth.connect_ex(listener.getsockname())
        moved = [overflowed(1)]
        late = arrived(port_of(fifth), states.SYN_SENT)
        while isinstance(late, ActiveSocket) and late.timer is not None and late.timer.count == 0:
            late = arrived(port_of(fifth), states.SYN_SENT)  # the SYN is sent again after a second
        assert isinstance(late, ActiveSocket)
        assert late.timer is not None
        moved.append(overflowed(late.timer.count + 1))
        (passive,) = full.listeners
        return {
            "waiting": passive.queue.waiting,
            "limit": passive.queue.limit,
            "explained": explained(passive, moved[0]),
            "overview": overview(full),
            "late": explained(late),
            "sent": late.timer.count + 1,
            "programs": [each.programs for each in full.connections],
            "unowned": [each.unowned for each in full.connections],
            "overflows": [each.overflows for each in (before, between, *moved)],
            "drops": [each.drops for each in (before, between, *moved)],
        }


def test_four_wait_of_three_and_the_fifth_is_dropped() -> None:
    seen = alone(backlog_of_three)
    assert (seen["waiting"], seen["limit"]) == (4, 3)
    told = " ".join(seen["explained"])
    assert "4 connections waiting to be accepted, of a backlog of 3; Linux holds one more" in told
    assert "Waiting: 127.0.0.1:" in told
    assert "The accept queue is full: the kernel drops every new SYN without a word" in told
    # Nothing before the fifth; one with its SYN, and one more with each time that it is sent again.
    assert seen["overflows"] == seen["drops"]
    first, full, fifth, again = seen["overflows"]
    assert (first, full) == (0, 0)
    assert 1 <= fifth <= again
    assert 2 <= seen["sent"] <= again
    assert f"The machine has counted {fifth} overflows" in told
    assert "The accept queue is full at 127.0.0.1:" in " ".join(seen["overview"])
    assert seen["programs"] == [""] * 4
    assert all("waits in the accept queue of 127.0.0.1:" in why for why in seen["unowned"])
    assert f"The SYN was sent {seen['sent']} times without an answer" in " ".join(seen["late"])


def test_the_interface_of_a_listener_is_named() -> None:
    with socket.socket() as listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
        except PermissionError as error:
            pytest.skip(f"binding to an interface is not allowed here: {error}")
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        (passive,) = sockets(f"listening and port={port_of(listener)} and device=lo").listeners
    assert passive.device == "lo"
    assert "It is bound to lo: only what comes in by that interface reaches it." in explained(passive)


def test_by_proc_the_limit_is_unknown() -> None:
    with ExitStack() as stack:
        listener = stack.enter_context(listener_alone(backlog=3))
        stack.enter_context(socket.create_connection(listener.getsockname()))
        seen = snapshot(names=frozenset({states.LISTEN}), source="proc")
        (passive,) = (each for each in seen.listeners if each.address.port == port_of(listener))
        assert passive.queue == AcceptQueue(waiting=1, limit=None)
        assert "the limit is unknown, because /proc does not have it" in " ".join(explained(passive))
