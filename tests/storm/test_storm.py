"""The short form of ``make storm``: a few rounds of whole servers, their peers and a bystander, each from a seed."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storm.plan import COMMANDS, KINDS, Ask, Peer, Round, draw
from storm.services import Storm
from storm.words import Way, asking, reply
from storm.world import MOST_BETWEEN, World

SEEDS = range(1, 41)
#: Of these, so many in the default run; the others are slow tests.
FEW = 16


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=[pytest.mark.slow] * (seed > FEW)) for seed in SEEDS])
def test_a_round_of_the_storm_breaks_no_promise(seed: int, readiness: str, tmp_path: Path) -> None:
    round_ = draw(seed, readiness)
    wrong = World(round_, tmp_path).run()
    again = f"again: PYTHONPATH=tests python -m storm --seed {seed} --readiness {readiness}"
    assert not wrong, "\n".join([str(round_), *wrong, again])


def test_a_seed_is_one_round() -> None:
    for seed in SEEDS:
        assert draw(seed) == draw(seed)
        drawn = draw(seed)
        assert str(draw(seed, drawn.readiness)) == str(drawn)


def test_every_kind_of_handler_and_everything_that_a_message_may_ask_for_has_its_turn() -> None:
    rounds = [draw(seed) for seed in range(1000)]
    assert {round_.kind for round_ in rounds} == set(KINDS)
    asked = {ask.octets.split()[1].decode() for round_ in rounds for peer in round_.peers for ask in peer.asks}
    assert asked == set(COMMANDS)


# -- it sees what is wrong ----------------------------------------------------------------------------------


def lose(replies: list[Any]) -> list[Any]:
    return []


def swap(replies: list[Any]) -> list[Any]:
    return [b"x" + bytes(each) for each in replies]


@pytest.mark.parametrize(
    ("fault", "told"),
    [(lose, "replies, closed as 'closed by peer', events []"), (swap, "reply 0 is b'x")],
)
def test_replies_that_are_lost_or_wrong_are_found(
    fault: Callable[[list[Any]], list[Any]], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Storm.act

    def act(self: Storm, message: Any, connection: Any) -> tuple[list[Any], Any]:
        replies, what = original(self, message, connection)
        return fault(replies), what

    monkeypatch.setattr(Storm, "act", act)
    assert told in "\n".join(World(calm_round(), tmp_path).run())


def test_leaks_and_uncaught_errors_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, left = Storm.act, []

    def act(self: Storm, message: Any, connection: Any) -> tuple[list[Any], Any]:
        if not left:
            left.extend(os.pipe())
            asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        return original(self, message, connection)

    monkeypatch.setattr(Storm, "act", act)
    wrong = "\n".join(World(calm_round(), tmp_path).run())
    for number in left:
        os.close(number)
    assert "left behind: descriptor pipe:" in wrong
    assert "uncaught: Exception in callback" in wrong


def test_a_bystander_that_waits_for_too_many_others_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever it looks, the others have had more than they may between two of its looks."""
    counts = itertools.count(0, MOST_BETWEEN + 1)
    monkeypatch.setattr(Storm, "items", property(lambda self: next(counts), lambda self, count: None), raising=False)
    assert "the bystander's longest wait" in "\n".join(World(calm_round(), tmp_path).run())


def calm_round() -> Round:
    """One peer that asks three times and half-closes, of a server that is asked for nothing else."""
    peer = Peer(0, [Ask(asking(f"0-{n}", "echo"), [reply(f"0-{n}", 0, 0)]) for n in range(3)], "after")
    return Round(1, "def", Way("line"), [peer], "none", "off", {}, {}, {}, [], "drain")
