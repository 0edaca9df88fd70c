"""Predictions and reasons as forms: a radio button for each choice, and a button to save.

A form is an ordinary ipywidgets tree, made of nothing that runs in the browser by itself.
Where no widgets can be shown (a terminal, a book), the text says how to answer by a call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8slab.errors import K8slabError
from k8slab.notebook.views import View, box, paragraphs, wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# A choice that takes two lines: ipywidgets gives each the height of one, and the next lies over it.
_STYLE = """<style>
.k8slab-choices .widget-radio-box label {
  display: flex; flex-direction: row-reverse; justify-content: flex-end; height: auto;
}
.k8slab-choices .widget-radio-box input { flex: none; }
</style>"""
CONFIDENCE = {1: "a guess", 2: "unsure", 3: "maybe", 4: "rather sure", 5: "certain"}


class Form(View):
    """A question that is answered by clicking; its text says how to answer by a call."""

    def __init__(self, text: str, html: str, widget: Any) -> None:
        super().__init__(text, html)
        self.widget = widget

    def bundle(self) -> dict[str, Any]:
        """Return the widget's own bundle, with our text for whoever shows no widgets."""
        found = self.widget._repr_mimebundle_()
        data = found[0] if isinstance(found, tuple) else found
        return {**data, **super().bundle()}


def form(
    question: str, choices: Mapping[str, str], *, call: str, save: Callable[[str, int], str],
    confidence: bool, before: tuple[str, int] = ("", 0),
) -> Form:  # fmt: skip
    """Return a form; `save` gets the word of the choice and the confidence, and answers in text.

    `before` is what was saved last, word and confidence: it is chosen already.
    """
    # Imported here: half a second, and only notebooks have it.
    import ipywidgets as widgets  # type: ignore[import-untyped]  # noqa: PLC0415

    word, sure = before if before[0] in choices else ("", 0)
    saved = f"You chose: {choices[word]} (saved)." if word else ""
    radio = widgets.RadioButtons(
        options=[(text.replace("`", ""), word) for word, text in choices.items()],  # has no code
        value=word or None,
        layout=widgets.Layout(width="auto"),
    ).add_class("k8slab-choices")
    slider = widgets.SelectionSlider(
        options=[(text, number) for number, text in CONFIDENCE.items()],
        value=sure or 3,
        description="How sure?",
    )
    # A quiz has many of them: to whom cannot see what it stands below the button says it.
    button = widgets.Button(description="Save", tooltip=f"Save my choice: {question}")
    told = widgets.HTML(paragraphs(saved))

    def clicked(_button: object) -> None:
        answer = _saved(save, radio.value, slider.value)
        told.value = f'<div role="alert">{paragraphs(answer)}</div>'

    button.on_click(clicked)
    head = widgets.HTML(_STYLE + box(question, []))
    rows = [head, radio, *([slider] if confidence else []), button, told]
    lines = [f"{word}: {text}" for word, text in choices.items()]
    ways = [f"answer with {call}", *([saved] if saved else [])]
    text = "\n".join([question, *(f"  {line}" for line in lines), *ways])
    # What a saved notebook shows in the form's place (`k8slab.cli.saving`).
    again = f"{saved} Run this cell again for a form to click in, or answer with `{call}`."
    return Form(text, box(question, [wrapped(lines), paragraphs(again)]), widgets.VBox(rows))


def _saved(save: Callable[[str, int], str], word: str | None, sure: int) -> str:
    """Save a choice and say what came of it, which a screen reader then reads (WAI-ARIA, alert)."""
    if word is None:
        return "Choose one first."
    try:
        return save(word, sure)
    except K8slabError as error:
        # Nobody would see it: what a click raises goes to the log of the kernel.
        return f"error: {error}"
