"""The common engine of a loop, which its clients share."""

from __future__ import annotations

import asyncio
import weakref

from fourtuple.engine.engine import Engine

_by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Engine, int]] = weakref.WeakKeyDictionary()


def shared_engine() -> Engine:
    """Return the running loop's common engine, for clients. Give it back with :func:`release_engine`."""
    loop = asyncio.get_running_loop()
    engine, users = _by_loop.get(loop, (None, 0))
    if engine is None or engine.closed or engine.inert:
        # ``inert``: this process is a child made by fork(2), and the engine belongs to its parent.
        engine, users = Engine(loop), 0
    _by_loop[loop] = (engine, users + 1)
    return engine


def release_engine(engine: Engine) -> None:
    """Give the common engine back; the last user closes it."""
    shared, users = _by_loop.get(engine.loop, (None, 0))
    if shared is not engine:
        return
    if users > 1:
        _by_loop[engine.loop] = (engine, users - 1)
    else:
        del _by_loop[engine.loop]
        engine.close()
