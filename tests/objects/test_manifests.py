import gc
import json
import os
import re
import time

import pytest

from k8slab.errors import ManifestError
from k8slab.objects import manifests, yamltext


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


def test_the_line_of_a_field_is_found_in_yaml_also_inside_lists():
    text = (
        "# a List\nkind: List\napiVersion: v1\nitems:\n"
        "  - apiVersion: v1\n    kind: Pod\n    metadata:\n      name: Käse\n"
        "  - {apiVersion: v1, kind: Pod,\n     metadata: {name: b,\n       labels: {a: b}}}\n"
    )
    first, second = manifests.load_text(text, "a.yaml")
    assert first.place == "a.yaml:5"
    assert first.line("metadata", "name") == 8
    assert second.place_of("metadata", "labels", "a") == "a.yaml:11"


def test_a_field_that_is_not_there_has_the_line_of_what_is_above_it():
    manifest = one(f"{POD}spec:\n  containers:\n  - name: a\n  - name: b\n")
    assert manifest.line("spec", "containers", 1, "image") == 7
    assert manifest.line("spec", "containers", 9) == 5
    assert manifest.line("nothing") == 1


def test_the_line_of_a_field_is_found_in_json():
    items = [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "\u00e4"}} for _ in range(3)]
    value = {"apiVersion": "v1", "metadata": {}, "items": items, "kind": "List"}
    text = "\n" + json.dumps(value, indent=1)
    lines = text.splitlines()
    found = manifests.load_text(text, "a.json")
    assert len(found) == 3
    for manifest in found:
        assert '"name"' in lines[manifest.line("metadata", "name") - 1]
    assert len({manifest.place for manifest in found}) == 3


def test_an_alias_of_another_part_leaves_the_line_of_the_object():
    text = "kind: List\napiVersion: v1\nitems:\n- &a {apiVersion: v1,\n   kind: Pod}\n- *a\n"
    assert [m.line("kind") for m in manifests.load_text(text)] == [5, 6]


def test_the_elements_of_a_typed_list_take_its_kind():
    text = '{"kind": "PodList", "apiVersion": "v1", "items": [{"metadata": {"name": "a"}}]}'
    assert one(text).object["kind"] == "Pod"


@pytest.mark.parametrize("items", ["[]", "null"])
def test_an_empty_list_has_no_objects(items):
    assert manifests.load_text(f'{{"kind": "List", "apiVersion": "v1", "items": {items}}}') == []


def test_subdirectories_are_read_on_request_without_hidden_ones_and_kustomize_files(tmp_path):
    for name in ("b/c/x.yaml", ".git/y.yaml", "b/kustomization.yaml"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(POD if "kust" not in name else "resources: [x.yaml]")
    found = manifests.load_paths([tmp_path], recursive=True)
    assert [m.file for m in found] == [str(tmp_path / "b/c/x.yaml")]


def test_half_of_a_surrogate_pair_becomes_the_replacement_character():
    text = '{"apiVersion": "v1", "kind": "\\ud800"}'
    assert one(text).object["kind"] == "\ufffd"
    assert one(text.replace("d800", "d83d\\ude00")).object["kind"] == "\U0001f600"


@pytest.mark.parametrize("text", ['{"x": "\n\ud800"}', "x:\n\ud800"], ids=["JSON", "YAML"])
def test_half_of_a_surrogate_pair_that_stands_in_the_text_itself_is_refused_with_its_line(text):
    with pytest.raises(ManifestError, match="f:2: this is not Unicode text"):
        manifests.load_text(text, "f")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x: *nobody", "there is no anchor &nobody"),
        ("x: !!bool maybe", "'maybe' is not of type bool"),
        ('x: !!int ""', "'' is not of type int"),
        ("? [a]\n: b", "a key must be text"),
        ("x: {<<: text}", "'<<' needs a mapping"),
        ("\0", "U+0000 is not allowed"),
        ("x: \ud800", "not Unicode"),
        ("x: " + "1" * 5000, "is not of type int"),
    ],
)
def test_odd_yaml_is_refused_in_words(text, words):
    with pytest.raises(ManifestError, match=re.escape(words)):
        manifests.load_text(f"apiVersion: v1\nkind: Pod\n{text}\n")


