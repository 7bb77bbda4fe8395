"""Programs that know nothing of us, on our engine. `.ci/others` runs this in an environment that has them."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import redis
import trustme
from fakeredis import TcpFakeServer
from hpfeeds.asyncio import ClientSession
from hpfeeds.broker.auth.memory import Authenticator
from hpfeeds.broker.server import Server as Broker

from fourtuple import Server, adapters, serve_in_thread

USERS = {"one": {"owner": "me", "secret": "s", "pubchans": ["news"], "subchans": ["news"]}}


def _bound() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock


async def _publish_and_hear(port: int, context: ssl.SSLContext | None) -> None:
    async with ClientSession("127.0.0.1", port, "one", "s", ssl=context) as session:
        session.subscribe("news")
        session.publish("news", b"hello")
        async for ident, channel, payload in session:
            assert (ident, channel, bytes(payload)) == ("one", "news", b"hello")
            return


async def _broker(tls: ssl.SSLContext | None, client: ssl.SSLContext | None) -> None:
    sock = _bound()
    port = sock.getsockname()[1]
    broker = Broker(Authenticator(USERS))
    broker.add_endpoint_test(sock, tls)
    task = asyncio.ensure_future(broker.serve_forever())
    await broker.when_started
    await asyncio.wait_for(_publish_and_hear(port, client), 20)
    task.cancel()
    await asyncio.wait_for(task, 20)


def test_hpfeeds_broker() -> None:
    with adapters.install():
        asyncio.run(_broker(None, None))


def test_hpfeeds_broker_over_tls() -> None:
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    with adapters.install():
        asyncio.run(_broker(server, client))


def test_fakeredis_tcp_server(tmp_path: Path) -> None:
    with TcpFakeServer(("127.0.0.1", 0), bind_and_activate=False) as fake:
        fake.socket.close()
        service = adapters.socketserver(fake)
        with (
            serve_in_thread(service, "127.0.0.1:0") as server,
            redis.Redis(host="127.0.0.1", port=server.port, protocol=2) as client,
            client.pipeline() as pipeline,
        ):
            assert client.ping()
            assert client.set("key", "value")
            assert client.get("key") == b"value"
            assert client.incr("n", 5) == 5
            for number in range(100):
                pipeline.rpush("list", number)
            assert pipeline.execute() == list(range(1, 101))


def test_the_server_is_ours() -> None:
    made: list[Server[Any, Any, Any, Any]] = []

    async def main() -> None:
        async def nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        async with await asyncio.start_server(nothing, "127.0.0.1", 0):
            pass

    with adapters.install(on_server=made.append):
        asyncio.run(main())
    assert isinstance(made[0], Server)
