"""A path leads to a value in an object, or nowhere."""

import pytest

from k8slab.errors import UsageError
from k8slab.objects.paths import at

SLICE = {
    "metadata": {"labels": {"a.b/c": "yes"}},
    "endpoints": [
        {"targetRef": {"name": "one"}, "conditions": {"ready": True}, "a.b": "x"},
        {"targetRef": {"name": "two"}, "conditions": {"ready": False}},
        {"conditions": {"ready": None}},
    ],
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("endpoints[1].conditions.ready", False),
        ("endpoints[targetRef.name=two].conditions.ready", False),
        ("endpoints[targetRef.name=one].conditions.ready", True),
        ("endpoints[targetRef.name=three].conditions.ready", None),
        ("endpoints[a.b=x].targetRef.name", "one"),
        ('metadata.labels["a.b/c"]', "yes"),
        ("endpoints[7].conditions", None),
        ("metadata.name.first", None),
    ],
)
def test_a_path_leads_to_a_value_or_nowhere(path, value):
    assert at(SLICE, path) is value or at(SLICE, path) == value


def test_a_path_that_cannot_be_read_says_where():
    with pytest.raises(UsageError, match=r"at '\[\]'"):
        at(SLICE, "endpoints[]")
