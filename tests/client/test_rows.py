"""The semantics of a client that stays connected, one after the other, with both kinds of client."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

import fourtuple
import fourtuple.blocking
from client.conftest import AT_ONCE, SECONDS, Clients, Peer, failure_in, failure_of, until
from fourtuple import Deadlines, Fate, Gap, Limits, Pool, Pushes, Reconnect, Retries, Sockets
from fourtuple.errors import (
    AddressError,
    ConnectionBusy,
    ConnectionEnded,
    ConnectionLost,
    ConnectRefused,
    ConnectTimeout,
    DeadlinePassed,
    EncodeError,
    EndOfFile,
    HandlerFailed,
    NotConnected,
    OptionError,
    PermanentFailure,
    PushConsumerDied,
    TooManyWaiting,
    UnexpectedMessage,
)
from fourtuple.events import ClientConnectFailed, ClientDisconnected, ClientStateChanged, Reconnected
from fourtuple.framing import Fixed, Line, mapped


def reasons(clients: Clients) -> list[str]:
    return [event.why for event in clients.events if isinstance(event, ClientDisconnected)]


# -- 1: fates ---------------------------------------------------------------------------------------------


def test_the_first_request_connects_and_returns_its_reply(clients: Clients, peer: Peer) -> None:
    client = clients(peer)
    assert client.state == "new"
    asking = clients.begin(client.request, b"one")
    line = peer.accept()
    assert line.hear() == b"one"
    line.say(b"ONE")
    assert asking.result(SECONDS) == b"ONE"
    assert client.state == "ready"


def test_the_kernel_took_octets(clients: Clients, peer: Peer) -> None:
    client = clients(peer)
    asking = clients.begin(client.request, b"one")
    line = peer.accept()
    assert line.hear() == b"one"
    line.reset()
    error = failure_of(asking)
    assert isinstance(error, ConnectionLost)
    assert error.fate == "perhaps_sent"
    assert "the server may have carried the request out" in error.__notes__[0]
    assert client.statistics.retried_perhaps_sent == 0


def test_the_kernel_took_nothing_of_the_second(clients: Clients, peer: Peer) -> None:
    """The first request fills every buffer; the second waits in the outbox: it is not sent, and is tried again."""
    client = clients(peer, limits=Limits(high_water=1 << 27, max_outbox=1 << 27))
    first = clients.begin(client.request, bytes(16) * (1 << 20))
    line = peer.accept()
    assert line.socket.recv(1)
    second = clients.begin(client.request, b"second")
    until(lambda: sum(member.live for member in client.pool.members) == 2)  # it has its place: it is counted before
    line.reset()
    assert failure_of(first).fate is Fate.PERHAPS_SENT
    line = peer.accept()
    assert line.hear() == b"second"
    line.say(b"SECOND")
    assert second.result(SECONDS) == b"SECOND"
    assert client.statistics.retried_not_sent == 1


def test_no_request_is_put_behind_a_crowded_outbox(clients: Clients, peer: Peer) -> None:
    client = clients(peer)
    first = clients.begin(client.request, bytes(16) * (1 << 20))
    line = peer.accept()
    assert line.socket.recv(1)
    second = clients.begin(client.request, b"second")
    until(lambda: client.statistics.requests == 2)
    assert client.statistics.waiting == 1
    line.reset()
    assert failure_of(first).fate is Fate.PERHAPS_SENT
    line = peer.accept()
    assert line.hear() == b"second"
    line.say(b"SECOND")
    assert second.result(SECONDS) == b"SECOND"


@pytest.mark.parametrize("where", ["connected", "away", "lost"])
def test_a_message_that_cannot_be_sent(clients: Clients, peer: Peer, where: str) -> None:
    """It fails at once, also while the server is away."""
    if where == "away":
        peer.stop()
    client = clients(peer, Fixed(4), retries=Retries(delay=SECONDS, jitter=0.0) if where == "lost" else AT_ONCE)
    if where != "away":
        client.wait_ready(SECONDS)
        line = peer.accept()
    if where == "lost":
        peer.stop()
        line.reset()
        until(lambda: client.state.startswith("waiting") or clients.kind == "blocking")
    with pytest.raises(EncodeError) as caught:
        client.request(b"five!", timeout=None)
    assert caught.value.fate is Fate.NOT_SENT
    assert client.statistics.waiting == 0
    if where != "connected":
        return
    clients.begin(client.request, b"four")
    until(lambda: client.statistics.in_use == 1)
    assert len(reasons(clients)) == 0


def test_a_reply_that_does_not_map(clients: Clients, peer: Peer) -> None:
    client = clients(peer, "line+json")
    asking = clients.begin(client.request, {"a": 1})
    line = peer.accept()
    assert line.hear() == b'{"a":1}'
    line.say(b"no json")
    assert failure_of(asking).fate is Fate.ANSWERED
    asking = clients.begin(client.request, [])
    assert line.hear() == b"[]"
    line.say(b"true")
    assert asking.result(SECONDS) is True


# -- 2, 3, 4: what is tried again ---------------------------------------------------------------------------


def test_an_idempotent_request_is_repeated(clients: Clients, peer: Peer) -> None:
    client = clients(peer)
    asking = clients.begin(client.request, b"again", idempotent=True)
    line = peer.accept()
    assert line.hear() == b"again"
    line.reset()
    line = peer.accept()
    assert line.hear() == b"again"
    line.say(b"AGAIN")
    assert asking.result(SECONDS) == b"AGAIN"
    assert client.statistics.retried_perhaps_sent == 1


def test_a_predicate_tells_what_is_idempotent(clients: Clients, peer: Peer) -> None:
    client = clients(peer, idempotent=lambda message: message.startswith(b"get"))
    asking = clients.begin(client.request, b"get")
    line = peer.accept()
    assert line.hear() == b"get"
    line.close()
    line = peer.accept()
    assert line.hear() == b"get"
    line.say(b"got")
    assert asking.result(SECONDS) == b"got"
    asking = clients.begin(client.request, b"set")
    assert line.hear() == b"set"
    line.reset()
    assert failure_of(asking).fate is Fate.PERHAPS_SENT


def test_the_budget_bounds_retries(clients: Clients, peer: Peer) -> None:
    client = clients(peer, idempotent=True, retries=AT_ONCE.replace(budget_rate=0.1, budget_share=0.0))
    asking = clients.begin(client.request, b"again")
    for _ in range(2):  # a tenth a second for ten seconds is one
        line = peer.accept()
        assert line.hear() == b"again"
        line.reset()
    assert failure_of(asking).fate is Fate.PERHAPS_SENT
    assert (client.statistics.retried_perhaps_sent, client.statistics.retries_refused) == (1, 1)
    assert client.statistics.retry_budget == 0


# -- 5, 6, 7: while the server is away ----------------------------------------------------------------------


def test_a_request_waits_for_the_server(clients: Clients, peer: Peer) -> None:
    peer.stop()
    client = clients(peer)
    asking = clients.begin(client.request, b"patience")
    until(lambda: sum(isinstance(event, ClientConnectFailed) for event in clients.events) > 3)
    peer.start()
    line = peer.accept()
    assert line.hear() == b"patience"
    line.say(b"PATIENCE")
    assert asking.result(SECONDS) == b"PATIENCE"


def failed_before(call: Callable[[], object]) -> pytest.ExceptionInfo[DeadlinePassed]:
    """Call until an attempt to connect fails before the deadline of the call; on a busy machine it may be the later."""
    while True:
        with pytest.raises(DeadlinePassed) as caught:
            call()
        if caught.value.__cause__ is not None:
            return caught


def test_its_deadline_names_the_last_failure(clients: Clients, peer: Peer) -> None:
    peer.stop()
    client = clients(peer)
    caught = failed_before(lambda: client.request(b"soon", timeout=0.05))
    caught.match(r"not connected in that time: cannot connect to .* refused")
    assert caught.value.fate is Fate.NOT_SENT
    assert isinstance(caught.value.__cause__, ConnectRefused)
    assert client.statistics.waiting == 0


def test_the_name_is_looked_up_for_each_connection(
    clients: Clients, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[str] = []
    really = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *arguments: Any, flags: int = 0, **options: Any) -> Any:
        if host == "server.test":
            if flags & socket.AI_NUMERICHOST:
                raise socket.gaierror
            looked_up.append(host)
            host = "127.0.0.1"
        return really(host, port, *arguments, flags=flags, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    client = clients(f"server.test:{peer.port}")
    for number in range(2):
        asking = clients.begin(client.request, b"one")
        line = peer.accept()
        assert line.hear() == b"one"
        line.say(b"ONE")
        asking.result(SECONDS)
        assert len(looked_up) == number + 1
        client.expire()


def test_the_state_tells_how_long_it_waits(clients: Clients, peer: Peer) -> None:
    peer.stop()
    client = clients(peer, retries=Retries(delay=20.0, jitter=0.0, max_delay=20.0))
    failed_before(lambda: client.request(b"soon", timeout=0.05))
    until(lambda: client.state == "waiting")
    assert 0 < client.health.seconds <= 20
    assert re.search(r", waiting\([0-9]+\.[0-9] s\), ", repr(client))
    assert not client.health.ok
    assert isinstance(client.health.error, ConnectRefused)


def test_wait_ready_connects_or_raises_at_its_deadline(clients: Clients, peer: Peer) -> None:
    client = clients(peer)
    client.wait_ready(SECONDS)
    assert client.state == "ready"
    assert client.statistics.requests == 0
    peer.stop()
    away = clients(peer)
    caught = failed_before(lambda: away.wait_ready(0.02))
    caught.match("wait_ready deadline")
    assert isinstance(caught.value.__cause__, ConnectRefused)


def test_with_fail_fast_a_request_does_not_wait_for_the_next_attempt(clients: Clients, peer: Peer) -> None:
    peer.stop()
    client = clients(peer, pool=Pool(fail_fast=True), retries=Retries(delay=60.0, max_delay=60.0))
    for _ in range(2):  # the attempt that fails, and the wait for the next
        with pytest.raises(ConnectRefused) as caught:
            client.request(b"at once")
        assert caught.value.fate is Fate.NOT_SENT
    assert client.statistics.connects_failed == 1


def test_no_more_than_max_waiting_wait(clients: Clients, peer: Peer) -> None:
    peer.stop()
    client = clients(peer, pool=Pool(max_waiting=3), retries=Retries(delay=60.0, max_delay=60.0))
    waiting = [clients.begin(client.request, b"one") for _ in range(3)]
    until(lambda: client.statistics.waiting == 3)
    with pytest.raises(
        TooManyWaiting, match=r"3 requests wait .* no more than 3 are allowed \(max_waiting\)"
    ) as caught:
        client.request(b"four")
    assert caught.value.fate is Fate.NOT_SENT
    client.close()
    assert {failure_of(each).fate for each in waiting} == {Fate.NOT_SENT}


def test_a_message_without_a_reply_never_waits(clients: Clients, peer: Peer) -> None:
    client = clients(peer)
    with pytest.raises(
        NotConnected, match=r"\((new|connecting)\), and send\(\) .*; call wait_ready\(\) first"
    ) as caught:
        client.send(b"news")
    assert caught.value.fate is Fate.NOT_SENT
    client.wait_ready(SECONDS)
    client.send(b"news")
    line = peer.accept()
    assert line.hear() == b"news"


def test_a_message_without_a_reply_is_sent_beside_all_requests_that_may_be_outstanding(
    clients: Clients, peer: Peer
) -> None:
    """It may be the one that cancels them."""
    client = clients(peer, pool=Pool(max_pipelined=2))
    asked = [clients.begin(client.request, b"one", SECONDS)]
    line = peer.accept()
    assert line.hear() == b"one"
    asked.append(clients.begin(client.request, b"two", SECONDS))
    assert line.hear() == b"two"
    client.send(b"cancel")
    assert line.hear() == b"cancel"
    line.say(b"ONE", b"TWO")
    assert [each.result(SECONDS) for each in asked] == [b"ONE", b"TWO"]


# -- 8: greet -----------------------------------------------------------------------------------------------


def test_greet_comes_before_any_request(clients: Clients, peer: Peer) -> None:
    client = clients(peer, greet=lambda connection: connection.request(b"login"))
    asking = clients.begin(client.request, b"one", idempotent=True)
    for _ in range(2):
        line = peer.accept()
        assert line.hear() == b"login"
        until(lambda: client.state == "greeting")
        line.say(b"welcome")
        assert line.hear() == b"one"
        line.reset() if _ == 0 else line.say(b"ONE")
    assert asking.result(SECONDS) == b"ONE"


def test_greet_that_fails_is_a_failed_attempt(clients: Clients, peer: Peer) -> None:
    client = clients(peer, greet=lambda connection: connection.request(b"login"))
    asking = clients.begin(client.request, b"one")
    line = peer.accept()
    assert line.hear() == b"login"
    line.close()
    line = peer.accept()
    assert line.hear() == b"login"
    line.say(b"welcome")
    assert line.hear() == b"one"
    line.say(b"ONE")
    assert asking.result(SECONDS) == b"ONE"
    assert client.statistics.connects_failed == 1


def test_greet_is_inside_the_deadline_of_connecting(clients: Clients, peer: Peer) -> None:
    client = clients(peer, greet=lambda connection: connection.request(b"login"), timeout=0.05)
    asking = clients.begin(client.request, b"one")
    while peer.accept().hear() != b"login":  # which is never answered
        pass  # on a busy machine the deadline may have passed before
    peer.accept()
    until(lambda: client.statistics.connects_failed > 0)
    assert isinstance(
        next(each for each in clients.events if isinstance(each, ClientConnectFailed)).error, DeadlinePassed
    )
    client.close()
    assert failure_of(asking).fate is Fate.NOT_SENT


def test_a_permanent_failure_ends_it_for_all(clients: Clients, peer: Peer) -> None:
    passwords = [PermanentFailure("the password is wrong")]

    def greet(_: Any) -> None:
        if passwords:
            raise passwords[0]

    client = clients(peer, greet=greet, retries=Retries())
    asking = [clients.begin(client.request, b"one") for _ in range(3)]
    for each in asking:
        error = failure_of(each)
        assert isinstance(error, PermanentFailure)
        assert error.fate is Fate.NOT_SENT
    assert client.state == "failed"
    with pytest.raises(PermanentFailure, match="the password is wrong"):
        client.request(b"two")
    with pytest.raises(PermanentFailure):
        client.wait_ready()
    assert client.statistics.connects_failed == 1
    passwords.clear()
    client.expire()
    client.wait_ready(SECONDS)


@pytest.mark.parametrize("method", ["request", "wait_ready", "send", "drain", "receive"])
def test_greet_that_waits_for_its_own_client_fails_at_once(clients: Clients, peer: Peer, method: str) -> None:
    def greet(_: Any) -> Any:
        ours = client.client if clients.kind == "async" else client
        match method:
            case "request" | "send":
                return getattr(ours, method)(b"login")
            case "receive":
                return ours.pushes().receive()
            case _:
                return getattr(ours, method)()

    client = clients(peer, greet=greet, pushes=Pushes(), retries=Retries())
    shown = r"pushes\(\).receive" if method == "receive" else method
    text = rf"client of 127.0.0.1:\d+: {shown}\(\) was called in greet=, which must use the connection that it is given"
    with pytest.raises(PermanentFailure, match=text) as caught:
        client.request(b"one", SECONDS)
    assert caught.value.fate is Fate.NOT_SENT
    assert client.state == "failed"
    assert client.statistics.connects_failed == 1


# -- 10: abandoned replies ----------------------------------------------------------------------------------


def test_an_abandoned_reply_keeps_its_place(clients: Clients, peer: Peer) -> None:
    client = clients(peer)
    client.wait_ready(SECONDS)
    asking = clients.begin(client.request, b"slow", timeout=0.2)
    line = peer.accept()
    assert line.hear() == b"slow"
    error = failure_of(asking)
    assert (type(error), error.fate) == (DeadlinePassed, Fate.PERHAPS_SENT)
    assert (client.statistics.in_use, client.statistics.abandoned) == (0, 1)
    asking = clients.begin(client.request, b"quick")
    assert line.hear() == b"quick"
    line.say(b"SLOW", b"QUICK")
    assert asking.result(SECONDS) == b"QUICK"
    assert client.statistics.late_replies == 1
    assert client.statistics.abandoned == 0


def test_no_reply_goes_to_another_request_behind_one_that_was_never_answered(clients: Clients, peer: Peer) -> None:
    """Several at once, in the order of the requests: each is answered with its own reply, or fails."""
    client = clients(peer, pool=Pool(request_timeout=0.3, whole_timeout=SECONDS))
    client.wait_ready(SECONDS)

    def serve() -> None:
        with suppress(OSError):
            while True:
                line = peer.accept()
                while message := line.hear():
                    if message != b"never":
                        line.say(message.upper())

    serving = clients.begin(serve)
    with pytest.raises(DeadlinePassed):
        client.request(b"never", timeout=0.05)
    asked = {message: clients.begin(client.request, message) for message in (b"%d a" % each for each in range(8))}
    outcomes = [(message, each.exception(SECONDS) or each.result()) for message, each in asked.items()]
    wrong = [each for each in outcomes if isinstance(each[1], bytes) and each[1] != each[0].upper()]
    assert not wrong
    assert any(isinstance(each[1], DeadlinePassed) for each in outcomes)  # its reply was taken for the late one
    assert "abandoned" in reasons(clients)
    peer.shut()
    client.close()
    serving.result(SECONDS)


def test_too_many_abandoned_replies_end_the_connection(clients: Clients, peer: Peer) -> None:
    client = clients(peer, pool=Pool(max_abandoned=2))
    client.wait_ready(SECONDS)
    peer.accept()
    for _ in range(3):
        with pytest.raises(DeadlinePassed):
            client.request(b"slow", timeout=0.05)
    assert reasons(clients) == ["abandoned"]
    asking = clients.begin(client.request, b"quick", idempotent=True)
    line = peer.accept()
    assert line.hear() == b"quick"
    line.say(b"QUICK")
    assert asking.result(SECONDS) == b"QUICK"


def test_an_abandoned_reply_that_never_comes_ends_the_connection(clients: Clients, peer: Peer) -> None:
    client = clients(peer, pool=Pool(request_timeout=0.05))
    client.wait_ready(SECONDS)
    asking = clients.begin(client.request, b"slow")
    peer.accept()
    failure_of(asking)
    again = clients.begin(client.request, b"next")  # twice the deadline of a request passes in its time
    failure_of(again)
    failure_of(clients.begin(client.request, b"last", timeout=0.2))  # by its own deadline, or by the connection's end
    assert "abandoned" in reasons(clients)


# -- 12, 13: the pool ---------------------------------------------------------------------------------------


def test_a_pool_of_two_serves_two_at_once(clients: Clients, peer: Peer) -> None:
    client = clients(peer, pool=Pool(max_connections=2, max_pipelined=1))
    asking = [clients.begin(client.request, b"one")]
    one = peer.accept()
    assert one.hear() == b"one"
    asking.append(clients.begin(client.request, b"two"))
    two = peer.accept()
    assert two.hear() == b"two"
    asking.append(clients.begin(client.request, b"three"))
    until(lambda: client.statistics.waiting == 1)
    assert client.statistics.in_use == 2
    two.say(b"TWO")
    assert two.hear() == b"three"
    two.say(b"THREE")
    assert [each.result(SECONDS) for each in asking[1:]] == [b"TWO", b"THREE"]
    one.say(b"ONE")
    assert asking[0].result(SECONDS) == b"ONE"
    assert peer.nobody_came()
    # The connection used last is used next.
    asking = [clients.begin(client.request, b"four")]
    assert one.hear() == b"four"
    one.say(b"FOUR")
    asking[0].result(SECONDS)


def test_requests_are_pipelined(clients: Clients, peer: Peer) -> None:
    client = clients(peer)
    asking = []
    line = None
    for number in range(5):
        asking.append(clients.begin(client.request, b"%d" % number))
        line = line or peer.accept()
        assert line.hear() == b"%d" % number  # and none is answered yet
    assert line is not None
    line.say(*(b"=%d" % number for number in range(5)))
    assert [each.result(SECONDS) for each in asking] == [b"=%d" % number for number in range(5)]
    assert client.statistics.connects == 1


def test_after_max_requests_a_connection_is_replaced(clients: Clients, peer: Peer) -> None:
    client = clients(peer, pool=Pool(max_requests=2))
    for round_ in range(2):
        line = None
        for _ in range(2):
            asking = clients.begin(client.request, b"one")
            line = line or peer.accept()
            assert line.hear() == b"one"
            line.say(b"ONE")
            asking.result(SECONDS)
        assert line is not None
        assert line.hear() == b""
        until(lambda round_=round_: client.statistics.closed_requests == round_ + 1)


def test_expire_replaces_every_connection(clients: Clients, peer: Peer) -> None:
    client = clients(peer)
    asking = clients.begin(client.request, b"one")
    line = peer.accept()
    assert line.hear() == b"one"
    client.expire()
    until(lambda: client.statistics.open == 1)  # it owes a reply
    line.say(b"ONE")
    assert asking.result(SECONDS) == b"ONE"
    assert line.hear() == b""
    asking = clients.begin(client.request, b"two")
    line = peer.accept()
    assert line.hear() == b"two"
    line.say(b"TWO")
    assert asking.result(SECONDS) == b"TWO"
    assert client.statistics.closed_expired == 1


@pytest.mark.parametrize(("options", "why"), [({"max_idle": 0.05}, "idle"), ({"max_age": 0.05}, "age")])
def test_idle_and_old_connections_are_closed(clients: Clients, peer: Peer, options: Any, why: str) -> None:
    client = clients(peer, pool=Pool(**options))
    client.wait_ready(SECONDS)
    line = peer.accept()
    if clients.kind == "blocking":  # no thread does it: the next request finds it
        until(lambda: clients.idles(client) or reasons(clients) != [])
    assert line.hear() == b""
    until(lambda: reasons(clients) == [why])
    asking = clients.begin(client.request, b"one")
    line = peer.accept()
    assert line.hear() == b"one"
    line.say(b"ONE")
    asking.result(SECONDS)


# -- 14: checks ---------------------------------------------------------------------------------------------


def test_a_connection_that_the_server_closed_is_not_used(clients: Clients, peer: Peer) -> None:
    client = clients(peer, pool=Pool(check_after=0.0))
    client.wait_ready(SECONDS)
    line = peer.accept()
    line.close()
    asking = clients.begin(client.request, b"one")
    line = peer.accept()
    assert line.hear() == b"one"
    line.say(b"ONE")
    assert asking.result(SECONDS) == b"ONE"
    assert client.statistics.retried_perhaps_sent == 0


def test_octets_that_no_request_asked_for_are_no_reply(clients: Clients, peer: Peer) -> None:
    client = clients(peer, pool=Pool(check_after=0.0))
    client.wait_ready(SECONDS)
    line = peer.accept()
    line.say(b"news")
    asking = clients.begin(client.request, b"one")
    line = peer.accept()
    assert line.hear() == b"one"
    line.say(b"ONE")
    assert asking.result(SECONDS) == b"ONE"
    gone = next(event for event in clients.events if isinstance(event, ClientDisconnected))
    assert isinstance(gone.error, UnexpectedMessage)


def test_one_request_that_is_never_answered_does_not_fail_all_others(clients: Clients, peer: Peer) -> None:
    client = clients(peer)

    def serve() -> None:
        for silent_at in (b"0", b""):
            line = peer.accept()
            while heard := line.hear():
                if heard != silent_at:
                    line.say(heard.upper())

    serving = clients.begin(serve)
    outcomes = [clients.begin(client.request, b"%d" % number, 0.2).exception(SECONDS) for number in range(6)]
    assert [type(each) for each in outcomes] == [DeadlinePassed] * 2 + [type(None)] * 4
    assert client.statistics.closed_abandoned == 1
    client.close()
    serving.result(SECONDS)


def test_what_has_not_ended_when_connecting_takes_too_long(clients: Clients, peer: Peer) -> None:
    """Not the greeting, which has not begun: a SYN without an answer, and a TLS handshake without one."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        name = full.getsockname()
        with socket.create_connection(name):
            client = clients(f"127.0.0.1:{name[1]}", timeout=0.1, pool=Pool(fail_fast=True), greet=lambda _: None)
            error = failure_in(lambda: client.request(b"one"))
            assert isinstance(error, ConnectTimeout)
            assert str(error).startswith(f"cannot connect to 127.0.0.1:{name[1]}: no answer in time (waited 0.1")
            assert isinstance(client.health.error, ConnectTimeout)
    client = clients(peer, timeout=0.1, pool=Pool(fail_fast=True), tls=True, greet=lambda _: None)
    error = failure_in(lambda: client.request(b"one"))
    assert isinstance(error, DeadlinePassed)
    assert "the peer did not finish its TLS handshake" in str(error)
    failures = [event.error for event in clients.events if isinstance(event, ClientConnectFailed)]
    assert not [each for each in failures if "greet" in str(each)]


