"""Bytecode is there, new enough, and readable inside the cluster."""

import importlib.util
import os
import stat
from pathlib import Path

import pytest

from k8slab.embedded.supervisor import bytecode


@pytest.fixture
def source(tmp_path):
    (tmp_path / "room").mkdir()
    path = tmp_path / "room" / "module.py"
    path.write_text("ANSWER = 42\n")
    path.chmod(0o644)
    return path


@pytest.fixture
def compiled(source):
    return Path(importlib.util.cache_from_source(source))


@pytest.fixture
def strict_umask():
    before = os.umask(0o077)  # the supervisor's
    yield
    os.umask(before)


def test_what_has_no_bytecode_is_compiled_so_that_everybody_can_read_it(
    tmp_path, source, compiled, strict_umask
):
    bytecode._refresh(str(tmp_path))

    assert stat.S_IMODE(compiled.stat().st_mode) == 0o644


def test_bytecode_that_only_its_owner_can_read_is_replaced(
    tmp_path, source, compiled, strict_umask
):
    bytecode._refresh(str(tmp_path))
    compiled.chmod(0o600)

    bytecode._refresh(str(tmp_path))

    assert stat.S_IMODE(compiled.stat().st_mode) == 0o644


def test_fresh_bytecode_is_left_alone(tmp_path, source, compiled):
    bytecode._refresh(str(tmp_path))
    before = compiled.stat()

    bytecode._refresh(str(tmp_path))

    assert compiled.stat().st_ino == before.st_ino


def test_bytecode_older_than_its_source_is_replaced(tmp_path, source, compiled):
    bytecode._refresh(str(tmp_path))
    before = compiled.stat()
    os.utime(source, (before.st_mtime + 5, before.st_mtime + 5))

    bytecode._refresh(str(tmp_path))

    assert compiled.stat().st_ino != before.st_ino
