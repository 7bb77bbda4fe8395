"""Small repairs of the HTML that Sphinx and the theme write, for readers who listen or use a keyboard.

Each is one that axe asks for; tests/docs/test_site.py runs axe over every page.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from sphinx.application import Sphinx

SIGNATURE = re.compile(r"<dl>\n((?:<dd><em class=\"sig-param\">.*</dd>\n)+)</dl>")

#: What is wrong, and what to write instead.
REPAIRS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    # A heading needs a level: those of the navigation are below the page's own.
    (re.compile(r'class="caption" role="heading"(?! aria-level)'), 'class="caption" role="heading" aria-level="2"'),
    # Two landmarks of one kind need names.
    (re.compile(r'<aside class="sidebar-drawer">'), '<aside class="sidebar-drawer" aria-label="All pages">'),
    (re.compile(r'<aside class="(toc-drawer[^"]*)">'), r'<aside class="\1" aria-label="On this page">'),
    # What scrolls must be reached by the keyboard.
    (re.compile(r"<pre>"), '<pre tabindex="0">'),
    (re.compile(r'<div class="table-wrapper (?!.*tabindex)'), '<div tabindex="0" class="table-wrapper '),
    # A cell without words is not a header.
    (re.compile(r'<th class="head">(?:<p></p>)?</th>'), "<td></td>"),
    # The parameters of a long signature are lines, not definitions.
    (SIGNATURE, lambda found: f'<span class="sig-lines">\n{lines_of(found[1])}</span>'),
    # The name of a file or a module breaks where a reader would break it.
    (re.compile(r"<h1>([^<]*[./][^<]*)"), lambda found: "<h1>" + re.sub(r"(?<=\w[./])", "<wbr>", found[1])),
    # So does a long name in the text of a table.
    (re.compile(r"(?<=>)[^<>]*\w_\w+_[^<>]*(?=</p></td>)"), lambda found: re.sub(r"(?<=\w_)(?=\w)", "<wbr>", found[0])),
    # And so does an argument in the head of a table.
    (re.compile(r'(?<=<span class="pre">)[\w=]+(?=</span></code></p></th>)'), lambda found: broken(found[0])),
    # The page of results has no heading.
    (re.compile(r'(?=<div id="search-results">)'), "<h1>Search</h1>\n"),
)


def broken(name: str) -> str:
    """A name with the places at which a browser may break it."""
    return re.sub(r"(?<=\w_)(?=\w)", "<wbr>", name)


def lines_of(parameters: str) -> str:
    """The parameters of a signature as lines."""
    return parameters.replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")


def repaired(page: str) -> str:
    """The page with all repairs."""
    for wrong, right in REPAIRS:
        page = wrong.sub(right, page)
    return page


def repair_all(app: Sphinx, error: Exception | None) -> None:
    """Repair every page that was built."""
    if error is None:
        for path in Path(app.outdir).rglob("*.html"):
            path.write_text(repaired(path.read_text()))
