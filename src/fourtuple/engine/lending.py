"""A socket handed to a thread or a program, and taken back."""

from __future__ import annotations

from fourtuple.engine.channel_state import Socket
from fourtuple.engine.ending import Ending
from fourtuple.stream import Reason


class Lending(Ending):
    """Hands the socket to a thread or a program. The engine does not watch it until it is back."""

    __slots__ = ()

    # Fields of ChannelState that this part writes.
    detached: bool

    def detach(self) -> Socket:
        """Give the socket to a thread or a program: unregistered and blocking. The deadlines stay in force."""
        sock = self.socket
        assert sock is not None
        # Unregistered before O_NONBLOCK is cleared: a blocking read would stop the loop and all its connections.
        self.engine.readiness.watch(self, 0)
        self.detached = True
        sock.setblocking(True)
        return sock

    def reattach(self) -> None:
        """Take the socket back from the thread or program."""
        self.detached = False
        sock = self.socket
        if sock is None:
            return
        if self.stream.over:
            self._end()
        else:
            sock.setblocking(False)

    def hand_on(self) -> Socket:
        """Give the socket to a program. Until the program has ended, nothing else reads from it or writes to it."""
        self.stream.handed_on()
        return self.detach()

    def take_back(self, reason: Reason = Reason.CLOSED, *, at_once: bool = False) -> None:
        """Close the connection of a program that has ended, lingering unless ``at_once``.

        The program's children may still have the socket; they also lose the connection.
        """
        self.reattach()
        if self._socket is None:
            return
        self.stream.taken_back()
        self.close(reason)
        if at_once:
            # close(2) sends no FIN while a child of the program still has a descriptor of this socket; shutdown(2) does
            # (shutdown(2) concerns the connection, close(2) only the descriptor).
            self._shut()
            self._end()
