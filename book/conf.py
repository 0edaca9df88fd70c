"""How Sphinx builds the book; `make book` gives it the pages that are made from the labs.

Nothing on a page comes from outside: no fonts, no scripts, no badges.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

project = "k8slab"
author = "the k8slab authors"
copyright = "the k8slab authors"  # noqa: A001  the name is Sphinx's
extensions = ["myst_parser", "bookmaking.parts"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "sphinx_book_theme"
html_title = "k8slab"
html_static_path = ["static"]
html_css_files = ["book.css"]
html_show_sourcelink = False
html_copy_source = False
# Pages are read from files, too, where a script may not read other pages; and an answer that is
# folded on its page must not be shown by a search.
html_show_search_summary = False
html_theme_options = {
    "use_download_button": False,
    "use_fullscreen_button": False,
    "show_toc_level": 2,
    "navbar_persistent": [],  # the sidebar has the search already
}
html_context = {"default_mode": "auto"}
