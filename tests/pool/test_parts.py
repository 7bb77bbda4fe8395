"""The parts of the pool, each alone."""

from __future__ import annotations

import json
import pickle
import ssl
from dataclasses import dataclass
from subprocess import CalledProcessError
from typing import Any

import pytest

from fourtuple import Fate, Gap, Pushes, Retries
from fourtuple.errors import (
    ConnectRefused,
    DeadlinePassed,
    EndOfFile,
    FourTupleError,
    HandlerFailed,
    OptionError,
    PeerReset,
    PermanentFailure,
    TooManyWaiting,
)
from fourtuple.pool import Correlation, PushInbox
from fourtuple.pool.budget import WINDOW, RetryBudget
from fourtuple.pool.calls import told
from fourtuple.pool.deadlines import Deadlines
from fourtuple.pool.pushes import NOTHING
from fourtuple.pool.reconnecting import Dial, Dialler

LOST = EndOfFile("the server has gone")


def test_the_budget_is_a_share_and_a_rate() -> None:
    budget = RetryBudget(Retries(budget_share=0.2, budget_rate=10.0))
    assert budget.left(0.0) == 100.0
    for _ in range(50):
        budget.pay(0.0)
    assert budget.left(0.0) == 110.0
    assert sum(budget.take(0.0) for _ in range(1000)) == 110
    assert not budget.take(9.9)
    assert budget.left(float(WINDOW)) == 100.0  # payments and retries are forgotten together


def dialler(**options: float) -> Dialler:
    return Dialler(Retries(jitter=0.0, **options), lambda: 0.5)


def test_delays_begin_at_the_start_of_an_attempt() -> None:
    dials = dialler()
    dials.begin(100.0)
    assert dials.failed(ConnectRefused("server"), 100.02) == pytest.approx(0.08)
    dials.begin(101.0)
    assert dials.failed(ConnectRefused("server"), 111.0) == 0.0  # it took longer than the delay
    assert dials.not_before == 111.0


def test_a_connection_that_lasts_resets_the_delays() -> None:
    dials = dialler()
    for start in range(5):
        dials.begin(float(start))
        dials.failed(ConnectRefused("server"), float(start))
    dials.begin(10.0)
    dials.connected()
    assert dials.done(10.0) == 6
    dials.lost(10.0, 15.0, 5.0, LOST)  # not long enough
    assert dials.not_before == 15.5
    dials.begin(16.0)
    assert dials.failed(ConnectRefused("server"), 16.0) == pytest.approx(0.1 * 1.6**6)
    dials.begin(20.0)
    dials.connected()
    dials.done(20.0)
    dials.lost(20.0, 30.0, 10.0, LOST)
    assert dials.not_before == 30.5
    dials.begin(31.0)
    assert dials.failed(ConnectRefused("server"), 31.0) == pytest.approx(0.1)


def test_a_loss_that_is_found_late_is_judged_by_how_long_the_connection_was_held() -> None:
    """A client that asks once an hour finds each connection closed. That is not a server that drops them at once."""
    dials = dialler()
    for hour in range(1, 20):
        now = 3600.0 * hour
        dials.begin(now)
        dials.connected()
        dials.done(now)
        dials.lost(now, now + 0.1, 3600.0, LOST)
        assert dials.not_before == now + 0.6
    dials.begin(1e6)
    assert dials.failed(ConnectRefused("server"), 1e6) == pytest.approx(0.1)


def test_another_connection_that_works_resets_the_delays_too() -> None:
    dials = dialler()
    for start in range(5):
        dials.begin(float(start))
        dials.failed(ConnectRefused("server"), float(start))
    dials.begin(10.0)
    dials.connected()
    dials.done(10.0)
    dials.begin(30.0)
    assert dials.failed(ConnectRefused("server"), 30.0) == pytest.approx(0.1)


def test_a_permanent_failure_is_forgiven_on_demand() -> None:
    dials = dialler()
    dials.begin(0.0)
    assert dials.failed(PermanentFailure("no"), 0.0) is None
    assert dials.state is Dial.REFUSED
    dials.forgive()
    assert dials.state is Dial.IDLE
    assert dials.not_before < 0


def test_deadlines_are_swept() -> None:
    needed = set(range(1000))
    deadlines: Deadlines[int] = Deadlines(needed.__contains__)
    for number in range(1000):
        deadlines.add(float(number), number)
    needed -= set(range(990))
    for number in range(1000, 2100):
        deadlines.add(float(number), number)
    assert len(deadlines) < 1000
    assert deadlines.pop(989.0) is None
    assert deadlines.pop(995.0) == 990
    assert deadlines.next() == 991.0


