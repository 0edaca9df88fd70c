"""A notebook becomes a page: what learners get, with outputs, and no answer in sight."""

import re

import pytest
from bookmaking import stage
from bookmaking.chapters import Chapter

from k8slab.course.lab import Exercise, Lab, Prediction
from k8slab.course.leaks import leaks
from k8slab.course.session import Seen
from k8slab.grading import Wishes
from k8slab.notebook.views import paragraphs, seen_view

ASKED = Prediction(
    "way",
    "Which way?",
    {"left": "Left.", "right": "Right."},
    "left",
    reasons={"short": "It is <short>.", "long": "It is long."},
    reason="short",
    explanation="A case, told. Source: RFC 1.",
    claims=("C01",),
)
CLAIMS = {"C01": {"id": "C01", "claim": "All go right", "truth": "None do", "source": "unverified"}}


def lab(*, transfer=False):
    wishes = Wishes("open", "Worked: open it", 1, (), ({"check": "answer"},))
    exercise = Exercise(wishes, "lab90-open", "Open it.", transfer=transfer)
    quiz = Prediction("known", "How many?", {"one": "One.", "two": "Two."}, "two", quiz="entry")
    asked = {found.id: found for found in (ASKED, quiz)}
    return Lab("90-example", "Lab 90", "nowhere", exercises={"open": exercise}, predictions=asked)


def text(source):
    return {"cell_type": "markdown", "source": source, "metadata": {}}


def code(source, *outputs, tags=()):
    metadata = {"tags": list(tags)}
    return {"cell_type": "code", "source": source, "metadata": metadata, "outputs": outputs}


def html(value):
    return {"output_type": "display_data", "data": {"text/html": value, "text/plain": "plain"}}


def printed(value):
    return {"output_type": "stream", "name": "stdout", "text": value}


def page(*cells, transfer=False, ran=True, terms=None, pages=()):
    heading = text("# Lab 90: Example\n\nWelcome.")
    all_cells = [heading, *cells]
    made = Chapter(
        lab(transfer=transfer), all_cells, ran, "About.", terms or {}, frozenset(pages), CLAIMS
    )
    return made.page()


SOLVED = """\
lab.begin("open")
### BEGIN SOLUTION
lab.answer("port", 8080)
### END SOLUTION
lab.check("open")"""


def test_the_page_begins_with_the_labs_heading_and_says_that_it_ran():
    made = page()
    assert made.startswith("# Lab 90: Example\n\n:::{note}\nThis is the lab as it ran")
    assert "`k8slab lab 90`" in made
    assert made.index("About.") < made.index("Welcome.")


def test_a_link_to_a_notebook_leads_to_its_chapter_where_the_book_has_it():
    told = text("The [second](90-example-stretch.ipynb), then [lab 91](../91-more/91-more.ipynb).")
    assert "The [second](90-example-stretch.md), then lab 91." in page(
        told, pages=["90-example-stretch"]
    )


def test_a_page_without_outputs_says_why():
    assert "could run no cluster" in page(ran=False)


def test_an_output_is_shown_as_notebooks_show_it():
    made = page(code("lab.topology()", html("<table><tr><td>web</td></tr></table>")))
    assert "```{code-block} ipython3\nlab.topology()\n```" in made
    assert '<div class="k8slab-view"><table><tr><td>web</td></tr></table></div>' in made
    assert "plain" not in made


def test_text_that_was_printed_is_escaped_and_what_was_written_over_is_left_out():
    made = page(code("print(1)", printed("starting 10 %\rstarting 90 %\rready\n<b>&\n")))
    assert "<pre>ready\n&lt;b&gt;&amp;</pre>" in made


def test_a_manifest_has_its_own_language():
    assert "```{code-block} apply\n%%apply\nkind: Pod\n```" in page(code("%%apply\nkind: Pod"))


def test_an_output_with_a_fence_does_not_end_the_fence_around_it():
    made = page(code("x", html("<p>````</p>")))
    assert "\n`````{output}\n" in made


