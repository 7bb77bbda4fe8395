"""@service.goodbye: the last message of a reply service when it drains."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fourtuple import Connection, Proxy, Reason, ReplyAndClose, Server, Service, events, reply_and_close
from fourtuple.errors import EncodeError, ServiceError
from rig import PATIENT, Peer, serving, turns, until

KINDS = ["plain", "async", "generator", "batches", "threads", "concurrent"]
every_kind = pytest.mark.parametrize("kind", KINDS)
#: The drain half-closes at once, also a connection that has not spoken.
HASTY = PATIENT.replace(drain_first_message_timeout=0.0, linger_timeout=5.0)


def service_of(kind: str) -> Service:
    service = Service("line")
    if kind == "plain":
        service.reply(lambda message: message)
    elif kind == "threads":
        service.reply(threads=True)(lambda message: message)
    elif kind == "batches":
        service.replies(lambda messages: messages)
    elif kind == "generator":

        @service.reply
        def several(message: bytes) -> Any:
            yield message

    else:

        @service.reply(concurrency=1 if kind == "async" else 3)
        async def later(message: bytes) -> bytes:
            return message

    return service


async def drained(server: Server, peer: Peer) -> bytes:
    """Drain; return everything that the peer gets until the end of file."""
    draining = asyncio.ensure_future(server.drain())
    got = await peer.receive_all()
    peer.close()
    assert await draining == 0
    return got


@every_kind
@pytest.mark.parametrize("what", ["value", "function"])
def test_it_is_said_to_each_connection_that_a_drain_closes(
    run_async: Any, readiness: str, kind: str, what: str
) -> None:
    async def main() -> None:
        service = service_of(kind)
        if what == "value":
            service.goodbye(b"421 closing")
        else:

            @service.goodbye
            def bye(connection: Connection) -> bytes:
                return b"421 %s" % connection.state

        service.opened(lambda connection: setattr(connection, "state", b"closing"))
        async with serving(service, readiness, deadlines=HASTY) as (server, seen):
            with await Peer.connect(server) as silent, await Peer.connect(server) as peer:
                await peer.send(b"hello\n")
                assert await peer.receive(6) == b"hello\n"
                draining = asyncio.ensure_future(server.drain())
                assert await peer.receive_all() == b"421 closing\n"
                assert await silent.receive_all() == b"421 closing\n"
                peer.close()
                silent.close()
                assert await draining == 0
            assert {event.reason for event in seen.of(events.Closed)} == {Reason.DRAINED}

    run_async(main())


def test_it_comes_after_the_reply_that_is_due(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        go_on = asyncio.Event()

        @service.reply
        async def later(message: bytes) -> bytes:
            await go_on.wait()
            return message

        service.goodbye(b"bye")
        async with serving(service, readiness, deadlines=HASTY) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"hello\n")
                await until(lambda: server.statistics.messages_in)
                draining = asyncio.ensure_future(server.drain())
                await seen.wait(events.Draining)
                await turns(100)
                go_on.set()
                assert await peer.receive_all() == b"hello\nbye\n"
                peer.close()
                await draining

    run_async(main())


def test_one_that_the_peer_has_ended_gets_none(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = service_of("plain")
        service.goodbye(b"bye")
        async with serving(service, readiness, deadlines=HASTY) as (server, _):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"hello\n") == b"hello\n"
            await server.drain()

    run_async(main())


def test_a_connection_before_its_first_message_behind_a_balancer_gets_none(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = service_of("plain")
        service.goodbye(b"bye")
        proxy = Proxy(protocol="required")
        async with serving(service, readiness, deadlines=HASTY, proxy=proxy) as (server, _):
            with await Peer.connect(server) as peer:
                await until(lambda: server.engine.channels)
                assert await drained(server, peer) == b""

    run_async(main())


@pytest.mark.parametrize(("words", "got"), [(None, b""), (reply_and_close(b"bye"), b"bye\n"), (b"bye", b"bye\n")])
def test_what_a_function_may_return(run_async: Any, readiness: str, words: Any, got: bytes) -> None:
    async def main() -> None:
        service = service_of("plain")

        @service.goodbye
        def bye(connection: Connection) -> bytes | ReplyAndClose[bytes] | None:
            return words  # type: ignore[no-any-return]

        async with serving(service, readiness, deadlines=HASTY) as (server, seen):
            with await Peer.connect(server) as peer:
                await seen.wait(events.Accepted)
                assert await drained(server, peer) == got
            assert (await seen.closed()).reason is Reason.DRAINED

    run_async(main())


@pytest.mark.parametrize("mistake", ["raises", "cannot be encoded"])
def test_a_function_that_fails_is_reported_and_the_connection_ends_as_the_others(
    run_async: Any, readiness: str, mistake: str
) -> None:
    async def main() -> None:
        service = service_of("plain")

        @service.goodbye
        def bye(connection: Connection) -> bytes:
            if mistake == "raises":
                raise ValueError("no words")
            return b"two\nlines"

        async with serving(service, readiness, deadlines=HASTY) as (server, seen):
            with await Peer.connect(server) as peer:
                await seen.wait(events.Accepted)
                assert await drained(server, peer) == b""
            (raised,) = seen.of(events.HandlerRaised)
            assert isinstance(raised.error, ValueError if mistake == "raises" else EncodeError)
            assert raised.handler.endswith("bye")
            assert (await seen.closed()).reason is Reason.DRAINED

    run_async(main())


def one(a: Any) -> None: ...
def two(a: Any, b: Any) -> None: ...


async def one_async(a: Any) -> None: ...


@pytest.mark.parametrize(
    ("goodbye", "text"),
    [
        (two, r"goodbye: .*two takes 2 arguments; expected a function of \(connection\)"),
        (one_async, "goodbye: .*one_async is an async def; expected a plain def"),
        (None, "goodbye: expected a message or a function of \\(connection\\), got None"),
    ],
)
def test_what_cannot_be_said_is_refused(goodbye: Any, text: str) -> None:
    with pytest.raises(ServiceError, match=text):
        service_of("plain").goodbye(goodbye)


def test_a_message_that_the_framing_cannot_carry_is_refused() -> None:
    service = service_of("plain")
    with pytest.raises(EncodeError, match="a line ending"):
        service.goodbye(b"two\nlines")
    service.goodbye(b"twenty octets of text")
    with pytest.raises(EncodeError, match="16"):
        Server(service.with_framing("fixed:16"))


@pytest.mark.parametrize("first", ["handler", "hook"])
def test_a_conversation_says_its_goodbye_itself(first: str) -> None:
    service = Service("line")

    async def talk(connection: Connection) -> None: ...

    steps = [lambda: service.conversation(talk), lambda: service.goodbye(b"bye")]
    if first == "hook":
        steps.reverse()
    steps[0]()
    with pytest.raises(
        ServiceError, match=r"goodbye: never sent beside .*talk: a conversation awaits connection\.drain"
    ):
        steps[1]()
