"""Errors: data and text survive a process boundary, and the builtin that people catch is an ancestor."""

from __future__ import annotations

import errno
import pickle

import pytest

from fourtuple import errors

EXAMPLES = [
    errors.AddressError("nope", "it is not an address"),
    errors.EncodeError("too long"),
    errors.MessageTooLong(17, 16),
    errors.IncompleteMessage(5, 16),
    errors.ConnectRefused("127.0.0.1:1", errno.ECONNREFUSED, attempts=[errors.ConnectTimeout("127.0.0.1:1")]),
    errors.NoSuchSocket("unix:/nowhere", errno.ENOENT),
    errors.ListenAddressInUse("127.0.0.1:1", errno.EADDRINUSE, "by pid 1, init"),
    errors.PeerReset("127.0.0.1:1 <- 127.0.0.1:2: reset by the peer"),
    errors.OutboxFull("127.0.0.1:1 <- 127.0.0.1:2", 10, 5, 12),
    errors.DeadlinePassed("idle_timeout", 60.0, "127.0.0.1:1 <- 127.0.0.1:2"),
    errors.WouldBlock("nothing there"),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_are_pickled_with_their_data(error: errors.FourTupleError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.args == error.args
    assert getattr(again, "errno", None) == getattr(error, "errno", None)
    ours = {name: value for name, value in vars(error).items() if name != "attempts"}
    assert {name: vars(again)[name] for name in ours} == ours
    assert list(map(str, getattr(again, "attempts", ()))) == list(map(str, getattr(error, "attempts", ())))


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.ConnectRefused, ConnectionRefusedError),
        (errors.ConnectTimeout, TimeoutError),
        (errors.ConnectReset, ConnectionResetError),
        (errors.EndOfFile, EOFError),
        (errors.IncompleteMessage, EOFError),
        (errors.WouldBlock, BlockingIOError),
        (errors.DeadlinePassed, TimeoutError),
        (errors.ListenForbidden, PermissionError),
        (errors.OptionError, ValueError),
    ],
)
def test_the_builtin_that_people_catch_is_an_ancestor(error: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(error, builtin)
