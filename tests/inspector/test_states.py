"""All eleven states of TCP, produced for real, shown and explained."""

from __future__ import annotations

import socket

import pytest

from fourtuple.inspector import states
from fourtuple.inspector.explaining import STATES, explained
from fourtuple.inspector.model import ActiveSocket, PassiveSocket
from fourtuple.inspector.reading import why_unowned
from fourtuple.net.tcpinfo import TcpInfo
from inspector.scenes import SCENES, in_state

#: What the explanation of each says, beside what the state is.
SAYS = {
    states.LISTEN: "0 connections waiting to be accepted, of a backlog of",
    states.SYN_SENT: "This end has sent its SYN and waits for the peer's answer.",
    states.SYN_RECV: "The SYN-ACK was sent",
    states.ESTABLISHED: "A round trip takes",
    states.FIN_WAIT_1: "the peer has not acknowledged it yet",
    states.FIN_WAIT_2: "Its program still holds it, and can receive",
    states.CLOSING: "this one waits for the peer's acknowledgement of its own",
    states.TIME_WAIT: "It is gone in",
    states.CLOSE_WAIT: "Nothing ends this state but the program: it has to close.",
    states.LAST_ACK: "waits for the acknowledgement of its FIN",
}


def test_there_are_eleven() -> None:
    assert len(states.ALL) == len(set(states.ALL)) == 11
    assert {*SCENES, states.CLOSED} == set(states.ALL) == STATES.keys()


@pytest.mark.parametrize("state", SCENES)
def test_a_state_is_shown_and_explained(state: str) -> None:
    with in_state(state) as found:
        assert found.state == state
        told = explained(found)
        assert told[0] == STATES[state]
        assert SAYS[state] in " ".join(told)
        nobody = state in (states.TIME_WAIT, states.SYN_RECV)
        assert bool(found.inode) is not nobody
        if nobody:
            assert found.uid is None
            assert "no process" in why_unowned(found, 0)
        if isinstance(found, ActiveSocket):
            # TIME-WAIT and SYN-RECV have no socket of their own, and so no TCP_INFO.
            assert (found.info is None) is nobody
        else:
            assert isinstance(found, PassiveSocket)


def test_closed_is_shown_by_ones_own_socket() -> None:
    """The kernel lists no socket that is CLOSED."""
    with socket.socket() as sock:
        assert states.name_of(TcpInfo.of(sock).state) == states.CLOSED
    assert STATES[states.CLOSED].startswith("There is no connection")


def test_a_state_that_is_newer_than_the_table() -> None:
    assert states.name_of(12) == states.SYN_RECV  # NEW_SYN_RECV
    assert states.name_of(13) == "state-13"
