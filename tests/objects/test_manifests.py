import json

import pytest

from k8slab.errors import ManifestError
from k8slab.objects import manifests


def one(text):
    (manifest,) = manifests.load_text(text, "a.yaml")
    return manifest


POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"


def test_several_documents_keep_their_lines():
    found = manifests.load_text(f"---\n{POD}---\n# nothing\n---\n{POD}", "a.yaml")
    assert [m.place for m in found] == ["a.yaml:2", "a.yaml:8"]


def test_a_list_is_unpacked_with_the_line_of_each_item():
    text = (
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod}\n"
        "- {apiVersion: v1, kind: Service}\n"
    )
    found = manifests.load_text(text, "a.yaml")
    assert [(m.object["kind"], m.place) for m in found] == [
        ("Pod", "a.yaml:4"),
        ("Service", "a.yaml:5"),
    ]


def test_json_is_read_also_with_several_values():
    text = json.dumps({"apiVersion": "v1", "kind": "Pod"})
    assert len(manifests.load_text(f" {text}\n{text}\n")) == 2


def test_bom_and_crlf_are_no_obstacle():
    text = ("\ufeff" + POD.replace("\n", "\r\n")).encode()
    assert one(text).object["metadata"] == {"name": "a"}


def test_a_tab_is_explained():
    with pytest.raises(ManifestError, match=r"a\.yaml:3: (?s:.*)tab"):
        one("apiVersion: v1\nkind: Pod\n\tmetadata: {}\n")


def test_a_duplicate_key_is_refused_with_its_line():
    with pytest.raises(ManifestError, match=r"a\.yaml:5: the key 'app' stands twice"):
        one("apiVersion: v1\nkind: Pod\nmetadata:\n  app: x\n  app: y\n")


def test_a_duplicate_key_in_json_is_refused():
    with pytest.raises(ManifestError, match="stands twice"):
        one('{"apiVersion": "v1", "kind": "Pod", "kind": "Service"}')


def test_anchors_and_merge_keys_work():
    text = POD + "spec:\n  a: &x {one: 1, two: 2}\n  b: *x\n  c: {<<: *x, two: 3}\n"
    assert one(text).object["spec"]["c"] == {"one": 1, "two": 3}


def test_billion_laughs_are_refused_before_they_are_expanded():
    lines = ["a0: &a0 [lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(ManifestError, match="expand to more than"):
        one("apiVersion: v1\nkind: Pod\n" + "\n".join(lines))


def test_an_anchor_within_itself_is_refused():
    with pytest.raises(ManifestError, match="contains itself"):
        one("apiVersion: v1\nkind: Pod\nspec: &a [*a]\n")


@pytest.mark.parametrize(
    "deep", ["[" * 100_000, '{"a":' * 100_000, "- " * 100_000, "[\n" * 100_000]
)
def test_deep_nesting_is_refused_and_not_a_crash(deep):
    with pytest.raises(ManifestError):
        manifests.load_text(deep, "a.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("22:22", "22:22"),
        ("2026-11-20", "2026-11-20"),
        ("1_000", 1000),
        ("yes", True),
        ("0x10", 16),
        ("010", 8),
        ("~", None),
        ("1.5", 1.5),
        ("'8080'", "8080"),
    ],
)
def test_scalars_are_read_as_kubectl_reads_them(text, value):
    assert one(f"{POD}spec: {text}\n").object["spec"] == value


def test_what_is_no_object_is_refused():
    with pytest.raises(ManifestError, match=r"a\.yaml:1: a Kubernetes object is a mapping"):
        one("just text")
    with pytest.raises(ManifestError, match="has no kind"):
        one("apiVersion: v1\n")


def test_directories_are_read_in_order(tmp_path):
    (tmp_path / "b.yaml").write_text(POD)
    (tmp_path / "a.yml").write_text(POD)
    (tmp_path / "c.txt").write_text("no")
    found = manifests.load_paths([tmp_path])
    assert [m.place.rpartition("/")[2] for m in found] == ["a.yml:1", "b.yaml:1"]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ManifestError, match=r"none\.yaml"):
        manifests.load_paths([tmp_path / "none.yaml"])


def test_bytes_that_are_not_utf8_are_refused_with_the_line():
    with pytest.raises(ManifestError, match=r"a\.yaml:2: this is not UTF-8"):
        one(b"apiVersion: v1\nkind: \xff\n")
