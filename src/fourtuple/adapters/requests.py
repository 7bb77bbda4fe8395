"""Services of code that was written for the standard library's socketserver."""

from __future__ import annotations

import socket
import socketserver as library
from typing import Any

from fourtuple.connection import Connection
from fourtuple.engine import Channel
from fourtuple.errors import ServiceError
from fourtuple.framing.whole import Raw
from fourtuple.handlers import Host
from fourtuple.handlers.socket_runner import SocketRunner
from fourtuple.options import by_keyword, function_name
from fourtuple.service import Service
from fourtuple.service.handler import AdaptedHandler


class StandIn:
    """What a handler finds as ``self.server`` if no server of its own was given: you may set attributes of it."""

    def __init__(self, handler: type[library.BaseRequestHandler]) -> None:
        self.RequestHandlerClass = handler
        self.server_address: Any = None
        self.timeout: float | None = None


@by_keyword()
def socketserver(
    handler: type[library.BaseRequestHandler] | library.BaseServer,
    *,
    server: Any = None,
    name: str | None = None,
    silent_peers: bool = False,
) -> Service[Any, Any, Any, Any]:
    """Return a service that runs a handler of :mod:`socketserver`, unchanged.

    ::

        run(adapters.socketserver(MyTCPHandler), "127.0.0.1:9999")

    Each connection gets a thread of the pool, at once, and the handler a blocking socket as ``self.request``: that of
    the connection itself, or with TLS or rates one that is relayed. Behind a PROXY header ``self.client_address`` is
    the real client, and ``self.request.getpeername()`` the balancer, as far as it is not relayed. At most
    ``max_threads`` run at once; while all are busy, accept pauses. When the server drains, the handler sees an end of
    file.

    Parameters
    ----------
    handler
        A class derived from :class:`socketserver.BaseRequestHandler`, or a whole :class:`socketserver.TCPServer` (made
        with ``bind_and_activate=False``, or bound: then listen at its ``socket``). Of the latter, ``verify_request()``
        and ``finish_request()`` are called for each connection; its own accept loop is not used.
    server
        What the handler finds as ``self.server``. Default: an object with ``RequestHandlerClass``.
    name, silent_peers
        As for :func:`~fourtuple.adapters.protocol`.

    Raises :class:`~fourtuple.errors.ServiceError` for any other object, and for a server of datagrams.
    """
    if isinstance(handler, library.BaseServer):
        if getattr(handler, "socket_type", socket.SOCK_STREAM) != socket.SOCK_STREAM:
            raise ServiceError(
                f"socketserver: expected a server of streams, got {type(handler).__name__}, which is for datagrams"
            )
        if server is not None:
            raise ServiceError("socketserver: server= goes with a handler class; a server was given already")
        whole, title = handler, function_name(handler.RequestHandlerClass)

        def call(request: socket.socket, peer: Any) -> None:
            if whole.verify_request(request, peer):
                whole.finish_request(request, peer)

    elif isinstance(handler, type) and issubclass(handler, library.BaseRequestHandler):
        kind, title = handler, function_name(handler)
        served: Any = StandIn(handler) if server is None else server

        def call(request: socket.socket, peer: Any) -> None:
            kind(request, peer, served)

    else:
        raise ServiceError(f"socketserver: expected a class of socketserver.BaseRequestHandler, got {handler!r}")

    def make(host: Host, service: Service, connection: Connection | None, channel: Channel) -> SocketRunner:
        return SocketRunner(host, service, connection, channel, call)

    service: Service[Any, Any, Any, Any] = Service(Raw(), name=name or title, silent_peers=silent_peers)
    service._adapt(AdaptedHandler(make, name or title, wants_socket=True))
    return service
