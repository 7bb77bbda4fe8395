"""The limits of the whole program, and the shares of them that one worker has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fourtuple.net.descriptors import DEFAULT_MAX_CONNECTIONS, default_connections
from fourtuple.options import OF_THE_SERVER, Limits
from fourtuple.server import Server, change_endpoint_limits
from fourtuple.supervisor.listen_address import service_of
from fourtuple.supervisor.sharing import RATES, TOTALS, share


@dataclass(frozen=True, slots=True)
class Part:
    """What serves the addresses of one label: a server, and the number of its endpoint there."""

    server: Server[Any, Any, Any, Any]
    endpoint: int


class Shares:
    """The limits by label: those of each service, and those of endpoints with limits of their own.

    Services without max_connections divide what the limit on descriptors allows. How much that is depends on the
    number of workers and on the max_connections of the other services, so it is worked out whenever these change.
    """

    def __init__(self, place: int, workers: int) -> None:
        self._place, self._workers = place, workers
        #: As they were declared or changed, not divided.
        self._whole: dict[str, Limits] = {}
        #: What serves each label; set when it serves.
        self.parts: Mapping[str, Part] = {}

    def divide(self, whole: Mapping[str, Limits]) -> dict[str, Limits]:
        """Note the limits of all labels, and return this worker's share of each."""
        self._whole = dict(whole)
        return self._shares()

    def change_place(self, place: int, workers: int) -> None:
        """Put the shares of another place among the workers, or of another number of workers, in force."""
        self._place, self._workers = place, workers
        self._put_in_force(self._shares())

    def change(self, service: str | None, changes: Mapping[str, Any]) -> None:
        """Change limits of one service, or of all; endpoints with limits of their own keep them.

        Raises what :meth:`Server.change_limits <fourtuple.Server.change_limits>` raises; then nothing has changed.
        """
        chosen = {label: part for label, part in self.parts.items() if label in self._whole and "/" not in label}
        if service is not None:
            chosen = {label: part for label, part in chosen.items() if label == service}
        whole = {label: self._whole[label].replace(**changes) for label in chosen}
        own = {name: value for name, value in changes.items() if name not in (*TOTALS, *RATES)}
        before = {label: part.server.limits for label, part in chosen.items()}
        try:
            for part in chosen.values():
                part.server.change_limits(**own)
        except Exception:
            for label, part in chosen.items():
                part.server.change_limits(**{name: getattr(before[label], name) for name in own})
            raise
        old = self._shares()
        self._whole |= whole
        # The share of a service without max_connections depends on the others.
        new = self._shares()
        self._put_in_force({label: new[label] for label in new if label in chosen or new[label] != old[label]})

    def _shares(self) -> dict[str, Limits]:
        given = [limits.max_connections for label, limits in self._whole.items() if "/" not in label]
        default = default_connections(given, self._workers)
        return {
            label: share(limits, self._place, self._workers, default if "/" not in label else DEFAULT_MAX_CONNECTIONS)
            for label, limits in self._whole.items()
        }

    def _put_in_force(self, shares: Mapping[str, Limits]) -> None:
        for label, limits in shares.items():
            self._change(label, {name: getattr(limits, name) for name in (*TOTALS, *RATES)})

    def _change(self, label: str, changes: dict[str, Any]) -> None:
        part = self.parts.get(label) or self.parts[service_of(label)]
        if "/" not in label:
            part.server.change_limits(**changes)
        else:
            own = {name: value for name, value in changes.items() if name not in OF_THE_SERVER}
            change_endpoint_limits(part.server, part.endpoint, **own)
