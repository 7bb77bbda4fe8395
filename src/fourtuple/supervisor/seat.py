"""PURE: what a new process of the server is given by the one that starts it: numbers of descriptors, as JSON.

It stands in an environment variable, which the new process removes before it reads anything else: programs that it
starts do not inherit it.
"""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass
from typing import Any

from fourtuple.address import Address
from fourtuple.net.given import VARIABLES

#: For a worker: its :class:`Seat`.
WORKER = "FOURTUPLE_WORKER"
#: For the supervisor of an upgraded program: its :class:`Handover`.
UPGRADE = "FOURTUPLE_UPGRADE"
#: For a process that only imports the services and checks the options that depend on them.
ONLY_CHECK = "FOURTUPLE_ONLY_CHECK"
#: What the service manager tells the supervisor, and no worker.
OF_THE_MANAGER = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PIDFDID", *VARIABLES)


@dataclass(frozen=True, slots=True)
class Given:
    """A passive socket that is handed on: the address that was asked for, its descriptor, and the label of its service.

    See :mod:`fourtuple.supervisor.listen_address` for labels.
    """

    address: str
    fd: int
    label: str = ""


@dataclass(frozen=True, slots=True)
class Seat:
    """What a worker is given."""

    slot: int
    #: Its place among the workers, from 0, and their number: for its share of the limits.
    place: int
    workers: int
    #: The pipe to which it writes one octet when it accepts connections.
    ready: int
    #: Its end of the channel.
    channel: int
    sockets: tuple[Given, ...]

    def text(self) -> str:
        """Return the value of the variable."""
        return json.dumps(asdict(self))

    @classmethod
    def taken_from(cls, environment: MutableMapping[str, str]) -> Seat | None:
        """Remove the variable and return what it says; None for a process that is not a worker."""
        fields = _taken(environment, WORKER)
        if fields is None:
            return None
        return cls(**{**fields, "sockets": tuple(Given(**each) for each in fields["sockets"])})


@dataclass(frozen=True, slots=True)
class HandedPlace:
    """The passive sockets of one place: descriptors in the order of the kernel's array, and their slots.

    A shared socket has one descriptor, and no slots. ``file`` is the device and the inode of a Unix socket's file that
    belongs to the server.
    """

    address: str
    fds: tuple[int, ...]
    slots: tuple[int, ...]
    label: str = ""
    file: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Handover:
    """What the supervisor of an upgraded program is given by the one before it."""

    #: The socket pair between both: see :mod:`fourtuple.supervisor.upgrade`.
    link: int
    places: tuple[HandedPlace, ...]
    #: The number of workers now; the new program's own option overrides it.
    workers: int
    #: Whether accept was suspended.
    suspended: bool = False

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The addresses as the program before asked for them."""
        return tuple(Address.parse(place.address) for place in self.places)

    def text(self) -> str:
        """Return the value of the variable."""
        return json.dumps(asdict(self))

    @classmethod
    def taken_from(cls, environment: MutableMapping[str, str]) -> Handover | None:
        """Remove the variable and return what it says; None if this program is not an upgrade."""
        fields = _taken(environment, UPGRADE)
        if fields is None:
            return None
        places = tuple(
            HandedPlace(
                each["address"],
                tuple(each["fds"]),
                tuple(each["slots"]),
                each.get("label", ""),
                tuple(each["file"]) if each.get("file") else None,
            )
            for each in fields["places"]
        )
        return cls(fields["link"], places, fields["workers"], fields.get("suspended", False))


def for_child(environment: MutableMapping[str, str], **added: str) -> dict[str, str]:
    """Return the environment of a process that the supervisor starts."""
    return {name: value for name, value in environment.items() if name not in OF_THE_MANAGER} | added


def _taken(environment: MutableMapping[str, str], name: str) -> dict[str, Any] | None:
    text = environment.pop(name, None)
    return None if text is None else json.loads(text)
