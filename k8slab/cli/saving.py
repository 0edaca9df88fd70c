"""Save of a form what can be read without it.

A widget lives as long as its kernel. A notebook that is opened again would show "Error displaying
widget: model not found" in its place, though the text of the form stands beside it in the file:
browsers show the richest form that there is. So the file gets the text alone.

The price is a page that is loaded again while its kernel lives: it shows the text too, though it
could have the form. When a notebook is saved nobody knows which of the two will come, and it is
saved while its kernel lives nearly always. So the text says how to get the form.
"""

from __future__ import annotations

from typing import Any

_WIDGET = "application/vnd.jupyter.widget-view+json"


def leave_forms_out(*, model: dict[str, Any], **_more: object) -> None:
    """Take widgets that have a text beside them out of a notebook that is about to be saved.

    Jupyter calls it with the model of its contents API, which may be any file.
    """
    if model.get("type") != "notebook" or not isinstance(model.get("content"), dict):
        return
    for cell in model["content"].get("cells", ()):
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "text/html" in data:
                data.pop(_WIDGET, None)