@pytest.mark.parametrize(
    ("call", "summary"),
    [('lab.observe("open")', "What was observed"), ('lab.quiz_result("entry")', "The answers")],
)
def test_what_a_reader_should_think_about_first_is_folded(call, summary):
    made = page(code(call, html("<p>silent</p>")))
    fold = made.index(f'<details class="k8slab-fold"><summary>{summary}</summary>')
    assert fold < made.index("silent") < made.index("</details>")


def test_the_right_reason_is_folded_under_a_cell_that_asks_for_it():
    made = page(code('lab.explain("way")', html("<p>Which way? Why?</p>")))
    asked, _, folded = made.partition('<details class="k8slab-fold"><summary>What is right, and')
    assert "Which way? Why?" in asked
    assert "It is" not in asked
    assert "Which way? (claim C01)" in folded
    assert "The reason: It is &lt;short&gt;." in folded
    assert "It is long." not in folded
    assert "A case, told. Source: RFC 1." in folded
    assert "True is: None do. Source: no source was found, the experiment decides." in folded


def test_a_cell_that_gives_the_reason_itself_shows_it_already():
    assert "What is right" not in page(code('lab.explain("way", "short")'))


def test_the_right_answers_of_a_quiz_are_folded():
    _, _, folded = page(code('lab.quiz_result("entry")')).partition("What is right, and why")
    assert "How many?" in folded
    assert "The answer: Two." in folded


def test_nobody_is_told_in_the_book_that_nothing_was_predicted():
    view = seen_view(Seen(ASKED, ("it went left",))).html
    assert "No prediction was made" in view
    made = page(code('lab.observe("way")', html(view)))
    assert "it went left" in made
    assert "No prediction was made" not in made


def test_an_answer_is_folded_with_what_came_of_it():
    made = page(code(SOLVED, html("<p>solved</p>")))
    shown, _, folded = made.partition("<details")
    assert "# your answer" in shown
    assert "8080" not in shown
    assert "solved" not in shown
    assert "lab.answer(&quot;port&quot;, 8080)" in folded
    assert "solved" in folded
    assert "SOLUTION" not in made


def test_the_answer_of_a_transfer_is_not_printed():
    made = page(code(SOLVED, html("<p>8080 is right</p>")), transfer=True)
    assert "8080" not in made
    assert "# your answer" in made


def test_a_cell_that_only_authors_have_is_left_out():
    made = page(code("assert secret", html("<p>told</p>"), tags=["solution"]))
    assert "secret" not in made
    assert "told" not in made


def test_exercises_and_predictions_can_be_referred_to_once():
    made = page(code('lab.begin("open")'), code('lab.predict("p")'), code('lab.check("open")'))
    assert made.count("(90-example-exercise-open)=") == 1
    assert made.count("(90-example-prediction-p)=") == 1


def test_the_first_mention_of_a_term_leads_to_the_glossary():
    terms = {"pod": "pod", "pods": "pod"}
    made = page(text("Two **Pods**, one **pod**, **bold**."), terms=terms)
    assert "Two **{term}`Pods <pod>`**, one **pod**, **bold**." in made


@pytest.mark.parametrize("source", stage.sources(), ids=lambda path: path.name)
def test_each_reason_of_a_lab_is_in_its_chapters(source):
    book = stage.read(source, {})
    pages = "".join(stage.chapter(book, name, terms={}).page() for name in book.notebooks)
    for found in book.lab.predictions.values():
        right = found.choices[found.key] if found.quiz else found.reasons[found.reason]
        assert paragraphs(f"The {'answer' if found.quiz else 'reason'}: {right}") in pages
        assert paragraphs(found.explanation) in pages
        assert all(f"Claim {name}: " in pages for name in found.claims)


@pytest.mark.parametrize("source", stage.sources(), ids=lambda path: path.name)
def test_no_chapter_has_an_answer_outside_of_its_folds(source):
    book = stage.read(source, {})
    for name in book.notebooks:
        page = stage.chapter(book, name, terms={}).page()
        text = re.sub(r"(`{3,})\{output\}\n.*?\n\1", "", page, flags=re.DOTALL)
        for exercise in book.lab.exercises.values():
            if not exercise.title.startswith("Worked"):  # it shows how it is done
                assert leaks(text, exercise) == []
