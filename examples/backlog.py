"""The backlog: how many established connections the kernel queues until the server accepts them.

    python examples/backlog.py

The server asks for 20 and does not accept. The kernel still establishes connections, up to its limit. It drops further
SYNs: the client's connect() gets no answer.
"""

from contextlib import ExitStack

from fourtuple import Sockets, serve_in_thread
from fourtuple.blocking import connect
from fourtuple.errors import ConnectTimeout
from fourtuple.services.echo import service


def main() -> None:
    with serve_in_thread(service, sockets=Sockets(backlog=20)) as server, ExitStack() as clients:
        listener = server.listeners[0]
        print(f"asked for {listener.asked_backlog}, the kernel holds {listener.backlog}")
        server.call_soon(server.pause)
        try:
            while True:
                client = clients.enter_context(connect(server.address, service.framing, timeout=0.5))
                client.send(b"hello")  # connected, but not accepted yet
        except ConnectTimeout as error:
            print(error)
        print(f"{listener.accept_queue} connections wait in the accept queue")  # Linux queues one more than asked

        server.call_soon(server.resume)
        with connect(server.address, service.framing) as late:
            print(f"accepted again: {late.request(b'hello').decode()}, {listener.accept_queue} are waiting")


if __name__ == "__main__":
    main()
