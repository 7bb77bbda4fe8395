"""Events are values, and a reason tells who ended a connection."""

from __future__ import annotations

import dataclasses

import pytest

from fourtuple import events
from fourtuple.events import Reason
from fourtuple.four_tuple import FourTuple

NAME = FourTuple("127.0.0.1", 9999, "192.0.2.7", 40000)


def test_events_are_compared_by_kind_and_fields() -> None:
    accepted = events.Accepted(1, NAME)
    assert accepted == events.Accepted(1, NAME)
    assert hash(accepted) == hash(events.Accepted(1, NAME))
    assert accepted != events.Accepted(2, NAME)
    assert events.AcceptResumed("here") != events.AcceptDelayed("here")  # type: ignore[arg-type]
    assert accepted != (1, NAME, None)


def test_an_event_shows_its_fields_and_cannot_be_changed() -> None:
    drained = events.Drained(3, 1)
    assert repr(drained) == "Drained(aborted=3, abandoned=1)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        drained.aborted = 0  # type: ignore[misc]


def test_the_kind_is_the_name_in_kebab_case() -> None:
    assert events.Event.kind == "event"
    assert events.HandlerRaised.kind == "handler-raised"
    assert events.TlsFailed(1, NAME, ValueError()).kind == "tls-failed"  # type: ignore[arg-type]


def test_each_reason_has_at_most_one_side() -> None:
    for reason in Reason:
        assert not (reason.by_peer and reason.imposed), reason
        if reason.is_end_of_file:
            assert reason.by_peer, reason
    assert {reason for reason in Reason if reason.by_peer} == {
        *(Reason.PEER_CLOSED, Reason.NO_CLOSE_NOTIFY, Reason.RESET, Reason.LOST)
    }
