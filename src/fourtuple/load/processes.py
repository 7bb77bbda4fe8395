"""A run in several processes: this process starts the workers, lets them begin together, and adds up their rows.

The workers are new interpreters, not forks. A worker reads the pickled plan and then lines of text from its standard
input, and writes lines of JSON to its standard output::

    worker                          this process
      <- plan ------------------------
      -- {"ready": true} ----------->     waits for all: every connection was tried once
      <- go NANOSECONDS --------------    the same moment for all: CLOCK_MONOTONIC is the machine's
      -- {"row": {...}} ------------>     ...
      <- stop ------------------------    optional; the end of standard input means the same
      -- {"done": true} ------------>
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import pickle
import ssl
import struct
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from fourtuple.errors import FourTupleError, OptionError
from fourtuple.load.plan import Plan
from fourtuple.load.tally import Interval, Phase

#: The longest line of a worker, in octets: a row with full histograms is a tenth of this.
_LINE = 4 * 1024 * 1024
#: Nanoseconds between sending "go" and the moment that it names.
_AHEAD = 20_000_000
#: Seconds in which a worker must end after it was told to.
_PATIENCE = 5.0

LENGTH = struct.Struct("!I")


class WorkerFailed(FourTupleError):
    """A process of the load ended without giving an error."""


class Processes:
    """The workers of a run, with the methods of a :class:`~fourtuple.load.worker.Worker`."""

    def __init__(self, plan: Plan, on_row: Callable[[Interval], None]) -> None:
        self._plan = plan
        self._on_row = on_row
        self._count = plan.load.processes
        self._workers: list[Process] = []
        self._rows: dict[tuple[Phase, int], tuple[Interval, int]] = {}
        self._stopped = False
        self._pickled = [_pickled(replace(plan, process=number)) for number in range(self._count)]

    async def open(self) -> None:
        """Start the workers, and wait until all are ready. Raises the error of the first worker that failed."""
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        for plan in self._pickled:
            if self._stopped:
                break
            worker = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "fourtuple.load",
                stdin=PIPE,
                stdout=PIPE,
                env=environment,
                limit=_LINE,
                start_new_session=True,  # Ctrl-C in a terminal interrupts this process only, which stops the workers
            )
            self._workers.append(worker)
            assert worker.stdin is not None
            worker.stdin.write(LENGTH.pack(len(plan)) + plan)
        if self._stopped:
            self._tell("stop")  # for the worker that was being started
        errors: list[Exception] = []
        for worker in self._workers:
            try:
                await self._line(worker)
            except FourTupleError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    async def run(self, began: int | None = None) -> None:
        """Let all workers begin together, and gather their rows until all have ended."""
        moment = began or time.perf_counter_ns() + _AHEAD
        if not self._stopped:
            self._tell(f"go {moment}")
        outcomes = await asyncio.gather(*map(self._gather, self._workers), return_exceptions=True)
        for key in sorted(self._rows, key=lambda key: self._rows[key][0].start):
            self._on_row(self._rows[key][0])  # rows that some processes did not send
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _gather(self, worker: Process) -> None:
        while "done" not in (line := await self._line(worker)):
            row = Interval.from_json(line["row"])
            key = row.phase, row.number
            merged, count = self._rows.pop(key, (None, 0))
            if merged is None:
                merged = row
            else:
                merged.add(row)
            if count + 1 == self._count:
                self._on_row(merged)
            else:
                self._rows[key] = merged, count + 1

    async def _line(self, worker: Process) -> dict[str, Any]:
        assert worker.stdout is not None
        text = await worker.stdout.readline()
        if not text:
            raise WorkerFailed(f"a load process ended early, with exit code {await worker.wait()}")
        line: dict[str, Any] = json.loads(text)
        if "error" in line:
            raise pickle.loads(base64.b64decode(line["error"]))
        return line

    def _tell(self, text: str) -> None:
        for worker in self._workers:
            if worker.stdin is not None and not worker.stdin.is_closing():
                worker.stdin.write(text.encode() + b"\n")

    def stop(self) -> None:
        """Tell all workers to end now."""
        self._stopped = True
        self._tell("stop")

    async def end(self) -> None:
        """Release everything: close the workers' standard input, and kill those that do not end within 5 s."""
        for worker in self._workers:
            if worker.stdin is not None:
                worker.stdin.close()
        for worker in self._workers:
            try:
                async with asyncio.timeout(_PATIENCE):
                    await worker.communicate()  # read its output to the end, so that the pipe is closed too
            except TimeoutError:
                with suppress(ProcessLookupError):
                    worker.kill()
                await worker.wait()


def _pickled(plan: Plan) -> bytes:
    if isinstance(plan.tls, ssl.SSLContext):
        raise OptionError("processes: a TLS context cannot be sent to other processes; give Tls options")
    try:
        return pickle.dumps(plan)
    except Exception as error:
        what = f"{plan.framing} or is_push" if plan.is_push is not None else str(plan.framing)
        raise OptionError(f"processes: {what} cannot be sent to other processes: {error}") from error
