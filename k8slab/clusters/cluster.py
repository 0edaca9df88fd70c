"""One cluster, as everything above this room sees it, whoever made it.

A handle is cheap: it reads its kubeconfig at the first question. All methods block. Errors
of the API are `ApiStatusError`.
"""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from k8slab.clusters import kubeconfig as kubeconfigs
from k8slab.clusters import waiting
from k8slab.clusters.media import APPLY, DEADLINE, JSON
from k8slab.clusters.resources import Resource, Resources
from k8slab.errors import ApiStatusError, ClusterNotReadyError, EnvironmentLacksError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from k8slab.clusters.execute import Input
    from k8slab.clusters.rest import Rest
    from k8slab.objects.meta import Object
    from k8slab.programs import Completed

    Objects = list[Object]
    Predicate = Callable[[Object], bool]
    NodeRunner = Callable[[str, Sequence[str], float], Completed]

MANAGER = "k8slab"
"""Our field manager in server-side apply."""


class Cluster:
    """A handle on one cluster: ask, apply, delete, wait, run."""

    def __init__(
        self,
        name: str,
        *,
        provider: str,
        kubeconfig: Path,
        context: str = "",
        capabilities: frozenset[str] = frozenset(),
        node_runner: NodeRunner | None = None,
    ) -> None:
        self.name = name
        self.provider = provider
        self.kubeconfig = kubeconfig
        self.context = context
        self.capabilities = capabilities
        self._node_runner = node_runner

    def __repr__(self) -> str:
        return f"<Cluster {self.name} ({self.provider})>"

    @property
    def kubectl(self) -> list[str]:
        """The words that begin a kubectl command for this cluster, KUBECONFIG being `kubeconfig`.

        In a file that is not k8slab's the current context may be another cluster's.
        """
        named = self.provider == "existing" and self.context
        return ["kubectl", *(["--context", self.context] if named else [])]

    @cached_property
    def rest(self) -> Rest:
        """The plain REST API behind this handle."""
        from k8slab.clusters.rest import Rest  # noqa: PLC0415  TLS; starting needs none

        plain = self.provider == "embedded"
        return Rest(kubeconfigs.read(self.kubeconfig, self.context, plain=plain))

    @cached_property
    def resources(self) -> Resources:
        """Where the API keeps each kind."""
        return Resources(self.rest)

    @cached_property
    def client(self) -> Any:
        """A ``kubernetes.client.ApiClient`` of the official client, for code that wants it."""
        from kubernetes import config  # noqa: PLC0415  half a second

        return config.new_client_from_config(  # type: ignore[no-untyped-call]
            str(self.kubeconfig), self.context or None
        )

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = JSON,
        deadline: float = DEADLINE,
    ) -> Any:
        """Send one request (`path` with its query string) and return the decoded answer."""
        return self.rest.request(
            method, path, body=body, content_type=content_type, deadline=deadline
        )

    def get(self, resource: str, name: str, namespace: str = "") -> Object | None:
        """Return one object, or ``None`` when there is none of this name."""
        found = self.resources.named(resource)
        try:
            answer: Object = self.rest.get(
                found.path(namespace=_namespace(found, namespace), name=name)
            )
        except ApiStatusError as error:
            if error.code == 404:
                return None
            raise
        return answer

    def list(self, resource: str, namespace: str = "", *, selector: str = "") -> Objects:
        """Return the objects of a namespace (all of them without one) that a selector matches."""
        return self._list(self.resources.named(resource), namespace, {"labelSelector": selector})[0]

    def apply(self, objects: Sequence[Object] | str, *, namespace: str = "") -> Objects:
        """Make objects (or the text of a manifest) so, and return them as the API now has them.

        Server-side apply with force: fields that another manager owns become ours. Fields that
        a kind does not have are refused, as kubectl asks for it (``fieldValidation=Strict``).
        Objects that name no namespace go to `namespace`, else to ``default``.
        """
        if isinstance(objects, str):
            from k8slab.objects.manifests import load_text  # noqa: PLC0415  YAML only if needed

            objects = [manifest.object for manifest in load_text(objects)]
        return [self._apply(obj, namespace) for obj in objects]

    def delete(
        self, resource: str, name: str, namespace: str = "", *, grace: int | None = None
    ) -> None:
        """Request the deletion of one object; that it is not there is success.

        Returns when the API has accepted, not when the object is gone: see `wait`.
        """
        found = self.resources.named(resource)
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if grace is not None:
            body["gracePeriodSeconds"] = grace  # type: ignore[assignment]
        try:
            self.rest.request(
                "DELETE", found.path(namespace=_namespace(found, namespace), name=name), body=body
            )
        except ApiStatusError as error:
            if error.code != 404:
                raise

    def wait(
        self,
        resource: str,
        name: str = "",
        namespace: str = "",
        *,
        until: str | Predicate = "ready",
        selector: str = "",
        deadline: float = 60.0,
    ) -> Objects:
        """Wait until all matching objects (at least one) fulfil a condition; return them.

        `until` is a function of the object or the words of `waiting.predicate`. With
        ``delete`` it waits until none is left. Watches, so it wakes at the change itself.
        `ClusterNotReadyError` says after `deadline` seconds what was still missing.
        """
        gone = until == "delete"
        words = until if isinstance(until, str) else "as wanted"
        fulfilled = waiting.predicate(until) if isinstance(until, str) else until
        found = self.resources.named(resource)
        where = _namespace(found, namespace) if name else namespace
        query = {"labelSelector": selector, "fieldSelector": name and f"metadata.name={name}"}
        state: dict[str, Object] = {}
        for state in self._states(found, where, query, time.monotonic() + deadline):
            if not state:
                if gone:
                    return []
                continue
            if all(fulfilled(obj) for obj in state.values()):
                return [*state.values()]
        what = f"{found.plural} {name or selector}".strip() + (f" in {where}" if where else "")
        raise ClusterNotReadyError(
            f"{what}: not {words} after {deadline:g} s",
            hint="\n  ".join(
                f"{obj['metadata']['name']}: {waiting.describe(obj)}"
                for obj in [*state.values()][:5]
                if not fulfilled(obj)
            )
            or "there is no such object",
        )

    def watch(
        self, resource: str, namespace: str = "", *, selector: str = "", deadline: float = 60.0
    ) -> Iterator[Object]:
        """Yield watch events (``type``, ``object``) from now on until `deadline` seconds passed."""
        found = self.resources.named(resource)
        query = {"labelSelector": selector}
        _, revision = self._list(found, namespace, query)
        yield from self._events(found, namespace, query, revision, time.monotonic() + deadline)

    def exec(
        self,
        namespace: str,
        pod: str,
        argv: Sequence[str],
        *,
        container: str = "",
        stdin: Input = b"",
        deadline: float = 30.0,
    ) -> Completed:
        """Run a command in a container and return its exit code and output.

        `stdin` may be a function, which is called when the command has said something first.
        """
        from k8slab.clusters.execute import execute  # noqa: PLC0415  WebSockets are heavy

        path = self.resources.named("pods").path(namespace=namespace, name=pod, subresource="exec")
        return execute(self.rest, path, argv, container=container, stdin=stdin, deadline=deadline)

    def logs(
        self,
        namespace: str,
        pod: str,
        *,
        container: str = "",
        tail: int | None = None,
        timestamps: bool = False,
    ) -> str:
        """Return what a container has written; with `timestamps` the time of each line first."""
        path = self.resources.named("pods").path(namespace=namespace, name=pod, subresource="log")
        query: dict[str, Any] = {"container": container, "tailLines": tail}
        if timestamps:
            query["timestamps"] = "true"
        return self.rest.text(path, query=query)

    def node_run(self, node: str, argv: Sequence[str], *, deadline: float = 30.0) -> Completed:
        """Run a command on a node, in its network namespace (capability ``nodes``)."""
        if self._node_runner is None:
            raise EnvironmentLacksError(
                f"the cluster {self.name} ({self.provider}) gives no shell on its nodes",
                hint="an embedded or a kind cluster does: `k8slab up`",
            )
        return self._node_runner(node, argv, deadline)

    def _apply(self, obj: Object, namespace: str) -> Object:
        found = self.resources.of(obj)
        where = obj["metadata"].get("namespace") or namespace
        path = found.path(namespace=_namespace(found, where), name=obj["metadata"]["name"])
        answer: Object = self.rest.request(
            "PATCH",
            path,
            query={"fieldManager": MANAGER, "force": "true", "fieldValidation": "Strict"},
            body=obj,
            content_type=APPLY,
        )
        return answer

    def _list(self, found: Resource, namespace: str, query: dict[str, str]) -> tuple[Objects, str]:
        answer = self.rest.get(found.path(namespace=namespace), query=query)
        kind = {"apiVersion": found.version, "kind": found.kind}
        return [kind | item for item in answer["items"]], answer["metadata"]["resourceVersion"]

    def _states(
        self, found: Resource, namespace: str, query: dict[str, str], ends: float
    ) -> Iterator[dict[str, Object]]:
        """Yield what there is, now and after each change, until the time is up."""
        while time.monotonic() < ends:
            items, revision = self._list(found, namespace, query)
            state = {_uid(item): item for item in items}
            yield state
            try:
                for event in self._events(found, namespace, query, revision, ends):
                    if event["type"] == "DELETED":
                        state.pop(_uid(event["object"]), None)
                    else:
                        state[_uid(event["object"])] = event["object"]
                    yield state
            except ApiStatusError as error:
                if error.code != 410:  # the revision is too old to go on from: list again
                    raise

    def _events(
        self, found: Resource, namespace: str, query: dict[str, str], revision: str, ends: float
    ) -> Iterator[Object]:
        left = ends - time.monotonic()
        if left <= 0:
            return
        options = {"watch": "1", "resourceVersion": revision, "timeoutSeconds": int(left) + 1}
        try:
            for event in self.rest.stream(
                found.path(namespace=namespace), query={**query, **options}, deadline=left
            ):
                if event["type"] == "ERROR":
                    status = event["object"]
                    raise ApiStatusError(
                        status.get("message", ""),
                        code=status.get("code", 500),
                        reason=status.get("reason", ""),
                    )
                if time.monotonic() >= ends:
                    return
                if event["type"] != "BOOKMARK":
                    yield event
        except TimeoutError:
            return


def _uid(obj: Object) -> str:
    return str(obj["metadata"]["uid"])


def _namespace(found: Resource, namespace: str) -> str:
    return (namespace or "default") if found.namespaced else ""
