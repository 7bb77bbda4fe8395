"""The echo server (RFC 862): it sends every octet back.

fourtuple serve examples/echo.py
python examples/echo.py 127.0.0.1:9999
"""

import sys

from fourtuple import Server, Service, run
from fourtuple.framing import Raw

service = Service(Raw())


@service.reply
def echo(message: bytes) -> bytes:
    return message


def listening(server: Server) -> None:
    print("listening at", server.address, flush=True)


if __name__ == "__main__":
    run(service, *sys.argv[1:], on_start=listening)
