"""The task of one process, as plain data that can be sent to other processes."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fourtuple.address import Address
from fourtuple.framing import Framing
from fourtuple.load.options import Load
from fourtuple.load.payload import Payload
from fourtuple.load.schedule import share
from fourtuple.options import Sockets, Tls
from fourtuple.proxy.header import HeaderChoice


@dataclass(frozen=True, slots=True)
class Plan:
    """A run, or the part of it for process number ``process``."""

    address: Address
    framing: Framing
    load: Load
    payload: Payload
    sockets: Sockets
    tls: Tls | ssl.SSLContext | bool | None = None
    server_hostname: str | None = None
    proxy_header: HeaderChoice | None = None
    is_push: Callable[[Any], bool] | None = None
    process: int = 0

    def mine(self, total: int) -> int:
        """The part of a number for this process."""
        return share(total, self.process, self.load.processes)
