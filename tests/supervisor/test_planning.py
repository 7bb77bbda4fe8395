"""What a supervisor decides, without a process or a socket."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourtuple import Limits
from fourtuple.errors import OptionError
from fourtuple.options import Deadlines, Processes, declared
from fourtuple.options.processes import processors
from fourtuple.supervisor.leaving import swept
from fourtuple.supervisor.plan import Lifetime, Standing, routable
from fourtuple.supervisor.seat import Given, HandedPlace, Handover, Seat, for_child
from fourtuple.supervisor.sharing import RATES, TOTALS, share
from fourtuple.supervisor.steering import MOST_SOCKETS, Order, choose, program

# -- steering ----------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 500), min_size=1, max_size=40, unique=True))
def test_a_program_chooses_each_index_equally_often_and_no_other(indexes: list[int]) -> None:
    steps = program(indexes)
    chosen = Counter(choose(steps, chance) for chance in range(len(indexes) * 7))
    assert chosen == dict.fromkeys(indexes, 7)
    assert len(program(list(range(MOST_SOCKETS)))) // 8 <= 4096


@pytest.mark.parametrize("indexes", [[], list(range(MOST_SOCKETS + 1))])
def test_a_program_needs_a_number_of_sockets_that_the_kernel_allows(indexes: list[int]) -> None:
    with pytest.raises(ValueError, match=f"chooses among 1 to {MOST_SOCKETS} sockets, {len(indexes)} were given"):
        program(indexes)


@given(st.lists(st.integers(0, 9)))
def test_the_order_follows_the_kernels_array(changes: list[int]) -> None:
    order, array = Order(), []
    for slot in changes:
        if slot in array:
            order.remove(slot)
            index = array.index(slot)  # reuseport_detach_sock()
            array[index] = array[-1]
            array.pop()
        else:
            order.add(slot)
            array.append(slot)
        assert list(order.slots) == array
        assert order.indexes(range(5)) == [index for index, each in enumerate(array) if each < 5]


def test_connections_go_to_those_that_accept_and_else_to_those_that_may() -> None:
    ready, full = Standing(1, ready=True), Standing(2, ready=True, full=True)
    silent, dead = Standing(3, ready=True, responsive=False), Standing(4, ready=False)
    leaving = Standing(5, ready=True, leaving=True)
    assert routable([ready, full, silent, dead, leaving]) == {1}
    assert routable([full, silent, dead, leaving]) == {2}
    assert routable([silent, dead, leaving]) == {3}
    assert routable([dead, Standing(6, ready=False), leaving]) == {4, 6}
    assert routable([leaving]) == frozenset()


# -- limits ------------------------------------------------------------------------------------------------


@given(st.integers(1, 100_000), st.integers(1, 64))
def test_the_shares_of_a_total_add_up_to_it(total: int, workers: int) -> None:
    shares = [share(Limits(max_connections=total, accept_rate=100.0), place, workers) for place in range(workers)]
    parts = [each.max_connections or 0 for each in shares]
    assert sum(parts) == max(total, workers)
    assert max(parts) - min(parts) <= 1
    assert sum(each.accept_rate or 0 for each in shares) == pytest.approx(100.0)


def test_limits_of_one_connection_and_of_one_address_are_not_divided() -> None:
    limits = Limits(max_connections_per_address=7, max_message_rate=9.0, max_octet_rate_per_address=100.0)
    shared = share(limits, 1, 4)
    for name in (each.name for each in declared(Limits)):
        if name not in (*TOTALS, *RATES):
            assert getattr(shared, name) == getattr(limits, name), name
    whole = limits.replace(max_connections=100)
    assert share(whole, 0, 1) is whole


def test_the_default_of_max_connections_is_divided_too() -> None:
    assert [share(Limits(), place, 3).max_connections for place in range(3)] == [3334, 3333, 3333]


# -- recycling ---------------------------------------------------------------------------------------------


def test_a_worker_is_replaced_after_its_messages_or_its_age_with_jitter() -> None:
    early, late = (Lifetime.drawn(1000, 60.0, 0.1, chance) for chance in (0.0, 1.0))
    assert (early.messages, early.seconds) == (900, 54)
    assert late.messages == pytest.approx(1100)
    assert early.over(899, 53.9) == ""
    assert early.over(900, 0.0) == "after 900 messages"
    assert early.over(0, 54.0) == "after 54 s"
    assert Lifetime.drawn(None, None, 0.1, 0.5).over(10**9, 10**9) == ""


# -- removing a slot ---------------------------------------------------------------------------------------


class Kernel:
    """What sock_diag and TCP_INFO say at each look, and a clock that passes while the sweep sleeps."""

    def __init__(self, *looks: tuple[int, set[str] | None]) -> None:
        self.looks = list(looks)
        self.now = 0.0

    def waiting(self) -> int:
        return self.look[0]

    def under_way(self) -> frozenset[object] | None:
        return None if self.look[1] is None else frozenset(self.look[1])

    @property
    def look(self) -> tuple[int, set[str] | None]:
        return self.looks[min(int(self.now), len(self.looks) - 1)]

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    def swept(self, grace: float, least: float = 1.0) -> bool:
        return asyncio.run(
            swept(self.waiting, self.under_way, grace, least=least, sleep=self.sleep, clock=lambda: self.now)
        )


def test_a_slot_is_swept_for_one_second_at_least() -> None:
    kernel = Kernel((0, set()))
    assert kernel.swept(5.0)
    assert kernel.now == pytest.approx(1.0, abs=0.11)


def test_a_slot_waits_for_its_queue_and_for_the_handshakes_that_were_under_way() -> None:
    kernel = Kernel((3, {"a"}), (0, {"a"}), (0, {"a"}), (0, set()))
    assert kernel.swept(5.0)
    assert kernel.now == pytest.approx(3.0, abs=0.11)


def test_handshakes_that_began_after_the_steering_are_of_other_slots() -> None:
    kernel = Kernel((0, {"a"}), (0, {"b", "c"}), (0, {"d"}))
    assert kernel.swept(5.0)
    assert kernel.now == pytest.approx(1.0, abs=0.11)


def test_a_slot_waits_no_longer_than_the_handshake_grace() -> None:
    kernel = Kernel((0, {"a"}))
    assert not kernel.swept(5.0)
    assert kernel.now == pytest.approx(5.0)


def test_without_sock_diag_a_slot_waits_the_whole_grace() -> None:
    kernel = Kernel((0, None))
    assert not kernel.swept(5.0)
    assert kernel.now == pytest.approx(5.0)


# -- what a new process is given ---------------------------------------------------------------------------


def test_a_seat_is_taken_from_the_environment_once() -> None:
    seat = Seat(3, 1, 4, 7, 8, (Given("127.0.0.1:9999", 9), Given("unix:/run/x", 10)))
    environment = for_child({"NOTIFY_SOCKET": "x", "LISTEN_FDS": "1", "PATH": "/bin"}, FOURTUPLE_WORKER=seat.text())
    assert environment == {"PATH": "/bin", "FOURTUPLE_WORKER": seat.text()}
    assert Seat.taken_from(environment) == seat
    assert Seat.taken_from(environment) is None
    assert environment == {"PATH": "/bin"}


def test_a_handover_is_taken_from_the_environment_once() -> None:
    handover = Handover(5, (HandedPlace("*:80", (6, 7), (2, 1)), HandedPlace("unix:/run/x", (8,), ())), 2)
    environment = {"FOURTUPLE_UPGRADE": handover.text()}
    assert Handover.taken_from(environment) == handover
    assert Handover.taken_from(environment) is None


# -- options -----------------------------------------------------------------------------------------------


def workers(text: str) -> Any:
    (option,) = (each for each in declared(Processes) if each.name == "workers")
    return Processes(workers=option.convert(text)).workers


def test_the_number_of_workers_is_a_number_or_auto() -> None:
    assert workers("3") == 3
    assert workers("none") is None
    assert workers("auto") == workers("AUTO") == processors() >= 1


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("0", "workers: expected at least 1, got 0 processes"),
        ("1000", "workers: expected no more than 256, got 1000 processes"),
        ("many", "workers: cannot read 'many' as a whole number of processes or auto or none"),
    ],
)
def test_other_numbers_of_workers_are_refused(text: str, error: str) -> None:
    with pytest.raises(OptionError) as raised:
        workers(text)
    assert str(raised.value) == error


def test_a_quota_of_the_container_bounds_the_number_of_workers(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    quota: Callable[[str], Any] = (tmp_path / "cpu.max").write_text
    monkeypatch.setattr("fourtuple.options.processes._QUOTA", str(tmp_path / "cpu.max"))
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))
    for text, count in (("max 100000\n", 8), ("150000 100000\n", 2), ("1000 100000\n", 1), ("nonsense", 8)):
        quota(text)
        assert processors() == count


def test_the_time_to_spread_a_drain_is_off_by_default() -> None:
    assert Deadlines().drain_spread == 0
