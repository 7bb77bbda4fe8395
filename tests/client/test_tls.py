"""Over TLS: a record that was made counts as sent, and tickets of the server are no messages."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator

import pytest

from certificates import serving_context, trusting
from client.conftest import BRIEFLY, SECONDS, Clients, Peer, failure_of, until
from fourtuple import Fate, Limits, Pool
from fourtuple.blocking import Client
from fourtuple.errors import TlsError
from fourtuple.events import ClientConnectFailed


@pytest.fixture
def secure() -> Iterator[Peer]:
    peer = Peer(serving_context())
    yield peer
    peer.close()


def test_a_request_over_tls(clients: Clients, secure: Peer) -> None:
    # Tickets (RFC 8446, 4.6.1) come after the handshake: the check before each use must not take them for messages.
    options = {"tls": trusting(), "server_hostname": "localhost", "pool": Pool(check_after=0.0)}
    client = clients(secure, **options)
    asking = clients.begin(client.request, b"one")
    line = secure.accept()
    for message in (b"one", b"two"):
        assert line.hear() == message
        line.say(message.upper())
        assert asking.result(SECONDS) == message.upper()
        if message == b"one":
            asking = clients.begin(client.request, b"two")
    assert client.statistics.connects == 1


def test_a_record_that_was_made_is_perhaps_sent(clients: Clients, secure: Peer) -> None:
    """The kernel has taken nothing of the second request, but its record exists: it may not be called unsent."""
    limits = Limits(high_water=1 << 27, max_outbox=1 << 27)
    client = clients(secure, tls=trusting(), server_hostname="localhost", limits=limits)
    first = clients.begin(client.request, bytes(16) * (1 << 20))
    line = secure.accept()
    assert line.socket.recv(1)
    second = clients.begin(client.request, b"second")
    until(lambda: client.statistics.in_use == 1 and client.statistics.requests == 2 and not client.statistics.waiting)
    line.reset()
    assert failure_of(first).fate is Fate.PERHAPS_SENT
    assert failure_of(second).fate is Fate.PERHAPS_SENT


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_sends_no_close_notify(secure: Peer) -> None:
    """It drops the connection with close(2) alone: the parent's conversation goes on."""
    with Client(secure.address, "line", tls=trusting(), server_hostname="localhost", deadlines=BRIEFLY) as client:
        ready = threading.Thread(target=client.wait_ready, args=(SECONDS,))
        ready.start()
        line = secure.accept()
        ready.join()
        pid = os.fork()
        if pid == 0:
            client.close()
            del client
            gc.collect()
            os._exit(0)
        os.waitpid(pid, 0)
        answering = threading.Thread(target=lambda: line.say(line.hear().upper()))
        answering.start()
        assert client.request(b"from the parent", SECONDS) == b"FROM THE PARENT"
        answering.join()


def test_a_certificate_that_does_not_verify_is_a_failed_attempt(clients: Clients, secure: Peer) -> None:
    client = clients(secure, tls=True, server_hostname="localhost")
    asking = clients.begin(client.request, b"one", 1.0)
    with pytest.raises(OSError, match=r"unknown ca|alert"):
        secure.accept()
    until(lambda: any(isinstance(event, ClientConnectFailed) for event in clients.events))
    failed = next(event for event in clients.events if isinstance(event, ClientConnectFailed))
    assert isinstance(failed.error, TlsError)
    client.close()
    assert failure_of(asking).fate is Fate.NOT_SENT
