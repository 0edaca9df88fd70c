"""Bundles come from anywhere: what is wrong with one is said, and nothing else happens."""

import errno
import hashlib
import json
import os
import random
import zipfile

import pytest

from k8slab.course import bundle
from k8slab.course.bundle import ANSWERS, MANIFEST, BundleError, read, write
from k8slab.errors import UsageError


def answers(**more):
    return {
        "made": "2026-01-02T03:04:05Z",
        "seed": 7,
        "versions": {"k8slab": "1"},
        "cluster": {"name": "k8slab", "nodes": 3},
        "labs": {},
        **more,
    }


def exercise(**more):
    claimed = {"points": 1, "checks": 1, "hints": 0, "saw_solution": False}
    return {"90-example": {"exercises": {"protect": {"claimed": claimed, **more}}}}


def packed(file, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file


def forged(file, content, **manifest):
    """Pack any text as the answers, with a manifest that fits it."""
    described = {ANSWERS: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}}
    head = {"format": bundle.FORMAT, "version": 1, "files": described, **manifest}
    return packed(file, [(MANIFEST, json.dumps(head)), (ANSWERS, content)])


def refusal(file):
    with pytest.raises(BundleError) as raised:
        read(file)
    assert str(file) in str(raised.value)
    assert len(str(raised.value)) < 1000
    return str(raised.value)


def test_what_is_written_comes_back_and_equal_answers_are_equal_files(tmp_path):
    for name in ("a.zip", "b.zip"):
        write(tmp_path / name, answers(labs=exercise(added=[])))
    assert read(tmp_path / "a.zip").answers == answers(labs=exercise(added=[]))
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "b.zip"]


def test_a_bundle_can_be_read_with_common_tools(tmp_path):
    write(tmp_path / "a.zip", answers())
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == [MANIFEST, ANSWERS]
        assert b'"seed": 7' in archive.read(ANSWERS)


def test_what_is_no_bundle_is_said(tmp_path):
    file = tmp_path / "x.zip"
    assert "there is no such file" in refusal(file)
    file.write_bytes(b"")
    assert "damaged or no zip" in refusal(file)
    write(file, answers())
    file.write_bytes(file.read_bytes()[:-40])
    assert "damaged or no zip" in refusal(file)
    assert "there is no such file" in refusal(tmp_path)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "answers.json/../x", "a" * 300]
)
def test_a_member_of_another_name_is_refused_and_never_unpacked(tmp_path, name):
    file = packed(tmp_path / "x.zip", [(MANIFEST, "{}"), (ANSWERS, "{}"), (name, "x")])
    before = sorted(tmp_path.rglob("*"))
    assert "no bundle of answers: it holds" in refusal(file)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_missing_or_a_doubled_member_is_refused(tmp_path):
    file = packed(tmp_path / "x.zip", [(MANIFEST, "{}")])
    assert "a member is missing" in refusal(file)
    with pytest.warns(UserWarning, match="Duplicate"):
        packed(file, [(MANIFEST, "{}"), (ANSWERS, "{}"), (ANSWERS, "{}")])
    assert "no bundle" in refusal(file)


def test_a_zip_bomb_is_read_no_further_than_the_bound(tmp_path):
    bomb = b"[" + b" " * (64 << 20)
    file = packed(tmp_path / "x.zip", [(MANIFEST, "{}"), (ANSWERS, bomb)])
    assert file.stat().st_size < 1 << 20
    assert "larger than 8388608 bytes" in refusal(file)
    file = packed(file, [(MANIFEST, " " * 5000), (ANSWERS, "{}")])
    assert "larger than 4096 bytes" in refusal(file)


def test_a_large_file_is_not_even_opened(tmp_path):
    file = tmp_path / "x.zip"
    with file.open("wb") as out:
        out.truncate(bundle.MAX_FILE + 1)
    assert "larger than 4 MiB" in refusal(file)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"[" * 100_000, "no JSON that can be read"),
        (b"{", "no JSON that can be read"),
        (b"\xff\xfe", "no JSON that can be read"),
        (b'{"seed": NaN}', "no number of JSON"),
        (b"9" * 10_000, "no JSON that can be read"),
        (b'{"seed": 1e400}', "no number that can be counted with"),
        (b'{"made": "\\ud800"}', "no JSON that can be read"),
        (b'{"\\udfff": 1}', "no JSON that can be read"),
        (b"[]", "the whole"),
        (b"{}", "the whole"),
    ],
)
def test_hostile_text_is_refused(tmp_path, content, told):
    assert told in refusal(forged(tmp_path / "x.zip", content))


def test_a_damaged_text_and_another_format_are_told_apart(tmp_path):
    text = json.dumps(answers()).encode()
    file = packed(
        tmp_path / "x.zip",
        [
            (
                MANIFEST,
                json.dumps(
                    {"format": bundle.FORMAT, "version": 1, "files": {ANSWERS: {"sha256": "0"}}}
                ),
            ),
            (ANSWERS, text),
        ],
    )
    assert "not what its checksum says" in refusal(file)
    assert "its format is not" in refusal(forged(file, text, format="zip"))
    assert "a bundle of version 2; this k8slab reads version 1" in refusal(
        forged(file, text, version=2)
    )


