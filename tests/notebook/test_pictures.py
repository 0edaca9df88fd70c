"""Pictures in notebooks: of manifests without a cluster, and of the exercise on a real one."""

from pathlib import Path

import pytest
import yaml

import k8slab
from k8slab.course import Journal, load
from k8slab.notebook import Face

DATA = Path(__file__).parents[1] / "data" / "solutions"


def test_policies_of_files_need_neither_cluster_nor_lab(tmp_path):
    pod = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "a"}]}}
    pods = [pod | {"metadata": {"name": name, "namespace": "shop"}} for name in "ab"]
    (tmp_path / "pods.yaml").write_text(yaml.safe_dump_all(pods))
    view = k8slab.policies("shop", manifests=[str(tmp_path)])
    assert view.text.startswith("What policies allow in shop")
    assert "egress: no policy selects it for egress" in view.text
    assert "<table" in view.html


@pytest.fixture
def face(cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", "")
    face = Face()
    face.use(load(DATA / "90-example"), cluster)
    face.session.journal = Journal(tmp_path / "progress.sqlite")
    yield face
    cluster.delete("namespaces", "lab90-protect")
    cluster.wait("namespaces", "lab90-protect", until="delete")


def test_policies_shows_the_namespaces_of_the_current_exercise(face):
    face.begin("protect")
    before = face.policies()
    assert before.text.startswith("What policies allow in lab90-protect")
    face.apply(face.session.solution("protect", force=True).text)
    assert "a rule of lab90-protect/only-web admits it" in face.policies().text
    assert "only-web" not in before.text


def test_a_journey_is_a_picture_a_table_and_a_file_for_wireshark(face, tmp_path):
    face.begin("protect")
    view = face.journey("web", "db", 8080)
    assert view.text.startswith("+ lab90-protect/web -> lab90-protect/db port 8080/TCP: open")
    assert 'alt="lab90-protect/web' in view.html
    # What is predicted is a sentence: it is wrapped, and not cut where the cell ends.
    assert view.html.startswith('<pre style="white-space:pre-wrap;')
    assert "Every step as a table" in view.html
    view.save(str(tmp_path / "journey.pcapng"))
    assert (tmp_path / "journey.pcapng").stat().st_size > 500
    view.save(str(tmp_path / "journey.svg"))
    assert (tmp_path / "journey.svg").read_text().startswith("<svg")
    assert view.journey.lost is None


def test_a_service_is_shown_with_its_endpoints_and_the_rules_of_a_node(face):
    face.begin("protect")
    assert "there is no Service lab90-protect/nobody" in face.service("nobody").text
    face.kubectl("expose pod db --port=80 --target-port=8080")
    view = face.service("db", node="worker2")
    assert "1 of 1 endpoint used" in view.text
    assert f"rules on {face.cluster.name}-worker2:" in view.text
    assert f"dnat to {face.pod('db').address}:8080" in view.text
    assert "<img alt=" in view.html
    assert "<table" in view.html
