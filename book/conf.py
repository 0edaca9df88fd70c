"""How the book is built: `make book`, offline, warnings as errors."""

import tomllib
from pathlib import Path

_PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]

project = "k8slab"
author = "the k8slab authors"
copyright = "the k8slab authors"  # noqa: A001  the name is Sphinx's
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "sphinx_book_theme"
html_title = "k8slab"
html_show_sourcelink = False
