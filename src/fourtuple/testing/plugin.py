"""The pytest plugin: the fixtures ``tcp_server`` and ``tcp_client``.

Load it in the topmost conftest.py::

    pytest_plugins = ["fourtuple.testing.plugin"]

It is deliberately not an entry point: pytest would then load it in every environment with fourtuple, even in one
that only runs a service. It adds no option, no hook and no marker. The server runs in a separate thread, so that
both fixtures work in plain and in async tests, with any plugin that runs async tests.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Unpack

import pytest

from fourtuple.address import Address
from fourtuple.blocking import BlockingConnection, connect
from fourtuple.client.options import ConnectOptions
from fourtuple.framing import Framing
from fourtuple.options import Deadlines
from fourtuple.server import Server
from fourtuple.service import Service
from fourtuple.serving.in_thread import serve_in_thread
from fourtuple.testing.fixture_types import TcpClient, TcpServer, ThreadOptions
from fourtuple.testing.witness import Witness, note_all, raise_all
from fourtuple.typevars import In, L, Out, S

__all__ = ["tcp_client", "tcp_server"]

#: With these, a test that leaves a client open does not wait for it at its end.
QUICK = Deadlines(drain_timeout=5.0, drain_idle_timeout=0.0)


@pytest.fixture
def tcp_server() -> Iterator[TcpServer]:
    """``tcp_server(service, *addresses, may_raise=(), **options)`` returns a listening :class:`~fourtuple.Server`.

    The server runs in a thread. Without addresses, the kernel chooses the port. ``options`` are those of
    :func:`~fourtuple.serve_in_thread`. At the end of the test the server drains; unless ``deadlines`` are given,
    ``drain_timeout`` is 5 s and ``drain_idle_timeout`` 0, so that an open client does not delay the test. If handlers
    raised exceptions, or if the code of a framing has a mistake (see :func:`~fourtuple.observe.log_failures`), the test
    fails with an :class:`ExceptionGroup` of them, except those that ``may_raise`` names.
    """
    witnesses: list[Witness] = []

    def errors() -> list[BaseException]:
        return [error for witness in witnesses for error in witness.errors]

    try:
        with ExitStack() as stack:

            def serve(
                service: Service[In, Out, S, L],
                *addresses: str | Address | socket.socket,
                may_raise: Any = (),
                **options: Unpack[ThreadOptions],
            ) -> Server[In, Out, S, L]:
                witness = Witness(options.pop("observer", None), may_raise)
                witnesses.append(witness)
                options.setdefault("deadlines", QUICK)
                options["observer"] = witness
                return stack.enter_context(serve_in_thread(service, *addresses, **options))

            yield serve
    except BaseException as error:  # a server did not stop in order
        note_all(error, errors())
        raise
    raise_all(errors())


@pytest.fixture
def tcp_client(tcp_server: TcpServer) -> Iterator[TcpClient]:  # closed before the servers drain
    """``tcp_client(server_or_address, framing=None, **options)`` returns a :class:`~fourtuple.BlockingConnection`.

    For a server, the framing of the other end of its service is the default. Where the two directions have types of
    their own (:func:`~fourtuple.framing.duplex`), give ``framing.mirror()``, and checkers know them. For an address,
    the framing is required, otherwise TypeError is raised. ``options`` are those of :func:`fourtuple.blocking.connect`.
    At the end of the test the connections are closed, the latest first.
    """
    with ExitStack() as stack:

        def client(
            where: Server | Address | str,
            framing: Framing[In, Out] | str | None = None,
            **options: Unpack[ConnectOptions],
        ) -> BlockingConnection[In, Out]:
            if isinstance(where, Server):
                framing = where.service.framing.mirror() if framing is None else framing
                where = where.address
            if framing is None:
                raise TypeError(f"tcp_client({str(where)!r}): an address has no framing, give one")
            return stack.enter_context(connect(where, framing, **options))

        yield client
