import pytest

from k8slab.errors import ManifestError
from k8slab.objects.manifests import dump, load

TWO = """\
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
---
# a comment alone is no document
apiVersion: v1
kind: Pod
metadata:
  name: web
  annotations: {when: 2026-11-20T10:00:00Z}
"""


def test_documents_come_in_their_order_and_empty_ones_are_skipped():
    assert [obj["kind"] for obj in load(TWO)] == ["Namespace", "Pod"]


def test_a_timestamp_stays_text():
    assert load(TWO)[1]["metadata"]["annotations"]["when"] == "2026-11-20T10:00:00Z"


def test_a_list_is_opened():
    text = dump({"apiVersion": "v1", "kind": "List", "items": load(TWO)})
    assert load(text) == load(TWO)


def test_json_is_read_too():
    assert (
        load('{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}')[0]["kind"] == "Pod"
    )


def test_what_is_dumped_is_loaded_unchanged():
    assert load(dump(*load(TWO))) == load(TWO)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: b: c", "web.yaml:1: not valid YAML: mapping values are not allowed"),
        ("kind: Pod", "web.yaml:1: the document has no apiVersion"),
        ("- 1", "web.yaml:1: a document is an object with apiVersion and kind, not a list"),
        ("\n\napiVersion: v1\nkind: Pod", "web.yaml:3: this Pod has no metadata.name"),
        ("a: \tb\n\tc", "web.yaml:2: not valid YAML"),
        ("a: " + "[" * 5000, "web.yaml"),
        ("a: !!python/name:os.system", "web.yaml:1: not valid YAML"),
    ],
)
def test_an_error_names_the_place(text, message):
    with pytest.raises(ManifestError) as caught:
        load(text, place="web.yaml")
    assert message in str(caught.value)
