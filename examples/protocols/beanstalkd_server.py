r"""A queue of jobs that speaks the protocol of beanstalkd: `put` brings a body, `RESERVED` and `FOUND` take one away.

    fourtuple serve examples/protocols/beanstalkd_server.py
    python -c "import greenstalk; c = greenstalk.Client(('127.0.0.1', 9999)); c.put('hello'); print(c.reserve().body)"

Who reserves waits for a job: the handler is an `async def`, and only its connection waits. The jobs that a lost
connection has reserved go back into the queue.
"""

import asyncio
import itertools

from fourtuple import Connection, Service
from fourtuple.framing import duplex, headed

Lines = tuple[bytes, bytes | None]
Worker = Connection[Lines, Lines, dict[bytes, bytes]]

requests = headed("line:net,max_message=224", "put:4", trailer=b"\r\n", max_message=65536 + 224)
replies = headed("line:net", "RESERVED:last|FOUND:last", trailer=b"\r\n")
service = Service(duplex(requests, replies), state=dict[bytes, bytes])  # a connection's state: its reserved jobs

jobs: dict[bytes, bytes] = {}
ready: asyncio.Queue[bytes] = asyncio.Queue()
numbers = itertools.count(1)


@service.reply
async def handle(message: Lines, connection: Worker) -> Lines:
    head, body = message
    match head.split():
        case [b"put", *_] if body is not None:
            number = b"%d" % next(numbers)
            jobs[number] = body
            ready.put_nowait(number)
            return b"INSERTED " + number, None
        case [b"reserve"] | [b"reserve-with-timeout", _]:
            seconds = int(head.split()[1]) if head != b"reserve" else None
            try:
                number = await asyncio.wait_for(ready.get(), seconds)
            except TimeoutError:
                return b"TIMED_OUT", None
            connection.state[number] = jobs[number]
            return b"RESERVED %b %d" % (number, len(jobs[number])), jobs[number]
        case [b"release", number, *_] if number in connection.state:
            del connection.state[number]
            ready.put_nowait(number)
            return b"RELEASED", None
        case [b"delete", number] if number in connection.state:
            del connection.state[number], jobs[number]
            return b"DELETED", None
        case [b"peek", number] if number in jobs:
            return b"FOUND %b %d" % (number, len(jobs[number])), jobs[number]
        case [b"release" | b"delete" | b"peek", _, *_]:
            return b"NOT_FOUND", None
    return b"UNKNOWN_COMMAND", None


@service.closed
def give_back(connection: Worker) -> None:
    for number in connection.state:
        ready.put_nowait(number)
