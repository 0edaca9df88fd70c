"""What is no file is not replaced by one, and a file is replaced whole."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from k8slab.clusters import places
from k8slab.clusters.places import replaceable
from k8slab.course import bundle, offline
from k8slab.errors import UsageError


def test_a_device_or_a_pipe_is_refused_before_anything_is_made(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        with pytest.raises(UsageError, match=f"{name} is no file, which could be replaced"):
            replaceable(tmp_path / name)
        answers = {"made": "2026-01-02T03:04:05Z", "seed": 7, "versions": {}, "labs": {}}
        with pytest.raises(UsageError, match="is no file"):
            bundle.write(tmp_path / name, {**answers, "cluster": {"name": "k8slab"}})
        with pytest.raises(UsageError, match="is no file"):
            offline.pack(tmp_path / name, told=lambda _line: pytest.fail("it was begun"))
    assert (tmp_path / "pipe").is_fifo()
    assert {path.name for path in tmp_path.iterdir()} == {"link", "pipe"}


def test_a_link_is_followed_and_stays(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there/file")
    assert replaceable(tmp_path / "link") == (tmp_path / "there" / "file").resolve()
    places.write(tmp_path / "link", b"content")
    assert (tmp_path / "there" / "file").read_bytes() == b"content"
    assert (tmp_path / "link").is_symlink()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match="loop is no file"):
        replaceable(tmp_path / "loop")


def test_a_name_that_is_too_long_is_said(tmp_path):
    with pytest.raises(UsageError, match="File name too long"):
        replaceable(tmp_path / ("x" * 256))
    longest = tmp_path / ("x" * 255)
    places.write(longest, b"content")
    assert longest.read_bytes() == b"content"


@pytest.mark.parametrize("name", [".a.zip.part", ".config.k8slab"])
def test_nothing_that_somebody_planted_is_written_through(tmp_path, name):
    """The names under which these files were made, once."""
    (tmp_path / "precious").write_text("mine")
    (tmp_path / name).symlink_to("precious")
    answers = {"made": "2026-01-02T03:04:05Z", "seed": 7, "versions": {}, "labs": {}}
    bundle.write(tmp_path / "a.zip", {**answers, "cluster": {"name": "k8slab"}})
    places.write(tmp_path / "config", b"content")
    assert (tmp_path / "precious").read_text() == "mine"
    assert bundle.read(tmp_path / "a.zip").answers["seed"] == 7


def test_mode_and_owner_stay_but_for_rights_that_what_is_written_must_not_give(tmp_path):
    file = tmp_path / "file"
    file.touch()
    file.chmod(0o640)
    owner = (65_534, 65_533) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown(file, *owner)
    for mode, seen in ((0o666, 0o640), (0o600, 0o600)):
        places.write(file, b"content", mode=mode)
        found = file.stat()
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (*owner, seen)
    places.write(tmp_path / "new", b"secret", mode=0o600)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


@pytest.mark.parametrize("function", ["fsync", "fdopen"])
def test_an_interrupt_leaves_the_file_as_it_was_and_nothing_beside_it(
    tmp_path, monkeypatch, function
):
    (tmp_path / "file").write_text("before")

    def interrupted(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, function, interrupted)
    with pytest.raises(KeyboardInterrupt):
        places.write(tmp_path / "file", b"after")
    monkeypatch.undo()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


@pytest.mark.parametrize("step", ["open", "fchown", "rename"])
def test_where_nothing_can_be_moved_the_file_is_written_in_place(tmp_path, monkeypatch, step):
    """A directory that is read-only, an owner whom only root can give, a file that is mounted."""
    file = tmp_path / "file"
    file.write_text("before, and longer")
    file.chmod(0o644)
    faults = {"open": errno.EROFS, "fchown": errno.EPERM, "rename": errno.EBUSY}

    def refuse(*_args, **_more):
        raise OSError(faults[step], os.strerror(faults[step]))

    monkeypatch.setattr(os, "replace" if step == "rename" else step, refuse)
    if step == "fchown":
        seen = SimpleNamespace(st_uid=os.geteuid() + 1, st_gid=0)
        monkeypatch.setattr(os, "fstat", lambda _descriptor: seen)
    places.write(file, b"after", mode=0o600)
    monkeypatch.undo()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["after"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


MOUNTED = 'mount --bind "$1/mounted" "$1/config" && exec "$2" -c "$3" "$1/config"'
WRITE = "import sys; from pathlib import Path; from k8slab.clusters import places; "


def test_a_file_that_is_mounted_by_itself_is_written_in_place(tmp_path):
    (tmp_path / "mounted").write_text("before")
    (tmp_path / "config").touch()
    code = f"{WRITE}places.write(Path(sys.argv[1]), b'after')"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", MOUNTED, "sh", str(tmp_path), sys.executable, code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "mounted").read_text() == "after"
    assert {path.name for path in tmp_path.iterdir()} == {"mounted", "config"}


@pytest.mark.parametrize("way", ['"$0" -c "$1" >(cat >&3)', '"$0" -c "$1" /dev/stdout | cat >&3'])
def test_what_only_a_process_knows_by_that_name_is_written_to(way):
    code = f"{WRITE}places.write(Path(sys.argv[1]), b'content')"
    done = subprocess.run(
        ["bash", "-c", f"{{ {way}; }} 3>&1 | cat", sys.executable, code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("content", "")


def test_a_device_is_written_to_and_an_error_names_the_file(tmp_path):
    places.write(Path("/dev/null"), b"content")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(OSError, match=r"No space left on device: '/dev/full'"):
        places.write(Path("/dev/full"), b"content")
    with pytest.raises(OSError, match="none/file"):
        places.write(tmp_path / "none" / "file", b"content")
