"""A bundle is made whole or not at all, and installs itself only where that can work.

pip is replaced: real wheels need a network. What is installed here is k8slab alone.
"""

import os
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from k8slab import programs
from k8slab.course.offline import pack, packing
from k8slab.errors import EnvironmentLacksError, ProgramError, UsageError

ROOT = Path(__file__).parents[3]
LAB = "tests/data/solutions/90-example"


class Pip:
    """Puts nothing into the directory, or fails, or is interrupted."""

    def __init__(self, code=0, error=None):
        self.code, self.error, self.argv = code, error, []

    def find(self, program):
        return program

    def run(self, argv, *, deadline, stdin, env):
        self.argv = argv
        if self.error:
            raise self.error
        return programs.Completed(tuple(argv), self.code, "", "no such version")


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """Give a clone with one small lab, and a learner's own work in the built one."""
    place = tmp_path_factory.mktemp("clone")
    for name in ("requirements.lock", "LICENSE", "README.md", "clusters/kind-calico.yaml"):
        (place / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, place / name)
    shutil.copytree(ROOT / "k8slab", place / "k8slab")
    shutil.copytree(ROOT / LAB, place / "solutions" / "90-example")
    (place / "labs" / "90-example").mkdir(parents=True)
    (place / "labs" / "90-example" / "90-example.ipynb").write_text("my own answers")
    return place


@pytest.fixture(scope="module")
def bundle(clone, tmp_path_factory):
    file = tmp_path_factory.mktemp("stick") / "room.run"
    with programs.replaced(Pip()):
        pack(file, told=lambda _line: None, clone=clone)
    return file


def archive_of(file):
    """Return the archive as the script finds it."""
    line = len(packing.SCRIPT.read_text().splitlines())
    return file.read_bytes().split(b"\n", line)[line]


def install(file, *words, **environment):
    return subprocess.run(
        ["sh", str(file), *words],
        env={**os.environ, "PYTHON": sys.executable, **environment},
        cwd=file.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_a_bundle_has_wheels_and_labs_built_from_their_sources(bundle, clone, tmp_path):
    (tmp_path / "a.tar").write_bytes(archive_of(bundle))
    with tarfile.open(tmp_path / "a.tar") as archive:
        names = archive.getnames()
        notebook = archive.extractfile("labs/90-example/90-example.ipynb").read()
    assert names[-1].startswith("wheels/k8slab-") or "wheels/" in names[0]
    assert {"labs/90-example/exercises.yaml", "README.md", "LICENSE"} <= set(names)
    assert b"lab.start()" in notebook
    assert b"my own answers" not in notebook
    assert not [name for name in names if "answers/" in name]


def test_the_same_content_gives_the_same_bytes(bundle, clone, tmp_path):
    with programs.replaced(Pip()):
        again = pack(tmp_path / "again.run", told=lambda _line: None, clone=clone)
    assert again.file.read_bytes() == bundle.read_bytes()
    assert again.size == bundle.stat().st_size
    assert f"compare its size: {again.size:>10} bytes".encode() in again.file.read_bytes()
    assert again.to_dict()["labs"] == ("90-example",)


def test_pip_is_asked_for_the_versions_of_the_lock_file(clone, tmp_path):
    pip = Pip()
    with programs.replaced(pip):
        packed = pack(tmp_path / "room.run", told=lambda _line: None, clone=clone)
    assert {*packed.packages} <= {*pip.argv}
    assert "--no-deps" in pip.argv
    assert [pin for pin in packed.packages if pin.startswith("jupyterlab==")]


@pytest.mark.parametrize("error", [None, KeyboardInterrupt()])
def test_what_fails_or_is_interrupted_leaves_nothing(clone, tmp_path, error):
    with programs.replaced(Pip(1, error)), pytest.raises((ProgramError, KeyboardInterrupt)):
        pack(tmp_path / "room.run", told=lambda _line: None, clone=clone)
    assert list(tmp_path.iterdir()) == []


def test_it_says_where_it_can_be_made(clone, tmp_path):
    with pytest.raises(EnvironmentLacksError, match="made in a clone of the project"):
        pack(tmp_path / "room.run", told=lambda _line: None, clone=tmp_path)
    with pytest.raises(UsageError, match="there is no directory"):
        pack(tmp_path / "nowhere" / "room.run", told=lambda _line: None, clone=clone)


def test_it_installs_itself_without_a_network(bundle, tmp_path):
    target = tmp_path / "the room"
    done = install(bundle, str(target))
    assert done.returncode == 0, done.stderr
    assert f"installed. Next: cd {target} && .venv/bin/k8slab lab" in done.stderr
    assert sorted(path.name for path in target.iterdir()) == [
        ".venv", "LICENSE", "README.md", "labs",
    ]  # fmt: skip
    program = (target / ".venv" / "bin" / "k8slab").read_text()
    assert str(target / ".venv" / "bin" / "python") in program
    again = install(bundle, str(target))
    assert again.returncode == 3
    assert "is there and not empty" in again.stderr
    assert (target / "labs" / "90-example" / "90-example.ipynb").is_file()


@pytest.mark.parametrize("damage", ["a changed byte", "an end that is missing"])
def test_a_damaged_bundle_says_so_and_installs_nothing(bundle, tmp_path, damage):
    content = bytearray(bundle.read_bytes())
    if damage == "a changed byte":
        content[-5000] ^= 1
    else:
        del content[-5000:]
    file = tmp_path / "room.run"
    file.write_bytes(content)
    done = install(file, "target")
    assert done.returncode == 3
    assert f"{file} is damaged: it is not as it was made" in done.stderr
    assert f"compare its size: {bundle.stat().st_size:>10} bytes" in done.stderr
    assert not (tmp_path / "target").exists()


def test_another_python_is_refused_with_what_to_do(bundle, tmp_path):
    archive = archive_of(bundle)
    script = bundle.read_bytes().removesuffix(archive).decode()
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    file = tmp_path / "room.run"
    file.write_bytes(script.replace(version, "3.99").encode() + archive)
    done = install(file, "target")
    assert done.returncode == 3
    assert "is for Python 3.99, which was not found" in done.stderr
    assert not (tmp_path / "target").exists()


def test_an_interrupted_installation_leaves_nothing(bundle, tmp_path):
    """Ctrl-C reaches everybody in the terminal's group; pip is stood for by one who waits."""
    waits = tmp_path / "python"
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    waits.write_text(
        "#!/bin/sh\n"
        f'case "$*" in "-m venv "*) echo there >"{fifo}"; exec sleep 100 ;; esac\n'
        f'exec {sys.executable} "$@"\n'
    )
    waits.chmod(0o755)
    process = subprocess.Popen(
        ["sh", str(bundle), "target"],
        env={**os.environ, "PYTHON": str(waits)},
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert fifo.read_text() == "there\n"
        assert (tmp_path / "target" / "labs").is_dir()
        os.killpg(process.pid, signal.SIGINT)
        assert "nothing was installed" in process.communicate(timeout=60)[1]
        assert process.returncode == 130
        assert not (tmp_path / "target").exists()
    finally:
        process.kill()
        process.communicate()
