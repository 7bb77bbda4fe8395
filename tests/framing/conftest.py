"""Every test of the framings runs twice: with the decoders in Python, and with those in C."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from fourtuple.framing import parse_framing, splitting


@pytest.fixture(scope="module", autouse=True, params=["python", "c"])
def split_by(request: pytest.FixtureRequest) -> Iterator[str]:
    """The language of the decoders. A framing chooses once, so each test must make its framings."""
    by: str = request.param
    with pytest.MonkeyPatch.context() as patch:
        if by == "python":
            patch.setattr(splitting, "IN_C", None)
        elif splitting.IN_C is None:
            pytest.skip("the splitters in C are not built here, or switched off")
        yield by


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests that would run twice in Python: framings without C, user code, comparisons of both."""
    twice = {item for item in items if isinstance(item, pytest.Function) and runs_twice(item)}
    if twice:
        config.hook.pytest_deselected(items=list(twice))
        items[:] = [item for item in items if item not in twice]


def runs_twice(item: pytest.Function) -> bool:
    params = item.callspec.params if hasattr(item, "callspec") else {}
    by = params.get("split_by")
    match item.path.name:
        case "test_split.py":
            return by == "python"
        case "test_mistakes.py" | "test_mapped.py":
            return by == "c"
        case "test_contract.py" if by == "c" and splitting.IN_C is not None:
            framing = parse_framing(params["text"])
            return type(framing.decoder()) is type(framing.reference())
    return False


def inside(value: Any) -> Iterator[Any]:
    """A value and all that are in it."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        yield each
        if isinstance(each, dict):
            waiting += [*each, *each.values()]
        elif isinstance(each, list | tuple | set | frozenset):
            waiting += each
