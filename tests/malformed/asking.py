"""Requests that are odd in themselves: queries, paths, methods, headers, framing, streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hypothesis import strategies as st

from tests.malformed.breaking import NUMBERS, TEXTS
from tests.malformed.served import NAMESPACE
from tests.malformed.wire import Case

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.malformed.served import Object, Served

    Draw = Callable[[st.SearchStrategy], Any]

JSON = "application/json"
LONG = 50_000

PARAMETERS = (
    "labelSelector",
    "fieldSelector",
    "limit",
    "continue",
    "resourceVersion",
    "resourceVersionMatch",
    "timeoutSeconds",
    "sendInitialEvents",
    "allowWatchBookmarks",
    "watch",
    "propagationPolicy",
    "orphanDependents",
    "gracePeriodSeconds",
    "dryRun",
    "fieldManager",
    "fieldValidation",
    "force",
    "pretty",
    "includeObject",
    "container",
    "command",
    "stdin",
    "stdout",
    "tty",
    "ports",
    "tailLines",
    "limitBytes",
    "sinceSeconds",
    "sinceTime",
    "follow",
    "previous",
    "timestamps",
)
SELECTORS = st.sampled_from(
    [
        "a in (b,c",
        "a in",
        "a in b",
        "in in (in)",
        "!a,b!=c,d==e,f",
        "a==b==c",
        "a>1,b<2",
        "a>b",
        ",",
        ",,,",
        "(" * 1000,
        "," * LONG,
        "a=" + " " * LONG + "b",
        "a in (" + "," * LONG,
        "=",
        "!",
        "!!a",
        "a b",
        "é=é",
        "a=" + "b" * 64,
        "/a",
        "a/b/c=d",
        "metadata.name=",
        "metadata.name==a,metadata.name!=b",
        "status.phase=Running",
        "spec.nodeName",
        "no.such=field",
        "metadata.name\\=x",
        "a=\\",
    ]
)
VALUES = st.one_of(
    TEXTS,
    NUMBERS.map(str),
    SELECTORS,
    st.sampled_from(
        [
            "0",
            "1",
            "true",
            "false",
            "maybe",
            "All",
            "all",
            "Strict",
            "Exact",
            "NotOlderThan",
            "Foreground",
            "Background",
            "Orphan",
            "1_000",
            " 1",
            "+1",
            "٣",
            "9" * 5000,
            "1e400",
            "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiIvIn0",
            "eyJydiI6MWU0MDAsInN0YXJ0IjoiIn0",
            "eyJydiI6LTEsInN0YXJ0IjoiIn0",
            "bnVsbA",
            "W10",
            "main",
            "sh",
        ]
    ),
)


@st.composite
def queries(draw: Draw, served: Served, kept: dict[str, Object]) -> tuple[Case, str]:
    """Return a request whose query makes no sense."""
    kind = draw(st.sampled_from([k for k in served.kinds if k.resource in kept]))
    name = kept[kind.resource]["metadata"]["name"]
    subs = ["", "", *(f"/{word}" for word in sorted(kind.subresources))]
    path, method = (
        kind.path,
        draw(st.sampled_from(["GET", "GET", "GET", "POST", "DELETE", "PATCH"])),
    )
    if method in ("PATCH", "DELETE") or draw(st.booleans()):
        path += f"/{name}{draw(st.sampled_from(subs))}"
    if method == "DELETE":
        path += "-that-is-not-there"
    chosen = draw(st.lists(st.sampled_from(PARAMETERS), min_size=1, max_size=4))
    pairs = [f"{key}={quote(draw(VALUES), errors='surrogatepass')}" for key in chosen]
    pairs += draw(st.sampled_from([[], ["watch=true"], ["%zz"], ["&&=&"], [";"], ["a" * 1000]]))
    body = b'{"metadata":{}}' if method in ("POST", "PATCH") else b""
    media = "application/merge-patch+json" if method == "PATCH" else JSON
    return Case(method, f"{path}?{'&'.join(pairs)}", body, {"Content-Type": media}), ""


SEGMENTS = st.sampled_from(
    [
        "",
        ".",
        "..",
        "%2e%2e",
        "%2f",
        "%00",
        "%",
        "%zz",
        "%ff%fe",
        "%ed%a0%80",
        "a%0d%0aX-Injected:%201",
        "é".encode().decode("latin-1"),
        "api",
        "apis",
        "v1",
        "v2",
        "apps",
        "namespaces",
        NAMESPACE,
        "pods",
        "configmaps",
        "status",
        "scale",
        "proxy",
        "log",
        "openapi",
        "version",
        "watch",
        "lab.k8slab.dev",
        "probes",
        "denials",
        "nodes",
        "commands",
        "~",
        "*",
        ":",
        "a" * 300,
        "a" * 9000,
        "[::1]",
        "{}",
    ]
)
METHODS = st.sampled_from(
    ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"]
)


@st.composite
def paths(draw: Draw, served: Served, kept: dict[str, Object]) -> tuple[Case, str]:
    """Return a request for a path that mostly does not exist, with any method."""
    del served, kept
    start = draw(st.sampled_from(["/", "/api/v1/", "/apis/apps/v1/", "/apis/", "/openapi/v3/"]))
    path = start + "/".join(draw(st.lists(SEGMENTS, max_size=6)))
    method = draw(METHODS)
    body = draw(st.sampled_from([b"", b"{}", b"x"])) if method in ("POST", "PUT", "PATCH") else b""
    # A path that is real is not deleted by accident: all of a collection would go.
    method = "GET" if method == "DELETE" else method
    return Case(method, path, body, {"Content-Type": JSON} if body else {}), ""


HEADERS = st.one_of(
    st.tuples(
        st.just("Accept"),
        st.sampled_from(
            [
                "",
                ",",
                ";",
                "*",
                "*/*;q=x",
                "text/html",
                "application/json;as=Table",
                "application/json;as=Table;g=meta.k8s.io;v=v9",
                "application/json;as=Unheard;g=meta.k8s.io;v=v1",
                "application/json;as=Table;g=meta.k8s.io;v=v1",
                "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
                "application/json;" * 2000,
                "application/vnd.kubernetes.protobuf",
                "application/cbor",
                "application/json;stream=watch",
                "a=b;c=d;=;as",
            ]
        ),
    ),
    st.tuples(
        st.just("Authorization"),
        st.sampled_from(
            [
                "",
                "Bearer",
                "Bearer ",
                "Bearer a.b.c",
                "Bearer é",
                "Bearer " + "a" * 9000,
                "Basic dTpw",
                "Negotiate x",
                "bearer  eyJhbGciOiJub25lIn0.e30.",
                "Bearer eyJhbGciOiJFUzI1NiJ9.bnVsbA." + "A" * 86,
            ]
        ),
    ),
    st.tuples(
        st.sampled_from(
            [
                "Impersonate-User",
                "Impersonate-Group",
                "Impersonate-Uid",
                "Impersonate-Extra-a%ff",
                "Impersonate-Extra-",
            ]
        ),
        st.sampled_from(["", "x", "system:serviceaccount:a", "system:serviceaccount:::", ",", "é"]),
    ),
    st.tuples(
        st.just("Content-Type"),
        st.sampled_from(["", ";", "/", "é", "a" * 5000, "application/json;x"]),
    ),
    st.tuples(
        st.just("User-Agent"), st.sampled_from(["", "/", "é/1", "\x01", "a" * 9000, "kubectl/\t"])
    ),
    st.tuples(
        st.sampled_from(["Range", "If-Match", "If-None-Match", "Content-Encoding", "TE", "Origin"]),
        st.sampled_from(["", "x", "gzip", "bytes=0-1", "*", "trailers"]),
    ),
    st.tuples(
        st.sampled_from(["Upgrade", "Connection"]), st.sampled_from(["x", "h2c", "close", ""])
    ),
    st.tuples(st.just("Accept-Encoding"), st.sampled_from(["gzip", "identity;q=0", "*"])),
    st.tuples(st.just("X-Many"), st.just("a" * 3000)),
)


@st.composite
def headers(draw: Draw, served: Served, kept: dict[str, Object]) -> tuple[Case, str]:
    """Return an ordinary request with extraordinary headers."""
    kind = draw(st.sampled_from([k for k in served.kinds if k.resource in kept]))
    name = kept[kind.resource]["metadata"]["name"]
    paths = ["/version", "/api", "/apis", "/openapi/v2", kind.path, f"{kind.path}/{name}"]
    chosen = dict(draw(st.lists(HEADERS, min_size=1, max_size=3)))
    if draw(st.booleans()):
        return Case("GET", draw(st.sampled_from(paths)), headers=chosen), ""
    body = b'{"metadata":{"labels":{"a":"b"}}}'
    typed = {"Content-Type": "application/merge-patch+json", **chosen}
    return Case("PATCH", f"{kind.path}/{name}", body, typed), ""


STREAMS = ("exec", "attach", "portforward", "log", "eviction", "binding", "token")


@st.composite
def streams(draw: Draw, served: Served, kept: dict[str, Object]) -> tuple[Case, str]:
    """Return a request for a stream with parameters and upgrades that make no sense."""
    pod = kept["pods"]["metadata"]["name"]
    name = draw(st.sampled_from([pod, "running", "no-such-pod"]))
    path = f"{served.kind('pods').path}/{name}/{draw(st.sampled_from(STREAMS))}"
    words = st.sampled_from(
        ["container", "command", "stdin", "stdout", "stderr", "tty", "ports", *PARAMETERS[-8:]]
    )
    chosen = draw(st.lists(words, max_size=5))
    usual = draw(st.sampled_from(["", "command=ls&stdout=true&", "stdout=1&", "ports=80&"]))
    query = usual + "&".join(f"{w}={quote(draw(VALUES), errors='surrogatepass')}" for w in chosen)
    some = {
        "Upgrade": st.sampled_from(["websocket", "SPDY/3.1", "h2c", "x", "WebSocket, SPDY/3.1"]),
        "Sec-WebSocket-Key": st.sampled_from(["", "x", "dGhlIHNhbXBsZSBub25jZQ==", "é"]),
        "Sec-WebSocket-Protocol": st.sampled_from(
            [
                "",
                ",",
                "v4.channel.k8s.io",
                "v5.channel.k8s.io",
                "x",
                "é",
                "SPDY/3.1+portforward.k8s.io",
            ]
        ),
        "Sec-WebSocket-Version": st.sampled_from(["13", "8", "x"]),
        "X-Stream-Protocol-Version": st.sampled_from(["v4.channel.k8s.io", "x", ""]),
    }
    upgrade = draw(st.fixed_dictionaries({}, optional=some))
    if "Upgrade" in upgrade:
        upgrade["Connection"] = draw(st.sampled_from(["Upgrade", "upgrade, x", "close"]))
    method = draw(st.sampled_from(["GET", "POST"]))
    body = (
        draw(st.sampled_from([b"", b"{}", b"null", b'{"target":5}'])) if method == "POST" else b""
    )
    return Case(method, f"{path}?{query}", body, {"Content-Type": JSON, **upgrade}), ""
