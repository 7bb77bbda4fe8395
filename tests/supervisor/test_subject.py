"""What a supervisor tells of its passive sockets."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fourtuple import Address, Limits
from fourtuple.errors import OperationError
from fourtuple.supervisor.subject import Supervised


def test_a_supervisor_that_has_closed_its_sockets_still_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as open_, socket.create_server(("127.0.0.1", 0)) as closed:
        closed.close()
        sockets, name = {1: open_, 2: closed}, Address("127.0.0.1", open_.getsockname()[1])
        place = SimpleNamespace(name=name, sockets=sockets, service="")
        slots = SimpleNamespace(places=[place])
        supervisor = SimpleNamespace(slots=slots, answers={}, on_ended=[], on_started=[], suspended=False)
        subject = Supervised(cast(Any, supervisor), {"": Limits()})
        (found,) = subject._listening()
        assert (found["address"], found["accept_queue"]) == (str(place.name), 0)


@pytest.mark.parametrize("what", ["suspend", "resume", "workers"])
def test_what_a_supervisor_that_stops_cannot_do(what: str) -> None:
    supervisor = SimpleNamespace(answers={}, on_ended=[], on_started=[], stopping=True)
    subject = Supervised(cast(Any, supervisor), {"": Limits()})
    calls = {"suspend": subject.suspend, "resume": subject.resume, "workers": lambda: subject.set_workers(3)}
    with pytest.raises(OperationError, match=f"{what}: the server is stopping, and accepts no more connections"):
        asyncio.run(calls[what]())
