"""One process of a run in several processes, which :mod:`fourtuple.load.processes` starts. Not for use by hand."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import pickle
import sys
from typing import Any

from fourtuple.errors import FourTupleError
from fourtuple.load.plan import Plan
from fourtuple.load.processes import LENGTH
from fourtuple.load.running import loop_factory
from fourtuple.load.worker import Worker


def say(**line: Any) -> None:
    """Write one line of JSON for the parent process."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


class Orders:
    """The orders of the parent process on standard input. Its end means stop."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._held = b""
        self.go: asyncio.Future[int | None] = worker.loop.create_future()
        os.set_blocking(0, False)
        worker.loop.add_reader(0, self._readable)

    def _readable(self) -> None:
        octets = os.read(0, 4096)
        self._held += octets
        *lines, self._held = self._held.split(b"\n")
        for line in lines:
            if line.startswith(b"go ") and not self.go.done():
                self.go.set_result(int(line[3:]))
            elif line == b"stop":
                self._stop()
        if not octets:
            self.close()
            self._stop()

    def _stop(self) -> None:
        self._worker.stop()
        if not self.go.done():
            self.go.set_result(None)

    def close(self) -> None:
        """Stop reading orders."""
        self._worker.loop.remove_reader(0)


async def work(plan: Plan) -> None:
    """Do the part of this process."""
    worker = Worker(plan, lambda row: say(row=row.as_json()))
    orders = Orders(worker)
    try:
        await worker.open()
        say(ready=True)
        await worker.run(await orders.go)
        say(done=True)
    except FourTupleError as error:
        say(error=base64.b64encode(pickle.dumps(error)).decode())
    finally:
        orders.close()
        await worker.end()


def _exactly(size: int) -> bytes:
    octets = b""
    while len(octets) < size:
        piece = os.read(0, size - len(octets))
        if not piece:
            sys.exit("fourtuple.load: the plan ended early")
        octets += piece
    return octets


def main() -> None:
    """Read the plan and carry it out."""
    # A buffered read would also take the orders that follow the plan.
    size = LENGTH.unpack(_exactly(LENGTH.size))[0]
    plan: Plan = pickle.loads(_exactly(size))
    with asyncio.Runner(loop_factory=loop_factory(plan.load.loop)) as runner:
        runner.run(work(plan))


if __name__ == "__main__":
    main()
