"""Passive sockets that the service manager keeps for the next start of the program: the fd store of systemd.

If the supervisor is killed, or the service is restarted, clients wait in the accept queues meanwhile. What is read at
the next start is in :mod:`.stored`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fourtuple.net.sdnotify import Manager
from fourtuple.supervisor.slots import Slots
from fourtuple.supervisor.stored import name_of


class Keeping:
    """What the manager keeps for this supervisor. ``environment`` is that of this process.

    ``before`` are the names of what it keeps since the supervisor before this one: those that are not listened at any
    more are forgotten, or clients would wait there forever.
    """

    def __init__(self, manager: Manager, environment: Mapping[str, str], before: Iterable[str] = ()) -> None:
        self._manager = manager
        # systemd sets it if FileDescriptorStoreMax= is not 0.
        self._able = manager.there and environment.get("FDSTORE", "0") not in ("", "0")
        self._kept = set(before)

    def keep(self, slots: Slots) -> None:
        """Let the manager keep the passive sockets as they are now."""
        if not self._able:
            return
        sockets: dict[str, int] = {}
        for place in slots.places:
            if place.address.is_given:
                continue  # it is the manager's already, or another program's
            place.leave_file()  # the socket outlives this process
            order = place.order.slots if place.order is not None else (0,)
            for index, slot in enumerate(order):
                name = name_of(str(place.address), place.label, index, slot)
                sockets[name] = place.socket_of(slot).fileno()
        # The manager keeps a socket under one name only: what has another name now is forgotten first.
        for name in self._kept - sockets.keys():
            self._manager.forget(name)
        for name in [name for name in sockets if name not in self._kept]:
            self._manager.keep(name, [sockets[name]])
        self._kept = {*sockets}