class Odd(Exception):
    """An error of the program."""


def raises(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize("error", [Odd("no"), StopIteration(3)], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("function", ["idempotent", "key"])
def test_what_the_functions_of_a_request_raise_has_a_fate(
    clients: Clients, peer: Peer, function: str, error: Exception
) -> None:
    client = clients(peer, **{function: lambda _: raises(error)})
    for _ in range(2):
        failed = failure_in(lambda: client.request(b"one", SECONDS))
        assert failed.fate is Fate.NOT_SENT  # type: ignore[attr-defined]
        notes = failed.__notes__
        assert notes == ["not_sent: no octet of the request was given to the kernel"]
        assert isinstance(failed, Odd if isinstance(error, Odd) else HandlerFailed)
        assert isinstance(error, Odd) or failed.__cause__ is error


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), "5"])
def test_a_timeout_that_is_none_has_a_fate(clients: Clients, peer: Peer, seconds: Any) -> None:
    client = clients(peer)
    calls = [lambda: client.request(b"one", seconds), lambda: client.wait_ready(seconds)]
    if clients.kind == "blocking":
        calls.append(lambda: client.send(b"one", seconds))
    for call in calls:
        error = failure_in(call)
        assert isinstance(error, OptionError)
        assert error.fate is Fate.NOT_SENT


