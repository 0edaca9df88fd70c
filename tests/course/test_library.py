"""Where labs are looked for: learners' where they stand, graders' where k8slab belongs."""

import json
import shutil
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from k8slab.course import library
from k8slab.errors import UsageError

LAB = Path(__file__).parents[1] / "data" / "solutions" / "90-example"


@pytest.fixture
def answers(tmp_path, monkeypatch):
    """Stand in a directory of answers with a learner's labs, and have no clone."""
    monkeypatch.delenv(library.LABS, raising=False)
    monkeypatch.setenv("K8SLAB_HOME", str(tmp_path / "home"))
    place = tmp_path / "answers"
    shutil.copytree(LAB, place / "labs" / "90-example")
    monkeypatch.chdir(place)
    module = tmp_path / "site-packages" / "k8slab" / "course" / "library.py"
    monkeypatch.setattr(library, "__file__", str(module))
    return place


@pytest.fixture
def installed(monkeypatch):
    """Have k8slab installed in an environment, as pip tells of it."""

    def install(prefix, url=""):
        text = json.dumps({"url": url, "archive_info": {}}) if url else None
        found = SimpleNamespace(read_text=lambda name: text if name == "direct_url.json" else "")
        monkeypatch.setattr(metadata, "distribution", lambda _name: found)
        monkeypatch.setattr(sys, "prefix", str(prefix))

    return install


def refused():
    with pytest.raises(UsageError, match="no labs to grade by") as told, library.graders_course():
        pass
    return "export K8SLAB_LABS=" in told.value.hint


def test_graders_have_no_labs_from_where_they_stand(answers, installed, tmp_path, monkeypatch):
    installed(tmp_path / "elsewhere" / ".venv")
    assert library.labs_directory() == answers / "labs"  # a learner's command
    assert refused()
    monkeypatch.setenv(library.LABS, str(LAB.parent))
    with library.graders_course():
        assert library.labs_directory() == LAB.parent
    assert library.labs_directory() == LAB.parent


@pytest.mark.parametrize("wheel", ["", "https://host.test/", "file:///tmp/", "file://{}/dist/"])
def test_an_environment_inside_the_answers_makes_their_labs_no_course(answers, installed, wheel):
    url = f"{wheel.format(answers)}k8slab-1-py3-none-any.whl" if wheel else ""
    installed(answers / ".venv", url)
    assert refused()


def test_the_labs_beside_the_environment_that_a_bundle_made_are_the_course(
    answers, installed, tmp_path, monkeypatch
):
    room = tmp_path / "the room"
    shutil.copytree(LAB, room / "labs" / "90-example")
    (tmp_path / "link").symlink_to(room)
    installed(room / ".venv", f"file://{tmp_path}/link/wheels/k8slab-1-py3-none-any.whl")
    with library.graders_course():
        assert library.labs_directory() == room / "labs"
    assert library.labs_directory() == answers / "labs"
    monkeypatch.chdir(tmp_path)
    assert library.labs_directory() == room / "labs"


def test_a_lab_beside_us_is_found_by_its_bare_name_wherever_the_other_labs_are(
    answers, monkeypatch
):
    shutil.copytree(LAB, answers / "91-own")
    monkeypatch.setenv(library.LABS, str(LAB.parent))
    assert library.find("91-own").directory == answers / "91-own"
    assert library.find("90").directory == LAB
    with pytest.raises(UsageError, match="there is no lab '91-own'"):
        library.named("91-own")


def test_a_linked_lab_has_the_name_that_it_has_here_whatever_the_way_to_it(answers, monkeypatch):
    shutil.copytree(LAB, answers / "elsewhere")
    (answers / "90-example").symlink_to("elsewhere")
    (answers / "below").mkdir()
    monkeypatch.chdir(answers / "below")
    assert library.find("../90-example").directory == answers / "90-example"
    assert library.find("../below/../90-example").directory == answers / "90-example"
    monkeypatch.chdir(LAB / "manifests")
    assert library.find("..").directory == LAB
    assert library.find("../../90-example").directory == LAB


def test_what_is_too_long_for_a_name_is_no_lab(monkeypatch):
    monkeypatch.setenv(library.LABS, str(LAB.parent))
    with pytest.raises(UsageError, match="there is no lab 'xxx"):
        library.find("x" * 300)
