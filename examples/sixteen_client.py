"""The sixteen-octet client: it sends 16 octets and receives exactly 16 octets.

python examples/sixteen_client.py 127.0.0.1:9999
"""

import sys

from fourtuple import FourTuple, FourTupleError
from fourtuple.blocking import connect
from fourtuple.framing import Fixed


def main(address: str) -> None:
    with connect(address, Fixed(16)) as connection:
        if isinstance(connection.name, FourTuple):  # the name of a Unix socket has another type
            print("local ", connection.name.local)
            print("remote", connection.name.remote)
        connection.send(b"Hi there, server")
        print(connection.receive(timeout=10).decode())


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except FourTupleError as error:
        sys.exit(str(error))  # "end of file inside a message: expected 16 octets, received 5, from ..."
