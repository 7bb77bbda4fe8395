"""The settings of Sphinx for the site. docs/site/build.py calls it; the sources are those that stage.py lays out."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import accessible  # noqa: E402  # they are beside us
import references  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402

from fourtuple import __version__  # noqa: E402

project = "fourtuple"
author = "the developers of fourtuple"
project_copyright = "the developers of fourtuple, Apache License 2.0"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
]
root_doc = "index"
smartquotes = False  # what is shown is what one types
nitpicky = True
myst_heading_anchors = 4  # the anchors that GitHub makes, too
myst_enable_extensions = ["colon_fence"]
suppress_warnings = ["myst.header"]  # a page may skip a level

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autoclass_content = "both"  # parameters that __init__ alone tells
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100

html_theme = "furo"
html_title = "fourtuple"
html_static_path = [str(Path(__file__).parent / "static")]
html_favicon = str(Path(__file__).parent / "static" / "favicon.svg")
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "a11y-light"
pygments_dark_style = "a11y-dark"

copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_line_continuation_character = "\\"


def setup(app: Sphinx) -> None:
    """Connect what resolves names of the code, and what makes the pages accessible."""
    references.connect(app)
    app.connect("build-finished", accessible.repair_all)
