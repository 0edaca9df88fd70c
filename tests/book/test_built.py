"""The last look at built pages finds what must not be there."""

import pytest
from bookmaking.built import faults

HEAD = '<html><head></head><body><h1 id="top">T</h1>'


def site(tmp_path, **pages):
    for name, body in pages.items():
        (tmp_path / f"{name}.html").write_text(HEAD + body)
    return tmp_path


def test_pages_that_are_right_have_no_fault(tmp_path):
    (tmp_path / "a.svg").write_text("<svg/>")
    body = (
        '<a href="two.html#there">x</a><a href="#top">x</a><a href="https://example.com/a#b">x</a>'
        '<img src="a.svg" alt="a picture"><img src="data:image/png;base64,AA" alt="b">'
        '<link rel="next" href="two.html">'
    )
    assert faults(site(tmp_path, one=body, two='<p id="there">')) == []


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('<a href="two.html">x</a>', "the link two.html leads to no file"),
        ('<a href="#nowhere">x</a>', "the link #nowhere leads to no anchor of that page"),
        ('<a href="one.html#nowhere">x</a>', "leads to no anchor of that page"),
        ('<a href="https://exa mple">x</a>', "is no address"),
        ('<a href="ftp://example.com">x</a>', "has the scheme 'ftp'"),
        ('<script src="https://cdn.example.com/x.js"></script>', "from outside"),
        ('<script src="//cdn.example.com/x.js"></script>', "from outside"),
        ('<link rel="stylesheet" href="https://fonts.example.com/">', "from outside"),
        ('<img src="gone.png" alt="a">', "it loads gone.png, which is not there"),
        ('<img src="data:image/png;base64,AA">', "has no alt text"),
        ('<img src="data:image/png;base64,AA" alt=" ">', "has no alt text"),
        ("<p>/home/anna/labs</p>", "it tells the path /home/anna of this machine"),
    ],
)
def test_a_fault_is_named_with_its_page(tmp_path, body, told):
    found = faults(site(tmp_path, one=body), ("/home/anna",))
    assert len(found) == 1
    assert found[0].startswith("one.html: ")
    assert told in found[0]


def test_templates_of_the_theme_are_no_pages(tmp_path):
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "x.html").write_text('<a href="{{ nowhere }}">')
    assert faults(site(tmp_path, one="")) == []


def test_a_site_without_a_page_is_a_fault(tmp_path):
    assert faults(tmp_path) == [f"{tmp_path} has no page"]
