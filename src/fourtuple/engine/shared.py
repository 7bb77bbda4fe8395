"""The common engine of a loop, which its clients share."""

from __future__ import annotations

import asyncio
import weakref

from fourtuple.engine.engine import Engine


class _Shared:
    """An engine, as long as it exists, and the number of its users.

    The engine refers to its loop. A strong reference to it here would keep the loop, which is the key, for ever: a loop
    that ended with an open connection, its sockets and its epoll set would never be collected. The channels keep it.
    """

    __slots__ = ("engine", "users")

    def __init__(self, engine: Engine) -> None:
        self.engine: weakref.ref[Engine] = weakref.ref(engine)
        self.users: int = 0


_by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Shared] = weakref.WeakKeyDictionary()


def shared_engine() -> Engine:
    """Return the running loop's common engine, for clients. Give it back with :func:`release_engine`."""
    loop = asyncio.get_running_loop()
    shared = _by_loop.get(loop)
    engine = None if shared is None else shared.engine()
    if shared is None or engine is None or engine.closed or engine.inert:
        # ``inert``: this process is a child made by fork(2), and the engine belongs to its parent.
        engine = Engine(loop)
        shared = _by_loop[loop] = _Shared(engine)
    shared.users += 1
    return engine


def release_engine(engine: Engine) -> None:
    """Give the common engine back; the last user closes it."""
    shared = _by_loop.get(engine.loop)
    if shared is None or shared.engine() is not engine:
        return
    shared.users -= 1
    if not shared.users:
        del _by_loop[engine.loop]
        engine.close()