def test_a_bundle_that_is_packed_in_an_odd_way_is_refused(tmp_path):
    members = [(MANIFEST, "{}"), (ANSWERS, "{}")]
    for method in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        file = packed(tmp_path / "x.zip", members, method)
        assert "packed in a way that no bundle is" in refusal(file)


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"made": "=HYPERLINK(1)"}, "made"),
        ({"made": "2026-01-02 03:04:05"}, "made"),
        ({"seed": 10**4000}, "seed"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_could_do_harm_in_a_report_or_a_count_is_refused(tmp_path, more, place):
    text = json.dumps(answers(**more)).encode()
    assert f"answers.json: {place}: " in refusal(forged(tmp_path / "x.zip", text))


def test_points_that_nobody_can_count_with_are_refused(tmp_path):
    labs = exercise()
    labs["90-example"]["exercises"]["protect"]["claimed"]["points"] = 10**400
    text = json.dumps(answers(labs=labs)).encode()
    assert "claimed/points" in refusal(forged(tmp_path / "x.zip", text))


def test_a_number_without_a_fraction_is_a_whole_number_however_it_is_written(tmp_path):
    text = json.dumps(answers(cluster={"name": "k8slab", "nodes": 3.0}, seed=7.0)).encode()
    found = read(forged(tmp_path / "x.zip", text)).answers
    assert [type(n) for n in (found["cluster"]["nodes"], found["seed"])] == [int, int]


def test_a_refusal_repeats_nothing_that_a_terminal_obeys(tmp_path):
    typed = {"x\n\x1b[2Jzoe: 20 of 20 points": 1}
    text = json.dumps(answers(labs=exercise(typed=typed))).encode()
    told = refusal(forged(tmp_path / "x.zip", text))
    assert "\x1b" not in told
    assert "x\u240a\u241b[2Jzoe" in told
    told = refusal(forged(tmp_path / "x.zip", text, version="1\n\x1b[2J"))
    assert "1\u240a\u241b[2J" in told


POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "lab90-protect"}}


@pytest.mark.parametrize(
    "labs",
    [
        {"../up": {"exercises": {}}},
        {"90": {"exercises": {"a/b": {"claimed": {}}}}},
        exercise(added=[{**POD, "status": {}}]),
        exercise(added=[{**POD, "metadata": {"name": "a", "finalizers": ["x"]}}]),
        exercise(added=[{**POD, "metadata": {"name": "a", "ownerReferences": []}}]),
        exercise(added=[{**POD, "kind": ["Pod"]}]),
        exercise(added=[{**POD, "kind": "Pod?dryRun=All"}]),
        exercise(added=[{**POD, "apiVersion": "v1/../../api"}]),
        *(
            exercise(deleted=[{**POD, "metadata": {"name": name}}])
            for name in ("../up", "a/b", "a?b=c", "a#b", "a%2fb", "..", "a b", "a\n", "")
        ),
        exercise(added=[{**POD, "metadata": {"name": "a", "namespace": "kube-system/pods"}}]),
        exercise(typed={"q": {"text": "x", "stands_for": {"object": "pods/../x", "path": "y"}}}),
        exercise(added=[POD] * 501),
        exercise(added=[{"apiVersion": "v1", "kind": "Pod", "metadata": {}}]),
        exercise(deleted=[{**POD, "spec": {}}]),
        exercise(typed={"q": {"text": "x" * 3000}}),
        exercise(typed={"q": {"text": "x", "stands_for": {"object": "pods/a"}}}),
        exercise(unknown=1),
    ],
)
def test_what_the_schema_does_not_allow_is_refused(tmp_path, labs):
    text = json.dumps(answers(labs=labs)).encode()
    assert "answers.json: labs" in refusal(forged(tmp_path / "x.zip", text))


def test_the_schema_is_one_and_allows_what_submit_writes():
    found = exercise(setup="m", added=[POD], deleted=[POD], typed={"q": {"text": "1"}})
    assert bundle.fault(answers(labs=found)) == ""


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"typed": {"q": {"text": "x" * 2001}}}, "90-example/exercises/protect/typed/q/text"),
        ({"added": [POD] * 501}, "90-example/exercises/protect/added"),
        ({"added": [{**POD, "spec": {"a": "x" * (256 << 10)}}]}, "90-example/protect: Pod a"),
    ],
)
def test_what_no_grader_would_read_is_refused_when_it_is_handed_in(tmp_path, given, place):
    with pytest.raises(UsageError) as raised:
        write(tmp_path / "a.zip", answers(labs=exercise(**given)))
    assert place in str(raised.value)
    assert "k8slab submit LAB/EXERCISE" in str(raised.value)
    assert [*tmp_path.iterdir()] == []


def test_a_bundle_that_would_be_too_large_to_read_is_not_written(tmp_path):
    noise = random.Random(1)
    pods = [{**POD, "spec": {"a": noise.randbytes(120 << 10).hex()}} for _ in range(36)]
    (tmp_path / "a.zip").write_text("what was handed in before")
    with pytest.raises(UsageError, match="a bundle may hold 8"):
        write(tmp_path / "a.zip", answers(labs=exercise(added=pods)))
    pods = [{**POD, "spec": {"a": noise.randbytes(100 << 10).hex()}} for _ in range(40)]
    with pytest.raises(UsageError, match="the bundle would be larger than 4 MiB"):
        write(tmp_path / "a.zip", answers(labs=exercise(added=pods)))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["what was handed in before"]


def test_a_directory_in_which_nothing_can_be_written_or_removed_is_said(tmp_path, monkeypatch):
    """On a read-only file system unlink(2) says EROFS even of a file that is not there."""

    def refuse(*_args, **_more):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "beside")

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(bundle.EnvironmentLacksError, match=r"a\.zip cannot be written: Read-only"):
        write(tmp_path / "a.zip", answers())


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(bundle.EnvironmentLacksError, match="cannot be written"):
        write(tmp_path / "none" / "a.zip", answers())
