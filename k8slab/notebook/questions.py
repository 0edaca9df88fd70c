"""Predictions and reasons as forms: a radio button for each choice, and a button to save.

A form is an ordinary ipywidgets tree, made of nothing that runs in the browser by itself.
Where no widgets can be shown (a terminal, a book), the text says how to answer by a call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8slab.notebook.views import View, box, paragraphs, wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
    confidence: bool,
) -> Form:  # fmt: skip
    """Return a form; `save` gets the word of the choice and the confidence, and answers in text."""
    # Imported here: half a second, and only notebooks have it.
    import ipywidgets as widgets  # type: ignore[import-untyped]  # noqa: PLC0415

    radio = widgets.RadioButtons(
        options=[(text, word) for word, text in choices.items()],
        value=None,
        layout=widgets.Layout(width="auto"),
    )
    slider = widgets.SelectionSlider(
        options=[(text, number) for number, text in CONFIDENCE.items()],
        value=3,
        description="How sure?",
    )
    button = widgets.Button(description="Save", tooltip="Save my choice in the journal")
    told = widgets.HTML()

    def clicked(_button: object) -> None:
        if radio.value is None:
            told.value = paragraphs("Choose one first.")
        else:
            told.value = paragraphs(save(radio.value, slider.value))

    button.on_click(clicked)
    head = widgets.HTML(box(question, []))
    rows = [head, radio, *([slider] if confidence else []), button, told]
    lines = [f"{word}: {text}" for word, text in choices.items()]
    text = "\n".join([question, *(f"  {line}" for line in lines), f"answer with {call}"])
    return Form(text, box(question, [wrapped(lines)]), widgets.VBox(rows))
