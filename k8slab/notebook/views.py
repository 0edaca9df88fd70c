"""What the face returns: values that show themselves as HTML and as plain text.

Every view says the same in both. A status has a sign and a word besides its colour.
"""

from __future__ import annotations

import re
import sys
from html import escape
from typing import TYPE_CHECKING, Any, TypeVar

from k8slab.grading import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from k8slab.course import Explained, Hint, LabProgress, QuizAnswer, Seen, Solution
    from k8slab.grading import Result
    from k8slab.probes.lookups import Lookup

_COLOURS = {
    Status.PASSED: "#15803d",
    Status.FAILED: "#b45309",
    Status.INCONCLUSIVE: "#4338ca",
    Status.ERROR: "#b91c1c",
    Status.NOT_STARTED: "#4b5563",
}


NOT_PREDICTED = "No prediction was made before this observation; that is noted, and that is all."

TOLD = "This is told and not measured: the source decides, and no experiment."

_OUTCOMES = {
    (True, True): "it came true",
    (True, False): "it came out differently",
    (False, True): "the source says so too",
    (False, False): "the source says otherwise",
}
"""What came of a prediction, by whether it was measured, and whether it was right."""

LONGEST_UNWRAPPED = 170
"""Letters: ``kubectl get -o wide`` has some 150."""


class View:
    """Something to show: `text` for terminals, `html` for notebooks.

    The face shows a view when it makes it, so that several calls in one cell all show.
    Jupyter then asks the last one to display itself again: in the same cell that is nothing.
    """

    def __init__(self, text: str, html: str) -> None:
        self.text = text
        self.html = html
        self._shown_in = -1

    def __repr__(self) -> str:
        return self.text

    def bundle(self) -> dict[str, Any]:
        """Return what Jupyter shows, by MIME type."""
        return {"text/plain": self.text, "text/html": self.html}

    def _ipython_display_(self) -> None:
        shell = _shell()
        if shell is not None and self._shown_in != shell.execution_count:
            from IPython.display import display  # noqa: PLC0415  not there outside notebooks

            self._shown_in = shell.execution_count
            display(self.bundle(), raw=True)  # type: ignore[no-untyped-call]


V = TypeVar("V", bound=View)


def shown(view: V) -> V:
    """Show a view now (in a notebook; elsewhere nothing happens) and return it."""
    view._ipython_display_()
    return view


def _shell() -> Any:
    """Return the running IPython, or ``None`` where there is none."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython  # noqa: PLC0415

    return get_ipython()


class ResultView(View):
    """The result of a check, as a view; `result` has the values."""

    def __init__(self, text: str, html: str, result: Result) -> None:
        super().__init__(text, html)
        self.result = result

    @property
    def passed(self) -> bool:
        """Say whether the exercise is solved."""
        return self.result.passed


class LookupView(View):
    """One look-up of a name, as a view; `lookup` has the values, `cost` counts its queries."""

    def __init__(self, text: str, html: str, lookup: Lookup) -> None:
        super().__init__(text, html)
        self.lookup = lookup

    @property
    def cost(self) -> int:
        """Say how many queries were sent."""
        return len(self.lookup.queries)


class Output(View):
    """What a command printed: `said`, and its exit `code`."""

    def __init__(self, command: str, said: str, code: int) -> None:
        ending = "" if code == 0 else f"\n(exit code {code})"
        shown_text = f"{said.rstrip()}{ending}".strip("\n") or "(it printed nothing)"
        super().__init__(shown_text, preformatted(shown_text))
        self.command = command
        self.said = said
        self.code = code

    def __str__(self) -> str:
        return self.said


def box(title: str, parts: Iterable[str], colour: str = "#1d4ed8") -> str:
    """Return a framed block of HTML; `title` is text, `parts` are HTML."""
    return (
        f'<div style="border-left:4px solid {colour};padding:4px 12px;margin:4px 0">'
        f"<strong>{_marked(title)}</strong>{''.join(parts)}</div>"
    )


def paragraphs(text: str) -> str:
    """Return plain text with `code` marks and blank lines as HTML paragraphs."""
    blocks = [block.strip() for block in text.strip().split("\n\n")]
    return "".join(f"<p>{_marked(block)}</p>" for block in blocks if block)


def _marked(text: str) -> str:
    """Return text as HTML, with `code` marks."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def listed(lines: Iterable[str]) -> str:
    """Return lines as a preformatted block, or nothing."""
    text = "\n".join(lines)
    return preformatted(text) if text else ""


# JupyterLab breaks the lines of outputs inside of words and numbers.
_BETWEEN_WORDS = "word-break:normal;overflow-wrap:anywhere"


def wrapped(lines: Iterable[str]) -> str:
    """Return lines as typed, long ones wrapped: for sentences, where nothing stands in columns."""
    style = f"white-space:pre-wrap;{_BETWEEN_WORDS};margin:2px 0;padding:0"
    return f'<pre style="{style}">{escape(chr(10).join(lines))}</pre>'


def preformatted(text: str) -> str:
    """Return text as typed: tables scroll sideways, very long lines (messages) are wrapped."""
    longest = max((len(line) for line in text.splitlines()), default=0)
    space = "pre" if longest <= LONGEST_UNWRAPPED else "pre-wrap"
    # JupyterLab's own margins would put an empty line before and after every command's output.
    style = f"white-space:{space};{_BETWEEN_WORDS};overflow-x:auto;margin:2px 0;padding:0"
    return f'<pre style="{style}">{escape(text.rstrip())}</pre>'


