"""A browser gets an address with a token, and other users of the machine do not."""

import stat
import sys

import pytest

from k8slab.cli import browser

URL = "http://127.0.0.1:8888/lab/tree/01/01.ipynb?token=a-secret&reset#cell-id=b"


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Have a program for a browser, and give the arguments with which it was started."""
    arguments = tmp_path / "arguments"
    program = tmp_path / "browser"
    program.write_text(
        f'#!{sys.executable}\nimport sys\nopen("{arguments}", "w").write(sys.argv[1])\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{program} %s")  # which is waited for
    monkeypatch.setattr("webbrowser._tryorder", None)
    monkeypatch.setattr("webbrowser._browsers", {})
    return arguments


def test_the_arguments_of_the_browser_have_no_token(opened, tmp_path):
    place = tmp_path / "labs"
    place.mkdir()
    with browser.opener(tmp_path / "none", place) as open_page:
        assert open_page(URL)
        (page,) = place.iterdir()
        assert opened.read_text() == page.as_uri()
        assert stat.S_IMODE(page.stat().st_mode) == 0o600
        assert f"url={URL.replace('&', '&amp;')}" in page.read_text()
    assert not [*place.iterdir()]


def test_without_a_screen_nothing_is_opened_and_nothing_written(tmp_path, monkeypatch):
    for variable in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(variable, raising=False)
    with browser.opener(tmp_path) as open_page:
        assert not open_page(URL)
        assert not [*tmp_path.iterdir()]


def test_where_no_page_can_be_written_nothing_is_opened(opened, tmp_path):
    with browser.opener(tmp_path / "none") as open_page:
        assert not open_page(URL)
    assert not opened.exists()
