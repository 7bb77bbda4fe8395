r"""A Modbus TCP client that stays connected: blocking, for any number of threads.

    fourtuple serve examples/protocols/modbus_server.py
    python examples/protocols/modbus_client.py 127.0.0.1:9999

Each request has a transaction number, which its response repeats: responses may come in any order.
"""

import itertools
import struct
import sys

from fourtuple import Pool
from fourtuple.blocking import Client
from fourtuple.framing import Length

READ, WRITE = 3, 6


class Controller:
    """The registers of a controller. Reading may be repeated; writing twice may be once too often."""

    def __init__(self, address: str, unit: int = 1, *, at_once: int = 1) -> None:
        self.unit = unit
        self.transactions = itertools.cycle(range(1, 1 << 16))
        self.client = Client(
            address,
            Length(2, offset=4, skip=0, max_message=260),  # transaction, protocol, length, unit; the header stays
            key=lambda message: message[:2],
            idempotent=lambda message: message[7] == READ,
            pool=Pool(max_pipelined=at_once, request_timeout=2.0),  # many controllers take one request at a time
        )

    def ask(self, function: int, *words: int) -> bytes:
        body = struct.pack(f">B{len(words)}H", function, *words)
        header = struct.pack(">HHHB", next(self.transactions), 0, 1 + len(body), self.unit)
        response = self.client.request(header + body)[7:]
        if response[0] & 0x80:
            raise ValueError(f"exception {response[1]} for function {function}")
        return response

    def read(self, place: int, count: int = 1) -> list[int]:
        return list(struct.unpack(f">{count}H", self.ask(READ, place, count)[2:]))

    def write(self, place: int, value: int) -> None:
        self.ask(WRITE, place, value)


def main(address: str) -> None:
    controller = Controller(address)
    with controller.client:
        controller.write(3, 4711)
        print(controller.read(2, 3))


if __name__ == "__main__":
    main(*sys.argv[1:])
