"""The stream sink: it receives until the end of file and says how many octets came.

    fourtuple serve examples/sink.py
    python examples/sink.py 127.0.0.1:9999

A stream has no messages: octets that were sent in two pieces may come in one read, or in five.
"""

import sys

from fourtuple import Connection, Server, Service, run
from fourtuple.framing import Raw

service = Service(Raw())


@service.conversation
async def sink(connection: Connection) -> None:
    octets = reads = 0
    async for piece in connection:
        octets += len(piece)
        reads += 1
    print(f"{connection.name}: {octets} octets in {reads} reads, then end of file", flush=True)


def listening(server: Server) -> None:
    print("listening at", server.address, flush=True)


if __name__ == "__main__":
    run(service, *sys.argv[1:], on_start=listening)
