"""The guide as a site: `make site`. Sphinx reads the Markdown as it lies here (MyST), and the rest out of
the code: docstrings, commands, settings.

Furo is the theme since it asks for nothing from elsewhere, is read from disk as well as from a server, in
light and in dark, on a phone and on paper, and brings three small packages. Formulas become MathML, which
browsers draw themselves.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "site"))

from amr_data import __version__  # noqa: E402

project = "AMR"
author = "AMR contributors"
version = release = __version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_click",
    "docstrings",
    "examples",
    "mathml",
    "navigation",
    "settings_reference",
]
exclude_patterns = ["site", "images"]
root_doc = "index"

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
toc_object_entries = False
add_module_names = False
html_math_renderer = "mathml"
smartquotes = False  # would make dashes of the hyphens of options, and commands are copied

html_theme = "furo"
html_title = "AMR"
html_show_sphinx = False
html_show_copyright = False
html_show_search_summary = False  # would be fetched, which a page from disk may not
html_copy_source = False
html_static_path = ["site/static"]
html_css_files = ["site.css"]
