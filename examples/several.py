"""select() over several sockets: fourtuple.blocking.wait() over blocking connections.

    python examples/several.py

One read may bring several messages. select(2) sees only the socket, which is then empty; wait() also counts messages
that are already decoded.
"""

from collections.abc import Iterator
from contextlib import ExitStack

from fourtuple import Service, serve_in_thread
from fourtuple.blocking import connect, wait
from fourtuple.framing import Line

service = Service(Line())


@service.reply
def three_times(message: bytes) -> Iterator[bytes]:
    for number in range(1, 4):
        yield message + b" %d" % number


def main() -> None:
    with serve_in_thread(service) as server, ExitStack() as stack:
        connections = [stack.enter_context(connect(server.address, Line())) for _ in range(3)]
        print("ready before anything was sent:", len(wait(connections, timeout=0.1)))

        for connection, colour in zip(connections, (b"red", b"green", b"blue"), strict=True):
            connection.send(colour)
        for _ in range(9):
            ready = wait(connections)
            print(f"{len(ready)} ready, heard {ready[0].receive().decode()}")  # will not block


if __name__ == "__main__":
    main()