def test_what_a_framing_of_the_program_raises_has_a_fate(clients: Clients, peer: Peer) -> None:
    client = clients(peer, mapped(Line(), decode=bytes, encode=lambda _: raises(Odd("no"))))
    client.wait_ready(SECONDS)
    for call in (client.request, client.send):
        error = failure_in(lambda: call(b"one"))  # noqa: B023  # called at once
        assert error.fate is Fate.NOT_SENT  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("address", "options", "kind", "text"),
    [
        ("127.0.0.1:9", {"local_address": "x"}, AddressError, "a local address is a literal"),
        ("127.0.0.1:9", {"local_address": 5}, AddressError, "an address is a text"),
        ("127.0.0.1:9", {"local_address": "127.0.0.1:99999"}, AddressError, "port 99999 is larger than 65535"),
        ("127.0.0.1:9", {"local_address": "[::1]"}, OptionError, "are of different families"),
        ("127.0.0.1:9", {"local_address": "unix:/tmp/x"}, OptionError, "are of different families"),
        ("unix:/tmp/x", {"local_address": "127.0.0.1"}, OptionError, "are of different families"),
        ("127.0.0.1:9", {"tls": True, "server_hostname": ""}, OptionError, "server_hostname: expected the name"),
        ("127.0.0.1:9", {"tls": True, "server_hostname": ".a"}, OptionError, "server_hostname: expected the name"),
        ("127.0.0.1:9", {"tls": True, "server_hostname": "a\0b"}, OptionError, "server_hostname: expected the name"),
        ("unix:/tmp/x", {"tls": True}, OptionError, "got None: the path of a Unix socket has no such name"),
        ("fd:3", {}, AddressError, "a descriptor is for servers"),
        ("*:9", {}, AddressError, "every address of this machine"),
    ],
)
def test_arguments_that_can_never_work_are_rejected(
    clients: Clients, address: str, options: dict[str, Any], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        clients(address, **options)


def test_an_option_that_only_the_kernel_can_refuse_is_not_tried_again(clients: Clients, peer: Peer) -> None:
    client = clients(peer, sockets=Sockets(congestion="nonsense"))
    error = failure_in(lambda: client.request(b"one", SECONDS))
    assert isinstance(error, PermanentFailure)
    assert isinstance(error.__cause__, OptionError)
    assert str(error).startswith(f"client of {peer.address}: no attempt can succeed: ")
    assert "nonsense" in str(error)
    assert (client.state, client.statistics.connects_failed) == ("failed", 1)


def test_a_ping_shows_that_the_server_lives(clients: Clients, peer: Peer) -> None:
    client = clients(peer, ping=b"ping", pool=Pool(ping_interval=0.01))
    client.wait_ready(SECONDS)
    line = peer.accept()
    if clients.kind == "blocking":
        until(lambda: clients.idles(client) or client.statistics.pings > 0)
    assert line.hear() == b"ping"
    asking = clients.begin(client.request, b"one", idempotent=True)
    line.say(b"pong")
    heard = line.hear()
    while heard == b"ping":
        line.say(b"pong")
        heard = line.hear()
    assert heard == b"one"
    line.say(b"ONE")
    assert asking.result(SECONDS) == b"ONE"


def test_a_ping_without_a_reply_ends_the_connection(clients: Clients, peer: Peer) -> None:
    client = clients(peer, ping=b"ping", pool=Pool(ping_interval=0.01, request_timeout=0.05))
    client.wait_ready(SECONDS)
    line = peer.accept()
    asking = None
    if clients.kind == "blocking":
        asking = clients.begin(client.request, b"one", SECONDS, idempotent=True)
    heard = line.hear()
    if asking is not None and heard == b"one":
        line.say(b"ONE")
        asking.result(SECONDS)
        until(lambda: clients.idles(client) or client.statistics.pings > 0)
        heard = line.hear()
        asking = None
    assert heard == b"ping"
    until(
        lambda: (
            (client.pool.advance(client.clock()) if clients.kind == "blocking" else None) or "check" in reasons(clients)
        )
    )
    assert client.statistics.closed_check == 1
    if asking is not None:
        line = peer.accept()
        assert line.hear() == b"one"
        line.say(b"ONE")
        asking.result(SECONDS)


def test_a_ping_is_no_change_of_state(clients: Clients, peer: Peer) -> None:
    """A healthy connection is ready while its ping is outstanding, and takes messages without a reply."""
    client = clients(peer, ping=b"ping", pool=Pool(ping_interval=0.01))
    client.wait_ready(SECONDS)
    line = peer.accept()
    until(lambda: clients.idles(client) or client.statistics.pings > 0)
    assert line.hear() == b"ping"
    assert (client.state, client.health.ok) == ("ready", True)
    client.wait_ready(SECONDS)
    client.send(b"news")
    assert line.hear() == b"news"
    line.say(b"pong")
    if clients.kind == "async":
        until(lambda: client.statistics.pings > 1)
    assert [event.state for event in clients.events if isinstance(event, ClientStateChanged)] == [
        "connecting",
        "greeting",
        "ready",
    ]


@pytest.mark.parametrize(
    ("framing", "options", "text"),
    [
        ("line", {"ping": b"PING\r\n"}, r"ping: expected a message that line can encode, got b'PING\\r\\n': EncodeErr"),
        ("line+json", {"ping": b"x"}, r"ping: expected a message that line\+json can encode, got b'x': EncodeError: "),
        (
            "line",
            {"ping": b"x", "key": lambda _: {}["id"]},
            r"ping: expected a message that key= can read, got b'x': K",
        ),
        ("line", {"ping": b"x", "key": lambda _: None}, "ping: the key function returned None"),
        (
            "line",
            {"ping": b"x", "key": lambda _: [1]},
            r"ping: the key function returned \[1\] for a request, which cannot be looked up",
        ),
    ],
)
def test_a_ping_that_cannot_be_sent_is_rejected(
    clients: Clients, peer: Peer, framing: str, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(OptionError, match=text):
        clients(peer, framing, **options)


@pytest.mark.parametrize("ping", [lambda: {}["ping"], lambda: b"PING\r\n", lambda: None])
def test_a_ping_function_that_fails_ends_the_connection(clients: Clients, peer: Peer, ping: Any) -> None:
    """Its requests are served on a new one, and their timeouts hold."""
    client = clients(peer, ping=ping, pool=Pool(ping_interval=0.01))
    client.wait_ready(SECONDS)
    line = peer.accept()
    until(lambda: clients.idles(client) or client.statistics.closed_ping > 0)
    assert line.hear() == b""
    assert client.statistics.pings == 0
    gone = next(event for event in clients.events if isinstance(event, ClientDisconnected))
    assert (gone.why, type(gone.error)) in [("ping", KeyError), ("ping", EncodeError), ("ping", TypeError)]
    with pytest.raises(DeadlinePassed):
        client.request(b"unanswered", 0.05)
    asking = clients.begin(client.request, b"one", SECONDS, idempotent=True)
    line = peer.accept()
    while (heard := line.hear()) != b"one":
        line = line if heard else peer.accept()
    line.say(b"LATE", b"ONE")
    assert asking.result(SECONDS) in (b"LATE", b"ONE")


def test_keepalive_and_user_timeout_are_on(clients: Clients, peer: Peer) -> None:
    seen: list[tuple[int, ...]] = []

    def greet(connection: Any) -> None:
        sock = socket.socket(fileno=connection.fileno())
        try:
            names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
            seen.append(tuple(sock.getsockopt(socket.IPPROTO_TCP, name) for name in names))
        finally:
            sock.detach()

    clients(peer, greet=greet).wait_ready(SECONDS)
    assert seen == [(30, 5, 3, 45_000)]


# -- 15: order and keys -------------------------------------------------------------------------------------


def key_of(message: bytes) -> Any:
    head, colon, _ = message.partition(b":")
    return head if colon else None


def test_replies_are_told_by_key(clients: Clients, peer: Peer) -> None:
    client = clients(peer, key=key_of)
    asking = [clients.begin(client.request, b"1:one")]
    line = peer.accept()
    assert line.hear() == b"1:one"
    asking.append(clients.begin(client.request, b"2:two"))
    assert line.hear() == b"2:two"
    line.say(b"2:TWO", b"1:ONE")
    assert [each.result(SECONDS) for each in asking] == [b"1:ONE", b"2:TWO"]


def test_a_key_that_is_outstanding(clients: Clients, peer: Peer) -> None:
    client = clients(peer, key=(key_of, key_of))
    asking = clients.begin(client.request, b"1:one")
    line = peer.accept()
    assert line.hear() == b"1:one"
    with pytest.raises(RuntimeError, match="a request with the key b'1' is outstanding already") as caught:
        client.request(b"1:other")
    assert caught.value.fate is Fate.NOT_SENT  # type: ignore[attr-defined]
    with pytest.raises(OptionError, match="the key function returned None for a request"):
        client.request(b"no key")
    line.say(b"1:ONE")
    assert asking.result(SECONDS) == b"1:ONE"


def test_a_late_reply_is_known_by_its_key(clients: Clients, peer: Peer) -> None:
    client = clients(peer, key=key_of)
    client.wait_ready(SECONDS)
    asking = clients.begin(client.request, b"1:slow", timeout=0.2)
    line = peer.accept()
    assert line.hear() == b"1:slow"
    failure_of(asking)
    asking = clients.begin(client.request, b"2:quick")
    assert line.hear() == b"2:quick"
    line.say(b"1:SLOW", b"2:QUICK")
    assert asking.result(SECONDS) == b"2:QUICK"
    assert client.statistics.late_replies == 1


@pytest.mark.parametrize("reply", [b"9:NINE", b"no key at all"])
def test_an_unknown_key_ends_the_connection(clients: Clients, peer: Peer, reply: bytes) -> None:
    client = clients(peer, key=key_of)
    asking = clients.begin(client.request, b"1:one")
    line = peer.accept()
    assert line.hear() == b"1:one"
    line.say(reply)
    error = failure_of(asking)
    assert isinstance(error, UnexpectedMessage)
    assert "answers none of the 1 outstanding requests" in str(error)
    assert error.fate is Fate.PERHAPS_SENT
    assert reasons(clients) == ["unexpected"]


def test_a_key_function_that_raises_is_named(clients: Clients, peer: Peer) -> None:
    client = clients(peer, key=(key_of, lambda reply: reply["id"]))
    asking = clients.begin(client.request, b"1:one")
    line = peer.accept()
    assert line.hear() == b"1:one"
    line.say(b"1:ONE")
    with pytest.raises(UnexpectedMessage, match=r"the function key= raised TypeError for a message of the server"):
        asking.result(SECONDS)


# -- 16, 17: pushes -----------------------------------------------------------------------------------------


def test_pushes_and_replies_on_one_connection(clients: Clients, peer: Peer) -> None:
    client = clients(peer, pushes=Pushes(), is_push=lambda message: message.startswith(b"*"))
    pushes = client.pushes()
    receiving = clients.begin(pushes.receive, SECONDS)
    line = peer.accept()
    line.say(b"*news")
    assert receiving.result(SECONDS) == b"*news"
    receiving = clients.begin(pushes.receive, SECONDS)
    asking = clients.begin(client.request, b"one")
    assert line.hear() == b"one"
    line.say(b"*more", b"ONE")
    assert receiving.result(SECONDS) == b"*more"
    assert asking.result(SECONDS) == b"ONE"
    pushes.close()


def test_what_came_before_a_request_is_a_push(clients: Clients, peer: Peer) -> None:
    """Without a key and without is_push, only the time tells a push from a reply."""
    client = clients(peer, pushes=Pushes())
    client.wait_ready(SECONDS)
    line = peer.accept()
    line.say(b"news", b"more")
    asking = clients.begin(client.request, b"one")
    assert line.hear() == b"one"
    line.say(b"ONE")
    assert asking.result(SECONDS) == b"ONE"
    pushes = client.pushes()
    assert [pushes.receive(SECONDS), pushes.receive(SECONDS)] == [b"news", b"more"]
    pushes.close()


def test_a_gap_in_the_place_of_what_was_missed(clients: Clients, peer: Peer) -> None:
    greetings: list[int] = []
    client = clients(peer, pushes=Pushes(), greet=lambda connection: greetings.append(1))
    pushes = client.pushes()
    receiving = clients.begin(pushes.receive, SECONDS)
    line = peer.accept()
    line.say(b"before")
    assert receiving.result(SECONDS) == b"before"
    receiving = clients.begin(pushes.receive, SECONDS)
    line.close()
    line = peer.accept()
    line.say(b"after")
    gap = receiving.result(SECONDS)
    assert isinstance(gap, Gap)
    assert pushes.receive(SECONDS) == b"after"
    assert len(greetings) == 2
    told = next(event for event in clients.events if isinstance(event, Reconnected))
    assert told.gap_since == gap.since > 0
    assert client.statistics.gaps == 1
    pushes.close()


def test_on_push_may_ask(clients: Clients, peer: Peer) -> None:
    """A handler that waits for a reply behind more pushes than the inbox holds does not wait forever."""
    asked: list[Any] = []

    if clients.kind == "async":

        async def on_push(push: Any) -> None:
            if push == b"*1":
                asked.append(await client.client.request(b"nested"))

    else:

        def on_push(push: Any) -> None:  # type: ignore[misc]
            if push == b"*1":
                asked.append(client.request(b"nested"))

    client = clients(peer, on_push=on_push, pushes=Pushes(max_inbox=64), is_push=lambda message: message[:1] == b"*")
    asking = clients.begin(client.request, b"one")
    line = peer.accept()
    assert line.hear() == b"one"
    line.say(b"*1", b"ONE")
    assert line.hear() == b"nested"
    line.say(*[b"*" + bytes(32)] * 3, b"NESTED")
    assert asking.result(SECONDS) == b"ONE"
    until(lambda: asked == [b"NESTED"])


def test_what_on_push_raises_is_raised_by_the_next_request(clients: Clients, peer: Peer) -> None:
    def on_push(push: bytes) -> None:
        raise ValueError(push)

    client = clients(peer, on_push=on_push, is_push=lambda message: message[:1] == b"*")
    asking = clients.begin(client.request, b"one")
    line = peer.accept()
    assert line.hear() == b"one"
    line.say(b"*1", b"ONE")
    assert asking.result(SECONDS) == b"ONE"
    until(lambda: client.health.error is not None)
    assert not client.health.ok
    with pytest.raises(PushConsumerDied, match="on_push raised") as caught:
        client.request(b"two")
    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.fate is Fate.NOT_SENT
    asking = clients.begin(client.request, b"three")  # it was told
    assert line.hear() == b"three"
    line.say(b"THREE")
    assert asking.result(SECONDS) == b"THREE"


def test_a_consumer_that_ended_is_told(clients: Clients, peer: Peer) -> None:
    client = clients(peer, pushes=Pushes())

    def consume() -> None:
        client.pushes().receive(SECONDS)  # one, and the iterator is gone

    consuming = clients.begin(consume)
    line = peer.accept()
    line.say(b"news")
    consuming.result(SECONDS)
    until(lambda: not client.health.ok)
    with pytest.raises(PushConsumerDied, match=r"the code that consumed pushes\(\) has ended"):
        client.request(b"one")
    pushes = client.pushes()
    asking = clients.begin(client.request, b"two")
    assert line.hear() == b"two"
    line.say(b"TWO")
    assert asking.result(SECONDS) == b"TWO"
    pushes.close()  # that is said, and no death
    asking = clients.begin(client.request, b"three")
    assert line.hear() == b"three"
    line.say(b"THREE")
    assert asking.result(SECONDS) == b"THREE"


def test_a_consumer_that_raised_is_told_with_its_error(clients: Clients, peer: Peer) -> None:
    client = clients(peer, pushes=Pushes())
    kept: list[Any] = []

    async def consume_async() -> None:
        kept.append(client.client.pushes())
        async for push in kept[0]:
            raise ValueError(push)

    def consume() -> None:
        kept.append(client.pushes())
        for push in kept[0]:
            raise ValueError(push)

    if clients.kind == "async":
        consuming = client.begin(consume_async())
    else:  # in a thread that ends with it
        raised: list[BaseException] = []
        thread = threading.Thread(target=lambda: raised.append(failure_in(consume)))
        thread.start()
    line = peer.accept()
    line.say(b"news")
    if clients.kind == "async":
        assert isinstance(failure_of(consuming), ValueError)
    else:
        thread.join(SECONDS)
        assert isinstance(raised[0], ValueError)
    with pytest.raises(PushConsumerDied) as caught:
        client.request(b"one")
    if clients.kind == "async":
        assert isinstance(caught.value.__cause__, ValueError)
    kept[0].close() if clients.kind == "blocking" else client.call(kept[0].close)


def test_a_full_inbox_drops_the_oldest_if_told_to(clients: Clients, peer: Peer) -> None:
    client = clients(
        peer,
        pushes=Pushes(max_inbox=64, overflow="drop_oldest"),
        is_push=lambda message: message[:1] == b"*",
    )
    asking = clients.begin(client.request, b"one")
    line = peer.accept()
    assert line.hear() == b"one"
    line.say(*(b"*%030d" % number for number in range(5)), b"ONE")
    assert asking.result(SECONDS) == b"ONE"
    assert client.statistics.pushes == 5
    dropped = client.statistics.pushes_dropped
    assert dropped >= 3
    pushes = client.pushes()
    assert pushes.receive(SECONDS) == Gap(dropped=dropped)
    assert pushes.receive(SECONDS) == b"*%030d" % dropped
    pushes.close()
    assert client.statistics.gaps == 1


def test_pushes_that_stand_before_a_reply_without_end(clients: Clients, peer: Peer) -> None:
    """A reply behind more pushes than twice the bound cannot be waited for."""
    client = clients(peer, pushes=Pushes(max_inbox=64), is_push=lambda message: message[:1] == b"*")
    asking = clients.begin(client.request, b"one")
    line = peer.accept()
    assert line.hear() == b"one"
    line.say(*[b"*" + bytes(62)] * 3)
    with pytest.raises(ConnectionLost, match=r"octets of pushes wait, and a request waits behind them; 64 are allowed"):
        asking.result(SECONDS)


def test_pushes_need_one_connection(clients: Clients, peer: Peer) -> None:
    with pytest.raises(OptionError, match="max_connections: expected 1 with pushes, got 2"):
        clients(peer, pushes=Pushes(), pool=Pool(max_connections=2))
    with pytest.raises(OptionError, match="make the client with pushes=Pushes"):
        clients(peer).pushes()
    client = clients(peer, on_push=print, pushes=Pushes(max_inbox=1024))
    with pytest.raises(OptionError, match="on_push= takes the pushes of this client"):
        client.pushes()


@pytest.mark.parametrize("asked", [False, True])
def test_what_a_connection_is_told_that_the_client_closes(clients: Clients, peer: Peer, asked: bool) -> None:
    client = clients(peer)
    client.wait_ready(SECONDS)
    line = peer.accept()
    asking = clients.begin(client.request, b"one") if asked else None
    if asking is not None:
        assert line.hear() == b"one"
    client.close()
    waited = " while the request waited" if asked else ""
    (gone,) = (event for event in clients.events if isinstance(event, ClientDisconnected))
    assert (gone.why, str(gone.error)) == ("closed", f"client of {peer.address}: closed by this side{waited}")
    if asking is not None:
        assert "closed by this side while the request waited" in str(failure_of(asking))


# -- 19, 20: the end, and what is seen ------------------------------------------------------------------------


def test_fin_after_replies(clients: Clients, peer: Peer) -> None:
    """Replies before the FIN are read; a request that the server did not answer was perhaps sent."""
    client = clients(peer)
    one = clients.begin(client.request, b"one")
    line = peer.accept()
    assert line.hear() == b"one"
    two = clients.begin(client.request, b"two")
    assert line.hear() == b"two"
    line.say(b"ONE")
    line.finish()
    assert one.result(SECONDS) == b"ONE"
    error = failure_of(two)
    assert isinstance(error, EndOfFile)
    assert error.fate is Fate.PERHAPS_SENT
    asking = clients.begin(client.request, b"three")
    line = peer.accept()
    assert line.hear() == b"three"
    line.say(b"THREE")
    assert asking.result(SECONDS) == b"THREE"
    assert reasons(clients) == ["peer"]


def test_close_ends_what_waits(clients: Clients, peer: Peer) -> None:
    client = clients(peer)
    asking = clients.begin(client.request, b"one")
    line = peer.accept()
    assert line.hear() == b"one"
    client.close()
    client.close()
    error = failure_of(asking)
    assert isinstance(error, ConnectionEnded)
    assert error.fate is Fate.PERHAPS_SENT
    with pytest.raises(ConnectionEnded, match=r"request after close\(\)"):
        client.request(b"two")
    assert client.state == "closed"
    assert line.hear() == b""
    assert client.statistics.open == 0


def test_close_lets_the_last_message_arrive(clients: Clients, peer: Peer) -> None:
    """Octets that nobody has read do not become a reset, which could destroy what was sent last (RFC 2525, 2.17)."""
    client = clients(peer, pushes=Pushes(), deadlines=Deadlines(linger_timeout=SECONDS))
    client.wait_ready(SECONDS)
    line = peer.accept()
    line.say(*[b"news"] * 100)
    client.send(b"last words")
    closing = clients.begin(client.close)
    assert line.hear() == b"last words"
    assert line.hear() == b""
    with pytest.raises(TimeoutError):
        closing.result(0.05)  # it waits for our FIN
    line.close()
    closing.result(SECONDS)


def test_close_does_not_wait_for_a_server_that_does_not_read(clients: Clients, peer: Peer) -> None:
    """The whole of close() takes ``linger_timeout`` at most: FIN waits behind octets that leave too slowly."""
    deadlines = Deadlines(linger_timeout=0.02, write_timeout=10 * SECONDS)
    client = clients(peer, "u32,max_message=64m", deadlines=deadlines)
    client.wait_ready(SECONDS)
    line = peer.accept()
    sending = clients.begin(client.send, bytes(32 << 20))
    assert line.socket.recv(1)
    clients.begin(client.close).result(SECONDS)
    error = failure_of(sending)
    assert isinstance(error, DeadlinePassed | ConnectionEnded)
    assert error.fate is Fate.PERHAPS_SENT
    cut = failure_in(lambda: list(iter(lambda: line.socket.recv(1 << 20), b"")))
    assert isinstance(cut, ConnectionResetError)


def test_drain_waits_for_replies(clients: Clients, peer: Peer) -> None:
    client = clients(peer)
    asking = clients.begin(client.request, b"one")
    line = peer.accept()
    assert line.hear() == b"one"
    draining = clients.begin(client.drain, SECONDS)
    until(lambda: client.state == "draining")
    with pytest.raises(ConnectionEnded, match=r"request after drain\(\)"):
        client.request(b"two")
    line.say(b"ONE")
    assert asking.result(SECONDS) == b"ONE"
    draining.result(SECONDS)
    assert client.state == "closed"


def test_drain_has_a_bound(clients: Clients, peer: Peer) -> None:
    client = clients(peer)
    asking = clients.begin(client.request, b"one")
    line = peer.accept()
    assert line.hear() == b"one"
    client.drain(0.02)
    assert failure_of(asking).fate is Fate.PERHAPS_SENT


def test_events_tell_the_states(clients: Clients, peer: Peer) -> None:
    client = clients(peer, greet=lambda connection: None)
    client.wait_ready(SECONDS)
    peer.accept()
    client.close()
    states = [event.state for event in clients.events if isinstance(event, ClientStateChanged)]
    assert states == ["connecting", "greeting", "ready", "closed"]
    counts = client.statistics
    assert (counts.connects, counts.closed_closed, counts.open) == (1, 1, 0)


def test_an_observer_that_raises_changes_nothing(
    clients: Clients, peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    client = clients(peer, observer=lambda event: 1 / 0)
    client.wait_ready(SECONDS)
    assert "the observer of the client of" in caplog.text


def test_reconnect_belongs_to_connect(clients: Clients, peer: Peer) -> None:
    with pytest.raises(OptionError, match="reconnect: a client connects again by itself"):
        clients(peer, reconnect=Reconnect())


# -- why a request fails ----------------------------------------------------------------------------------


def hangs_up(peer: Peer) -> None:
    """A server that takes each request and closes, until the listener is closed."""
    while True:
        try:
            line = peer.accept()
        except (OSError, ValueError):
            return
        with suppress(OSError):
            line.hear()
        line.close()


def test_a_server_that_hangs_up_is_named(clients: Clients, peer: Peer) -> None:
    client = clients(peer, idempotent=True, retries=Retries(delay=0.02, after_loss=0.02))
    serving = clients.begin(hangs_up, peer)
    error = failure_in(lambda: client.request(b"hi", timeout=0.5))
    assert isinstance(error, DeadlinePassed)
    assert error.fate is Fate.PERHAPS_SENT
    assert isinstance(error.__cause__, EndOfFile | ConnectionLost)
    assert re.search(r"(tried \d+ times, last|attempt \d+, an earlier one): .*127\.0\.0\.1", str(error))
    assert "no connection was free" not in str(error)
    stopped = client.statistics
    assert stopped.connects > 1
    until(lambda: client.statistics.open == 0)
    health = client.health
    assert not health.ok
    assert isinstance(health.error, EndOfFile | ConnectionLost)
    assert health.state.startswith("waiting")
    client.close()
    peer.shut()
    serving.result(SECONDS)


def test_the_pause_after_a_loss_is_named(clients: Clients, peer: Peer) -> None:
    client = clients(peer, retries=Retries(delay=SECONDS, jitter=0.0))
    asking = clients.begin(client.request, b"one")
    line = peer.accept()
    assert line.hear() == b"one"
    line.close()
    assert isinstance(failure_of(asking), EndOfFile)
    assert client.state == "waiting"
    error = failure_in(lambda: client.request(b"two", timeout=0.05))
    assert isinstance(error, DeadlinePassed)
    assert error.fate is Fate.NOT_SENT
    assert isinstance(error.__cause__, EndOfFile)
    assert re.search(r"the client waits [0-9.]+ s before it connects again, because of this: 127", str(error))
    states = [event.state for event in clients.events if isinstance(event, ClientStateChanged)]
    assert states[2:] == ["ready", "waiting"]


def test_a_connection_that_served_and_ends_is_no_trouble(clients: Clients, peer: Peer) -> None:
    client = clients(peer, retries=Retries(delay=0.001, after_loss=0.0, jitter=0.0))
    asking = clients.begin(client.request, b"one")
    line = peer.accept()
    line.say(line.hear())
    assert asking.result(SECONDS) == b"one"
    line.close()
    clients.idles(client)
    assert client.health.ok


def test_a_full_pool_is_named(clients: Clients, peer: Peer) -> None:
    client = clients(peer, pool=Pool(max_pipelined=1))
    asking = clients.begin(client.request, b"one")
    line = peer.accept()
    assert line.hear() == b"one"
    error = failure_in(lambda: client.request(b"two", timeout=0.05))
    assert "no connection was free in that time" in str(error)
    assert error.__cause__ is None
    line.say(b"ONE")
    assert asking.result(SECONDS) == b"ONE"


# -- a key and a reply that was lost ----------------------------------------------------------------------


@pytest.mark.parametrize("late", [False, True])
def test_a_request_with_a_key_is_tried_again_after_its_timeout(clients: Clients, peer: Peer, late: bool) -> None:
    pool = Pool(request_timeout=0.1, whole_timeout=SECONDS)
    client = clients(peer, key=lambda message: message[:1], idempotent=True, pool=pool)
    asking = clients.begin(client.request, b"1 lost")
    line = peer.accept()
    assert line.hear() == b"1 lost"
    assert line.hear() == b"1 lost"  # the client's own attempt does not stand in its way
    line.say(b"1 first", *([b"1 second"] if late else []))
    assert asking.result(SECONDS) == b"1 first"
    assert client.statistics.retried_perhaps_sent == 1
    if late:
        asking = clients.begin(client.request, b"2")
        assert line.hear() == b"2"
        line.say(b"2 reply")
        assert asking.result(SECONDS) == b"2 reply"
        assert (client.statistics.late_replies, client.statistics.abandoned) == (1, 0)


def test_attempts_that_all_time_out_are_counted(clients: Clients, peer: Peer) -> None:
    client = clients(peer, idempotent=True, pool=Pool(request_timeout=0.1, max_abandoned=1000))
    error = failure_in(lambda: client.request(b"one", timeout=0.55))
    peer.accept()
    assert isinstance(error, DeadlinePassed)
    assert re.search(r"its late reply will be dropped; attempt [2-7]\b", str(error))
    assert str(error).count("attempt ") == 1  # it does not tell all of them, each within the next
    assert not isinstance(error.__cause__, DeadlinePassed)


def test_another_request_with_the_key_of_an_abandoned_one_is_refused(clients: Clients, peer: Peer) -> None:
    client = clients(peer, key=lambda message: message[:1])
    with pytest.raises(DeadlinePassed):
        client.request(b"1 lost", timeout=0.05)
    with pytest.raises(ConnectionBusy, match="is owed a late reply already"):
        client.request(b"1 another", timeout=SECONDS)
    peer.accept()


def test_a_key_that_cannot_be_hashed(clients: Clients, peer: Peer) -> None:
    client = clients(peer, key=lambda message: [message])
    for opened in (0, 1):
        with pytest.raises(
            OptionError, match=r"the key function returned \[b'one'\] for a request, which cannot be"
        ) as caught:
            client.request(b"one", timeout=SECONDS)
        assert caught.value.fate is Fate.NOT_SENT  # type: ignore[attr-defined]
        assert client.statistics.open == opened
        client.wait_ready(SECONDS)
    peer.accept()


def test_a_framing_that_greet_changes(clients: Clients, peer: Peer) -> None:
    """What a message becomes is known when greet has returned: before, it waits for a connection."""

    def greet(connection: Any) -> Any:
        connection.change_framing("line+json")
        return None

    client = clients(peer, "line", greet=greet)
    asking = clients.begin(client.request, {"a": 1}, SECONDS)
    line = peer.accept()
    line.say(line.hear())
    assert asking.result(SECONDS) == {"a": 1}
    peer.stop()
    line.reset()
    with pytest.raises(EncodeError):
        client.request(object(), timeout=None)


# -- functions that cannot be called ----------------------------------------------------------------------


async def is_async(_one: Any) -> None: ...


def yields(_one: Any) -> Iterator[None]:
    yield


async def yields_later(_one: Any) -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize("name", ["greet", "on_push", "observer", "is_push", "key", "idempotent"])
@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda: 1, r"takes 0 arguments; expected a function of \((connection|push|event|message)\)"),
        (lambda one, two: 1, r"takes 2 arguments; expected a function of"),
        (lambda one, *, more: 1, r"needs more by name; expected a function of"),
        (yields, r"yields is a generator, which would not run"),
        (yields_later, r"yields_later is an async generator, which would not run"),
    ],
)
def test_a_function_is_checked_when_the_client_is_made(
    clients: Clients, peer: Peer, name: str, function: Any, text: str
) -> None:
    beside = {"pushes": Pushes()} if name == "is_push" else {}
    kind: Any = fourtuple.Client if clients.kind == "async" else fourtuple.blocking.Client
    with pytest.raises(OptionError, match=f"{name}: .*{text}"):
        kind(peer.address, "line", **{name: function}, **beside)


