"""What must hold of the built pages, besides what Sphinx looks at itself.

Every link leads to a page and an anchor that are there, everything that a page loads lies beside
it, pictures have a text, and no page tells where it was built. Links to the world outside are
only looked at, never followed: the book is built without a network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOADS = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src",
          "video": "src", "audio": "src", "object": "data", "embed": "src"}  # fmt: skip
_NOT_LOADED = frozenset({"canonical", "next", "prev", "search", "index", "author", "license"})
"""Values of `rel` with which a `link` only names a page."""


@dataclass
class Page(HTMLParser):
    """What a page has: anchors, links, what it loads, and pictures without a text."""

    path: Path
    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self.text = self.path.read_text(encoding="utf-8")
        self.feed(self.text)

    __hash__ = object.__hash__

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the tag is, leads to, or loads."""
        found = {name: value or "" for name, value in attrs}
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif tag in _LOADS and _LOADS[tag] in found:
            named = tag == "link" and set(found.get("rel", "").split()) <= _NOT_LOADED
            (self.links if named else self.loads).append(found[_LOADS[tag]])
        if tag == "img" and not found.get("alt", "").strip():
            self.unnamed.append(found.get("src", "")[:80])


def faults(site: Path, private: tuple[str, ...] = ()) -> list[str]:
    """Return what is wrong with the pages below `site`; `private` are paths that none may tell."""
    found = sorted(site.rglob("*.html"))
    pages = {path: Page(path) for path in found if "_static" not in path.parts}  # no templates
    if not pages:
        return [f"{site} has no page"]
    return [
        f"{page.path.relative_to(site)}: {text}"
        for page in pages.values()
        for text in _faults(page, pages, private)
    ]


def _faults(page: Page, pages: dict[Path, Page], private: tuple[str, ...]) -> Iterator[str]:
    for link in dict.fromkeys(page.links):
        if told := _leads_nowhere(link, page, pages):
            yield f"the link {link} {told}"
    for load in dict.fromkeys(page.loads):
        parts = urlsplit(load)
        if parts.scheme == "data":
            continue
        if parts.scheme or parts.netloc:
            yield f"it loads {load} from outside"
        elif not _file(parts.path, page).is_file():
            yield f"it loads {load}, which is not there"
    yield from (f"the picture {one} has no alt text" for one in page.unnamed)
    yield from (
        f"it tells the path {path} of this machine" for path in private if path in page.text
    )


def _leads_nowhere(link: str, page: Page, pages: dict[Path, Page]) -> str:
    """Return what is wrong with a link, or nothing."""
    parts = urlsplit(link)
    if parts.scheme in ("http", "https"):
        return "" if "." in parts.netloc and " " not in link else "is no address"
    if parts.scheme == "mailto":
        return ""
    if parts.scheme or parts.netloc:
        return f"has the scheme {parts.scheme!r}"
    target = _file(parts.path, page) if parts.path else page.path
    if not target.is_file():
        return "leads to no file"
    anchor = unquote(parts.fragment)
    known = pages.get(target)
    if anchor and known is not None and anchor not in known.anchors:
        return "leads to no anchor of that page"
    return ""


def _file(path: str, page: Page) -> Path:
    return Path(page.path.parent, unquote(path)).resolve()
