"""The pool without sockets and without a clock: whatever happens in whatever order, every call has one true outcome."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fourtuple import Fate, Pool, Pushes, Retries
from fourtuple.errors import (
    ConnectionLost,
    ConnectRefused,
    DeadlinePassed,
    EncodeError,
    EndOfFile,
    OptionError,
    PermanentFailure,
)
from fourtuple.events import ClientDisconnected, ClientStateChanged
from fourtuple.pool import Call, ConnectionPool, Correlation, Member
from fourtuple.pool.calls import Kind
from fourtuple.pool.pushes import PushInbox
from fourtuple.pool.reconnecting import Dial
from fourtuple.pool.report import Report


class FakeLink:
    """A connection whose kernel takes what the test says."""

    names = itertools.count(1)

    def __init__(self) -> None:
        self.name = f"link {next(self.names)}"
        self.position = self.taken = 0
        self.sealed = self.crowded = self.closed = self.broken = False
        self.framing: Any = None
        self.stale: Exception | None = None
        #: The requests that the server has not answered, in order.
        self.sent: list[Any] = []
        self.peeks = 0
        self.unread = False
        self.starts: dict[Any, int] = {}

    def saw(self, message: Any) -> bool:
        """Whether the server can have seen an octet of the message."""
        return message in self.starts and self.taken > self.starts[message]

    def send(self, message: Any) -> None:
        assert not self.closed
        if self.broken:
            raise ConnectionLost("it is broken")
        if message == "unsendable":
            raise EncodeError("no")
        self.sent.append(message)
        self.starts[message] = self.position
        self.position += 10

    def check(self, *, peek: bool) -> Exception | None:
        self.peeks += peek
        return self.stale

    def has_unread(self, *, begun: bool) -> bool:
        return self.unread

    def close(self) -> None:
        assert not self.closed
        self.closed = True


def make_pool(correlation: Correlation | None = None, ping: Any = None, **options: Any) -> ConnectionPool:
    retries = options.pop("retries", Retries())
    return ConnectionPool(
        Report("server", None),
        Pool(**options),
        retries,
        correlation or Correlation(),
        random=lambda: 0.5,
        wall=lambda: 1e9,
        ping=ping,
    )


def dial(pool: ConnectionPool, now: float) -> tuple[Member, FakeLink]:
    assert pool.dial_due(now)
    pool.dial_begins(now)
    pool.dial_greets(now)
    link = FakeLink()
    member = pool.dial_done(link, now)
    pool.advance(now)
    return member, link


def raises() -> Any:
    raise ValueError("no ping")


class Storm(RuleBasedStateMachine):
    """Calls, cancels, replies, deadlines, losses and failures, in any order."""

    @initialize(
        connections=st.integers(1, 3),
        pipelined=st.integers(1, 3),
        abandoned=st.integers(0, 3),
        by_key=st.booleans(),
        max_requests=st.sampled_from([None, 1, 3]),
        ping=st.sampled_from([None, "ping", "unsendable", "raises"]),
        request_timeout=st.sampled_from([None, 10.0]),
    )
    def begin(
        self,
        connections: int,
        pipelined: int,
        abandoned: int,
        by_key: bool,
        max_requests: int | None,
        ping: str | None,
        request_timeout: float | None,
    ) -> None:
        self.now = 1000.0
        self.number = itertools.count(1)
        correlation = Correlation(lambda message: message, lambda message: message) if by_key else Correlation()
        self.by_key = by_key
        self.pool = make_pool(
            correlation,
            None if ping is None else raises if ping == "raises" else lambda: ping,
            request_timeout=request_timeout,
            max_connections=connections,
            max_pipelined=pipelined,
            max_abandoned=abandoned,
            max_requests=max_requests,
            max_idle=50.0,
            max_age=500.0,
        )
        self.calls: list[Call] = []
        self.woken: dict[Call, int] = {}
        self.given_up: set[Call] = set()
        self.links: dict[FakeLink, Member] = {}

    def advance(self) -> None:
        self.pool.advance(self.now)

    @rule(idempotent=st.booleans(), timeout=st.sampled_from([1.0, 30.0, None]))
    def ask(self, idempotent: bool, timeout: float | None) -> None:
        def wake() -> None:
            self.woken[call] = self.woken.get(call, 0) + 1

        call = Call(next(self.number), timeout=timeout, idempotent=idempotent, wake=wake)
        if self.pool.dialler.state is Dial.REFUSED:
            with pytest.raises(PermanentFailure) as caught:
                self.pool.ask(call, self.now)
            assert caught.value.fate is Fate.NOT_SENT
            return
        self.pool.ask(call, self.now)
        self.calls.append(call)
        self.advance()

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.calls))
        if not call.done:
            self.given_up.add(call)
        self.pool.give_up(call, self.now)
        self.advance()

    @precondition(lambda self: self.pool.dial_due(self.now))
    @rule()
    def connect(self) -> None:
        member, link = dial(self.pool, self.now)
        self.links[link] = member

    @precondition(lambda self: self.pool.dial_due(self.now))
    @rule(permanent=st.booleans())
    def fail_to_connect(self, permanent: bool) -> None:
        self.pool.dial_begins(self.now)
        self.pool.dial_failed(PermanentFailure("no") if permanent else ConnectRefused("server"), self.now)
        self.advance()

    def alive(self) -> list[FakeLink]:
        return [link for link, member in self.links.items() if not member.ended]

    @precondition(lambda self: self.alive())
    @rule(data=st.data(), octets=st.integers(1, 30))
    def write(self, data: st.DataObject, octets: int) -> None:
        link = data.draw(st.sampled_from(self.alive()))
        link.taken = min(link.position, link.taken + octets)

    @precondition(lambda self: any(link.sent for link in self.alive()))
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        link = data.draw(st.sampled_from([each for each in self.alive() if each.sent]))
        which = data.draw(st.integers(0, len(link.sent) - 1)) if self.by_key else 0
        link.taken = link.position
        self.pool.received(self.links[link], link.sent.pop(which), 1, self.now)
        self.advance()

    @precondition(lambda self: self.alive())
    @rule(data=st.data(), how=st.sampled_from(["reset", "eof", "fin", "broken", "unasked", "stale", "crowded"]))
    def trouble(self, data: st.DataObject, how: str) -> None:
        link = data.draw(st.sampled_from(self.alive()))
        member = self.links[link]
        if how in ("reset", "eof"):
            self.pool.ended(member, ConnectionLost("reset") if how == "reset" else EndOfFile("eof"), self.now)
        elif how == "fin":
            self.pool.finishing(member)
        elif how == "broken":
            link.broken = True
        elif how == "stale":
            link.stale = EndOfFile("found at checkout")
        elif how == "crowded":
            link.crowded = not link.crowded
        elif self.by_key or not link.sent:
            self.pool.received(member, "unasked", 1, self.now)
        self.advance()

    @rule(seconds=st.sampled_from([0.1, 2.0, 20.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.advance()

    @rule()
    def expire(self) -> None:
        self.pool.expire(self.now)
        self.advance()

    @invariant()
    def every_outcome_is_true(self) -> None:
        if not hasattr(self, "pool"):
            return
        for call in self.calls:
            if call in self.given_up:
                assert call not in self.woken
                continue
            assert self.woken.get(call, 0) == call.done
            if call.done and call.error is None:
                assert call.reply == call.message, "a reply at a wrong place"
            elif call.done:
                assert call.error.fate in (Fate.NOT_SENT, Fate.PERHAPS_SENT)  # type: ignore[union-attr]
                if call.error.fate is Fate.NOT_SENT:  # type: ignore[union-attr]
                    assert not any(link.saw(call.message) for link in self.links), "the server has seen it"

    @invariant()
    def the_counts_are_true(self) -> None:
        if not hasattr(self, "pool"):
            return
        counts = self.pool.statistics(self.now)
        undone = [call for call in self.calls if not call.done]
        outstanding = [call for call in undone if call.attempt is not None]
        assert counts.waiting == len(undone) - len(outstanding)
        assert counts.open == len(self.alive()) <= self.pool._options.max_connections
        members = [self.links[link] for link in self.alive()]
        checking = sum(member.checking for member in members)
        assert sum(member.live for member in members) == len(outstanding) + checking
        assert all(member.live >= 0 and member.abandoned >= 0 for member in members)
        assert all(link.closed == member.ended for link, member in self.links.items())
        assert all(member.live <= self.pool._options.max_pipelined for member in members)
        # Nobody waits while a connection that may take a request is idle.
        if counts.waiting:
            assert not any(member.usable and member.idle and not member.link.crowded for member in members)

    @invariant()
    def nothing_spins(self) -> None:
        """What is due is done at once, or is due later; and a check always ends."""
        if not hasattr(self, "pool"):
            return
        self.advance()
        assert min(self.pool.members.due, self.pool._deadlines.next() or math.inf) > self.now
        for member in map(self.links.__getitem__, self.alive()):
            if member.checking:
                assert not member.idle
                assert self.pool._deadlines.next() is not None

    def teardown(self) -> None:
        """After all of it: nothing is in use, nothing waits, and the next request is served."""
        if not hasattr(self, "pool"):
            return
        for call in self.calls:
            self.pool.give_up(call, self.now)
        self.pool.expire(self.now)
        for link in self.alive():
            self.pool.ended(self.links[link], EndOfFile("the end of the storm"), self.now)
        self.now += 100.0
        self.advance()
        counts = self.pool.statistics(self.now)
        assert (counts.in_use, counts.waiting, counts.open, counts.abandoned) == (0, 0, 0, 0)
        call = Call("last")
        self.pool.ask(call, self.now)
        self.now += 100.0
        member, link = dial(self.pool, self.now)
        assert link.sent == ["last"]
        self.pool.received(member, "last", 1, self.now)
        assert call.result() == "last"


TestStorm = Storm.TestCase


# -- single decisions -------------------------------------------------------------------------------------


def ask(pool: ConnectionPool, message: Any = None, now: float = 0.0, **options: Any) -> Call:
    call = Call(message, **options)
    pool.ask(call, now)
    pool.advance(now)
    return call


def test_a_cancelled_waiter_lets_the_next_one_pass_in_the_same_turn() -> None:
    pool = make_pool(max_pipelined=1)
    first = ask(pool, "first")
    member, link = dial(pool, 0.0)
    gone: list[bool] = []
    second = ask(pool, "second", gone=lambda: bool(gone))
    third = ask(pool, "third")
    gone.append(True)  # cancelled, and its task has not run yet
    pool.received(member, "reply", 1, 0.0)
    pool.advance(0.0)
    assert link.sent == ["first", "third"]
    assert first.done
    assert third.attempt is not None
    assert second.done


def test_after_two_kept_connections_only_a_fresh_one_will_do() -> None:
    pool = make_pool(max_connections=3, max_pipelined=1, retries=Retries(after_loss=0.0, delay=1e-6, max_delay=1e-6))
    asked = [ask(pool, number) for number in range(3)]
    links = [dial(pool, 0.0) for _ in range(3)]
    for member, link in links:
        pool.received(member, link.sent[0], 1, 0.0)
        link.broken = True
    assert all(call.done for call in asked)
    call = ask(pool, "unlucky", 0.5)
    assert (call.kept_losses, call.needs_fresh, call.attempt) == (2, True, None)
    assert len(pool.members) == 1  # the third is not tried
    _, fresh = dial(pool, 1.0)
    assert fresh.sent == ["unlucky"]


def test_a_spare_connection_makes_room_for_a_fresh_one() -> None:
    pool = make_pool(max_connections=1, retries=Retries(after_loss=0.0, delay=1e-6, max_delay=1e-6))
    call = ask(pool, "unlucky")
    call.kept_losses = 2
    member, link = dial(pool, 0.0)
    assert link.sent == ["unlucky"]
    pool.received(member, "reply", 1, 0.0)
    again = Call("again")
    again.kept_losses = 2
    pool.ask(again, 0.0)
    pool.advance(0.0)
    assert member.ended
    assert pool.statistics(0.0).closed_fresh == 1
    _, fresh = dial(pool, 1.0)
    assert fresh.sent == ["again"]


def test_what_is_tried_again_goes_first_and_in_its_order() -> None:
    pool = make_pool(max_pipelined=2, retries=Retries(after_loss=0.0, delay=1e-6, max_delay=1e-6))
    for message in ("first", "second", "third"):
        ask(pool, message)
    member, link = dial(pool, 0.0)
    assert link.sent == ["first", "second"]
    pool.ended(member, ConnectionLost("reset"), 0.0)  # the kernel had taken nothing
    _, link = dial(pool, 1.0)
    assert link.sent == ["first", "second"]


def test_replies_before_a_fin_are_read_and_no_request_follows() -> None:
    pool = make_pool(max_connections=2)
    first = ask(pool, "first")
    member, link = dial(pool, 0.0)
    pool.finishing(member)
    ask(pool, "second")
    assert link.sent == ["first"]
    pool.received(member, "reply", 1, 0.0)
    assert first.result() == "reply"
    pool.advance(0.0)
    _, fresh = dial(pool, 1.0)
    assert fresh.sent == ["second"]


def test_a_send_that_fails_leaves_the_replies_before_it() -> None:
    """Writing has ended, and reading has not: the replies of earlier requests may wait in the kernel."""
    pool = make_pool(max_connections=2)
    first = ask(pool, "first")
    member, link = dial(pool, 0.0)
    link.broken = True
    second = ask(pool, "second")
    assert not member.ended
    assert (second.done, second.attempt) == (False, None)
    pool.received(member, "reply", 1, 0.0)
    assert first.result() == "reply"
    pool.ended(member, EndOfFile("FIN"), 0.0)
    pool.advance(0.0)
    _, fresh = dial(pool, 1.0)
    assert fresh.sent == ["second"]


def test_a_server_that_leaves_one_request_without_a_reply() -> None:
    """In order, each reply is then taken for the late one of the request before: the second to fail ends that."""
    told: list[Any] = []
    pool = make_pool()
    pool._report = Report("server", told.append)
    first = ask(pool, "first", timeout=1.0)
    member, link = dial(pool, 0.0)
    second = ask(pool, "second", 0.5, timeout=1.5)
    beside = ask(pool, "beside", 0.5, timeout=9.0)
    link.taken = link.position
    pool.advance(1.0)
    with pytest.raises(DeadlinePassed, match="its late reply will be dropped"):
        first.result()
    pool.received(member, "SECOND", 1, 1.5)
    pool.advance(2.0)
    with pytest.raises(DeadlinePassed, match="only a late reply to an earlier one came; the order of replies is in"):
        second.result()
    with pytest.raises(ConnectionLost, match="a late reply came, and none in time for the request after it") as lost:
        beside.result()  # its reply would be another one's
    assert lost.value.fate is Fate.PERHAPS_SENT  # type: ignore[attr-defined]
    assert [each.why for each in told if isinstance(each, ClientDisconnected)] == ["abandoned"]
    third = ask(pool, "third", 2.0, timeout=1.0)
    other, link = dial(pool, 2.0)  # at once: nothing is known against the server
    assert link.sent == ["third"]
    pool.received(other, "THIRD", 1, 2.0)
    assert third.result() == "THIRD"


def test_behind_a_request_that_was_given_up_there_is_one_at_a_time() -> None:
    """If the server leaves it without a reply, that to the next one is taken for it, and no other is given to it."""
    pool = make_pool(request_timeout=None)
    first = ask(pool, "first")
    member, link = dial(pool, 0.0)
    pool.give_up(first, 0.5)
    second = ask(pool, "second", 1.0, timeout=1.0)
    third = ask(pool, "third", 1.0, timeout=0.5)
    fourth = ask(pool, "fourth", 1.0, timeout=9.0)
    assert link.sent == ["first", "second"]
    pool.received(member, "SECOND", 1, 1.2)  # dropped, as the late one
    pool.advance(1.5)
    assert link.sent == ["first", "second"]
    with pytest.raises(
        DeadlinePassed, match="a request was given up on it, and until one is answered in time"
    ) as caught:
        third.result()
    assert caught.value.fate is Fate.NOT_SENT
    link.taken = link.position
    pool.advance(2.0)
    with pytest.raises(DeadlinePassed, match="only a late reply to an earlier one came"):
        second.result()
    _, link = dial(pool, 2.0)
    assert link.sent == ["fourth"]
    assert not fourth.done


def test_a_late_reply_and_one_in_time_end_the_doubt() -> None:
    pool = make_pool()
    first = ask(pool, "first")
    member, link = dial(pool, 0.0)
    pool.give_up(first, 0.5)
    asked = [ask(pool, number) for number in range(3)]
    assert link.sent == ["first", 0]
    for message in ("FIRST", 0):
        pool.received(member, message, 1, 1.0)
        pool.advance(1.0)
    assert link.sent == ["first", 0, 1, 2]
    for number in (1, 2):
        pool.received(member, number, 1, 2.0)
    assert [call.result() for call in asked] == [0, 1, 2]


def test_replies_to_requests_sent_before_one_was_given_up_prove_nothing() -> None:
    pool = make_pool(request_timeout=None)
    first = ask(pool, "first")
    member, link = dial(pool, 0.0)
    second, third = ask(pool, "second"), ask(pool, "third", timeout=2.0)
    link.taken = link.position
    pool.give_up(first, 0.5)
    after = ask(pool, "after", 1.0)
    pool.received(member, "SECOND", 1, 1.0)  # dropped, as the late one
    pool.received(member, "THIRD", 1, 1.0)
    pool.advance(1.0)
    assert second.result() == "THIRD"  # they cannot be told apart
    assert link.sent == ["first", "second", "third"]
    pool.advance(2.0)
    with pytest.raises(DeadlinePassed, match="only a late reply to an earlier one came"):
        third.result()
    other, link = dial(pool, 2.0)
    pool.received(other, "AFTER", 1, 2.0)
    assert after.result() == "AFTER"


def test_in_doubt_another_connection_takes_the_rest() -> None:
    pool = make_pool(max_connections=2)
    first = ask(pool, "first")
    _, link = dial(pool, 0.0)
    pool.give_up(first, 0.5)
    ask(pool, "second")
    ask(pool, "third")
    _, other = dial(pool, 0.5)
    assert (link.sent, other.sent) == (["first", "second"], ["third"])


def test_late_replies_that_all_come_keep_the_connection() -> None:
    """A server that is slow for a while has answered all in the end; and with a key, each late reply is known."""
    pool = make_pool(max_abandoned=3)
    asked = [ask(pool, number, timeout=1.0) for number in range(3)]
    member, _ = dial(pool, 0.0)
    for moment in (1.0, 2.0, 3.0):
        pool.advance(moment)
        assert all(call.done for call in asked)
        for number in range(3):
            pool.received(member, number, 1, moment)
        assert (member.ended, member.retiring, member.given_up) == (False, "", 0)
        asked = [ask(pool, number, moment, timeout=1.0) for number in range(3)]
    assert pool.statistics(3.0).late_replies == 9

    pool = make_pool(Correlation(lambda message: message, lambda message: message))
    ask(pool, "first", timeout=1.0)
    member, _ = dial(pool, 0.0)
    pool.advance(1.0)
    ask(pool, "second", 1.0, timeout=1.0)
    pool.received(member, "first", 1, 1.5)
    pool.advance(2.0)
    assert not member.ended


@pytest.mark.parametrize(("seconds", "failures"), [(0.1, 17), (8.0, 4)])
def test_cancelled_requests_of_which_one_is_never_answered(seconds: float, failures: int) -> None:
    """A request that is cancelled may only have been impatient: their number, and their time, are bounded."""
    pool = make_pool(request_timeout=10.0)
    now, count = 0.0, 0
    members: list[Member] = []
    while len(members) < 2:
        call = ask(pool, count, now)
        if pool.dial_due(now):
            members.append(dial(pool, now)[0])
        if count:
            pool.received(members[-1], count, 1, now)
        now += seconds
        if not call.done:
            count += 1
        pool.give_up(call, now)
        pool.advance(now)
    assert count == failures
    assert pool.statistics(now).closed_abandoned == 1


def test_abandoned_replies_do_not_keep_a_connection_that_has_ended() -> None:
    """No call waits for them, and in a blocking client no thread reads there."""
    pool = make_pool()
    first = ask(pool, "first")
    member, link = dial(pool, 0.0)
    link.broken = True
    second = ask(pool, "second")
    assert not member.ended
    pool.give_up(first, 0.0)
    assert member.ended
    _, fresh = dial(pool, 1.0)
    assert fresh.sent == ["second"]
    pool.give_up(second, 1.0)
    fresh.broken = True
    ask(pool, "third", 1.0)
    assert len(pool.members) == 0


def test_one_attempt_at_a_time() -> None:
    pool = make_pool(max_connections=5)
    for number in range(5):
        ask(pool, number)
    assert pool.dial_due(0.0)
    pool.dial_begins(0.0)
    assert pool.dial_at() is None


def test_whoever_is_first_gets_whichever_is_first() -> None:
    """A connection is made for a call, and another becomes free before it is ready."""
    pool = make_pool(max_connections=2, max_pipelined=1)
    ask(pool, "first")
    member, link = dial(pool, 0.0)
    ask(pool, "second")
    pool.dial_begins(0.0)
    pool.received(member, "reply", 1, 0.0)
    pool.advance(0.0)
    assert link.sent == ["first", "second"]


def test_waiters_are_served_in_order_and_the_idle_connection_used_last_is_used_again() -> None:
    pool = make_pool(max_connections=2, max_pipelined=1)
    calls = [ask(pool, number) for number in range(4)]
    one, two = [dial(pool, 0.0) for _ in range(2)]
    for member, link in (two, one, two, one):
        pool.received(member, f"to {link.sent[-1]}", 1, 0.0)
        pool.advance(0.0)
    assert ([*one[1].sent], [*two[1].sent]) == ([0, 3], [1, 2])
    assert all(call.done for call in calls)
    ask(pool, "next")  # `one` became idle last
    assert one[1].sent[-1] == "next"
    pool.received(one[0], "reply", 1, 0.0)
    ask(pool, "and next")
    assert (one[1].sent[-1], two[1].sent) == ("and next", [1, 2])


def test_the_check_is_a_system_call_only_after_a_second() -> None:
    pool = make_pool()
    ask(pool, "first")
    member, link = dial(pool, 0.0)
    for now, peeks in ((0.5, 0), (1.4, 0), (2.5, 1)):
        pool.received(member, "reply", 1, now - 0.1 if now < 2 else 1.4)
        ask(pool, "next", now)
        assert link.peeks == peeks


def test_a_check_that_fails_says_when_the_connection_was_last_known_to_work() -> None:
    pool = make_pool(retries=Retries(after_loss=1.0))
    ask(pool, "first", timeout=None)
    member, link = dial(pool, 0.0)
    pool.received(member, "reply", 1, 20.0)
    link.stale = EndOfFile("while it was idle")
    ask(pool, "second", 25.0)
    assert pool.dial_due(25.0)  # the loss is at most five seconds old: clients do not find it in one moment


def test_a_loss_is_followed_by_a_random_wait() -> None:
    pool = make_pool(retries=Retries(after_loss=1.0))
    ask(pool, "first", idempotent=True)
    member, _ = dial(pool, 0.0)
    pool.ended(member, ConnectionLost("reset"), 20.0)
    assert pool.dial_at() == 20.5
    assert pool.state_text(20.1) == "waiting(0.4 s)"


def test_a_connection_begun_before_expire_is_replaced_too() -> None:
    """It may have logged in with the old password."""
    pool = make_pool()
    ask(pool, "first")
    pool.dial_begins(0.0)
    pool.expire(0.0)
    pool.dial_greets(0.0)
    member = pool.dial_done(FakeLink(), 0.0)
    pool.advance(0.0)
    assert member.ended
    assert pool.statistics(0.0).closed_expired == 1
    _, link = dial(pool, 0.0)
    assert link.sent == ["first"]


def test_no_ping_to_a_busy_connection() -> None:
    pool = make_pool(ping=lambda: "ping", ping_interval=30.0)
    ask(pool, "first", timeout=None)
    member, link = dial(pool, 0.0)
    pool.advance(9.0)
    assert link.sent == ["first"]
    pool.received(member, "reply", 1, 9.0)
    link.sent.clear()
    pool.advance(38.9)
    assert link.sent == []
    assert pool.next_moment() == 39.0
    pool.advance(39.0)
    assert link.sent == ["ping"]
    assert not member.usable
    pool.received(member, "pong", 1, 39.5)
    assert member.usable
    assert pool.statistics(40.0).requests == 1


def test_an_idle_connection_is_sent_one_ping_after_the_other() -> None:
    told: list[Any] = []
    pool = make_pool(ping=lambda: "ping", ping_interval=30.0, max_idle=None, max_age=None)
    pool._report = Report("server", told.append)
    ask(pool, "first", timeout=None)
    member, link = dial(pool, 0.0)
    pool.received(member, "reply", 1, 0.0)
    for number in (1, 2, 3):
        moment = pool.next_moment()
        assert moment == 31.0 * number - 1.0
        pool.advance(moment)
        assert link.sent == ["first"] + ["ping"] * number
        assert pool.state(moment) == "ready"
        assert pool.health(moment).ok
        pool.received(member, "pong", 1, moment + 1.0)
        pool.advance(moment + 1.0)
    assert [each.state for each in told if isinstance(each, ClientStateChanged)][-1] == "ready"
    assert len([each for each in told if isinstance(each, ClientStateChanged)]) == 3


@pytest.mark.parametrize("ping", [lambda: "unsendable", raises])
def test_a_ping_that_cannot_be_sent_ends_its_connection(ping: Any) -> None:
    """The next request goes to a new connection at once: nothing is known against the server."""
    told: list[Any] = []
    pool = make_pool(ping=ping, ping_interval=30.0, retries=Retries(after_loss=5.0))
    pool._report = Report("server", told.append)
    ask(pool, "first", timeout=None)
    member, _ = dial(pool, 0.0)
    pool.received(member, "reply", 1, 0.0)
    pool.advance(30.0)
    assert member.ended
    counts = pool.statistics(30.0)
    assert (counts.pings, counts.closed_ping, counts.closed_check) == (0, 1, 0)
    gone = next(each for each in told if isinstance(each, ClientDisconnected))
    assert gone.why == "ping"
    assert isinstance(gone.error, EncodeError | ValueError)
    call = ask(pool, "second", 30.0)
    _, link = dial(pool, 30.0)
    assert link.sent == ["second"]
    assert not call.done


def test_a_ping_that_is_due_when_a_request_comes_and_cannot_be_sent() -> None:
    pool = make_pool(ping=raises, ping_interval=30.0)
    ask(pool, "first", timeout=None)
    member, _ = dial(pool, 0.0)
    pool.received(member, "reply", 1, 0.0)
    call = ask(pool, "second", 31.0, timeout=1.0)
    assert member.ended
    assert not call.done
    pool.advance(32.0)
    with pytest.raises(DeadlinePassed):
        call.result()


@pytest.mark.parametrize("key", [lambda message: 1 / 0, lambda message: None, lambda message: []])
def test_a_ping_without_a_key_ends_its_connection(key: Any) -> None:
    keys = Correlation(lambda message: key(message) if message == "ping" else message, lambda message: message)
    pool = make_pool(keys, ping=lambda: "ping", ping_interval=30.0)
    ask(pool, "first", timeout=None)
    member, _ = dial(pool, 0.0)
    pool.received(member, "first", 1, 0.0)
    pool.advance(30.0)
    assert member.ended
    assert pool.statistics(30.0).pings == 0


def test_a_ping_is_bounded_without_request_timeout() -> None:
    """Otherwise no request could use the connection again."""
    pool = make_pool(ping=lambda: "ping", ping_interval=30.0, request_timeout=None)
    ask(pool, "first", timeout=None)
    member, link = dial(pool, 0.0)
    pool.received(member, "reply", 1, 0.0)
    pool.advance(30.0)
    assert link.sent[-1] == "ping"
    pool.advance(59.9)
    assert not member.ended
    pool.advance(60.0)
    assert member.ended
    assert pool.statistics(60.0).closed_check == 1


def test_a_connection_that_has_aged_wakes_no_one_until_its_reply() -> None:
    pool = make_pool(max_age=100.0, request_timeout=None)
    ask(pool, "first", timeout=None)
    member, _ = dial(pool, 0.0)
    pool.advance(200.0)
    assert member.retiring == "age"
    assert pool.next_moment() is None
    pool.received(member, "reply", 1, 300.0)
    assert member.ended


def test_a_connection_that_the_peer_has_finished_gets_no_ping() -> None:
    """It stays for the pushes before the end of file; a ping that is never sent must not be due for ever."""
    pool = make_pool(ping=lambda: "ping", ping_interval=30.0)
    pool.inbox = PushInbox(Pushes(), "server")
    pool.stays = True
    member, link = dial(pool, 0.0)
    pool.finishing(member)
    pool.advance(40.0)
    assert not link.sent
    assert not member.ended
    assert (pool.next_moment() or math.inf) > 40.0


def by_time(**options: Any) -> ConnectionPool:
    """A pool where only the time tells a push from a reply."""
    pool = make_pool(Correlation(takes_pushes=True), **options)
    pool.inbox = PushInbox(Pushes(max_inbox=100), "server")
    pool.stays = True
    return pool


def test_no_ping_is_sent_before_the_pushes_are_read() -> None:
    """The first of them would be taken for the reply to it. They show that the server lives."""
    pool = by_time(ping=lambda: "ping", ping_interval=30.0)
    _, link = dial(pool, 0.0)
    link.unread = True
    pool.advance(40.0)
    assert not link.sent
    link.unread = False
    pool.advance(69.0)
    assert not link.sent
    pool.advance(70.0)
    assert link.sent == ["ping"]


def test_a_fresh_connection_with_pushes_to_read_is_not_replaced() -> None:
    pool = by_time()
    member, link = dial(pool, 0.0)
    link.unread = True
    call = ask(pool, "unlucky")
    call.kept_losses = 2
    pool.advance(1.0)
    assert not member.ended
    link.unread = False
    pool.advance(2.0)
    assert link.sent == ["unlucky"]


def test_one_large_push_that_no_request_waits_behind_ends_nothing() -> None:
    pool = by_time()
    member, _ = dial(pool, 0.0)
    pool.received(member, "large", 1000, 0.0)
    assert not member.ended
    assert not pool.may_read(member)


@pytest.mark.parametrize("state", ["greeting", "busy"])
def test_a_deadline_tells_what_was_waited_for(state: str) -> None:
    pool = make_pool(max_pipelined=1, request_timeout=None)
    call = ask(pool, "first", timeout=5.0)
    if state == "greeting":
        pool.dial_begins(0.0)
        pool.dial_greets(0.0)
    else:
        dial(pool, 0.0)
        call = ask(pool, "second", timeout=5.0)
    pool.advance(5.0)
    with pytest.raises(DeadlinePassed) as caught:
        call.result()
    if state == "greeting":
        assert "not connected in that time: greet has not ended" in str(caught.value)
    else:
        assert "no connection was free in that time" in str(caught.value)


@pytest.mark.parametrize("key", [[1], {}])
@pytest.mark.parametrize("ready", [False, True])
def test_a_key_that_cannot_be_one(key: Any, ready: bool) -> None:
    pool = make_pool(Correlation(lambda _: key, lambda message: message))
    if ready:
        ask(pool, kind=Kind.READY)
        dial(pool, 0.0)
    call = ask(pool, "first", timeout=None)
    assert call.done
    assert not pool.dial_due(0.0)
    with pytest.raises(OptionError, match=r"for a request, which cannot be looked up: .*unhashable type"):
        call.result()


def test_an_error_that_is_a_frozen_dataclass_is_told() -> None:
    """It refuses attributes, also those of exceptions."""

    @dataclasses.dataclass(frozen=True)
    class Frozen(Exception):
        number: int

    def key(_: Any) -> Any:
        raise Frozen(7)

    pool = make_pool(Correlation(key, key))
    call = ask(pool, "first", timeout=None)
    with pytest.raises(Frozen) as caught:
        call.result()
    assert caught.value.fate is Fate.NOT_SENT  # type: ignore[attr-defined]


def test_a_message_without_a_reply_goes_where_there_is_room() -> None:
    pool = make_pool(max_connections=2, max_pipelined=2)
    ask(pool, 1)
    one, _ = dial(pool, 0.0)
    ask(pool, 2)
    two, link = dial(pool, 0.0)
    for number in range(3, 5):
        ask(pool, number)
    assert (one.live, two.live) == (2, 2)
    pool.members.used(one, 0.0)
    link.crowded = True
    assert pool.member_for_send(0.0) is one
    one.link.crowded, link.crowded = True, False  # type: ignore[misc]
    assert pool.member_for_send(0.0) is two


def test_ages_are_spread() -> None:
    chances = iter([0.0, 0.0, 0.9])
    pool = make_pool(max_connections=2, max_age=1000.0)
    pool.members._random = lambda: next(chances)
    ask(pool, "first")
    one, _ = dial(pool, 0.0)
    assert one.expires == 1000.0
    ask(pool, "second")
    two, _ = dial(pool, 0.0)
    assert two.expires == 1000.0
    assert pool.members.add(FakeLink(), 0.0, 0).expires == pytest.approx(910.0)


def test_deadlines_of_answered_requests_are_not_kept() -> None:
    pool = make_pool()
    ask(pool, 0)
    member, link = dial(pool, 0.0)
    for number in range(2000):
        pool.received(member, link.sent.pop(), 1, 0.0)
        ask(pool, number)
    assert len(pool._deadlines) < 200


def test_a_wait_is_counted_only_if_there_was_one() -> None:
    pool = make_pool()
    ask(pool, "waits", 0.0)
    dial(pool, 2.0)
    ask(pool, "does not", 3.0)
    counts = pool.statistics(3.0)
    assert (counts.requests, counts.wait_count, counts.wait_seconds) == (2, 1, 2.0)


def test_what_was_perhaps_sent_once_is_never_told_to_be_unsent() -> None:
    pool = make_pool()
    call = ask(pool, "first", idempotent=True, timeout=5.0)
    member, link = dial(pool, 0.0)
    link.taken = 10
    pool.ended(member, ConnectionLost("reset"), 1.0)
    assert not call.done  # it waits to be repeated
    pool.advance(5.0)
    with pytest.raises(DeadlinePassed) as caught:
        call.result()
    assert caught.value.fate is Fate.PERHAPS_SENT


def test_ready_calls_send_nothing() -> None:
    pool = make_pool()
    call = Call(kind=Kind.READY)
    pool.ask(call, 0.0)
    _, link = dial(pool, 0.0)
    assert call.done
    assert link.sent == []
