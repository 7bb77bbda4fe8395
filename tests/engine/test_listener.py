"""The accept loop: three kinds of failure, pausing for several reasons, and the kernel's queue."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from subprocess import PIPE, Popen
from typing import Any

import pytest

from fourtuple import events
from fourtuple.engine import Engine, Listener
from fourtuple.engine.listener import ACCEPTS_PER_TURN, BACK_OFF, TRY_AGAIN
from fourtuple.engine.readiness import IN
from fourtuple.testing import FlakyListener
from rig import Peer, Seen, engine_of, turns, until


class Rig:
    """A listener whose accept(2) fails by a script."""

    def __init__(self, engine: Engine, *script: int) -> None:
        self.seen = Seen()
        self.accepted: list[socket.socket] = []
        self.dead: list[Listener] = []
        sock = socket.create_server(("127.0.0.1", 0))
        sock.setblocking(False)
        self.listener = Listener(
            engine,
            sock,
            lambda sock, _peer: self.accepted.append(sock),
            self.seen,
            7,
            self.dead.append,
        )
        self.flaky = FlakyListener(self.listener, *script)
        self.flaky.__enter__()
        self.listener.start()

    def close(self) -> None:
        self.listener.close()
        for each in self.accepted:
            each.close()


@contextmanager
def rig_on(engine: Engine, *script: int) -> Iterator[Rig]:
    rig = Rig(engine, *script)
    try:
        yield rig
    finally:
        rig.close()


# -- failures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", sorted(TRY_AGAIN), ids=errno.errorcode.get)
def test_a_connection_that_died_in_the_queue_is_passed_over(run_async: Any, readiness: str, number: int) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            with rig_on(engine, number, number) as rig, await Peer.connect(rig.listener.name):
                await until(lambda: rig.accepted)
                assert [(each.error.errno, each.fatal) for each in rig.seen.of(events.AcceptFailed)] in (
                    [(number, False)] * 2,
                    [],  # accept(2) itself repeats what a signal interrupted
                )
                assert not rig.listener.paused

    run_async(main())


@pytest.mark.parametrize("number", sorted(BACK_OFF), ids=errno.errorcode.get)
def test_without_descriptors_accept_pauses_says_so_once_and_goes_on(
    run_async: Any, readiness: str, number: int
) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            with rig_on(engine, number, number, number) as rig, await Peer.connect(rig.listener.name):
                await until(lambda: rig.listener.paused == {"resources"})
                assert rig.listener.backing_off
                await turns()
                assert rig.flaky.left == 2  # it waits
                for _ in range(3):
                    rig.listener.capacity_freed()  # as a connection ends
                    await turns()
                assert len(rig.accepted) == 1
                assert not rig.listener.paused
                failures = rig.seen.of(events.AcceptFailed)
                assert [(each.error.errno, each.fatal) for each in failures] == [(number, False)]

    run_async(main())


def test_the_back_off_ends_by_itself_grows_and_is_bounded(run_async: Any) -> None:
    async def main() -> None:
        async with engine_of("nested") as engine:
            delays: list[float] = []
            loop = asyncio.get_running_loop()

            class Loop:
                """Calls at once what was to be called later."""

                def call_later(self, delay: float, call: Callable[[], None]) -> Any:
                    delays.append(delay)
                    return loop.call_soon(call)

            with rig_on(engine, *[errno.EMFILE] * 6) as rig:
                rig.listener.pause()
                with await Peer.connect(rig.listener.name):
                    engine.loop = Loop()  # type: ignore[assignment]
                    rig.listener.resume()
                    await until(lambda: rig.accepted)
                    engine.loop = loop
                assert delays == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
                assert len(rig.seen.of(events.AcceptFailed)) == 1

    run_async(main())


def test_anything_else_is_fatal(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            with rig_on(engine, errno.EBADF) as rig:
                rig.listener.pause()
                with await Peer.connect(rig.listener.name) as peer:
                    rig.listener.resume()
                    await until(lambda: rig.dead == [rig.listener])
                    assert rig.listener.closed
                    assert rig.listener.fileno() == -1
                    assert [(each.error.errno, each.fatal) for each in rig.seen.of(events.AcceptFailed)] == [
                        (errno.EBADF, True)
                    ]
                    with pytest.raises(ConnectionResetError):
                        await peer.receive_all()

    run_async(main())


def test_the_three_sets_do_not_overlap() -> None:
    assert not TRY_AGAIN & BACK_OFF
    assert {errno.EBADF, errno.EINVAL, errno.ENOTSOCK}.isdisjoint(TRY_AGAIN | BACK_OFF)


WITHOUT_DESCRIPTORS = """
import asyncio, os, resource
from fourtuple import Server, Service, events

service = Service("line")

