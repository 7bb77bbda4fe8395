"""The sixteen-octet server: every 16 octets are answered with 16 octets.

    fourtuple serve examples/sixteen.py
    python examples/sixteen.py 127.0.0.1:9999

It is the smallest program here. The framing reads exactly 16 octets, however they arrive.
"""

import sys

from fourtuple import Server, Service, run
from fourtuple.framing import Fixed

service = Service(Fixed(16))


@service.reply
def farewell(message: bytes) -> bytes:
    return b"Farewell, client"


def listening(server: Server) -> None:
    print("listening at", server.address, flush=True)


if __name__ == "__main__":
    run(service, *sys.argv[1:], on_start=listening)
