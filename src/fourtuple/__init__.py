"""fourtuple: a runtime and toolkit for TCP services.

You write the reply; fourtuple accepts, frames, limits, times out, drains and reports::

    from fourtuple import Service
    from fourtuple.framing import Fixed

    service = Service(Fixed(16))

    @service.reply
    def farewell(message: bytes) -> bytes:
        return b"Farewell, client"
"""

from fourtuple import _command as _command  # first of all: it looks after Ctrl-C
from fourtuple._version import __version__
from fourtuple.address import Address, FourTuple, UnixName
from fourtuple.blocking import BlockingConnection, connect, wait
from fourtuple.connection import Connection
from fourtuple.engine import Listener
from fourtuple.errors import FourTupleError
from fourtuple.options import Deadlines, Limits, Proxy, Reconnect, Sockets, Tls
from fourtuple.server import Server
from fourtuple.service import Service, reply_and_close
from fourtuple.serving.monitors import Alarm
from fourtuple.serving.run import run, serve_in_thread, watching
from fourtuple.stream import Reason, Statistics

__all__ = [
    "Address",
    "Alarm",
    "BlockingConnection",
    "Connection",
    "Deadlines",
    "FourTuple",
    "FourTupleError",
    "Limits",
    "Listener",
    "Proxy",
    "Reason",
    "Reconnect",
    "Server",
    "Service",
    "Sockets",
    "Statistics",
    "Tls",
    "UnixName",
    "__version__",
    "connect",
    "reply_and_close",
    "run",
    "serve_in_thread",
    "wait",
    "watching",
]
