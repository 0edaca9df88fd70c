"""Requests about objects: every way to write one, with a broken body."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import yaml
from hypothesis import strategies as st

from tests.malformed import breaking
from tests.malformed.breaking import GARBAGE, TEXTS, encoded
from tests.malformed.served import new_name
from tests.malformed.wire import Case

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.malformed.served import Kind, Object, Served

    Draw = Callable[[st.SearchStrategy], Any]

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"

VALIDATION = st.sampled_from(["", "?fieldValidation=Strict", "?fieldValidation=Ignore"])


COUNTS = frozenset({"replicas", "parallelism", "completions", "size"})
MOST = 3


def tamed(value: Any) -> Any:
    """Return a value with no count of pods that a real cluster would obey until it is full."""
    if isinstance(value, list):
        return [tamed(item) for item in value]
    if not isinstance(value, dict):
        return value
    if str(value.get("path")).rpartition("/")[2] in COUNTS and _is_large(value.get("value")):
        return {**value, "value": MOST}
    return {
        key: MOST if key in COUNTS and _is_large(item) else tamed(item)
        for key, item in value.items()
    }


def _is_large(item: Any) -> bool:
    return isinstance(item, int | float) and MOST < item < 2**31


def as_yaml(value: Any) -> bytes:
    """Return YAML of a value, with whatever it cannot say left to the dumper."""
    return yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "replace")


@st.composite
def creations(
    draw: Draw, served: Served, kept: dict[str, Object], *groups: str
) -> tuple[Case, str]:
    """Return a POST of a broken object, and the path of what it may have made.

    With `groups` only of kinds of these groups.
    """
    del kept
    kinds = [kind for kind in served.kinds if "create" in kind.verbs]
    kinds = [kind for kind in kinds if not groups or kind.group in groups]
    kind, name, obj = draw(breaking.objects(served, kinds))
    if kind.kind == "CustomResourceDefinition":
        name = str(kind.example(name)["metadata"]["name"])
    media = draw(st.sampled_from([JSON, JSON, JSON, YAML, ""]))
    obj = tamed(obj)
    body = as_yaml(obj) if media == YAML else encoded(obj)
    return Case("POST", kind.path + draw(VALIDATION), body, _typed(media)), f"{kind.path}/{name}"


def _typed(media: str) -> dict[str, str | bytes]:
    return {"Content-Type": media} if media else {}


@st.composite
def updates(draw: Draw, served: Served, kept: dict[str, Object]) -> tuple[Case, str]:
    """Return a change of an object that is there, in any of the five ways, and its path."""
    kind = draw(st.sampled_from([k for k in served.kinds if k.resource in kept]))
    obj = kept[kind.resource]
    name = obj["metadata"]["name"]
    subs = sorted(kind.subresources & {"status", "scale", "ephemeralcontainers", "finalize"})
    sub = draw(st.sampled_from(["", "", *(f"/{word}" for word in subs)]))
    path = f"{kind.path}/{name}{sub}"
    way = draw(st.sampled_from(["PUT", MERGE, STRATEGIC, APPLY, JSON_PATCH]))
    query = draw(VALIDATION)
    if way == JSON_PATCH:
        value: Any = draw(json_patches(obj))
    elif way == APPLY:
        value = draw(breaking.broken(served, kind, kind.example(name)))
        query = f"{query}&" if query else "?"
        query += draw(st.sampled_from(["fieldManager=a", "fieldManager=a&force=true"]))
    elif way == "PUT":
        value = draw(breaking.broken(served, kind, obj))
    else:
        value = draw(st.one_of(partial(served, kind), directives(served, kind)))
    method = "PUT" if way == "PUT" else "PATCH"
    media = JSON if way == "PUT" else way
    return Case(method, path + query, encoded(tamed(value)), {"Content-Type": media}), path


@st.composite
def partial(draw: Draw, served: Served, kind: Kind) -> Any:
    """Return a patch that sets one place."""
    path, schema = draw(breaking.places(served, kind))
    fit = breaking.fitting(served, schema, kind.schema["x-place"])
    return breaking.graft({}, path, draw(st.one_of(fit, GARBAGE)))


DIRECTIVES = st.sampled_from(
    [
        "$patch",
        "$retainKeys",
        "$setElementOrder/containers",
        "$setElementOrder/ports",
        "$setElementOrder/finalizers",
        "$deleteFromPrimitiveList/finalizers",
        "$deleteFromPrimitiveList/command",
        "$setElementOrder/",
        "$unheard",
    ]
)


@st.composite
def directives(draw: Draw, served: Served, kind: Kind) -> Any:
    """Return a strategic merge patch with a directive where it does not belong."""
    path, _ = draw(breaking.places(served, kind))
    words = st.sampled_from(["replace", "delete", "merge", "unheard"])
    lists = st.lists(st.one_of(TEXTS, GARBAGE), max_size=3)
    patch = breaking.graft({}, (*path, draw(DIRECTIVES)), draw(st.one_of(words, GARBAGE, lists)))
    if draw(st.booleans()):
        path, _ = draw(breaking.places(served, kind))
        patch = breaking.graft(patch, path, draw(GARBAGE))
    return patch


@st.composite
def json_patches(draw: Draw, obj: Object) -> Any:
    """Return a JSON patch with at least one wrong operation."""
    held = ["/" + "/".join(str(step) for step in path) for path in breaking.held_paths(obj)]
    pointers = st.one_of(
        st.sampled_from(held),
        st.sampled_from(
            ["", "/", "//", "x", "/spec/-", "/spec/~2", "/spec/00", "/metadata/labels/a~1b"]
        ),
        st.sampled_from(
            [f"{path}/{end}" for path in held for end in ("0", "-", "-1", "x", "9" * 5000)]
        ),
        TEXTS,
        GARBAGE,
    )
    operation = st.fixed_dictionaries(
        {
            "op": st.one_of(
                st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]), GARBAGE
            )
        },
        optional={"path": pointers, "from": pointers, "value": GARBAGE},
    )
    return draw(st.one_of(st.lists(st.one_of(operation, operation, GARBAGE), max_size=4), GARBAGE))


# --- bodies that are no objects


BYTES = st.one_of(
    st.binary(max_size=200),
    st.sampled_from(
        [
            b"",
            b" ",
            b"{",
            b"[",
            b"null",
            b"1",
            b'"text"',
            b"[]",
            b"{}",
            b"true",
            b"{}{}",
            b"{} x",
            b"\xef\xbb\xbf{}",
            b"\xff\xfe{\x00}\x00",
            b'{"metadata":{"name":"\xff"}}',
            b'{"a":1,"a":2}',
            b'{"metadata":' * 10_000,
            b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
            b"[" * 500_000,
            b"[" * 900 + b'{"a":1,"a":1}' + b"]" * 900,
            b'{"a":' * 985 + b'{"a":1,"a":1}' + b"}" * 985,
            b"- " * 100_000,
            b"{a: " * 100_000,
            b"? " * 100_000,
            b"a: &a [*a]",
            b"a: &a {b: *a}",
            b"a: *missing",
            b"a: &a [x,x,x,x,x,x,x,x,x]\n"
            + b"".join(
                b"%c: &%c [%s]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9))
                for n in range(9)
            ),
            b"a: !!python/object:os.system [ls]",
            b"a: !!binary AAEC\nb: !!set {x}\nc: 2026-11-21\nd: .nan\ne: 0x10\n1: 2\ntrue: x",
            b"? [a, b]\n: c",
            b"\ta: b",
            b"a: b\n---\nc: d",
            b"%YAML 9.9\n---\na: b",
            b'a: "\\uD800"',
            b"k8s\x00",
            b"k8s\x00\x0a\x0a\x0a\x02v1\x12\x04None\x12\x00",
            b"k8s\x00" + b"\xff" * 50,
            b"k8s\x00" + b"\x0a\xff\xff\xff\xff\x0f",
            b"<a/>",
            b"a=b&c=d",
        ]
    ),
)
MEDIA = st.sampled_from(
    [
        JSON,
        YAML,
        PROTOBUF,
        MERGE,
        STRATEGIC,
        JSON_PATCH,
        APPLY,
        "application/apply-patch+cbor",
        "text/plain",
        "application/xml",
        "application/cbor",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/json;;;",
        "APPLICATION/JSON",
        "/",
        "",
        "application/json, application/yaml",
        "é",
    ]
)


def definitions(served: Served, kept: dict[str, Object]) -> st.SearchStrategy:
    """Return broken CustomResourceDefinitions, and broken objects of one."""
    return creations(served, kept, "apiextensions.k8s.io", "odd.example.com")


LAB_PATHS = st.sampled_from(
    ["probes", "nodes/no-such-node/commands", "nodes/malformed-worker/commands", "nodes/x/agent"]
)


@st.composite
def lab(draw: Draw, served: Served, kept: dict[str, Object]) -> tuple[Case, str]:
    """Return a broken request to what only this provider has."""
    del served, kept
    flow = {"from": {"namespace": "malformed", "pod": "running"}, "to": "10.96.0.1", "port": 443}
    body: Any = {"flows": [flow], "argv": ["true"], "deadlineSeconds": 0.1}
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(breaking.held_paths(body)))
        body = breaking.graft(body, path, draw(GARBAGE))
        if not isinstance(body, dict) or not body:
            break
    data = draw(st.one_of(st.just(encoded(body)), BYTES))
    path = f"/apis/lab.k8slab.dev/v1/{draw(LAB_PATHS)}"
    return Case("POST", path, data, _typed(JSON)), ""


@st.composite
def bodies(draw: Draw, served: Served, kept: dict[str, Object]) -> tuple[Case, str]:
    """Return any method on any kind with bytes that are no object of it."""
    kind = draw(st.sampled_from([k for k in served.kinds if k.resource in kept]))
    name = kept[kind.resource]["metadata"]["name"]
    method = draw(st.sampled_from(["POST", "PUT", "PATCH", "DELETE"]))
    sub = draw(st.sampled_from(["", *(f"/{word}" for word in sorted(kind.subresources))]))
    path = kind.path if method == "POST" and not sub else f"{kind.path}/{name}{sub}"
    if method == "DELETE" and not sub:
        path = f"{kind.path}/{new_name()}"
    query = draw(st.sampled_from(["", "", "?fieldManager=a"]))
    body = draw(st.one_of(BYTES, truncated(encoded(kept[kind.resource])), protobufs(kind)))
    return Case(method, path + query, body, _typed(draw(MEDIA))), ""


def truncated(body: bytes) -> st.SearchStrategy[bytes]:
    """Return the beginning of a body."""
    return st.integers(0, len(body) - 1).map(lambda end: body[:end])


@st.composite
def protobufs(draw: Draw, kind: Kind) -> bytes:
    """Return a protobuf envelope of the right kind around nonsense."""
    head = _message(1, kind.api_version.encode()) + _message(2, kind.kind.encode())
    raw = b"".join(
        draw(st.lists(wire_fields(3), max_size=4))
        + draw(st.sampled_from([[], [b"\xff"], [b"\x0a"]]))
    )
    return b"k8s\x00" + _message(1, head) + _message(2, raw)


def wire_fields(depth: int) -> st.SearchStrategy[bytes]:
    """Return one field of a protobuf message."""
    numbers = st.integers(1, 30)
    plain = st.one_of(
        st.builds(_varint_field, numbers, st.sampled_from([0, 1, 2**31, 2**63, 2**64 - 1, 2**69])),
        st.builds(_message, numbers, st.binary(max_size=12)),
        st.builds(_message, numbers, st.sampled_from([b"{", b"\xff\xfe", b"a" * 300, b"NaN"])),
        st.builds(lambda n: _varint(n << 3 | 1) + struct.pack("<d", float("nan")), numbers),
        st.builds(lambda n: _varint(n << 3 | 5) + b"\xff\xff\xff\xff", numbers),
        st.builds(lambda n: _varint(n << 3 | 3), numbers),
    )
    if depth == 0:
        return plain
    inner = st.lists(wire_fields(depth - 1), max_size=3).map(b"".join)
    return st.one_of(plain, st.builds(_message, numbers, inner))


def _varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def _varint_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _message(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data
