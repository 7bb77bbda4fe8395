"""connect() failing. Refused, unanswered, reset: three different errors, three explanations."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from fourtuple.blocking import connect
from fourtuple.errors import ConnectError, ConnectRefused, ConnectReset, ConnectTimeout
from fourtuple.net import connecting
from fourtuple.net.sockets import reset_on_close


def refused() -> ConnectError:
    with socket.socket() as bound:  # bound, so that the port is nobody else's; passive it is not
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectRefused) as caught:
            connect(f"127.0.0.1:{bound.getsockname()[1]}", "line")
    return caught.value


def unanswered() -> ConnectError:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as passive, socket.socket() as only:
        only.connect(passive.getsockname())  # the queue is full now, and further SYNs are dropped
        with pytest.raises(ConnectTimeout) as caught:
            connect(f"127.0.0.1:{passive.getsockname()[1]}", "line", timeout=0.2)
    return caught.value


def reset() -> ConnectError:
    with socket.create_server(("127.0.0.1", 0)) as passive:
        steps = connecting.connecting(f"127.0.0.1:{passive.getsockname()[1]}")
        step = next(steps)  # SYN is on its way
        assert isinstance(step, connecting.Wait)
        active, _ = passive.accept()
        reset_on_close(active)
        active.close()  # RST, before the client looks again
        with pytest.raises(ConnectReset) as caught:
            connecting.run(steps)
    return caught.value


SITUATIONS = (refused, unanswered, reset)


def test_refused_says_that_nothing_listens() -> None:
    error = refused()
    assert isinstance(error, ConnectionRefusedError)
    assert str(error) == f"cannot connect to {error.address}: refused"
    assert "no socket listens at this address and port" in error.explanation


def test_unanswered_says_how_long_it_waited() -> None:
    error = unanswered()
    assert isinstance(error, TimeoutError)
    assert str(error) == f"cannot connect to {error.address}: no answer in time (waited 0.2 s)"
    assert "accept queue is full" in error.explanation


def test_reset_says_that_the_handshake_succeeded() -> None:
    error = reset()
    assert isinstance(error, ConnectionResetError)
    assert str(error).startswith(f"cannot connect to {error.address}: reset at once")
    assert "The handshake succeeded" in error.explanation


def test_three_errors_three_explanations() -> None:
    errors = [situation() for situation in SITUATIONS]
    assert len({type(error) for error in errors}) == len({error.explanation for error in errors}) == 3


def test_the_example(run_example: Callable[..., list[str]]) -> None:
    # The last one is ConnectReset when RST came while connect() still looked, PeerReset when it came later.
    first, second, third = (line for line in run_example("connect_fails") if line[:1].strip())
    assert first.startswith("ConnectRefused: cannot connect to ")
    assert second.startswith("ConnectTimeout: cannot connect to ")
    assert third.startswith(("ConnectReset: cannot connect to ", "PeerReset: "))
