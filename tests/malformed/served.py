"""What a running cluster serves, read from itself: kinds by discovery, fields by OpenAPI."""

from __future__ import annotations

import itertools
import json
import os
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import yaml

from k8slab.embedded.apiserver import pki
from k8slab.embedded.config import ClusterPaths
from tests.malformed.valid import EXAMPLES, definition
from tests.malformed.wire import Case, Wire

if TYPE_CHECKING:
    from tests.malformed.wire import Answer

NAMESPACE = "malformed"
Schema = dict[str, Any]
Object = dict[str, Any]
_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Kind:
    """One served kind, with its schema and the names of its subresources."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    verbs: frozenset[str]
    subresources: frozenset[str]
    schema: Schema = field(hash=False, compare=False)

    @property
    def resource(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def path(self) -> str:
        """Return where objects are created."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        inside = f"/namespaces/{NAMESPACE}" if self.namespaced else ""
        return f"{root}{inside}/{self.plural}"

    def example(self, name: str) -> Object:
        """Return a valid object."""
        metadata: Object = {"name": name}
        if self.namespaced:
            metadata["namespace"] = NAMESPACE
        obj = {"apiVersion": self.api_version, "kind": self.kind, "metadata": metadata}
        if self.kind == "CustomResourceDefinition":
            plural = "".join(chr(97 + int(digit)) for digit in name if digit.isdigit()) + "boxes"
            return definition(plural)
        return obj | json.loads(json.dumps(EXAMPLES.get(self.resource, {})))


class Served:
    """A running cluster, seen from outside."""

    def __init__(self, name: str, daemon: int = 0) -> None:
        paths = ClusterPaths.of(name)
        self.daemon = daemon
        config = yaml.safe_load(paths.kubeconfig.read_text())
        self.kubeconfig = paths.kubeconfig
        self.port = urlsplit(config["clusters"][0]["cluster"]["server"]).port or 0
        self.context = pki.client_context(paths.inside / "pki")
        self.stranger = ssl.create_default_context(cafile=str(paths.inside / "pki" / "ca.crt"))
        self.log = paths.log
        self._read = 0
        self.wire = self.connect()
        self._documents: dict[str, Any] = {}
        self.prepare()
        self.kinds = self._kinds()

    def close(self) -> None:
        self.wire.close()

    def connect(self, context: ssl.SSLContext | None = None) -> Wire:
        """Return a connection of its own."""
        return Wire(self.port, context or self.context)

    # --- asking

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send an ordinary request."""
        data = b"" if body is None else json.dumps(body).encode()
        named = {"Content-Type": "application/json", **headers}
        answer = self.wire.request(Case(method, path, data, dict(named)))
        assert answer is not None, f"{method} {path} was not answered"
        return answer

    def prepare(self) -> None:
        """Make the namespace and the definition that the examples need."""
        namespace = {"metadata": {"name": NAMESPACE}}
        assert self.ask("POST", "/api/v1/namespaces", namespace).status in (201, 409)
        crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        assert self.ask("POST", crds, definition()).status in (201, 409)
        pod = {
            "metadata": {"name": "running"},
            "spec": {"containers": [{"name": "main", "image": "k8slab/app"}]},
        }
        path = f"/api/v1/namespaces/{NAMESPACE}/pods"
        assert self.ask("POST", path, pod).status in (201, 409)

    def keep(self) -> dict[str, Object]:
        """Make an object of every kind that can be changed; returns them by resource."""
        kept = {}
        for kind in self.kinds:
            if "update" in kind.verbs:
                answer = self.ask("POST", kind.path, kind.example(new_name()))
                assert answer.status == 201, (kind.resource, answer.json["message"])
                kept[kind.resource] = answer.json
                # Of any version: what is sent must not be refused for its age alone.
                del kept[kind.resource]["metadata"]["resourceVersion"]
        return kept

    def wanted(self, path: str) -> Any:
        """Return what of an object only clients change; ``None`` when it is not there."""
        answer = self.ask("GET", path)
        if answer.status != 200:
            return None
        obj = answer.json
        obj.pop("status", None)
        obj["metadata"].pop("resourceVersion")
        return obj

    def new_complaints(self) -> str:
        """Return what the daemon logged since the last time, when it is a traceback or an error."""
        if self.log.stat().st_size == self._read:
            return ""
        with self.log.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        self._read += len(text)
        said = text.decode("utf-8", "replace")
        return said if re.search(r"Traceback|ERROR|Exception|never awaited", said) else ""

    # --- kinds

    def _kinds(self) -> list[Kind]:
        found = []
        groups = self.ask("GET", "/apis").json["groups"]
        places = [("", "v1"), *((g["name"], v["version"]) for g in groups for v in g["versions"])]
        for group, version in places:
            if group == "lab.k8slab.dev":
                continue
            place = f"apis/{group}/{version}" if group else f"api/{version}"
            rows = self.ask("GET", f"/{place}").json["resources"]
            for row in rows:
                if "/" in row["name"] or row["name"] == "bindings":
                    continue
                subs = (r["name"].partition("/") for r in rows)
                found.append(
                    Kind(
                        group=group,
                        version=version,
                        plural=row["name"],
                        kind=row["kind"],
                        namespaced=row["namespaced"],
                        verbs=frozenset(row["verbs"]),
                        subresources=frozenset(s for p, _, s in subs if p == row["name"] and s),
                        schema=self._schema(place, group, version, row["kind"]),
                    )
                )
        return found

    def kind(self, resource: str) -> Kind:
        return next(kind for kind in self.kinds if kind.resource == resource)

    def _schema(self, place: str, group: str, version: str, word: str) -> Schema:
        wanted = {"group": group, "version": version, "kind": word}
        for schema in self._document(place)["components"]["schemas"].values():
            if wanted in schema.get("x-kubernetes-group-version-kind", ()):
                return {**schema, "x-place": place}
        raise AssertionError(f"{place} has no schema of {word}")

    def _document(self, place: str) -> Any:
        if place not in self._documents:
            self._documents[place] = self.ask("GET", f"/openapi/v3/{place}").json
        return self._documents[place]

    def resolved(self, schema: Schema, place: str) -> Schema:
        """Return a schema with its reference, if it is one, replaced by what it refers to."""
        for part in schema.get("allOf") or ():
            schema = {**schema, **part}
        if reference := schema.get("$ref"):
            name = reference.rpartition("/")[2]
            found: Schema = self._document(place)["components"]["schemas"][name]
            return found
        return schema


def new_name() -> str:
    """Return a name that no object has had."""
    return f"odd-{os.getpid()}-{next(_NUMBERS)}"


def memory_of(pid: int) -> int:
    """Return the bytes of memory that a process holds (``VmRSS``, proc_pid_status(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0])