def test_a_ping_takes_no_argument(clients: Clients, peer: Peer) -> None:
    with pytest.raises(OptionError, match=r"ping: .* takes 1 argument; expected a function without arguments"):
        clients(peer, ping=lambda connection: b"ping")


@pytest.mark.parametrize("which", [0, 1])
def test_both_keys_are_checked(clients: Clients, peer: Peer, which: int) -> None:
    keys: list[Any] = [lambda message: message] * 2
    keys[which] = lambda message, connection: message
    with pytest.raises(OptionError, match=r"key: .* takes 2 arguments; expected a function of \(message\)"):
        clients(peer, key=tuple(keys))


@pytest.mark.parametrize("name", ["greet", "on_push", "observer", "is_push", "key", "idempotent"])
def test_an_async_function_is_refused_where_nothing_awaits_it(clients: Clients, peer: Peer, name: str) -> None:
    beside = {"pushes": Pushes()} if name == "is_push" else {}
    kind: Any = fourtuple.Client if clients.kind == "async" else fourtuple.blocking.Client
    if clients.kind == "async" and name in ("greet", "on_push"):
        kind(peer.address, "line", **{name: is_async}, **beside)
        return
    with pytest.raises(
        OptionError, match=rf"{name}: .*is_async is an async def, which is not awaited: expected a plain def"
    ):
        kind(peer.address, "line", **{name: is_async}, **beside)
