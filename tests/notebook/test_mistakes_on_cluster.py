"""What happens to learners, on a real cluster: each mistake gets a message that helps."""

from pathlib import Path

import pytest

from k8slab.course import load
from k8slab.errors import UsageError
from k8slab.notebook import Face

LAB = Path(__file__).parents[1] / "data" / "solutions" / "90-example"
POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: hello}\nspec: {containers: [%s]}"


@pytest.fixture
def face(cluster, namespace, monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", "/mine")
    face = Face()
    face.use(load(LAB), cluster)
    face.session.journal.path = tmp_path / "progress.sqlite"
    face._namespace = namespace
    return face


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kind: Pod\nmetadata:\n  name: a\n labels: {}", "look at the indentation here"),
        ("just words", "an object starts with apiVersion: and kind:"),
        ("apiVersion: v1\nkind: Pood\nmetadata: {name: a}", "does not serve Pood in v1"),
        (POD % "{name: Web_1, image: k8slab/app}", "must consist of lower case"),
        (
            POD % "{name: web, imgae: k8slab/app}",
            '.spec.containers[name="web"].imgae: field not declared',
        ),
    ],
)
def test_what_cannot_be_applied_is_shown_with_its_reason(face, text, told):
    assert told in repr(face.apply(text))


def test_a_wrong_image_is_told_at_once_with_the_nearest_name(face):
    view = face.apply(POD % "{name: web, image: k8slab/ap}", seconds=600)
    assert "The nearest is k8slab/app" in repr(view)


def test_a_change_that_a_pod_cannot_take_says_what_to_do(face):
    face.apply(POD % "{name: web, image: k8slab/app}")
    view = face.apply(POD % "{name: web, image: k8slab/app, args: ['--port', '81']}")
    assert "delete the pod, then apply it again" in repr(view)


def test_observing_before_the_set_up_says_what_to_begin(face):
    with pytest.raises(UsageError, match=r'lab\.begin\("protect"\) sets it up'):
        face.observe("open-by-default")


def test_a_new_kernel_goes_on_where_the_last_one_was(face, cluster, monkeypatch):
    face.begin("protect")
    try:
        journal = face.session.journal
        monkeypatch.setattr("k8slab.course.journal.Journal.__init__", _journal_at(journal.path))
        again = Face()
        again.use(load(LAB), cluster)
        assert again.namespace == "lab90-protect"
        assert "left as it is" in repr(again.begin("protect"))
    finally:
        cluster.delete("namespaces", "lab90-protect")
        cluster.wait("namespaces", "lab90-protect", until="delete")
    again.use(load(LAB), cluster)
    assert again.namespace == "default"


def _journal_at(path):
    def init(self, _path=None):
        self.path = path

    return init
