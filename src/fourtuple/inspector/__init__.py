"""What the kernel knows of the sockets of this machine: every listener, every connection, and who holds them.

:func:`sockets` asks it, over netlink (sock_diag(7)), or by /proc where that is closed::

    from fourtuple.inspector import sockets

    for listener in sockets("listening").listeners:
        print(listener.address, listener.queue.waiting, listener.queue.limit, listener.programs)

No root is needed, except to see the processes of other users. Decoding is pure and apart from reading::

    netlink  reading  owners  places  closing      ask the kernel
    messages  diag  unixdiag  proctables  model    what it answers
    joining  fields  values  filters  ordering     what sockets are to each other, and how they are chosen
    explaining                                     what that means, in sentences
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fourtuple._lazy import lazily

if TYPE_CHECKING:
    from fourtuple.inspector.asking import sockets
    from fourtuple.inspector.filters import Filter, parse_filter
    from fourtuple.inspector.model import (
        ActiveSocket,
        Counters,
        KernelTimer,
        Memory,
        Owner,
        PassiveSocket,
        Snapshot,
        UnixSocket,
    )
    from fourtuple.net.backlog import AcceptQueue
    from fourtuple.net.tcpinfo import TcpInfo

__all__ = [
    "sockets",
    "Snapshot",
    "PassiveSocket",
    "ActiveSocket",
    "UnixSocket",
    "AcceptQueue",
    "TcpInfo",
    "Owner",
    "KernelTimer",
    "Memory",
    "Counters",
    "Filter",
    "parse_filter",
]

if not TYPE_CHECKING:  # a checker would take __getattr__ for a promise that every name exists
    __getattr__, __dir__ = lazily(
        __name__,
        {
            "fourtuple.inspector.asking": ("sockets",),
            "fourtuple.inspector.filters": ("Filter", "parse_filter"),
            "fourtuple.inspector.model": (
                "ActiveSocket",
                "Counters",
                "KernelTimer",
                "Memory",
                "Owner",
                "PassiveSocket",
                "Snapshot",
                "UnixSocket",
            ),
            "fourtuple.net.backlog": ("AcceptQueue",),
            "fourtuple.net.tcpinfo": ("TcpInfo",),
        },
    )
