"""How Sphinx builds the book; `make book` gives it the pages that are made from the labs.

Nothing on a page comes from outside: no fonts, no scripts, no badges.
"""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from pygments.lexers import YamlLexer
from pygments.token import Name
from sphinx.application import Sphinx

_PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]

project = "k8slab"
author = "the k8slab authors"
copyright = "the k8slab authors"  # noqa: A001  the name is Sphinx's
extensions = ["myst_parser"]
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


class ApplyLexer(YamlLexer):
    """A cell that begins with ``%%apply``: the magic, then a manifest."""

    name = "apply"
    aliases: ClassVar[list[str]] = ["apply"]

    def get_tokens_unprocessed(self, text: str) -> Iterator[tuple[int, Any, str]]:
        """Yield the first line as one token, and the rest as YAML."""
        first, end, rest = text.partition("\n")
        yield 0, Name.Decorator, first + end
        start = len(first + end)
        for index, token, value in super().get_tokens_unprocessed(rest):
            yield index + start, token, value


def setup(app: Sphinx) -> None:
    """Tell Sphinx of the lexer."""
    app.add_lexer("apply", ApplyLexer)
