"""fourtuple: a runtime and toolkit for TCP services.

You write the reply; fourtuple accepts, frames, limits, times out, drains and reports::

    from fourtuple import Service
    from fourtuple.framing import Fixed

    service = Service(Fixed(16))

    @service.reply
    def farewell(message: bytes) -> bytes:
        return b"Farewell, client"
"""

from typing import TYPE_CHECKING

from fourtuple import _command as _command  # imported first: it handles Ctrl-C during the other imports
from fourtuple._lazy import lazily
from fourtuple._version import __version__

if TYPE_CHECKING:
    from fourtuple import adapters as adapters
    from fourtuple import blocking as blocking
    from fourtuple import errors as errors
    from fourtuple import events as events
    from fourtuple import framing as framing
    from fourtuple import inspector as inspector
    from fourtuple import load as load
    from fourtuple import observe as observe
    from fourtuple import options as options
    from fourtuple import proxy as proxy
    from fourtuple import services as services
    from fourtuple import testing as testing
    from fourtuple.address import Address
    from fourtuple.blocking import BlockingConnection
    from fourtuple.client import Client, Opening, PushStream, connect
    from fourtuple.connection import Connection, ServerHandle, Timer
    from fourtuple.engine import Listener
    from fourtuple.errors import Fate, FourTupleError
    from fourtuple.four_tuple import FourTuple, UnixName
    from fourtuple.options import Deadlines, Limits, Pool, Proxy, Pushes, Reconnect, Retries, Sockets, Tls
    from fourtuple.options.endpoint import Endpoint
    from fourtuple.pool import Gap
    from fourtuple.pool.state import Health
    from fourtuple.server import Server
    from fourtuple.service import ReplyAndClose, Service, reply_and_close
    from fourtuple.serving.alarms import Alarm
    from fourtuple.serving.dialing import Dial
    from fourtuple.serving.in_thread import serve_in_thread
    from fourtuple.serving.run import run, watching
    from fourtuple.serving.values import Broadcast, ServerStatistics
    from fourtuple.stream import Reason, Statistics

__all__ = [
    "Address",
    "Alarm",
    "BlockingConnection",
    "Broadcast",
    "Client",
    "Connection",
    "Deadlines",
    "Dial",
    "Endpoint",
    "Fate",
    "FourTuple",
    "FourTupleError",
    "Gap",
    "Health",
    "Limits",
    "Listener",
    "Opening",
    "Pool",
    "Proxy",
    "PushStream",
    "Pushes",
    "Reason",
    "Reconnect",
    "ReplyAndClose",
    "Retries",
    "Server",
    "ServerHandle",
    "ServerStatistics",
    "Service",
    "Sockets",
    "Statistics",
    "Timer",
    "Tls",
    "UnixName",
    "__version__",
    "connect",
    "reply_and_close",
    "run",
    "serve_in_thread",
    "watching",
]

if not TYPE_CHECKING:  # a checker would take __getattr__ for a promise that every name exists
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "fourtuple.address": ("Address",),
            "fourtuple.four_tuple": ("FourTuple", "UnixName"),
            "fourtuple.blocking": ("BlockingConnection",),
            "fourtuple.client": ("Client", "Opening", "PushStream", "connect"),
            "fourtuple.connection": ("Connection", "ServerHandle", "Timer"),
            "fourtuple.serving.dialing": ("Dial",),
            "fourtuple.options.endpoint": ("Endpoint",),
            "fourtuple.engine": ("Listener",),
            "fourtuple.errors": ("Fate", "FourTupleError"),
            "fourtuple.options": (
                *("Deadlines", "Limits", "Pool", "Proxy", "Pushes", "Reconnect", "Retries", "Sockets"),
                "Tls",
            ),
            "fourtuple.pool": ("Gap",),
            "fourtuple.pool.state": ("Health",),
            "fourtuple.server": ("Server",),
            "fourtuple.service": ("ReplyAndClose", "Service", "reply_and_close"),
            "fourtuple.serving.alarms": ("Alarm",),
            "fourtuple.serving.in_thread": ("serve_in_thread",),
            "fourtuple.serving.run": ("run", "watching"),
            "fourtuple.serving.values": ("Broadcast", "ServerStatistics"),
            "fourtuple.events": ("Reason", "Statistics"),
        },
        rooms=(
            "adapters",
            "blocking",
            "errors",
            "events",
            "framing",
            "inspector",
            "load",
            "observe",
            "options",
            "proxy",
            "services",
            "testing",
        ),
    )
