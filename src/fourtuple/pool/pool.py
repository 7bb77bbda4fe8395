"""The pool: which call gets which connection, when another one is made, and what becomes of a call that fails."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from fourtuple.errors import (
    ConnectionEnded,
    ConnectionLost,
    DeadlinePassed,
    EndOfFile,
    Fate,
    NotConnected,
    TooManyWaiting,
)
from fourtuple.events import PushConsumerFailed
from fourtuple.pool.calls import Attempt, Call, Kind, no_one, told
from fourtuple.pool.connecting import Connecting, said
from fourtuple.pool.functions import failure_of
from fourtuple.pool.member import Member
from fourtuple.pool.reconnecting import Dial


class ConnectionPool(Connecting):
    """Calls wait in a queue, first in, first out; connections that are free are used last in, first out.

    A caller does four things after each change: :meth:`advance`; begin an attempt if :meth:`dial_at` says that one is
    due; wait for :meth:`next_moment` at most; and pass on what its links received, or that they ended.
    """

    # -- calls ----------------------------------------------------------------------------------------------

    def ask(self, call: Call, now: float) -> None:
        """Put a call into the queue. Raises, with the fate ``not_sent``, if it cannot wait there."""
        error = self._why_not_asked(call, now)
        if error is not None:
            raise told(error, Fate.NOT_SENT, error.__cause__)
        call.asked, call.asked_in = now, self._turn
        if call.deadline is None and call.whole_timeout is not None:
            call.deadline = now + call.whole_timeout
        if call.deadline is not None:
            self._deadlines.add(call.deadline, (call, None))
        if call.kind is Kind.REQUEST:
            self._report.count("requests")
            # Once for each call, not for each attempt: otherwise retries would pay for retries.
            self._budget.pay(now)
            # Where a connection is ready, sending shows it at once. Elsewhere it would wait for one in vain.
            if not self.members.ready and (error := self._why_unsendable(call.message)) is not None:
                call.fail(error, Fate.NOT_SENT)
                return
        self._waiting[call] = None

    def _why_not_asked(self, call: Call, now: float) -> Exception | None:
        if (ended := self._why_ended("request")) is not None:
            return ended
        if self.dialler.state is Dial.REFUSED:
            return self.dialler.error
        if self.inbox is not None and call.kind is Kind.REQUEST and (died := self.inbox.trouble()) is not None:
            if self.inbox.failure is None:
                self._report.tell(PushConsumerFailed(self.address, died.__cause__))
            self.inbox.failure = None  # told now; on_push was given the pushes after it
            return died
        if self._options.fail_fast and not self.members.ready and self.dialler.failing(now):
            return self.dialler.error
        if len(self._waiting) >= self._options.max_waiting:
            return TooManyWaiting(self.address, len(self._waiting), self._options.max_waiting)
        return None

    def _why_unsendable(self, message: Any) -> Exception | None:
        """Return why a request cannot be sent on any connection; None if it can, as far as is known."""
        what, inside = "key=", self._advancing
        self._advancing = True  # it calls functions of the program
        try:
            if self._correlation.of_request is not None:
                self._correlation.outstanding(f"client of {self.address}").key_for(message)
            what = "the framing"
            if self._framing is not None:
                self._framing.encode(message)
        except BaseException as error:
            if self._passes(error):
                raise
            return failure_of(error, f"client of {self.address}: {what}")
        finally:
            self._advancing = inside
        return None

    def _why_ended(self, what: str) -> ConnectionEnded | None:
        if not (self.closed or self.draining):
            return None
        return ConnectionEnded(f"client of {self.address}: {what} after {'close()' if self.closed else 'drain()'}")

    def give_up(self, call: Call, now: float) -> None:
        """Forget a call that was cancelled. If it was sent, it keeps its place, and its late reply is dropped."""
        if not call.done:
            self._waiting.pop(call, None)
            self._abandon(call, now)
            call.done = True

    def recover(self, call: Call, now: float) -> None:
        """See to a call that has lost its place: a signal handler has raised in a thread that worked for it, too."""
        if call.done or call in self._waiting:
            return
        attempt = call.attempt
        if attempt is None:
            self._requeue(call)
        elif attempt.member.ended or attempt.call is not call:
            text = f"{attempt.member.link.name}: an interrupt in another thread came while a reply was taken in"
            self._failed(call, ConnectionLost(text), attempt.fate(attempt.member.link.taken), now)

    def _abandon(self, call: Call, now: float) -> None:
        attempt, call.attempt = call.attempt, None
        if attempt is None:
            return
        attempt.call = None
        member: Member = attempt.member
        member.live -= 1
        if not member.given_up:
            member.given_up_since = now
        member.given_up += 1
        if self._options.request_timeout is not None:
            # A reply that never comes would hold its place, and with it the connection, for all requests behind it.
            self._deadlines.add(attempt.sent_at + 2 * self._options.request_timeout, (member, attempt))
        self._look_at(member, now)

    def member_for_send(self, now: float) -> Member:
        """Return the connection for a message that has no reply. Raises NotConnected: such a message never waits."""
        error: Exception | None = self._why_ended("send") or self._trouble(now)
        member = (self._pick(now, fresh=False) or self.members.for_one_way()) if error is None else None
        if member is None:
            self._wants_more = True  # so that a later one finds a connection
            text = f"client of {self.address}: not connected ({self.state_text(now)}), and send() does not wait"
            error = error or NotConnected(f"{text}; call wait_ready() first")
            raise told(error, Fate.NOT_SENT, self._why_waiting())
        member.served += 1
        self.members.used(member, now)
        return member

    # -- time -----------------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """Do everything that is due: end what is late, close what has served, and hand calls to connections."""
        # An observer, or a call that is woken, may use the client, which comes back here. The loop below sees what it
        # changed.
        if self._advancing:
            return
        self._advancing = True
        self._turn += 1
        try:
            # The ends come first, so that no call is handed to a connection that ends in this turn.
            self._expire(now)
            if now >= self.members.due:
                for member in self.members:
                    self._look_at(member, now)
                    self._ping_if_due(member, now)
                self.members.looked()
            self._assign(now)
        finally:
            self._advancing = False
        self.tell_state(now)

    def next_moment(self) -> float | None:
        """Return when :meth:`advance` or an attempt to connect is due next; None if nothing is."""
        moments = [self.members.due, self._deadlines.next() or math.inf]
        if (dial_at := self.dial_at()) is not None:
            moments.append(dial_at)
        earliest = min(moments)
        return None if earliest == math.inf else earliest

    def to_catch_up(self, now: float) -> list[Member]:
        """Return the connections to read before :meth:`advance`, for a client that reads only in its calls.

        Their replies may have come long ago: a deadline must not end what only was not read.
        """
        moment = self._deadlines.next()
        late = moment is not None and moment <= now
        return [each for each in self.members if each.checking or (late and not each.idle)]

    def _expire(self, now: float) -> None:
        while (due := self._deadlines.pop(now)) is not None:
            who, attempt = due
            if isinstance(who, Member):
                limit = 2 * (self._options.request_timeout or 0.0)
                text = f"{who.link.name}: an abandoned reply has not come within {limit:g} s (twice request_timeout)"
                self._lose(who, "abandoned", ConnectionLost(text), now)
            elif attempt is None:
                self._whole_deadline(who, now)
            else:
                self._attempt_deadline(who, attempt, now)

    def _whole_deadline(self, call: Call, now: float) -> None:
        seconds = call.whole_timeout or 0.0
        what = "wait_ready" if call.kind is Kind.READY else "request"
        if call.attempt is not None:
            self._late(call, call.attempt, what, seconds, now)
            return
        last = call.failure or self._why_waiting()
        waited_for = self._waited_for(call, last, now)
        self._waiting.pop(call, None)
        call.fail(DeadlinePassed(what, seconds, self.address, waited_for), Fate.NOT_SENT, last)

    def _why_waiting(self) -> Exception | None:
        """Return why the client has no connection; None if it has one, or has not tried."""
        return None if self.members.ready else self.dialler.error or self.dialler.loss

    def _waited_for(self, call: Call, last: Exception | None, now: float) -> str:
        """Say what a call has waited for until its deadline."""
        pause = self._pause(now)
        following = f"; the next attempt to connect is in {pause:.1f} s" if pause and not len(self.members) else ""
        if call.failure is not None:
            return f"tried {call.tries} time{'s' * (call.tries > 1)}, last: {said(call.failure)}{following}"
        if len(self.members):
            return self._no_gap() or f"no connection was free in that time{self._doubt()}"
        if self.dialler.busy:
            begun = "greet" if self.dialler.state is Dial.GREETING else "an attempt to connect"
            before = f"{said(last)}; after that " if last is not None else ""
            return f"not connected in that time: {before}{begun} has not ended"
        if self.dialler.error is not None:
            return f"not connected in that time: {said(self.dialler.error)}{following}"
        if last is not None:
            return f"the client waits {pause:.1f} s before it connects again, because of this: {said(last)}"
        return "not connected in that time"

    def _doubt(self) -> str:
        """Say that a connection waits for a proof of its order; empty if none does."""
        if not any(each.usable and each.in_doubt and each.live for each in self.members):
            return ""
        return ": a request was given up on it, and until one is answered in time, there is one at a time; give key="

    def _attempt_deadline(self, call: Call, attempt: Attempt, now: float) -> None:
        which, seconds = self._reply_within(call) or ("", 0.0)
        if call.kind is Kind.PING:
            error = DeadlinePassed(which, seconds, attempt.member.link.name, "no reply to the ping")
            self._lose(attempt.member, "check", error, now)
        else:
            self._late(call, attempt, which, seconds, now)

    def _reply_within(self, call: Call) -> tuple[str, float] | None:
        """Return the option that bounds the wait for a reply, and its seconds; None if nothing does."""
        if self._options.request_timeout is not None:
            return "request_timeout", self._options.request_timeout
        # No request can use the connection until the ping is answered, so this wait always has a bound.
        return ("ping_interval", self._options.ping_interval) if call.kind is Kind.PING else None

    def _late(self, call: Call, attempt: Attempt, which: str, seconds: float, now: float) -> None:
        link = attempt.member.link
        # Octets that are still in the outbox will leave, so the request may be carried out later, in any case.
        unsent = attempt.fate(link.taken) is Fate.NOT_SENT
        detail = "its octets wait in the outbox, and may still leave" if unsent else "its late reply will be dropped"
        earlier: BaseException | None = call.failure
        if isinstance(earlier, DeadlinePassed):
            earlier = earlier.__cause__  # it says the same as this one; what came before both may be the reason
        if call.tries > 1:
            detail += f"; attempt {call.tries}" + (f", an earlier one: {said(earlier)}" if earlier is not None else "")
        member: Member = attempt.member
        # The server answers, but never this request in its time: it has left an earlier one without a reply, so that
        # each reply is taken for that of the request before, or each comes too late. Neither heals on this connection.
        out_of_step = member.outstanding.in_order and not unsent and member.late > attempt.late_before
        if out_of_step:
            detail = "only a late reply to an earlier one came; the order of replies is in doubt, the connection closed"
        error = DeadlinePassed(which, seconds, link.name, detail)
        error.__cause__ = earlier
        self._abandon(call, now)
        if out_of_step:
            text = f"{link.name}: a late reply came, and none in time for the request after it: the order is in doubt"
            self._lose(member, "abandoned", ConnectionLost(text), now)
        self._failed(call, error, Fate.PERHAPS_SENT, now)

    # -- calls to connections -------------------------------------------------------------------------------

    def _assign(self, now: float) -> None:
        """Serve the queue from its front, as far as there are connections. No call passes the first one."""
        while self._waiting:
            first = next(iter(self._waiting))
            if self._serve(first, now):
                continue
            if first.needs_fresh:  # those behind it are content with any connection
                for call in list(self._waiting)[1:]:
                    if not self._serve(call, now):
                        break
            return

    def _serve(self, call: Call, now: float) -> bool:
        """Take a call out of the queue, to a connection or to its end; return False if it has to wait there."""
        if call.gone is not None and call.gone():
            self.give_up(call, now)
            return True
        if call.kind is Kind.READY:
            if not self.members.ready:
                return False
            del self._waiting[call]
            call.succeed()
            return True
        member = self._pick(now, fresh=call.needs_fresh)
        if member is None:
            if call.needs_fresh and self.members.full and (spare := self.members.spare()) is not None:
                self._lose(spare, "fresh", None, now)  # it makes room for a new one
            return False
        del self._waiting[call]
        if call.kind is Kind.REQUEST and self._turn > call.asked_in + 1:
            self._report.count("wait_count")
            self._report.wait_seconds += now - call.asked
        self._hand(call, member, now)
        return True

    def _pick(self, now: float, *, fresh: bool) -> Member | None:
        """Return a connection that was checked; None if there is none now."""
        # It ends: each turn of this loop returns a member, removes it, or sends a ping and marks it as checking.
        while (member := self.members.pick(fresh=fresh)) is not None:
            error = None
            if member.idle:
                error = member.link.check(peek=self._correlation.by_time or self.members.check_due(member, now))
            if error is not None:
                self._lose(member, "check", error, now)
            elif self.unread(member):
                return None
            elif not member.idle:
                self._wants_more = self._wants_more or not self.members.full
                return member
            elif not self._ping_if_due(member, now):
                return member
        return None

    def _ping_if_due(self, member: Member, now: float) -> bool:
        """Send a ping if one is due; return whether no request may use the connection now.

        It then waits for the reply, or has ended because there was no ping to send: what cannot be checked is not used.
        A new connection needs no ping at first, so requests are still served.
        """
        if self._ping is None or not self.members.ping_due(member, now):
            return False
        if self.unread(member):
            member.last_active = now  # the server lives, and what it sent would be taken for the reply
            return False
        try:
            message = self._ping()
        except BaseException as error:
            if self._passes(error):
                raise
            self._lose(member, "ping", failure_of(error, f"{member.link.name}: ping="), now)
            return True
        member.checking = True
        call = Call(message, kind=Kind.PING, wake=lambda: self._pinged(member))
        self._hand(call, member, now)
        if call.error is not None:  # it has no key, or cannot be encoded
            self._lose(member, "ping", call.error, now)
        return True

    def _pinged(self, member: Member) -> None:
        member.checking = False

    def _hand(self, call: Call, member: Member, now: float) -> None:
        """Send a call on a connection."""
        link = member.link
        fresh = not member.served
        call.tries += 1
        try:
            key = member.outstanding.key_for(call.message, call)
        except BaseException as error:  # it cannot be sent on any connection
            if self._passes(error):
                raise
            call.fail(failure_of(error, f"{link.name}: key="), Fate.NOT_SENT)
            return
        # Its place is taken before it is sent: an interrupt in between must not leave a reply without a place.
        before = link.position
        attempt = Attempt(call, member, key, -1 if link.sealed else before, now, fresh=fresh)
        try:
            member.outstanding.add(attempt)
            member.live += 1
            call.attempt = attempt
            link.send(call.message)
        except (ConnectionLost, ConnectionEnded, EndOfFile) as error:
            self._withdraw(attempt)
            if not member.live:
                self._lose(member, "error", error, now)
            else:
                member.finishing = True  # replies may wait behind the failure: its reader reports the end
            self._failed(call, error, Fate.NOT_SENT, now, kept=not fresh)
        except BaseException as error:
            # A signal handler may raise any exception: with octets in the outbox, it was no error of the message.
            if call.attempt is attempt and link.position == before and not self._passes(error):
                self._withdraw(attempt)
                # The message cannot be sent on any connection.
                call.fail(failure_of(error, f"{link.name}: the framing"), Fate.NOT_SENT)
                return
            text = f"{link.name}: an interrupt came while a request was sent, the order of its replies is not certain"
            self._lose(member, "error", ConnectionLost(text), now)
            raise
        else:
            self._handed(call, attempt, now)

    def _handed(self, call: Call, attempt: Attempt, now: float) -> None:
        member: Member = attempt.member
        if call.kind is Kind.REQUEST:
            member.served += 1
            self.members.used(member, now)
        elif call.kind is Kind.PING:
            self._report.count("pings")
        if (within := self._reply_within(call)) is not None:
            self._deadlines.add(now + within[1], (call, attempt))
        self._look_at(member, now)

    def _withdraw(self, attempt: Attempt) -> None:
        """Give up the place of a request that was not sent."""
        attempt.over = True
        attempt.member.outstanding.withdraw(attempt)
        attempt.member.live -= 1

    # -- the end --------------------------------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """Replace all connections, each when it owes no reply any more; connect again after a PermanentFailure."""
        self.members.generation += 1
        self.dialler.forgive()
        for member in self.members:
            self._look_at(member, now)

    def drain(self) -> None:
        """Refuse new calls; those that were asked before are still served."""
        self.draining = True

    @property
    def drained(self) -> bool:
        """Whether no call waits for anything."""
        return not self._waiting and not any(member.live for member in self.members)

    def _calls(self) -> Iterator[Call]:
        """Yield all calls that are not done."""
        yield from self._waiting
        for member in self.members:
            yield from (attempt.call for attempt in member.outstanding if attempt.call is not None)

    def close(self, now: float) -> None:
        """End everything; the calls that wait raise ConnectionEnded, each with its fate."""
        if self.closed:
            return
        self.closed = True
        if self.stranded is not None:
            for call in self._calls():
                call.wake = no_one  # a loop that was closed wakes no one
        self.dialler.cancelled()
        closed = f"client of {self.address}: closed by this side"
        waited = ConnectionEnded(f"{closed} while the request waited")
        self._fail_waiting(waited)
        for member in self.members:
            self._lose(member, "closed", waited if member.live else ConnectionEnded(closed), now)
        self.tell_state(now)
