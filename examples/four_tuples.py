"""A thousand connections to one local address. Each has a different four-tuple, by which it is found and listed.

python examples/four_tuples.py 1000
"""

import sys
from contextlib import ExitStack

from fourtuple import FourTuple, serve_in_thread
from fourtuple.blocking import connect
from fourtuple.services.echo import service


def main(count: int = 1000) -> None:
    with serve_in_thread(service) as server, ExitStack() as stack:
        clients = [stack.enter_context(connect(server.address, service.framing)) for _ in range(count)]
        for client in clients:
            client.request(b"hello")  # the reply shows that the server has accepted it

        names = sorted(connection.name for connection in server.connections.values())
        print(f"{len(names)} connections, {len({name.local for name in names})} local name,", end=" ")
        print(f"{len(set(names))} four-tuples:")
        for name in names[:3]:
            print("   ", name)
        print("    ...")

        for client in clients:
            # The client's name is the server's with its two ends exchanged.
            assert isinstance(client.name, FourTuple)
            found = server.find(client.name.reversed)
            assert found is not None
            assert found.name == client.name.reversed
        print(f"each of the {len(clients)} was found by its four-tuple")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
