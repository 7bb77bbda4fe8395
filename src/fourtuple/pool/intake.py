"""From the stream of a connection to the pool: every message that has come, and why none will come any more."""

from __future__ import annotations

from fourtuple.errors import ConnectionLost, FourTupleError, UnexpectedMessage, UnmappedMessage
from fourtuple.pool.member import Member
from fourtuple.pool.pool import ConnectionPool
from fourtuple.stream import NOT_YET, Stream


class Intake:
    """Takes messages out of one stream, and knows about how many octets each has."""

    __slots__ = ("_counted", "_messages", "_octets", "_pool", "_stream")

    def __init__(self, pool: ConnectionPool, stream: Stream) -> None:
        self._pool = pool
        self._stream = stream
        self._counted = self._messages = self._octets = 0

    def take_all(self, member: Member, now: float) -> bool:
        """Pass on every message; return whether some stay in the stream because the inbox of pushes is full."""
        try:
            return self._take_all(member, now)
        except BaseException:
            # A message may be lost between the stream and its call: later replies would be taken for those of others.
            text = f"{member.link.name}: an interrupt came while replies were taken in, their order is not certain"
            self._pool.ended(member, ConnectionLost(text), now)
            raise

    def _take_all(self, member: Member, now: float) -> bool:
        pool, stream = self._pool, self._stream
        octets = self._octets_each()
        while not member.ended:
            if not pool.may_read(member):
                return True
            try:
                message = stream.take_message()
            except UnmappedMessage as error:
                pool.received_unmapped(member, error.with_traceback(None), now)
            except FourTupleError as error:
                why = stream.unanswered(error) if member.live else error
                pool.ended(member, why.with_traceback(None), now)
            else:
                if message is NOT_YET:
                    break
                pool.received(member, message, octets, now)
        return False

    def _octets_each(self) -> int:
        """Return the octets of one message, on average over those that have come since the last time."""
        stream = self._stream
        # Not those in the inbox: more may have been decoded while they were taken, and the requests of greet before.
        if (count := stream.messages_in - self._messages) > 0:
            done = stream.octets_in - stream.decoder.buffered
            self._octets = (done - self._counted) // count
            self._counted, self._messages = done, stream.messages_in
        return max(1, self._octets)


def unasked(name: str) -> UnexpectedMessage:
    """Return the error for octets that came on an idle connection."""
    return UnexpectedMessage(
        f"{name}: the server sent octets that no request asked for, while the connection was idle; it is closed; give "
        "greet= if it greets, on_push= or pushes= if it may send messages at any time"
    )
