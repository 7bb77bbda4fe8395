"""The thread of a blocking conversation does not interrupt the one that runs; afterwards it is as it was."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from fourtuple import BlockingConnection, Limits, Service
from fourtuple.handlers.unhurried import unhurried
from rig import Peer, serving

pytestmark = pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="policies of scheduling are Linux's")


def in_thread(policy: int) -> list[int]:
    """The policies of a thread that had this one: within the block, and behind it."""
    seen: list[int] = []

    def look() -> None:
        os.sched_setscheduler(0, policy, os.sched_param(0))
        with unhurried():
            seen.append(os.sched_getscheduler(0))
        seen.append(os.sched_getscheduler(0))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return seen


def test_only_the_usual_policy_is_changed() -> None:
    assert in_thread(os.SCHED_OTHER) == [os.SCHED_BATCH, os.SCHED_OTHER]
    assert in_thread(os.SCHED_IDLE) == [os.SCHED_IDLE, os.SCHED_IDLE]


def test_a_thread_that_may_not_change_its_policy_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no such call here")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    with unhurried():
        assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_a_conversation_gives_its_thread_back_as_it_was(run_async: Any, readiness: str) -> None:
    seen: list[tuple[int, int]] = []
    service = Service("line")

    @service.conversation
    def talk(connection: BlockingConnection) -> None:
        before = os.sched_getscheduler(0)
        for message in connection:
            connection.send(message)
            if message == b"fail":
                seen.append((threading.get_ident(), before))
                raise ValueError("a mistake")

    async def main() -> None:
        async with serving(service, readiness, limits=Limits(max_threads=1)) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"fail\n")
                assert await peer.receive(5) == b"fail\n"
                await peer.receive_all()
            seen.append(await server._core.threads.run(lambda: (threading.get_ident(), os.sched_getscheduler(0))))

    run_async(main())
    (thread, within), (same, behind) = seen
    assert thread == same
    assert (within, behind) == (os.SCHED_BATCH, os.SCHED_OTHER)
