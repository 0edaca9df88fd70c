"""What Sphinx does not have by itself: the language of ``%%apply`` cells, and outputs as they are.

Sphinx puts the text of raw HTML into the index of its search. An output is a node of our own,
which has no text for it: nobody is to find a folded answer by searching for its words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive
from pygments.lexers import YamlLexer
from pygments.token import Name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx

DIRECTIVE = "output"


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


class Output(nodes.General, nodes.Element):
    """HTML that a cell showed, as it is."""


class OutputDirective(Directive):
    """The directive around such HTML."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the node."""
        return [Output(html="\n".join(self.content))]


def _write(translator: Any, node: Output) -> None:
    translator.body.append(node["html"])
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Tell Sphinx of both."""
    app.add_lexer("apply", ApplyLexer)
    app.add_node(Output, html=(_write, None))
    app.add_directive(DIRECTIVE, OutputDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
