"""How a conversation ends: closed by us, or broken by the world."""

from __future__ import annotations

from fourtuple.errors import ConnectionEnded, ConnectionLost, PeerReset
from fourtuple.events import Reason
from fourtuple.stream.values import Half
from fourtuple.stream.writing import Writing


class Ending(Writing):
    """Take the end, of both directions or of one; the first reason stays."""

    __slots__ = ()

    def close(self, reason: Reason = Reason.CLOSED) -> None:
        """End writing behind the outbox, and discard what the peer still sends."""
        if self.closing:
            return
        self.end_writing()
        self.because(reason)
        self.closing = True
        self.messages_in -= len(self.inbox)
        self.held_back = False
        if self.inbox:
            self.inbox.clear()
        self._raw = None
        self.message_since = None
        if self._requests:
            self._fail_requests(self.cause or ConnectionEnded(f"{self.name}: closed with the request outstanding"))
        layer = self.layer
        if layer is not None and not layer.established and layer.finished:
            # Nothing was written that the handshake has to be finished for: who waits for it waits in vain.
            layer.fail(ConnectionEnded(f"{self.name}: closed before the handshake was done"))

    def broken(self, error: Exception, reason: Reason = Reason.LOST, *, borrowed: bool = False) -> None:
        """Take the end that the world made: nothing can be sent any more, nothing more will come.

        Messages that came before are still delivered. ``borrowed``: another thread is at work with the outbox,
        which is not emptied under its hands; its next write finds the socket shut.
        """
        self.because(reason)
        if self.reading is Half.OPEN:
            self.reading = Half.BROKEN
            # A message that was broken before stays the error: nobody may have seen it yet. And what the world does to
            # a connection that this side closed before is not why nothing is received.
            if not self.closing:
                self.read_error = self.read_error or error
        self.write_broken(error, borrowed=borrowed)
        self.message_since = None
        if self.layer is not None:
            self.layer.fail(error)
        self._fail_requests(error)

    def handed_on(self) -> None:
        """A program has the socket: what others send would come in the middle of what it writes."""
        self.writing = Half.ENDED
        self.write_error = ConnectionEnded(f"{self.name}: a program has the connection, nobody else sends")

    def taken_back(self) -> None:
        """The program has ended: FIN is next."""
        if self.writing is Half.ENDED:
            self.writing, self.write_error = Half.OPEN, None

    def disowned(self, error: Exception) -> None:
        """Take the end that a fork is in the child: nobody is told, who waited is not there."""
        self.reading = self.writing = Half.BROKEN
        self.read_error = self.write_error = error
        self.closing = True
        self.inbox, self.pending, self.outbox, self.outbox_size = [], [], [], 0
        self._raw = self._requests = None

    def write_broken(self, error: Exception, *, borrowed: bool = False) -> None:
        """Take the end of writing alone: what the peer sent before it broke may still be read."""
        if self.writing in (Half.OPEN, Half.ENDING):
            self.writing = Half.BROKEN
            self.write_error = error
        if not borrowed:
            self.pending.clear()
            self._drop_outbox()

    def lost(self, error: OSError) -> None:
        """Take what the socket said as the end of both directions."""
        named = self.named(error)
        self.broken(named, _reason(named))

    def write_lost(self, error: OSError) -> None:
        """Take what the socket said as the end of writing alone, as :meth:`write_broken`."""
        named = self.named(error)
        self.because(_reason(named))
        self.write_broken(named)

    def named(self, error: OSError) -> ConnectionLost:
        """What a socket's failure means for this connection, with its name: the peer reset it, or it was lost."""
        reset = isinstance(error, ConnectionResetError | BrokenPipeError)
        kind = PeerReset if reset else ConnectionLost
        lost = kind(f"{self.name}: {'reset by the peer' if reset else error.strerror or error}")
        lost.__cause__ = error
        return lost

    @property
    def over(self) -> bool:
        """Whether nothing is left to do: both directions are ended or broken, and nothing waits for a rate."""
        writing, reading = self.writing, self.reading
        if (writing is not Half.ENDED and writing is not Half.BROKEN) or reading is Half.OPEN:
            return False
        return not (self.held_back and writing is reading is Half.ENDED)


def _reason(error: ConnectionLost) -> Reason:
    return Reason.RESET if isinstance(error, PeerReset) else Reason.LOST
