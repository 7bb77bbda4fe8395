"""The reference page: every example runs, and every framing that the text form knows has its place."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from fourtuple.framing.text import known_words

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "framings.md"


def test_every_example_runs() -> None:
    text = PAGE.read_text().replace("```", "")
    flags = doctest.ELLIPSIS
    example = doctest.DocTestParser().get_doctest(text, {}, PAGE.name, str(PAGE), 0)
    told: list[str] = []
    results = doctest.DocTestRunner(optionflags=flags, verbose=False).run(example, out=told.append)
    assert not results.failed, "".join(told)
    assert results.attempted > 40


@pytest.mark.parametrize("word", known_words())
def test_every_framing_is_described(word: str) -> None:
    headings = [line.strip("# ") for line in PAGE.read_text().splitlines() if line.startswith("## ")]
    described = {each for heading in headings for each in re.split("[:, ]+", heading)}
    assert word.removesuffix("le") in described
