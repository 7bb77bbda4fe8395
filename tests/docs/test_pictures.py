"""The pictures are those that the code draws, can be read in both schemes, and say in words what they show."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

DOCS = Path(__file__).parents[2] / "docs"
SVG = "{http://www.w3.org/2000/svg}"
#: WCAG 2.2, 1.4.3 for text and 1.4.11 for lines.
TEXT, LINE = 4.5, 3.0


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def drawing() -> ModuleType:
    return load("drawing")


@pytest.fixture(scope="module")
def diagrams(drawing: ModuleType) -> ModuleType:
    return load("diagrams")


def test_the_pictures_are_up_to_date(diagrams: ModuleType) -> None:
    old = [n for n, draw in diagrams.DIAGRAMS.items() if (DOCS / "pictures" / f"{n}.svg").read_text() != draw().svg()]
    assert not old, "run: python docs/pictures.py"


def test_every_picture_is_on_a_page_with_its_words_beside_it() -> None:
    pages = "".join(page.read_text() for page in DOCS.rglob("*.md"))
    for picture in (DOCS / "pictures").glob("*.svg"):
        words = re.findall(rf"!\[([^\]]*)\]\([./]*pictures/{picture.name}\)", pages)
        assert words, f"no page shows {picture.name}"
        assert min(map(len, words)) > 40, f"{picture.name} is shown without words"


def test_a_diagram_says_what_it_shows_and_asks_no_other_host(diagrams: ModuleType) -> None:
    for draw in diagrams.DIAGRAMS.values():
        text = draw().svg()
        tree = ElementTree.fromstring(text)
        assert tree.findtext(f"{SVG}title")
        assert len(tree.findtext(f"{SVG}desc") or "") > 100
        assert not re.search(r"(?:href|src)=|url\((?!#)", text.replace('xmlns="http://www.w3.org/2000/svg"', ""))


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_colours_can_be_told_apart(drawing: ModuleType, scheme: str) -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    colours = drawing.SCHEMES[scheme]
    for text in ("ink", "dim", "accent", "alert"):
        assert contrast(colours[text], colours["ground"]) >= TEXT
    for ground in ("box", "warm"):
        assert contrast(colours["ink"], colours[ground]) >= TEXT
    for line in ("edge", "accent", "alert"):
        assert contrast(colours[line], colours["ground"]) >= LINE


def test_words_that_do_not_fit_are_refused(drawing: ModuleType) -> None:
    picture = drawing.Picture(200, 100, "title", "about")
    with pytest.raises(ValueError, match="does not fit"):
        picture.box(0, 0, 50, 30, "longer than the box")
    with pytest.raises(ValueError, match="outside of the picture"):
        picture.text(190, 50, "too far right", anchor="start")
