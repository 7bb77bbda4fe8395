"""fourtuple, serving a user's file: what ``fourtuple serve`` does, without its log."""

from __future__ import annotations

import argparse
import asyncio
import runpy
from collections import Counter
from pathlib import Path

import fourtuple
from benchmarks.peers.handler import announce, compute_for_ever, server_context
from fourtuple import events
from fourtuple.serving.run import LoopFactory

SERVICES = Path(__file__).parents[1] / "services"


def main() -> None:
    """Serve until the benchmark ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", help="a file of benchmarks/services, without its ending")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--beside-thread", action="store_true", help="a thread of the same process computes")
    parser.add_argument("--tls", help="certificate and key, one file")
    asked = parser.parse_args()
    service = runpy.run_path(str(SERVICES / f"{asked.file}.py"))["service"]
    loop_factory: LoopFactory = asyncio.SelectorEventLoop
    if asked.loop == "uvloop":
        import uvloop

        loop_factory = uvloop.new_event_loop
    if asked.beside_thread:
        compute_for_ever()
    seen: Counter[type[events.Event]] = Counter()  # events stay on: somebody looks at them

    def observe(event: events.Event) -> None:
        seen[type(event)] += 1

    fourtuple.run(
        service,
        "127.0.0.1:0",
        loop_factory=loop_factory,
        observer=observe,
        tls=server_context(asked.tls),
        on_start=lambda server: announce(server.port),
    )


if __name__ == "__main__":
    main()
