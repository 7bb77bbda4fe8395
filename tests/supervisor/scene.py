"""A supervisor in the test's process, with workers of their own, and what it tells."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from cli.conftest import ENVIRONMENT
from fourtuple import Deadlines, events
from fourtuple.options import Processes
from fourtuple.supervisor.events import WorkerEnded
from fourtuple.supervisor.process import Command
from fourtuple.supervisor.supervisor import Supervisor

#: A service whose replies name the worker's process.
SERVICE = """
import os
from fourtuple import Service

service = Service("line")
pid = os.getpid()

@service.reply
def who(message):
    return message + b" %d" % pid
"""
#: A worker without fourtuple, which starts quickly: what it does when it is ready is the test's.
BARE = """
import json, os, signal, sys, time
seat = json.loads(os.environ["FOURTUPLE_WORKER"])
"""
#: A drain that half-closes idle clients at once, and aborts nothing because the machine is slow.
PROMPT = ("--drain-timeout", "60", "--drain-idle-timeout", "0", "--linger-timeout", "60")

E = TypeVar("E", bound=events.Event)


@dataclass
class Seen:
    """The events of a supervisor."""

    events: list[events.Event] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, event: events.Event) -> None:
        self.events.append(event)
        self.changed.set()

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    async def wait(self, kind: type[E], count: int = 1) -> E:
        """Return the event number ``count`` of a kind."""
        while len(self.of(kind)) < count:
            self.changed.clear()
            await self.changed.wait()
        return self.of(kind)[count - 1]


def serve_command(folder: Path, *flags: str, source: str = SERVICE) -> Command:
    """Return the command of workers that serve a file in this folder, and whose drain waits for no idle client."""
    (folder / "served.py").write_text(source)
    words = (sys.executable, "-m", "fourtuple", "serve", "served.py", "-q", *PROMPT, *flags)
    return Command(words, str(folder), ENVIRONMENT)


def bare_command(folder: Path, source: str) -> Command:
    (folder / "bare.py").write_text(BARE + source)
    return Command((sys.executable, "-S", "-E", "bare.py"), str(folder), dict(os.environ))


@asynccontextmanager
async def supervised(
    command: Command, *addresses: str, workers: int = 2, deadlines: Deadlines | None = None, **processes: Any
) -> AsyncIterator[tuple[Supervisor, Seen]]:
    """Run a supervisor while the block runs, and drain it at its end."""
    seen = Seen()
    supervisor = Supervisor(
        *(addresses or ("127.0.0.1:0",)),
        processes=Processes(workers=workers, **processes),
        deadlines=deadlines or Deadlines(drain_timeout=60.0),
        observer=seen,
        command=command,
    )
    await supervisor.start()
    try:
        yield supervisor, seen
    except BaseException:
        await supervisor.abort()
        raise
    await supervisor.drain()
    assert not supervisor.unclean, seen.of(WorkerEnded)
