"""Requests of a blocking connection: send messages, and match the replies to them, in order."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from fourtuple.blocking.polling import after
from fourtuple.blocking.receiving import Receiving
from fourtuple.blocking.sending import Sending
from fourtuple.blocking.shared_socket import SharedSocket
from fourtuple.options import check_timeout
from fourtuple.stream import Request
from fourtuple.typevars import Generic, In_co


class PendingReply(Generic[In_co]):
    """The future reply to a request that :meth:`BlockingConnection.begin` sent; it has its place in the order.

    ``sock`` and ``receiving`` are parts of the connection, ``request`` is what its stream keeps of the request.
    """

    __slots__ = ("_receiving", "_request", "_socket")

    def __init__(self, sock: SharedSocket, receiving: Receiving, request: Request) -> None:
        self._socket = sock
        self._receiving = receiving
        self._request = request

    @property
    def done(self) -> bool:
        """Whether the reply, or an error in its place, has arrived."""
        return self._request.done

    def receive(self, timeout: float | None = None) -> In_co:
        """Return the reply, waiting at most ``timeout`` seconds; errors as :meth:`BlockingConnection.receive`.

        You can call it again after :class:`~fourtuple.errors.DeadlinePassed`, and after
        :class:`~fourtuple.errors.ConnectionBusy` (another thread receives now).
        """
        check_timeout(timeout)
        if not self._request.done:
            self._receiving.wait_for(lambda: self._request.done, timeout, "reply")
        reply: In_co = self._request.result()
        return reply

    def abandon(self) -> None:
        """Give up the reply: it keeps its place in the order, and is dropped and counted when it comes."""
        self._request.abandoned = True

    def __repr__(self) -> str:
        state = "abandoned" if self._request.abandoned else "done" if self.done else "outstanding"
        return f"<PendingReply on {self._socket.stream.name}, {state}>"


class Requests:
    """Sends requests and waits for their replies. The stream matches them in order."""

    __slots__ = ("_receiving", "_sending", "_socket", "_stream")

    def __init__(self, sock: SharedSocket, sending: Sending, receiving: Receiving) -> None:
        self._socket = sock
        self._stream = sock.stream
        self._sending = sending
        self._receiving = receiving

    def request_many(self, messages: Iterable[Any], timeout: float | None) -> list[Any]:
        """Send messages without waiting for the reply to each, and return all replies in order."""
        check_timeout(timeout)
        begun: list[Request] = []
        receiving, stream = self._receiving, self._stream
        until = after(timeout, self._socket.clock)
        thread = threading.get_ident()
        within = receiving.asking == thread  # a nested request, in a signal handler or in the iterator of the messages
        try:
            receiving.begin_asking(thread)
            for message in messages:
                receiving.look_for_unasked()
                self._ask(message, begun)
                # At once and not with the next: the server can begin with the first reply while the others are sent.
                self._sending.flush()
                if stream.crowded:
                    receiving.wait_for(lambda: begun[-1].done or not stream.crowded, timeout, "request", until)
                if begun[-1].error is not None:
                    break
            for request in begun:
                if not request.done:
                    receiving.wait_for(lambda: request.done, timeout, "request", until)  # noqa: B023  # called at once
            return [request.result() for request in begun]
        except BaseException:
            for request in begun:
                # They stay in the order: replies that come later belong to them, and are dropped.
                request.abandoned = True
            raise
        finally:
            if not within and receiving.asking == thread:
                receiving.asking = None

    def begin(self, message: Any, timeout: float | None) -> PendingReply[Any]:
        """Send a message and return the pending reply."""
        check_timeout(timeout)
        self._sending.make_room(timeout)
        self._receiving.look_for_unasked()
        begun: list[Request] = []
        try:
            self._ask(message, begun)
            self._sending.write_out(timeout)
            return PendingReply(self._socket, self._receiving, begun[0])
        except BaseException:
            for request in begun:
                request.abandoned = True
            raise

    def _ask(self, message: Any, begun: list[Request]) -> None:
        """Send a request, and append it to ``begun``."""
        # extend(map()): no interrupt can come between the request and its entry in the list.
        self._sending.put("request", lambda: begun.extend(map(self._stream.request, (message,))))
