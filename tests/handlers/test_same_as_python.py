"""The turn in C and the turn in Python: one script, two servers, and nobody can tell from outside which is which.

A crowd of peers sends what hypothesis makes up: good messages, half ones and broken ones, in pieces, while the
handlers do whatever a handler may do. Then each peer ends as it likes. What every peer got, how it was ended, what
the handlers saw and what the observer was told must be the same.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from conftest import RunAsync
from fourtuple import fast_path
from handlers.crowds import FRAMINGS, KINDS, Script, both_played, each_once, pieces_of, scripts


@pytest.mark.skipif(fast_path.turn is None, reason="there is one turn only: the C is not built, or switched off")
@pytest.mark.parametrize(("kind", "name"), each_once(KINDS, list(FRAMINGS)))
@settings(
    max_examples=max(10, settings().max_examples // 5), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(script=scripts, small=st.booleans())
@example(script=[([b"une", b"not"], [], "finish")], small=False)  # a reply that cannot be encoded, and one behind it
@example(script=[([b"echo", deed, b"abo"], [], "finish") for deed in (b"oth", b"cha", b"echo")], small=False)
def test_c_and_python_are_indistinguishable(
    run_async: RunAsync, readiness: str, kind: str, name: str, script: list[Script], small: bool
) -> None:
    framing = FRAMINGS[name]
    crowd = [(pieces_of(framing, each), each[2]) for each in script]
    with_c, in_python = both_played(run_async, readiness, kind, framing, crowd, small=small)
    assert with_c == in_python