@service.reply
def echo(message):
    return message

def tell(event):
    if isinstance(event, events.AcceptFailed):
        print("failed", event.error.errno, event.fatal, flush=True)

async def main():
    async with Server(service, observer=tell) as server:
        # From here on there are descriptors for three more.
        highest = max(map(int, os.listdir("/proc/self/fd")))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 3, highest + 3))
        print(server.port, flush=True)
        await server.serve_forever()

asyncio.run(main())
"""


def test_without_descriptors_for_real(run_async: Any) -> None:
    """A server that has no descriptors left keeps who comes in the queue, and serves them as others leave."""

    async def main(process: Popen[str]) -> None:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        peers = [await Peer.connect(port) for _ in range(10)]
        assert process.stdout.readline() == f"failed {errno.EMFILE} False\n"
        for number, peer in enumerate(peers):
            await peer.send(b"%d\n" % number)
        for number, peer in enumerate(peers):
            # In order of arrival: who is served leaves, and makes room for the next one.
            assert await peer.receive(2) == b"%d\n" % number
            peer.close()

    with Popen([sys.executable, "-c", WITHOUT_DESCRIPTORS], stdout=PIPE, text=True) as process:
        try:
            run_async(main(process))
        finally:
            process.kill()
            assert process.stdout is not None
            rest = process.stdout.read()
    assert rest == ""  # said once


# -- pausing and the queue --------------------------------------------------------------------------------


def test_reasons_to_pause_add_up(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            with rig_on(engine) as rig:
                rig.listener.pause("a")
                rig.listener.pause("b")
                rig.listener.pause("a")
                with await Peer.connect(rig.listener.name):
                    rig.listener.resume("a")
                    await turns()
                    assert rig.listener.paused == {"b"}
                    assert rig.accepted == []
                    rig.listener.resume("never")
                    rig.listener.resume("b")
                    await until(lambda: rig.accepted)

    run_async(main())


def test_while_accept_pauses_the_kernels_queue_waits(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            with rig_on(engine) as rig:
                rig.listener.pause()
                peers = [await Peer.connect(rig.listener.name) for _ in range(5)]
                assert rig.listener.accept_queue == 5
                assert repr(rig.listener) == (
                    f"<Listener {rig.listener.name} paused (by request), backlog {rig.listener.backlog}>"
                )
                rig.listener.resume()
                await until(lambda: len(rig.accepted) == 5)
                assert rig.listener.accept_queue == 0
                for peer in peers:
                    peer.close()

    run_async(main())


def test_a_flood_of_connections_leaves_others_their_turn(run_async: Any) -> None:
    async def main() -> None:
        async with engine_of("nested") as engine:
            with rig_on(engine) as rig:
                peers = [await Peer.connect(rig.listener.name) for _ in range(ACCEPTS_PER_TURN + 5)]
                await turns()
                while rig.accepted:
                    rig.accepted.pop().close()
                rig.listener.pause()
                more = [await Peer.connect(rig.listener.name) for _ in range(ACCEPTS_PER_TURN + 5)]
                rig.listener.resume()
                engine._turn()
                assert len(rig.accepted) == ACCEPTS_PER_TURN
                engine._turn()
                assert len(rig.accepted) == ACCEPTS_PER_TURN + 5
                for peer in peers + more:
                    peer.close()

    run_async(main())


def test_pausing_inside_of_an_accept_takes_effect_at_once(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            with rig_on(engine) as rig:

                def take(sock: socket.socket, _peer: object) -> None:
                    rig.accepted.append(sock)
                    rig.listener.pause()

                rig.listener._on_accept = take
                rig.listener.pause()
                peers = [await Peer.connect(rig.listener.name) for _ in range(3)]
                rig.listener.resume()
                await until(lambda: rig.accepted)
                await turns()
                assert len(rig.accepted) == 1
                for peer in peers:
                    peer.close()

    run_async(main())


def test_closing_inside_of_an_accept(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            with rig_on(engine) as rig:

                def take(sock: socket.socket, _peer: object) -> None:
                    rig.accepted.append(sock)
                    rig.listener.close()

                rig.listener._on_accept = take
                with await Peer.connect(rig.listener.name):
                    await until(lambda: rig.listener.closed)
                    assert len(rig.accepted) == 1
                    rig.listener.close()
                    rig.listener.pause()
                    rig.listener.resume()
                    rig.listener.on_ready(IN)
                    assert rig.listener.accept_queue is None
                    assert rig.listener.backlog == 7
                    assert repr(rig.listener) == f"<Listener {rig.listener.name} closed, backlog 7>"

    run_async(main())


def test_a_listener_has_no_send_and_no_receive() -> None:
    assert not {"send", "receive", "recv", "request"} & set(dir(Listener))
