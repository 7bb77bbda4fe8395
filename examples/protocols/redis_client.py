r"""A Redis client that stays connected, and hears what is published: RESP3 over one connection.

    redis-server --port 9999
    python examples/protocols/redis_client.py 127.0.0.1:9999

Replies come in the order of the commands; what is published comes between them, and is told by its type.
"""

import asyncio
import sys
from typing import Any

from fourtuple import Client, Connection, Fate, FourTupleError, Gap, Pushes
from fourtuple.errors import PermanentFailure
from fourtuple.framing import Push, ReplyError

READS = {b"GET", b"MGET", b"EXISTS", b"PING"}


class Redis:
    """The commands, and the channels to which the connection subscribes again after each connect."""

    def __init__(self, address: str, *channels: bytes, password: bytes = b"") -> None:
        self.channels = channels
        self.login = [b"HELLO", b"3", *([b"AUTH", b"default", password] if password else [])]
        self.client: Client = Client(
            address,
            "resp:3",
            greet=self.greet,
            ping=[b"PING"],
            pushes=Pushes(),
            is_push=lambda message: isinstance(message, Push),
            idempotent=lambda message: message[0].upper() in READS,
        )

    async def greet(self, connection: Connection) -> None:
        welcome = await connection.request(self.login)
        if isinstance(welcome, ReplyError):
            raise PermanentFailure(welcome.text)  # a wrong password stays wrong
        if self.channels:
            await connection.send([b"SUBSCRIBE", *self.channels])  # confirmed by a push for each

    async def command(self, *words: bytes) -> Any:
        reply = await self.client.request(list(words))
        if isinstance(reply, ReplyError):
            raise ValueError(reply.text)
        return reply


async def main(address: str) -> None:
    redis = Redis(address, b"news")
    async with redis.client, redis.client.pushes() as pushes:
        try:
            print("visits:", await redis.command(b"INCR", b"visits"))
        except FourTupleError as error:
            print("counted, or not" if error.fate is Fate.PERHAPS_SENT else "not counted", error)
        print("heard by:", await redis.command(b"PUBLISH", b"news", b"it rains"))
        async for push in pushes:
            if isinstance(push, Gap):
                print(f"for {push.seconds:.1f} s had no subscriber")
            elif push[0] == b"message":
                print(push[1].decode(), push[2].decode())
                return


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
