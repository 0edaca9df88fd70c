"""Label selectors as text. Cases of ``labels/selector_test.go`` (TestSelectorParse)."""

from __future__ import annotations

import time

import pytest

from k8slab.errors import UsageError
from k8slab.objects import selectors
from k8slab.objects.selectortext import parse, written


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", []),
        ("  ", []),
        ("x=a,y=b,z=c", [("x", "In", ("a",)), ("y", "In", ("b",)), ("z", "In", ("c",))]),
        ("x!=a,y==b", [("x", "NotIn", ("a",)), ("y", "In", ("b",))]),
        ("x=", [("x", "In", ("",))]),
        ("x= ,z= ", [("x", "In", ("",)), ("z", "In", ("",))]),
        ("!x", [("x", "DoesNotExist", ())]),
        ("x", [("x", "Exists", ())]),
        ("x in (a,b),!z", [("x", "In", ("a", "b")), ("z", "DoesNotExist", ())]),
        ("x notin (a)", [("x", "NotIn", ("a",))]),
        ("x in (,a,)", [("x", "In", ("", "a"))]),
        ("in in (in)", [("in", "In", ("in",))]),
        ("a.b/c-d = 1.2_3", [("a.b/c-d", "In", ("1.2_3",))]),
    ],
)
def test_a_selector_is_read(text, terms):
    assert parse(text) == terms


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x=a||y=b", "found '=', expected: ',' or 'end of string'"),
        ("x==a==b", "found '==', expected: ',' or 'end of string'"),
        (",x", "found ',', expected: !, identifier, or 'end of string'"),
        ("x,", "found '', expected: identifier after ','"),
        ("!x=a", "found '=', expected: ',' or 'end of string'"),
        ("x in a", "unable to parse requirement: found 'a' expected: '('"),
        ("x in ()", "for 'in', 'notin' operators, values set can't be empty"),
        ("x in (a", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("x y", "unable to parse requirement: found 'y', expected: in, notin, =, ==, !="),
        ("!,", "unable to parse requirement: found ',', expected: identifier"),
        ("x>1", "found '>', expected: in, notin, =, ==, !="),
    ],
)
def test_what_cannot_be_read_is_said_in_the_words_of_a_real_server(text, message):
    with pytest.raises(UsageError) as error:
        parse(text)
    assert error.value.message.endswith(message)


@pytest.mark.parametrize("text", ["," * 60_000, " " * 60_000 + "a b", "a in (" + "," * 60_000])
def test_the_longest_selector_takes_no_longer_than_its_length(text):
    before = time.process_time()
    with pytest.raises(UsageError):
        selectors.from_text(text)
    assert time.process_time() - before < 1


def test_a_selector_object_is_written_so_that_it_reads_the_same():
    selector = {
        "matchLabels": {"tier": "web", "app": "shop"},
        "matchExpressions": [
            {"key": "zone", "operator": "NotIn", "values": ["b", "a"]},
            {"key": "env", "operator": "In", "values": ["test"]},
            {"key": "canary", "operator": "DoesNotExist"},
            {"key": "team", "operator": "Exists"},
        ],
    }
    text = written(selector)
    assert text == "app=shop,tier=web,zone notin (a,b),env in (test),!canary,team"
    assert parse(text) == [
        ("app", "In", ("shop",)),
        ("tier", "In", ("web",)),
        ("zone", "NotIn", ("a", "b")),
        ("env", "In", ("test",)),
        ("canary", "DoesNotExist", ()),
        ("team", "Exists", ()),
    ]
    assert written({}) == ""
