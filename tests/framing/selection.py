"""Of many framings, those that the default run tries: each class, and each of its options, once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from fourtuple.framing import Framing, parse_framing


def few_by_default(texts: Sequence[str]) -> list[Any]:
    """All of them as parameters of a test: slow are those that bring no class and no option to the shorter ones."""
    brought: set[tuple[str, str]] = set()
    slow = set()
    for text in sorted(texts, key=len):
        more = brings(text) - brought
        brought |= more
        if not more:
            slow.add(text)
    return [pytest.param(text, marks=[pytest.mark.slow] if text in slow else []) for text in texts]


def brings(text: str) -> set[tuple[str, str]]:
    """Its class, and the class with each option that the text names."""
    kind = classes(parse_framing(text))
    options = [each.partition("=")[0] for each in text.replace("\\,", "").split(",")[1:]]  # not those of inner framings
    return {(kind, option) for option in ["", *options]}


def classes(framing: Framing) -> str:
    inner = getattr(framing, "inner", None)
    return type(framing).__name__ + (f"+{classes(inner)}" if inner is not None else "")
