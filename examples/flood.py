"""The two-sided flood: a client that writes 100 MB to an echo and begins to read only when its writing has stalled.

    python examples/flood.py 100

A server that stores octets that its peer does not read runs out of memory here. A server that writes without reading
waits forever. This server stops reading when its outbox is full: the flood stalls, in bounded memory, and every octet
arrives when the client reads.
"""

import os
import sys
import threading
from collections.abc import Iterator

from fourtuple import serve_in_thread
from fourtuple.blocking import connect
from fourtuple.errors import DeadlinePassed
from fourtuple.services.echo import service

BLOCK = 64 * 1024


def blocks(megabytes: int) -> Iterator[bytes]:
    """Blocks that contain their position, so that a lost, repeated or moved block is noticed."""
    for number in range(megabytes * 1_000_000 // BLOCK + 1):
        yield number.to_bytes(8, "big") * (BLOCK // 8)


def resident() -> float:
    """Resident memory of this process (client and server) in MB."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def main(megabytes: int = 100) -> None:
    with serve_in_thread(service) as server, connect(server.address, service.framing) as connection:
        before = resident()
        flood = blocks(megabytes)
        try:
            for block in flood:
                connection.send(block, timeout=0.5)  # the rest of this block stays in the outbox
        except DeadlinePassed:
            pass
        stalled = connection.statistics.octets_out
        print(f"writing stalled after {stalled / 1e6:.1f} MB, memory grew by {resident() - before:.1f} MB")

        def write_the_rest() -> None:
            for block in flood:
                connection.send(block)
            connection.send_eof()

        writer = threading.Thread(target=write_the_rest)
        writer.start()
        arrived = 0
        for wanted in blocks(megabytes):
            assert connection.receive_exactly(BLOCK) == wanted, f"behind octet {arrived} comes what was not sent there"
            arrived += BLOCK
        writer.join()
        print(f"{arrived} octets came back of {connection.statistics.octets_out}, in order")
        print(f"memory grew by {resident() - before:.1f} MB")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