def test_every_caller_gets_an_error_of_its_own() -> None:
    lost = PeerReset("reset")
    lost.__cause__ = OSError("cause")
    one, two = told(lost, Fate.NOT_SENT), told(lost, Fate.PERHAPS_SENT)
    assert (one.fate, two.fate, lost.fate) == ("not_sent", "perhaps_sent", None)  # type: ignore[attr-defined]
    assert one.__cause__ is lost.__cause__
    assert str(one) == "reset"
    for error in (
        told(DeadlinePassed("request", 1.0, "it"), Fate.NOT_SENT),
        told(ConnectRefused("a:1"), Fate.NOT_SENT),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert (again.fate, str(again)) == (Fate.NOT_SENT, str(error))
    assert FourTupleError().fate is None
    assert pickle.loads(pickle.dumps(TooManyWaiting("x", 3, 3))).allowed == 3


def test_an_inbox_stops_reading_when_full() -> None:
    inbox = PushInbox(Pushes(max_inbox=100), "server")
    assert inbox.take() is NOTHING
    inbox.put("a", 99)
    assert inbox.may_read(waited_for=False)
    inbox.put("b", 1)
    assert not inbox.may_read(waited_for=False)
    assert inbox.may_read(waited_for=True)
    assert not inbox.flooded
    inbox.put("c", 100)
    assert inbox.flooded
    assert [inbox.take(), inbox.take(), inbox.take()] == ["a", "b", "c"]
    assert inbox.may_read(waited_for=False)
    assert inbox.dropped == 0


def test_an_inbox_that_drops_keeps_the_newest() -> None:
    inbox = PushInbox(Pushes(max_inbox=100, overflow="drop_oldest"), "server")
    assert [inbox.put(number, 40) for number in range(6)] == [False, False, True, False, False, False]
    assert inbox.dropped == 4
    assert inbox.take() == Gap(dropped=4)
    assert [inbox.take(), inbox.take(), inbox.take()] == [4, 5, NOTHING]
    inbox.put("large", 1000)  # a push that is larger than the inbox is still delivered
    assert inbox.take() == "large"


def test_a_gap_of_a_reconnect_that_is_dropped_is_told_with_the_pushes() -> None:
    inbox = PushInbox(Pushes(max_inbox=100, overflow="drop_oldest"), "server")
    inbox.put_gap(Gap(since=1000.0, seconds=2.0))
    inbox.put("large", 1000)
    assert [inbox.take(), inbox.take(), inbox.take()] == [Gap(1000.0, 2.0), "large", NOTHING]
    inbox.put_gap(Gap(since=1000.0, seconds=2.0))
    assert inbox.put("a", 60) is False
    assert inbox.put("b", 60) is True
    assert [inbox.take(), inbox.take(), inbox.take()] == [Gap(1000.0, 2.0, dropped=1), "b", NOTHING]


def test_keys_are_checked() -> None:
    with pytest.raises(OptionError, match="key: expected one function, or two: of requests and of replies, got 3"):
        Correlation.of((str, str, str), None, False)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="key: "):
        Correlation.of("id", None, False)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="is_push: expected on_push= or pushes="):
        Correlation.of(None, bool, False)


class OfSlots(Exception):
    __slots__ = ("place",)

    def __init__(self, place: int) -> None:
        self.place = place

    def __str__(self) -> str:
        return f"at {self.place}"


class OfKeywords(Exception):
    def __init__(self, *, place: int) -> None:
        super().__init__(f"at {place}")
        self.place = place


@dataclass(frozen=True)
class Frozen(Exception):
    place: int


class Counted(Exception):
    """Its text is that of no copy."""

    def __str__(self) -> str:
        return f"number {id(self)}"


class Unmade(Exception):
    def __new__(cls, *_: Any, place: int) -> Unmade:
        return super().__new__(cls, place)

    def __init__(self, **_: Any) -> None:
        """``BaseException`` takes no keywords."""


def failure_of_json() -> Exception:
    try:
        json.loads("{")
    except json.JSONDecodeError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    "error",
    [
        UnicodeDecodeError("ascii", b"\xff", 0, 1, "ordinal not in range"),
        UnicodeEncodeError("ascii", "\xff", 0, 1, "ordinal not in range"),
        OfSlots(3),
        OfKeywords(place=3),
        Frozen(3),
        KeyError("id"),
        OSError(2, "no such file", "name"),
        OSError("text alone"),
        FileNotFoundError(2, "no such file"),
        ssl.SSLError(1, "bad"),
        ConnectRefused("127.0.0.1:1", 111, "nobody listens"),
        ImportError("no", name="module", path="path"),
        AttributeError("no", name="name", obj=3),
        SyntaxError("bad", ("file", 1, 2, "text")),
        ExceptionGroup("several", [ValueError("one")]),
        CalledProcessError(3, "command"),
        failure_of_json(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_the_program_stays_whole(error: Exception) -> None:
    copy = told(error, Fate.NOT_SENT)
    assert copy is not error
    assert (type(copy), str(copy), copy.args) == (type(error), str(error), error.args)
    assert copy.fate is Fate.NOT_SENT  # type: ignore[attr-defined]
    for name in ("reason", "start", "place", "errno", "filename", "name", "path", "obj", "lineno", "exceptions", "pos"):
        assert getattr(copy, name, None) == getattr(error, name, None)
    assert not hasattr(error, "__notes__")


@pytest.mark.parametrize(
    "error", [Counted(), Unmade(place=3), StopIteration(3)], ids=lambda error: type(error).__name__
)
def test_an_error_that_cannot_be_copied_is_the_cause_of_one_that_says_it(error: Exception) -> None:
    one, two = told(error, Fate.NOT_SENT), told(error, Fate.PERHAPS_SENT)
    assert isinstance(one, HandlerFailed)
    assert str(one) == f"a function of the program raised {type(error).__name__}: {error}"
    assert one.__cause__ is two.__cause__ is error
    assert (one.fate, two.fate) == (Fate.NOT_SENT, Fate.PERHAPS_SENT)  # type: ignore[attr-defined]