def result_view(result: Result) -> ResultView:
    """Show the result of a check: headline, checks, the counterexample, how to see it."""
    title = f"{result.status.sign} {result.title}: {result.headline()}"
    items = "".join(
        f"<li>{finding.status.sign} {escape(finding.check)}{_lines(finding.lines)}</li>"
        for finding in result.findings
    )
    note = [paragraphs(result.note)] if result.note else []
    parts = [*note, f'<ul style="list-style:none;padding-left:8px">{items}</ul>']
    if seen := result.counterexample:
        parts.append(
            f"<p>For example: <code>{escape(seen.what)}</code>: wanted "
            f"<strong>{escape(seen.wanted)}</strong>{escape(seen.says)}, "
            f"seen <strong>{escape(seen.seen)}</strong></p>"
        )
        parts.append(listed(seen.why))
        if seen.replay:
            parts.append(f"<p>See it yourself:</p>{listed([seen.replay])}")
    return ResultView(result.text(), box(title, parts, _COLOURS[result.status]), result)


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"<br>&nbsp;&nbsp;{escape(line)}" for line in lines)


def begun_view(*, title: str, task: str, namespace: str, fresh: bool) -> View:
    """Show an exercise at its start."""
    state = "set up just now" if fresh else "already begun: left as it is"
    head = f"{title} (namespace {namespace}, {state})"
    return View(f"{head}\n{task.strip()}", box(head, [paragraphs(task)]))


def seen_view(seen: Seen) -> View:
    """Show what was observed beside what was predicted; neither is good or bad."""
    question = seen.prediction.heading
    if seen.failed:
        told = "Nothing was observed: the probe itself did not work. Try again."
    elif not seen.decided:
        fits = "more than one" if seen.fits else "none"
        told = (
            f"What is seen here fits {fits} of the choices: nothing is decided. "
            "Was the step before it done? Then try again."
        )
    elif not seen.chosen:
        told = NOT_PREDICTED
    else:
        choice = seen.prediction.choices[seen.chosen]
        outcome = _OUTCOMES[seen.measured, bool(seen.came_true)]
        told = f"You predicted: {choice} (confidence {seen.confidence} of 5): {outcome}."
    if seen.decided not in ("", seen.prediction.key):
        told += (
            " The lab expected something else. It is written for clusters with IPv4 and two "
            "workers: on such a one, please tell its authors what you see here."
        )
    signs = [f"{o.outcome.sign} {o.outcome.value}: {o.outcome.meaning}" for o in seen.observations]
    lines = [*seen.lines, *dict.fromkeys(signs)]
    notes = [told] if seen.measured else [told, TOLD]
    text = "\n".join([question, *(f"  {line}" for line in lines), *notes])
    return View(text, box(question, [wrapped(lines), *map(paragraphs, notes)]))


def explained_view(explained: Explained) -> View:
    """Show the right reason beside the chosen one."""
    prediction = explained.prediction
    right = prediction.reasons[prediction.reason]
    if explained.right:
        told = f"+ Yes: {right}"
    else:
        told = f"x You chose: {prediction.reasons[explained.chosen]}\n+ The reason is: {right}"
    parts = [paragraphs(told.replace("\n", "\n\n")), paragraphs(prediction.explanation)]
    return View(
        "\n".join(part for part in (told, prediction.explanation.strip()) if part),
        box(prediction.heading, parts),
    )


def hint_view(hint: Hint) -> View:
    """Show one step of help."""
    cost = f" (costs {hint.cost:g} points)" if hint.cost else ""
    head = f"Hint {hint.number} of {hint.total}{cost}"
    return View(f"{head}: {hint.text.strip()}", box(head, [paragraphs(hint.text)]))


def solution_view(exercise: str, found: Solution) -> View:
    """Show a reference answer, after what it changes about the points."""
    title, lines = f"One solution of {exercise}", found.text.rstrip().splitlines()
    note = [found.note] if found.note else []
    return View(
        "\n".join([title, *note, *lines]), box(title, [*map(paragraphs, note), listed(lines)])
    )


def progress_view(progress: LabProgress) -> View:
    """Show how far the lab is done, and what surprised."""
    head, *lines = progress.text().splitlines()
    title = head.replace(progress.lab, progress.title, 1)
    return View(progress.text(), box(title, [listed(line.strip() for line in lines)]))


def quiz_view(answers: Sequence[QuizAnswer]) -> View:
    """Show what is known already, what the cluster shows, and which parts practise the rest."""
    lines, items = [], []
    for answer in answers:
        question, chosen = answer.prediction.question, answer.chosen
        sign = "+" if answer.right else "-"
        told = answer.prediction.choices[chosen] if chosen else "(no answer yet)"
        lines.append(f"{sign} {question} {told}")
        notes = [f"the cluster shows: {line}" for line in answer.seen]
        notes += [answer.prediction.explanation] if chosen and not answer.right else []
        lines += [f"    {note}" for note in notes if note]
        under = "".join(paragraphs(note) for note in notes)
        items.append(f"<li>{sign} {escape(question)} <em>{escape(told)}</em>{under}</li>")
    known = sum(answer.right for answer in answers)
    head = f"{known} of {len(answers)} known already"
    parts = {answer.prediction.part for answer in answers if not answer.right}
    advice = _advice(sorted(filter(None, parts)))
    html = f'<ul style="list-style:none;padding-left:8px">{"".join(items)}</ul>'
    shown_parts = [html, paragraphs(advice)] if advice else [html]
    return View("\n".join(filter(None, [head, *lines, advice])), box(head, shown_parts))


def _advice(parts: Sequence[str]) -> str:
    if not parts:
        return ""
    return f"Work through {'; '.join(parts)}. Each part stands alone."
