import pytest
from IPython.core.interactiveshell import InteractiveShell

from k8slab.errors import UsageError
from k8slab.notebook import magics


class Face:
    def __init__(self):
        self.calls = []

    def apply(self, text, namespace, *, seconds):
        self.calls.append((text, namespace, seconds))
        return "applied"

    def kubectl(self, command):
        self.calls.append(command)
        return "ran"


@pytest.fixture
def shell(monkeypatch):
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    yield shell
    shell.history_manager.end_session()
    InteractiveShell.clear_instance()


def test_the_magics_call_the_face(shell):
    face = Face()
    magics.register(face)
    shell.run_cell_magic("apply", "-n shop --no-wait", "kind: Pod\n")
    shell.run_line_magic("kubectl", "get pods")
    shell.run_cell_magic("kubectl", "", "get svc\n# a comment\nget nodes\n")
    assert face.calls == [("kind: Pod\n", "shop", 0.0), "get pods", "get svc", "get nodes"]


def test_our_errors_are_messages_and_still_errors(shell, capsys):
    magics.register(Face())
    result = shell.run_cell("from k8slab.errors import UsageError\nraise UsageError('no such pod')")
    assert result.error_in_exec is not None
    told = capsys.readouterr().out
    assert "UsageError: no such pod" in told
    assert "Traceback" not in told


def test_an_unknown_option_is_explained():
    with pytest.raises(UsageError, match=r"%%apply does not know '-x'"):
        magics.read_apply_line("-x")
