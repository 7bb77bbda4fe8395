"""A Unix socket's path that is too long, given without being parsed: the reason, wherever it is used."""

from __future__ import annotations

import pytest

from fourtuple.address import Address
from fourtuple.blocking import connect
from fourtuple.errors import ConnectError, ListenError
from fourtuple.net.passive import open_listeners
from fourtuple.options import Sockets

LONG = Address(path="/tmp/" + "é" * 60)
WHY = "the path has 125 octets, no more than 107 are allowed"


def test_listening() -> None:
    with pytest.raises(ListenError, match=WHY):
        open_listeners(LONG, Sockets())


def test_connecting() -> None:
    with pytest.raises(ConnectError, match=WHY):
        connect(LONG, "line")
