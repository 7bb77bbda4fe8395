"""Blocking and non-blocking: receive() waits, receive_nowait() raises WouldBlock if there is no message.

    python examples/nonblocking.py

WouldBlock is not a failure: the connection stays usable. It is a subclass of BlockingIOError.
"""

from fourtuple import serve_in_thread
from fourtuple.blocking import connect
from fourtuple.errors import WouldBlock
from fourtuple.services.upper import service


def main() -> None:
    with serve_in_thread(service) as server, connect(server.address, service.framing) as connection:
        try:
            connection.receive_nowait()
        except WouldBlock as nothing:
            print("WouldBlock:", nothing)

        connection.send(b"hello")
        print("receive() waited for", connection.receive())

        connection.send(b"again")
        looks = 0
        while True:
            looks += 1
            try:
                print("receive_nowait() found", connection.receive_nowait())
                break
            except WouldBlock:
                continue  # do something else meanwhile; fourtuple.blocking.wait() would wait
        print("and it had to look", "once" if looks == 1 else "several times")


if __name__ == "__main__":
    main()
