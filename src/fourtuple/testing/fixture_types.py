"""The types of the fixtures of :mod:`fourtuple.testing.plugin`, for the annotations of tests."""

from __future__ import annotations

import socket
from typing import Any, Protocol, Unpack, overload

from fourtuple.address import Address
from fourtuple.blocking import BlockingConnection
from fourtuple.client.options import ConnectOptions
from fourtuple.framing import Framing
from fourtuple.server import Server
from fourtuple.service import Service
from fourtuple.serving.run import LoopFactory, ServerOptions
from fourtuple.typevars import In, L, Out, S


class ThreadOptions(ServerOptions, total=False):
    """The options of :func:`~fourtuple.serve_in_thread` as keyword arguments, for type checkers."""

    loop_factory: LoopFactory | None


class TcpServer(Protocol):
    """The type of the fixture ``tcp_server``."""

    def __call__(
        self,
        service: Service[In, Out, S, L],
        *addresses: str | Address | socket.socket,
        may_raise: type[BaseException] | tuple[type[BaseException], ...] = (),
        **options: Unpack[ThreadOptions],
    ) -> Server[In, Out, S, L]:
        """Serve in a thread; see :func:`tcp_server`."""


class TcpClient(Protocol):
    """The type of the fixture ``tcp_client``."""

    @overload
    def __call__(
        self, where: Server[In, Out, Any, Any], framing: None = None, **options: Unpack[ConnectOptions]
    ) -> BlockingConnection[In, Out]: ...
    @overload
    def __call__(
        self, where: Server | Address | str, framing: Framing[In, Out] | str, **options: Unpack[ConnectOptions]
    ) -> BlockingConnection[In, Out]:
        """Connect; see :func:`tcp_client`."""
