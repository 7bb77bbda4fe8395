"""What the code that runs handlers does with a connection: it wakes the tasks that wait. Handlers do not call these."""

from __future__ import annotations

import asyncio

from fourtuple.connection.connection import Connection


def wake_receiver(connection: Connection) -> None:
    """Wake the task that receives: the stream has something to return."""
    if connection._receiver is not None:
        connection._receiver.wake()


def wake_senders(connection: Connection) -> None:
    """Wake the tasks that wait to send: the outbox has room, or the connection has ended."""
    if connection._waiters is not None:
        connection._waiters.wake_senders()


def wake_all(connection: Connection) -> None:
    """Wake all tasks that wait with this connection: it has ended."""
    wake_receiver(connection)
    if connection._waiters is not None:
        connection._waiters.wake_all()


def tell_finished(connection: Connection) -> None:
    """Set ``peer_finished``: the peer has sent FIN."""
    if connection._waiters is not None:
        connection._waiters.tell_finished()


def is_receiving(connection: Connection) -> bool:
    """Return whether a task waits in a receive now."""
    return connection._receiving


def is_awaited(connection: Connection) -> bool:
    """Return whether a task waits in a call of this connection, which will report the connection's end to it."""
    return connection._receiving or bool(connection._waiters or connection._stream.outstanding)


def loop_of(connection: Connection) -> asyncio.AbstractEventLoop:
    """Return the loop of a connection."""
    return connection._channel.engine.loop


async def until_relieved(connection: Connection) -> None:
    """Wait until the outbox is below its low mark. If it is already, let other tasks run first if that is due."""
    await connection._relieved()
