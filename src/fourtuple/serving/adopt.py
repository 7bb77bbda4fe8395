"""Connections that were not accepted here: the socket was given to the server."""

from __future__ import annotations

import socket

from fourtuple.errors import LoopClosed, ServiceError
from fourtuple.forking import why
from fourtuple.handlers import Runner
from fourtuple.net.names import connection_name
from fourtuple.net.sockets import taken_over
from fourtuple.options import Sockets
from fourtuple.serving.accept import Acceptor
from fourtuple.serving.core import ServerCore
from fourtuple.serving.policy import Refusal


def adopt(
    core: ServerCore, acceptor: Acceptor, given: socket.socket, options: Sockets, *, started: bool, draining: bool
) -> Runner | None:
    """See :meth:`fourtuple.Server.adopt`. Return the runner of the connection; None if it is refused."""
    sock = taken_over(given, options)
    if not started or core.engine.inert:
        sock.close()
        if not started:
            raise ServiceError("adopt: the server is not started; the socket is closed")
        if core.engine.loop_closed:
            raise LoopClosed("adopt (the socket is closed)", False)
        raise ServiceError(f"{why('adopt: the server')}; the socket is closed")
    try:
        name = connection_name(sock)
    except OSError:  # never connected, or reset by its peer
        core.admission.vanished(sock)
        return None
    if draining:
        sock.close()
        core.admission.told(name, Refusal("draining", "the server stops"))
        return None
    return acceptor.adopt(sock, name)
