"""A view shows itself once when it is made, and again when a later cell asks for it."""

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from k8slab.course.progress import LabProgress
from k8slab.notebook.questions import form
from k8slab.notebook.views import Output, View, progress_view, shown


@pytest.fixture
def shell(monkeypatch):
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    shell.user_ns.update(shown=shown, View=View)
    yield shell
    shell.history_manager.end_session()
    InteractiveShell.clear_instance()


def texts(shell, cell):
    with capture_output() as captured:
        shell.run_cell(cell, store_history=True)
    return [output.data["text/plain"] for output in captured.outputs]


def test_every_call_of_a_cell_shows_and_the_last_only_once(shell):
    cell = "a = shown(View('one', '<p>one</p>'))\nshown(View('two', '<p>two</p>'))"
    assert texts(shell, cell) == ["one", "two"]
    assert texts(shell, "a") == ["one"]


def test_without_a_notebook_nothing_is_shown(capsys):
    assert repr(shown(View("one", "<p>one</p>"))) == "one"
    assert capsys.readouterr().out == ""


def test_a_failing_command_tells_its_exit_code():
    assert repr(Output("x", "said\n", 3)) == "said\n(exit code 3)"
    assert repr(Output("x", "said\n", 0)) == "said"


def test_a_form_offers_its_choices_without_the_marks_of_code():
    choices = {"own": "`Default` means the node's own"}
    shown_form = form("Why?", choices, call="", save=lambda *_: "", confidence=False)
    _, radio, *_ = shown_form.widget.children
    assert radio.options == (("Default means the node's own", "own"),)


def test_progress_tells_the_core_from_the_stretch_in_the_notebook_too():
    points = {"name": 1.0, "beyond": 0.0}
    done = LabProgress(
        lab="02-dns", title="Lab 02: DNS", points=points, max_points=dict.fromkeys(points, 1.0),
        tries=dict.fromkeys(points, 0), hints=dict.fromkeys(points, 0), predicted=0, predictions=0,
        surprises=(), stretch=("beyond",),
    )  # fmt: skip
    assert "02-dns: 1 of 2 points (core 1 of 1, stretch 0 of 1)" in repr(progress_view(done))
    assert "Lab 02: DNS: 1 of 2 points (core 1 of 1, stretch 0 of 1)" in progress_view(done).html
