"""Existing code on our engine, unchanged: asyncio's streams and protocols, handlers of socketserver.

::

    from fourtuple import adapters, run

    run(adapters.streams(handle_echo), "127.0.0.1:9999")

Each adapter makes a :class:`~fourtuple.Service`, so the code gets a server's limits, deadlines, TLS, PROXY headers,
drain, events and counters.
"""

from fourtuple.adapters.installing import Installation, install, uninstall
from fourtuple.adapters.protocols import protocol, streams
from fourtuple.adapters.requests import socketserver

__all__ = ["Installation", "install", "protocol", "socketserver", "streams", "uninstall"]
