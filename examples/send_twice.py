"""The client of the sink: it sends twice, then end of file.

    python examples/send_twice.py 127.0.0.1:9999 1000000

send() returns when the kernel has taken all octets. The underlying send(2) may take a part only; send() sends the rest.
"""

import sys

from fourtuple.blocking import connect
from fourtuple.framing import Raw


def main(address: str, size: str = "12") -> None:
    with connect(address, Raw(max_message=None)) as connection:
        connection.send(b"a" * int(size))
        connection.send(b"b" * int(size))
        connection.send_eof()
        print(f"sent {connection.statistics.octets_out} octets")


if __name__ == "__main__":
    main(*sys.argv[1:])
