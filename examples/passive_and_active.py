"""The two kinds of TCP socket: a passive one accepts connections, an active one talks to one peer.

    python examples/passive_and_active.py

The kernel calls both "socket", and half of the socket calls fail on each. Here they are two types: a Listener has no
send and no receive, a Connection has no accept.
"""

from fourtuple import FourTuple, Service, serve_in_thread
from fourtuple.blocking import connect
from fourtuple.framing import Line

service = Service(Line())


@service.reply
def echo(message: bytes) -> bytes:
    return message


def abilities(socket: object) -> str:
    return ", ".join(f"{what} {'yes' if hasattr(socket, what) else 'no'}" for what in ("send", "receive", "accept_one"))


def main() -> None:
    with serve_in_thread(service) as server, connect(server.address, Line()) as connection:
        connection.request(b"hello")  # the reply shows that it was accepted
        listener = server.listeners[0]
        print("passive socket, at", listener.name)
        print("   ", abilities(listener))
        print("active socket, the client's end: ", connection.name)
        print("   ", abilities(connection))
        assert isinstance(connection.name, FourTuple)
        accepted = server.find(connection.name.reversed)
        assert accepted is not None
        print("active socket, the server's end:", accepted.name)
        print("   ", abilities(accepted))
        print("the passive socket and the server's end share the name", listener.name)


if __name__ == "__main__":
    main()
