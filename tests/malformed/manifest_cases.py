"""Manifests as learners, editors and other systems write them, and as they should not.

`READ` holds what kubectl and our own reader read alike. `REFUSED` holds what one of them refuses:
(text, a part of kubectl's or the server's message, a part of our reader's); ``READS`` is the word
for who reads it.
"""

from __future__ import annotations

import json

MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n"


def _map(name: str, rest: str = "") -> bytes:
    return (MAP.format(name=name) + rest).encode()


READS = "it is read"

_LAUGHS = "data:\n  a: &a x\nx0: &x0 [*a, *a]\n" + "".join(
    f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]\n" for n in range(1, 9)
)

READ = {
    "anchors": _map("m-anchors", "data: {a: &a text, b: *a}\n"),
    "merge keys": _map("m-merge", "data:\n  <<: &x {a: b}\n  c: d\n"),
    "windows line ends": _map("m-crlf", "data:\n  a: b\n").replace(b"\n", b"\r\n"),
    "byte order mark": b"\xef\xbb\xbf" + _map("m-bom"),
    "several documents": b"---\n" + _map("m-one") + b"---\n---\n# none\n---\n" + _map("m-two"),
    "json": json.dumps(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m-json"}}
    ).encode(),
    "a list": json.dumps(
        {
            "apiVersion": "v1",
            "kind": "List",
            "items": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m-list"}}],
        }
    ).encode(),
    "unicode values": _map("m-unicode", "data: {a: 'é中文\U0001f600'}\n"),
    "tabs in text": _map("m-tabs", "data:\n  a: 'x\ty'\n"),
    "base-60 and dates stay text": _map("m-text", "data: {a: '22:22', b: '2026-11-21'}\n"),
    "comments and blank lines": b"# why\n\n" + _map("m-comments") + b"\n# end\n",
}

REFUSED = {
    "tabs": (
        _map("m", "data:\n\ta: b\n"),
        "found character that cannot start any token",
        "indented with a tab",
    ),
    "duplicate keys": (
        _map("m-twice", "data: {a: b}\ndata: {c: d}\n"),
        READS,  # the last one wins, without a word
        "stands twice",
    ),
    "an unknown field": (_map("m", "dat: {a: b}\n"), 'unknown field "dat"', READS),
    "an unicode name": (_map("wéb"), "a lowercase RFC 1123 subdomain must consist of", READS),
    "a name that is a number": (_map("5"), "", "metadata.name must be text"),
    "a wrong type": (_map("m", "data: [a]\n"), "ConfigMap.data of type map[string]string", READS),
    "a number as a value": (_map("m", "data: {a: 5}\n"), "ConfigMap.data of type string", READS),
    "no kind": (b"apiVersion: v1\n", "kind not set", "the object has no kind"),
    "an unknown kind": (b"apiVersion: v1\nkind: Cat\nmetadata: {name: m}\n", 'kind "Cat"', READS),
    "billion laughs": (_map("m", _LAUGHS), "excessive aliasing", "expand to more than"),
    "an anchor in itself": (_map("m", "data: &a [*a]\n"), "contains itself", "contains itself"),
    "invalid utf-8": (_map("m-utf") + b"data: {a: '\xff'}\n", READS, "not UTF-8"),
    "deep nesting": (_map("m", "data: " + "[" * 20_000), "", "nested deeper than 200"),
    "truncated json": (b'{"apiVersion": "v1", "kind": "Conf', "", "f.yaml:1: "),
    "a control character": (_map("m", 'data: {a: "\x01"}\n'), "control characters", "U+0001"),
    "a large object": (
        _map("m", f"data: {{a: {'x' * (1 << 20)}, b: z}}\n"),
        "Too long: may not be more than 1048576 bytes",
        READS,
    ),
    "five megabytes": (
        _map("m", f"data: {{a: {'x' * (5 << 20)}}}\n"),
        "Request entity too large: limit is 3145728",
        READS,
    ),
}
