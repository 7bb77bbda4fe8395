"""Which sockets are ready: nested in the loop or by its own readers; registering, letting go, and fork(2)."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import pytest

from fourtuple.engine import Engine, release_engine, shared_engine
from fourtuple.engine.readiness import Nested
from fourtuple.errors import UnsupportedLoop
from rig import channel, engine_of, turns, until


class LoopWithoutReaders(asyncio.BaseEventLoop):
    """As the proactor loop: add_reader is the abstract one."""


@pytest.mark.parametrize("choice", ["auto", "nested", "portable"])
def test_a_loop_without_add_reader_is_refused_clearly(choice: Any) -> None:
    loop = LoopWithoutReaders()
    with pytest.raises(UnsupportedLoop, match="LoopWithoutReaders has no add_reader, which fourtuple needs"):
        Engine(loop, readiness=choice)
    loop.close()


def test_a_descriptor_with_a_living_duplicate_brings_no_events(run_async: Any, readiness: str) -> None:
    """Unregister, then close: otherwise the duplicate's events would never end, and nobody could delete them."""

    async def main() -> None:
        async with engine_of(readiness) as engine:
            one = channel(engine)
            assert one.channel.socket is not None
            duplicate = one.channel.socket.dup()
            one.channel._end()  # without RST: the duplicate keeps the connection
            await turns()
            one.peer.socket.send(b"x")
            served: list[object] = []
            engine._serve = lambda *args: served.append(args)  # type: ignore[method-assign]
            await turns()
            assert served == []
            assert duplicate.recv(1) == b"x"
            del engine._serve
            duplicate.close()
            one.peer.close()

    run_async(main())


def test_the_loop_lets_go_before_the_epoll_set_closes(run_async: Any) -> None:
    class Spy:
        """A loop that remembers whether the descriptor was open when it let go of it."""

        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            self.loop = loop
            self.open_at_removal: list[bool] = []

        def add_reader(self, *args: Any) -> None:
            self.loop.add_reader(*args)

        def remove_reader(self, fd: int) -> bool:
            os.fstat(fd)
            self.open_at_removal.append(True)
            return self.loop.remove_reader(fd)

        def is_closed(self) -> bool:
            return self.loop.is_closed()

    async def main() -> None:
        spy = Spy(asyncio.get_running_loop())
        nested = Nested(spy, lambda: None)  # type: ignore[arg-type]
        nested.close()
        nested.close()
        assert spy.open_at_removal == [True]

    run_async(main())


def test_closing_after_the_loop_is_no_error(readiness: Any) -> None:
    loop = asyncio.new_event_loop()
    engine = Engine(loop, readiness=readiness)
    loop.close()
    engine.close()


def test_the_choice_and_the_state_show_in_repr(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            assert repr(engine) == f"<Engine {readiness}, open, 0 channels>"
            one = channel(engine)
            assert repr(engine) == f"<Engine {readiness}, open, 1 channels>"
            one.peer.close()
        assert repr(engine) == f"<Engine {readiness}, closed, 0 channels>"

    run_async(main())


def test_a_shared_engine_closes_with_its_last_user(run_async: Any) -> None:
    async def main() -> None:
        first, second = shared_engine(), shared_engine()
        assert first is second
        release_engine(first)
        assert not first.closed
        release_engine(second)
        assert first.closed
        third = shared_engine()
        assert third is not first
        release_engine(first)  # not the loop's any more: nothing
        assert not third.closed
        release_engine(third)

    run_async(main())


# -- fork -------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_is_inert_and_its_parent_is_not_deaf(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            one = channel(engine)
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    assert engine.inert
                    one.channel.abort()
                    engine._turn()
                    engine.close()
                    code = 0
                finally:
                    os._exit(code)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 0
            assert one.channel.socket is not None
            linger = one.channel.socket.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
            assert linger == bytes(8)  # the child's abort has not touched what is shared
            one.peer.socket.send(b"still there?")
            await until(lambda: one.recorder.messages == [b"still there?"])
            one.stream.send(b"yes")
            one.stream.close()
            one.channel.flush_soon()
            one.peer.finish()
            assert await one.peer.receive_all() == b"yes"
            one.peer.close()

    run_async(main())
