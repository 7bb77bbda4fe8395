"""A connection that the client itself ends: what waits in its outbox may still leave, so it is not sent twice."""

from __future__ import annotations

import asyncio

import pytest

from conftest import RunAsync
from fourtuple import Client, Pool
from fourtuple.errors import Fate, FourTupleError

LARGE = b"x" * (16 << 20)


def test_a_request_behind_a_large_one_is_not_sent_twice(run_async: RunAsync) -> None:
    """The peer does not read; when the client has given the connection up, it reads everything that was sent."""

    async def main() -> None:
        octets: list[bytes] = []
        came: list[int] = []
        given_up = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            came.append(1)
            await given_up.wait()
            octets.append(await reader.read())
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with Client(address, "line,max_message=32m", pool=Pool(request_timeout=0.2)) as client:
                with pytest.raises(FourTupleError) as raised:
                    await client.request(LARGE)
                assert raised.value.fate is Fate.PERHAPS_SENT
                # Its place is held for twice the time; then the connection is lost, with the third request behind it.
                with pytest.raises(FourTupleError):
                    await client.request(b"middle", timeout=0.1)
                with pytest.raises(FourTupleError) as raised:
                    await client.request(b"small", timeout=5)
                assert (raised.value.fate, client.statistics.closed_abandoned) == (Fate.PERHAPS_SENT, 1)
                assert client.statistics.retried_not_sent == 0
                given_up.set()
            while len(octets) < len(came):
                await asyncio.sleep(0.001)
            assert b"".join(octets).count(b"small\n") <= 1

    run_async(main())
