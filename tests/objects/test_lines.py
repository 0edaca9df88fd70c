from k8slab.objects import manifests
from k8slab.objects.lines import keep, line_of, with_lines

TEXT = """a: 1
b:
  - c: &x {d: 2}
  - c: *x
    <<: {e: 3}
"""


def read(text):
    (value,) = manifests.load_values(text)
    return value, with_lines(value, text)


def test_every_key_knows_its_line():
    value, lined = read(TEXT)
    assert lined == value
    assert (line_of(lined, "a"), line_of(lined, "b")) == (1, 2)
    assert (line_of(lined["b"][0], "c"), line_of(lined["b"][0]["c"], "d")) == (3, 3)
    assert line_of(lined["b"][1], "c") == 4


def test_a_key_that_is_not_there_has_the_line_of_its_mapping():
    _, lined = read(TEXT)
    assert line_of(lined["b"][1], "nothing") == 4
    assert line_of({"a": 1}, "a") == 0


def test_a_changed_mapping_keeps_its_lines():
    _, lined = read(TEXT)
    assert line_of(keep(lined, {"a": 5}), "a") == 1
    assert keep({}, {"a": 5}) == {"a": 5}


def test_a_text_without_a_mapping_stays_as_it_is():
    assert read("just text")[1] == "just text"
