"""A bundle is made whole or not at all, and installs itself only where that can work.

pip is replaced: real wheels need a network. What is installed here is k8slab alone.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from k8slab import programs
from k8slab.cli import main as cli
from k8slab.course import library
from k8slab.course.offline import pack, packing, wheels
from k8slab.errors import EnvironmentLacksError, ProgramError, UsageError

ROOT = Path(__file__).parents[3]
LAB = "tests/data/solutions/90-example"


class Pip:
    """Puts what k8slab names into the directory, empty but for click; or fails, or is stopped."""

    def __init__(self, code=0, error=None):
        self.code, self.error, self.argv = code, error, []

    def find(self, program):
        return program

    def run(self, argv, *, deadline, stdin, env):
        self.argv = argv
        if self.error:
            raise self.error
        named = {Requirement(line).name for line in metadata.requires("k8slab")}
        for pin in argv:
            name, mark, version = pin.partition("==")
            if mark and name in named:
                write_wheel(Path(argv[argv.index("--dest") + 1]), name, version)
        return programs.Completed(tuple(argv), self.code, "", "no such version")


def write_wheel(directory, name, version):
    """Write a wheel with nothing in it; that of click, with which commands start, is whole."""
    file = name.replace("-", "_")  # as in any wheel's name
    info = f"{file}-{version}.dist-info"
    files = {f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"}
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    if name == "click":
        own = [one for one in metadata.files(name) if one.match("click/*.py")]
        files |= {str(one): one.read_text() for one in own}
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(directory / f"{file}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(zipfile.ZipInfo(path), text)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """Give a clone with one small lab, and a learner's own work in the built one."""
    place = tmp_path_factory.mktemp("clone")
    own = ("requirements.lock", "LICENSE", "pyproject.toml")
    for name in (*own, *wheels.included(ROOT)):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
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
        page = archive.extractfile("README.md").read().decode()
    assert names[-1].startswith("wheels/k8slab-") or "wheels/" in names[0]
    assert {"labs/90-example/exercises.yaml", "README.md", "LICENSE"} <= set(names)
    assert "k8slab lab --no-browser" in page
    assert "make " not in page  # that is for a clone
    for command in re.findall(r"k8slab ([a-z]+)", page):
        assert command in cli.k8slab.commands
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


def test_what_the_system_must_have_is_told_by_the_bundle_and_by_its_maker(
    bundle, clone, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(packing.pack, "__kwdefaults__", {"clone": clone})
    with programs.replaced(Pip()):
        assert cli.run(["bundle", str(tmp_path / "room.run")]) == 0
    told = capsys.readouterr().err
    line = next(one for one in told.splitlines() if "apt-get install" in one)
    needed = line.partition("apt-get install ")[2].split()
    assert f"python{sys.version_info[0]}.{sys.version_info[1]}-venv" in needed
    assert {"nftables", "iproute2", "kubernetes-client", "uidmap"} <= {*needed}
    assert "make" not in needed
    assert " ".join(needed) in install(bundle, "--help").stdout


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


def test_a_directory_that_may_not_be_written_in_is_said_before_anything_is_fetched(
    clone, tmp_path, monkeypatch
):
    (tmp_path / "room.run").touch()
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path) != tmp_path)
    with pytest.raises(UsageError, match=f"you may not write in {tmp_path}"):
        pack(tmp_path / "room.run", told=lambda _line: pytest.fail("begun"), clone=clone)


def test_a_bundle_may_have_the_longest_name(clone, tmp_path):
    with programs.replaced(Pip()):
        packed = pack(tmp_path / ("x" * 255), told=lambda _line: None, clone=clone)
    assert packed.file.stat().st_size == packed.size


def test_it_says_where_it_can_be_made(clone, tmp_path):
    with pytest.raises(EnvironmentLacksError, match="made in a clone of the project"):
        pack(tmp_path / "room.run", told=lambda _line: None, clone=tmp_path)
    with pytest.raises(UsageError, match="there is no directory"):
        pack(tmp_path / "nowhere" / "room.run", told=lambda _line: None, clone=clone)


def put_in_path(place, name, version, *needs):
    """Have a package where PYTHONPATH leads, as far as pip looks at one."""
    info = place / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {need}" for need in needs)]
    (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *lines, ""]))


