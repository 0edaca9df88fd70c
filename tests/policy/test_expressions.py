"""Calico's selector language; source: Calico's reference, "Selectors" of NetworkPolicy."""

import pytest

from k8slab.errors import UsageError
from k8slab.policy.expressions import parse

LABELS = {"app": "web", "tier": "front", "projectcalico.org/namespace": "one"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("app == 'web'", True),
        ('app == "web"', True),
        ("app == 'db'", False),
        ("app != 'db'", True),
        ("missing == 'x'", False),
        ("missing != 'x'", True),
        ("missing not in {'x'}", True),
        ("app in {'web', 'db'}", True),
        ("app in {}", False),
        ("app not in {'web'}", False),
        ("has(app)", True),
        ("!has(app)", False),
        ("! has(app)", False),
        ("!!has(app)", True),
        ("app contains 'e'", True),
        ("missing contains ''", False),
        ("app starts with 'we'", True),
        ("app  ends  with  'eb'", True),
        ("app startswith 'x'", False),
        ("all()", True),
        ("global()", False),
        ("app == 'db' || tier == 'front' && has(app)", True),
        ("(app == 'db' || tier == 'front') && !has(app)", False),
        ("app == 'web' || app == 'x' && app == 'y'", True),
        ("!(app == 'web' && tier == 'back')", True),
        ("projectcalico.org/namespace == 'one'", True),
        ("in == 'x' || app in {'web',}", True),
        ("has( app )&&tier=='front'", True),
    ],
)
def test_what_an_expression_means(text, matches):
    found = parse(text)
    assert found.matches(LABELS) is matches
    assert bool(found.mismatch(LABELS)) is not matches


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "expected"),
        ("app", "after a label"),
        ("app = 'web'", "after a label"),
        ("app == web", "after a label"),
        ("app == 'web", "cannot read"),
        ("app == 'web' &", "cannot read"),
        ("app == 'web' &&", "expected"),
        ("(app == 'web'", "expected )"),
        ("app == 'web')", "should end here"),
        ("app in 'web'", "expected {"),
        ("app in {'web'", "expected }"),
        ("has()", "after a label"),
        ("app == 'a' tier == 'b'", "should end here"),
        ("(" * 200 + "all()" + ")" * 200, "nested deeper"),
        ("!" * 200 + "all()", "nested deeper"),
        ("a == 'b' || " * 5000 + "all()", "cannot read"),
        ("app like 'w'", "after a label"),
        ("\napp == 'web'", "cannot read"),
    ],
)
def test_what_cannot_be_read_shows_where(text, where):
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert where in str(caught.value)
    assert "at character" in str(caught.value)


def test_an_expression_that_is_no_text_is_refused():
    with pytest.raises(UsageError, match="is text"):
        parse({"app": "web"})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("app == 'db'", "label app=web is not app=db"),
        ("has(role)", "has no label role"),
        ("app contains 'x'", "label app=web: not contains 'x'"),
        ("role starts with 'x'", "has no label role"),
        ("!(app == 'web')", "matches (app == 'web'), which must not be"),
        ("app == 'a' || app == 'b'", "label app=web is not app=a, and label app=web is not app=b"),
        ("global()", "is in a namespace, and global() means what is in none"),
    ],
)
def test_a_mismatch_is_told_in_words(text, why):
    assert parse(text).mismatch(LABELS) == why


def test_an_expression_names_the_keys_that_it_looks_at():
    assert {*parse("a == 'x' && (!has(b) || c contains 'y') && all()").keys()} == {"a", "b", "c"}
