"""The longest wait of a client beside a greedy one: ``python -m benchmarks.bystander --port 9999``.

The greedy client gets a stream of rows or floods the server with messages, depending on the handler. The other client
sends requests repeatedly, on one connection and on new ones, and reports its longest wait. Each client has a separate
process. The CPU time of the server during a request is reported too; it does not include other work of the machine.
"""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import threading
import time

from benchmarks.process import cpu

#: The number of additional connections, for handlers that broadcast.
SINKS = 50
#: The pause between two requests.
PAUSE_SECONDS = 0.001
PATIENCE_SECONDS = 20.0


def greedy(port: int) -> None:
    """Ask for a stream, flood the server, and read everything, until killed."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        threading.Thread(target=discard, args=(connection,), daemon=True).start()
        for _ in range(SINKS):
            threading.Thread(target=discard, args=(socket.create_connection(("127.0.0.1", port)),), daemon=True).start()
        print("begun", flush=True)
        connection.sendall(b"stream\n")
        flood = b"x\n" * 30_000
        while True:
            connection.sendall(flood)


def discard(connection: socket.socket) -> None:
    """Read and discard octets as fast as they come."""
    room = bytearray(1 << 20)
    while connection.recv_into(room):
        pass


def ask(connection: socket.socket) -> None:
    """Send a request and wait for its reply."""
    connection.sendall(b"hello\n")
    line = b""
    while b"HELLO" not in line:  # among the broadcasts to all
        more = connection.recv(65536)
        if not more:
            raise ConnectionError("the server closed")
        line = line[-4:] + more


def ask_anew(port: int) -> None:
    """Connect, send a request and wait for its reply."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as connection:
        ask(connection)


def longest_waits(port: int, pids: list[int], seconds: float) -> dict[str, int]:
    """Send requests for ``seconds``; return the longest wait and the largest CPU time of the server, in ns."""
    longest = most = asked = 0
    until = time.monotonic() + seconds
    with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as connection:
        while not asked or time.monotonic() < until:
            for question in (lambda: ask(connection), lambda: ask_anew(port)):
                used, began = cpu(pids), time.perf_counter_ns()
                question()
                longest = max(longest, time.perf_counter_ns() - began)
                most = max(most, cpu(pids) - used)
                asked += 1
            time.sleep(PAUSE_SECONDS)
    return {"longest": longest, "cpu": most, "count": asked}


def main() -> None:
    """Print the same JSON as the load generator, as far as it applies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--pids", default="", help="of the server, with commas between them")
    parser.add_argument("--greedy", action="store_true", help="be the one that takes all")
    asked = parser.parse_args()
    if asked.greedy:
        greedy(asked.port)
    command = [sys.executable, "-m", "benchmarks.bystander", "--greedy", "--port", str(asked.port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            other.stdout.readline()
            pids = [int(each) for each in asked.pids.split(",") if each]
            seen = longest_waits(asked.port, pids, asked.seconds)
        finally:
            other.kill()
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