def test_it_installs_itself_without_a_network_whatever_somebody_has_in_pythonpath(
    bundle, tmp_path, monkeypatch
):
    target = tmp_path / "the room"
    put_in_path(tmp_path / "own", "torn", "1", "something-that-is-missing")
    put_in_path(tmp_path / "own", "click", metadata.version("click"))
    done = install(bundle, str(target), PYTHONPATH=str(tmp_path / "own"))
    assert done.returncode == 0, done.stderr
    assert "torn" not in done.stderr
    assert len([*target.glob(".venv/lib/python*/site-packages/click-*")]) == 1
    assert f"installed. Next: cd '{target}' && .venv/bin/k8slab lab" in done.stderr
    assert sorted(path.name for path in target.iterdir()) == [
        ".venv", "LICENSE", "README.md", "labs",
    ]  # fmt: skip
    (sites,) = target.glob(".venv/lib/python*/site-packages")
    (installed,) = metadata.distributions(name="k8slab", path=[str(sites)])
    monkeypatch.setattr(metadata, "distribution", lambda _name: installed)
    monkeypatch.setattr(sys, "prefix", str(target / ".venv"))
    assert target in library._own()  # graders go by its labs
    program = (target / ".venv" / "bin" / "k8slab").read_text()
    assert str(target / ".venv" / "bin" / "python") in program
    assert "clusters that can run here" in done.stderr or "no cluster can run" in done.stderr
    again = install(bundle, str(target))
    assert again.returncode == 3
    assert "is there and not empty" in again.stderr
    assert (target / "labs" / "90-example" / "90-example.ipynb").is_file()


@pytest.fixture
def stand_in(tmp_path):
    """Write a Python that stands in for that of the new environment, where pip ends as told."""

    def write(check=0, doctor=0):
        python = tmp_path / "python"
        python.write_text(
            f"""#!/bin/sh
            case "$*" in
            "-m venv "*)
                mkdir -p "$3/bin"
                ln -s {python} "$3/bin/python"
                printf '#!/bin/sh\\nexit {doctor}' >"$3/bin/k8slab"
                chmod +x "$3/bin/k8slab" ;;
            "-m pip check"*) echo "k8slab needs orjson"; exit {check} ;;
            "-m pip install"*) ;;
            *) exec {sys.executable} "$@" ;;
            esac
            """
        )
        python.chmod(0o755)
        return str(python)

    return write


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        ({"check": 1}, "k8slab needs orjson\nerror: this bundle is not complete"),
        ({"doctor": 1}, "error: what was installed does not run"),
    ],
)
def test_what_does_not_run_is_not_left_as_installed(bundle, tmp_path, stand_in, ends, told):
    target = tmp_path / "room"
    done = install(bundle, str(target), PYTHON=stand_in(**ends))
    assert done.returncode == 3
    assert told in done.stderr
    assert "nothing was installed" in done.stderr
    assert not target.exists()


def test_where_the_system_lacks_something_it_is_installed_all_the_same(bundle, tmp_path, stand_in):
    target = tmp_path / "the learners' room"
    done = install(bundle, str(target), PYTHON=stand_in(doctor=3))
    assert done.returncode == 0
    command = done.stderr.partition("installed. Next: ")[2].partition(" && ")[0]
    told = subprocess.run(["sh", "-c", f"{command} && pwd"], capture_output=True, check=True)
    assert told.stdout.decode() == f"{target}\n"


@pytest.mark.parametrize("place", [".", "link", "empty"])
def test_a_directory_that_was_there_stays_when_nothing_is_installed(
    bundle, tmp_path, stand_in, place
):
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "link").symlink_to(empty)
    python = stand_in(check=1)
    done = subprocess.run(
        ["sh", str(bundle), place],
        env={**os.environ, "PYTHON": python},
        cwd=empty if place == "." else tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "nothing was installed" in done.stderr
    assert [*empty.iterdir()] == []
    assert (tmp_path / "link").is_symlink()


def test_a_python_may_be_named_with_a_space_in_its_path(bundle, tmp_path, stand_in):
    python = tmp_path / "my programs" / "python"
    python.parent.mkdir()
    python.symlink_to(stand_in())
    assert install(bundle, str(tmp_path / "room"), PYTHON=str(python)).returncode == 0


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


@pytest.mark.parametrize(
    ("said", "code"), [("glibc 2.5", 3), ("glibc 2.31", 0), ("glibc 3.1", 0), (None, 3)]
)
def test_an_older_or_another_c_library_is_refused(bundle, tmp_path, stand_in, said, code):
    programs_first = tmp_path / "bin"
    programs_first.mkdir()
    getconf = programs_first / "getconf"
    getconf.write_text(f"#!/bin/sh\necho {said}\n" if said else "#!/bin/sh\nexit 1\n")
    getconf.chmod(0o755)
    path = f"{programs_first}:{os.environ['PATH']}"
    done = install(bundle, str(tmp_path / "room"), PATH=path, PYTHON=stand_in())
    assert done.returncode == code
    told = f"needs glibc 2.31 or newer, and here is {said or 'another C library'}"
    assert (told in done.stderr) == bool(code)


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
