"""Services of code that was written for asyncio: a streams callback, a factory of protocols."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from fourtuple.adapters.protocol_runner import ProtocolRunner
from fourtuple.connection import Connection
from fourtuple.engine import Channel
from fourtuple.errors import ServiceError
from fourtuple.framing.whole import Raw
from fourtuple.handlers import Host
from fourtuple.options import by_keyword, check_callable, check_whole, function_name
from fourtuple.service import Service
from fourtuple.service.handler import AdaptedHandler
from fourtuple.service.registration import check_arguments

#: What asyncio.start_server() takes as ``limit``.
DEFAULT_LIMIT = 64 * 1024

Factory = Callable[[ProtocolRunner], asyncio.BaseProtocol]


def adapted(factory: Factory, name: str, *, silent_peers: bool) -> Service[Any, Any, Any, Any]:
    """Return the service that runs the protocols which ``factory(runner)`` makes."""

    def make(host: Host, service: Service, connection: Connection | None, channel: Channel) -> ProtocolRunner:
        return ProtocolRunner(host, service, connection, channel, factory)

    service: Service[Any, Any, Any, Any] = Service(Raw(), name=name, silent_peers=silent_peers)
    service._adapt(AdaptedHandler(make, name))
    return service


@by_keyword()
def protocol(
    factory: Callable[[], asyncio.BaseProtocol], *, name: str | None = None, silent_peers: bool = False
) -> Service[Any, Any, Any, Any]:
    """Return a service that runs a :class:`asyncio.Protocol` or :class:`asyncio.BufferedProtocol`, unchanged.

    ::

        run(adapters.protocol(EchoProtocol), "127.0.0.1:9999")

    It takes the place of ``loop.create_server(factory, ...)``. The protocol gets a transport of this package, which has
    what asyncio's has. A method of the protocol that raises ends the connection, with the event ``HandlerRaised``.

    Parameters
    ----------
    factory
        Called without arguments for each connection, for example the class itself.
    name
        The name of the service in events and logs. Default: the name of the factory.
    silent_peers
        Whether a peer may stay silent without a bound. Default: False. See :class:`~fourtuple.Service`.

    Raises :class:`~fourtuple.errors.ServiceError` for a factory that cannot be called without arguments.
    """
    check_callable("protocol", factory, optional=False, kind=ServiceError)
    check_arguments("protocol", factory, ())
    return adapted(lambda _runner: factory(), name or function_name(factory), silent_peers=silent_peers)


@by_keyword()
def streams(
    callback: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object] | None],
    *,
    limit: int = DEFAULT_LIMIT,
    name: str | None = None,
    silent_peers: bool = False,
) -> Service[Any, Any, Any, Any]:
    """Return a service that runs a callback of :func:`asyncio.start_server`, unchanged.

    ::

        run(adapters.streams(handle_echo), "127.0.0.1:9999")

    The callback runs in a task of its own, which the server knows: a drain waits for it, and an abort cancels it. If it
    raises, the connection ends, with the event ``HandlerRaised``. If it returns without closing its writer, the
    connection stays open until the peer closes, as with asyncio.

    Parameters
    ----------
    callback
        ``f(reader, writer)``, an ``async def`` or a plain function.
    limit
        The most octets that the reader holds, as for :func:`asyncio.start_server`. Default: 64 KiB, as there.
    name, silent_peers
        As for :func:`protocol`.

    Raises :class:`~fourtuple.errors.ServiceError` for a callback that does not take a reader and a writer.
    """
    check_callable("streams", callback, optional=False, kind=ServiceError)
    check_arguments("streams", callback, ("reader", "writer"))
    check_whole("limit", limit, 1, "octets", ServiceError)

    def factory(runner: ProtocolRunner) -> asyncio.BaseProtocol:
        loop = runner.host.loop
        runner.reader = reader = asyncio.StreamReader(limit=limit, loop=loop)
        return asyncio.StreamReaderProtocol(reader, functools.partial(_connected, runner, callback), loop=loop)

    return adapted(factory, name or function_name(callback), silent_peers=silent_peers)


def _connected(
    runner: ProtocolRunner, callback: Callable[..., Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    result = callback(reader, writer)
    if inspect.iscoroutine(result):
        runner.run(result)