def test_json_lines_cost_no_more_than_their_length():
    """Twenty times the text takes far less than four hundred times as long."""

    def seconds(count):
        text = '{"apiVersion": "v1", "kind": "Pod"}\n' * count
        before = time.process_time()
        assert manifests.load_text(text)[-1].place == f"manifest:{count}"
        return time.process_time() - before

    assert min(seconds(8_000) for _ in range(2)) < 100 * max(seconds(400), 0.005)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: .nan", "f:1: '.nan' cannot be written as JSON"),
        ("a:\n- .inf", "f:2: '.inf' cannot be written as JSON"),
        (f"a: {'9' * 400}", "cannot be written as JSON"),
        ('{"a": 1e999}', "f: a number that is too large cannot be written as JSON"),
    ],
)
def test_a_number_that_json_has_not_is_refused(text, message):
    with pytest.raises(ManifestError) as error:
        manifests.load_values(text, "f")
    assert message in str(error.value)


@pytest.mark.parametrize("text", ["a: 99999999999999999999", '{"a": 99999999999999999999}'])
def test_a_number_beyond_64_bits_becomes_a_fraction_as_in_go(text):
    assert manifests.load_values(text) == [{"a": 1e20}]


def test_aliases_of_a_long_text_are_counted_by_its_length():
    text = f"a: &a {'x' * 100_000}\nb: [{','.join(['*a'] * 200)}]\n"
    with pytest.raises(ManifestError, match="expand to more than 100000 values"):
        manifests.load_values(text, "f")


def test_a_text_that_would_take_minutes_is_refused_at_once(monkeypatch):
    monkeypatch.setattr(yamltext, "MAX_TEXT", 1 << 20)
    with pytest.raises(ManifestError, match="f:1: this is not JSON, and YAML of 2 MiB is not read"):
        manifests.load_text("a: " + "x" * (2 << 20), "f")


def test_a_file_without_end_is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr(manifests, "MAX_BYTES", 1 << 20)
    with pytest.raises(ManifestError, match="/dev/zero: larger than 1 MiB"):
        manifests.load_paths(["/dev/zero"])


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("name: 5", "f:3: metadata.name must be text, not a number or a truth value"),
        ("namespace: [a]", "f:3: metadata.namespace must be text, not a list"),
    ],
)
def test_a_name_that_is_no_text_is_refused_with_its_line(metadata, message):
    with pytest.raises(ManifestError) as error:
        manifests.load_text(f"apiVersion: v1\nkind: Pod\nmetadata: {{{metadata}}}\n", "f")
    assert message in str(error.value)


def test_a_directory_that_leads_back_to_itself_is_read_once(tmp_path):
    (tmp_path / "a.yaml").write_text("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(tmp_path / "never.yaml")
    assert len(manifests.load_paths([tmp_path], recursive=True)) == 1


@pytest.mark.parametrize(
    "text", ["a: {{ .Values.a }}\n", "{{- if .Values.a }}\na: 1\n{{- end }}\n"]
)
def test_a_template_is_refused_with_what_to_read_instead(text):
    with pytest.raises(ManifestError) as error:
        manifests.load_text(text, "f")
    assert "`helm template`" in error.value.hint


@pytest.mark.parametrize(
    "number", ["1e308", "123456789012345678", "-0.5", "1E+5", "18446744073709551615"]
)
def test_numbers_of_json_keep_their_value(number):
    assert manifests.load_values(f'{{"a": {number}}}') == [json.loads(f'{{"a": {number}}}')]


def test_a_text_of_digits_is_no_number():
    value = {"hash": "92e1234567890123456789012345", "uid": "9" * 40}
    assert manifests.load_values(json.dumps(value)) == [value]


def test_the_collector_works_again_after_reading_and_after_a_refusal():
    manifests.load_text("apiVersion: v1\nkind: Pod\n")
    with pytest.raises(ManifestError):
        manifests.load_text("a: b: c")
    assert gc.isenabled()
