"""What connections report: messages, which are replies or pushes, and their end."""

from __future__ import annotations

from typing import Any

from fourtuple.errors import ConnectionLost, EndOfFile, Fate, UnexpectedMessage, UnmappedMessage
from fourtuple.events import PushConsumerFailed, PushesDropped
from fourtuple.pool.calls import Attempt, Call, Kind
from fourtuple.pool.losing import Losing
from fourtuple.pool.member import Member
from fourtuple.printable import shortened


class Receiving(Losing):
    """Gives each message to the call that it answers, or to the inbox of pushes."""

    def received(self, member: Member, message: Any, octets: int, now: float) -> None:
        """Take a message, which took about so many octets: a reply or a push."""
        if member.ended:
            return
        member.last_active = now
        try:
            attempt = None
            pushed = self._correlation.pushed(message, member.link.name)
            if not pushed:
                attempt = member.outstanding.take(message)
                pushed = attempt is None and self._correlation.takes_pushes
        except UnexpectedMessage as error:
            self._lose(member, "unexpected", error, now)
            return
        if pushed:
            self._push(member, message, octets, now)
        elif attempt is None:
            self._lose(member, "unexpected", _unasked(member, message), now)
        else:
            self._answered(member, attempt, now).succeed(message)
            self._look_at(member, now)

    def received_unmapped(self, member: Member, error: UnmappedMessage, now: float) -> None:
        """Take a message that does not map: the error of the request that it answers, if that can be told."""
        if member.ended:
            return
        attempt = member.outstanding.unmapped()
        if attempt is None:
            self._lose(member, "unexpected", error, now)
        else:
            self._answered(member, attempt, now).fail(error, Fate.ANSWERED)
            self._look_at(member, now)

    def _answered(self, member: Member, attempt: Attempt, now: float) -> Call:
        """Note that a reply came; return the call that it is for, or one that no one waits for."""
        attempt.over = True
        self._unserved = False
        call, attempt.call = attempt.call, None
        if call is None:
            self._report.count("late_replies")
            member.late += 1
            call = Call()
        else:
            member.live -= 1
            if call.kind is Kind.REQUEST:
                self._report.count("replies")
                # One that was sent before another was given up may have got the reply of a third: it proves nothing.
                if attempt.given_up_before == member.given_up:
                    member.given_up = 0
            elif call.kind is Kind.PING:
                member.checking = False  # before its next look is reckoned, which is the next ping
        if member.idle:
            member.given_up = 0
            self.members.used(member, now)
        return call

    def _push(self, member: Member, message: Any, octets: int, now: float) -> None:
        inbox = self.inbox
        assert inbox is not None
        self._report.count("pushes")
        if inbox.put(message, octets):
            self._report.count("gaps")
            self._report.tell(PushesDropped(self.address, len(inbox)))
        if inbox.flooded and member.live:
            text = f"{inbox.size} octets of pushes wait, and a request waits behind them; {inbox.allowed} are allowed"
            lost = ConnectionLost(f"{member.link.name}: {text} (max_inbox, twice that beside a request); closed")
            self._lose(member, "error", lost, now)

    def push_failed(self, error: BaseException) -> None:
        """Note that ``on_push`` raised: the next request also raises it."""
        if self.inbox is not None:
            self.inbox.failure = self.inbox.failure or error
        self._report.tell(PushConsumerFailed(self.address, error))

    def may_read(self, member: Member) -> bool:
        """Whether messages may be taken from a connection now: a full inbox of pushes stops reading."""
        inbox = self.inbox
        if inbox is None:
            return True
        return inbox.may_read(waited_for=member.live > 0, before=self._correlation.by_time and len(self._waiting) > 0)

    def unread(self, member: Member) -> bool:
        """Whether a request must wait: something came before it that would be taken for its reply.

        It is always False where more than the time tells a push from a reply.
        """
        # While a call waits for a reply, all whole messages are taken, and the one that has begun is its reply.
        return self._correlation.by_time and member.link.has_unread(begun=not member.live)

    def readable_before(self, member: Member) -> bool:
        """Whether a connection is to be read before a request is sent on it."""
        return member.usable and self.unread(member) and self.may_read(member)

    @property
    def waits_for_room(self) -> bool:
        """Whether a request waits until pushes are taken out of the inbox, which has no room for those before it."""
        if self.inbox is None or not self._waiting:
            return False
        return any(each.usable and not self.may_read(each) and self.unread(each) for each in self.members)

    def _no_gap(self) -> str:
        """Say that pushes keep a request from being sent; empty if they do not."""
        if not any(each.usable and self.unread(each) for each in self.members):
            return ""
        text, room = "the server sent pushes without a gap", ""
        if self.inbox is not None and self.waits_for_room:
            text = "the server sent more pushes than are taken"
            room = f": {self.inbox.size} octets of them wait, {self.inbox.allowed} are allowed (max_inbox, twice that "
            room += "beside a request)"
        return f"{text}, from which only the time tells a reply{room}; give key= or is_push="

    def finishing(self, member: Member) -> None:
        """Note that the peer's FIN has come: no new request goes there. Replies before it are still read."""
        member.finishing = True

    def ended(self, member: Member, error: Exception, now: float) -> None:
        """Note that a connection has ended: no message will come any more."""
        self._lose(member, "peer" if isinstance(error, EndOfFile) else "error", error, now)


def _unasked(member: Member, message: Any) -> UnexpectedMessage:
    shown = shortened(repr(message), 80)
    return UnexpectedMessage(
        f"{member.link.name}: the server sent a message that answers none of the {len(member.outstanding)} outstanding "
        f"requests: {shown}; the connection is closed; give on_push= or pushes= if it may send messages at any time"
    )
