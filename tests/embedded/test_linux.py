"""Files that somebody else may have put something else in place of."""

import os

import pytest

from k8slab.embedded import linux


def test_a_regular_file_of_the_allowed_size_is_read(tmp_path):
    (tmp_path / "file").write_bytes(b"four")
    assert linux.read_regular(tmp_path / "file", 4) == b"four"


@pytest.mark.parametrize("what", ["link", "endless", "pipe", "directory", "giant", "nothing"])
def test_all_else_is_an_error_at_once(tmp_path, what):
    path = tmp_path / "file"
    (tmp_path / "other").write_bytes(b"secret")
    makers = {
        "link": lambda: path.symlink_to(tmp_path / "other"),
        "endless": lambda: path.symlink_to("/dev/zero"),
        "pipe": lambda: os.mkfifo(path),
        "directory": path.mkdir,
        "giant": lambda: path.touch() or os.truncate(path, 1 << 40),
        "nothing": lambda: None,
    }
    makers[what]()
    with pytest.raises(OSError, match=r".") as caught:
        linux.read_regular(path, 4096)
    assert str(caught.value.filename) == str(path)


def test_only_a_directory_is_set_aside_under_a_name_that_nothing_has(tmp_path):
    for name in ("place", "place.aside1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").write_text(name)
    (tmp_path / "place.aside2").symlink_to("nowhere")
    linux.set_aside(tmp_path / "place")
    linux.set_aside(tmp_path / "place")  # there is none any more
    assert (tmp_path / "place.aside3" / "mine").read_text() == "place"
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "place.aside3")
    for other in ("file", "link"):
        linux.set_aside(tmp_path / other)
        assert os.path.lexists(tmp_path / other)
