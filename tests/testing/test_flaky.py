"""FlakyListener: accept(2) by a script, on a server that serves."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from fourtuple import events
from fourtuple.errors import ConnectError, ConnectionLost, EndOfFile
from fourtuple.services.upper import service
from fourtuple.testing import FlakyListener


def test_a_waiting_connection_is_accepted_when_the_script_has_ended(tcp_server: Any, tcp_client: Any) -> None:
    seen: list[events.Event] = []
    server = tcp_server(service, observer=seen.append)
    out = OSError(errno.ENFILE, "of my own")
    with FlakyListener(server, errno.ECONNABORTED, None, errno.EMFILE, out) as flaky:
        assert tcp_client(server).request(b"one", timeout=30) == b"ONE"
        assert tcp_client(server).request(b"two", timeout=30) == b"TWO"
        assert flaky.left == 0
        assert [each.errno for each in flaky.raised] == [errno.ECONNABORTED, errno.EMFILE, errno.ENFILE]
        assert flaky.raised[2] is out
        assert repr(flaky).endswith("raised ECONNABORTED, EMFILE, ENFILE, 0 left>")
    assert server.statistics.accept_failures == 3
    failed = [event for event in seen if isinstance(event, events.AcceptFailed)]
    assert [event.fatal for event in failed] == [False, False]  # a lack of descriptors is said once
    assert tcp_client(server).request(b"three", timeout=30) == b"THREE"


def test_a_fatal_error_ends_the_listener(tcp_server: Any, tcp_client: Any) -> None:
    server = tcp_server(service)
    listener = server.listeners[0]
    with FlakyListener(listener, errno.EBADF):
        with pytest.raises((ConnectError, ConnectionLost, EndOfFile)):
            tcp_client(server).receive(timeout=30)
        while not listener.closed:  # in the server's thread
            pass
    with pytest.raises(ValueError, match="is closed"):
        FlakyListener(listener).__enter__()
