"""Keep the table of kinds in step with the CustomResourceDefinitions.

What apiextensions-apiserver leaves to four controllers (naming, establishing, serving, cleaning
up) happens here with the change itself, so that a definition is served as soon as it is answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from k8slab.embedded.apiserver.custom.definitions import CLEANUP, RESOURCE
from k8slab.embedded.apiserver.custom.resource import AGE, Version, type_of_schema
from k8slab.embedded.apiserver.kinds import VERBS, Kind, Subresource, version_rank
from k8slab.embedded.apiserver.objectmeta import now_text
from k8slab.objects.meta import is_deleting, name_of, namespace_of, uid_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.embedded.apiserver.api import Api
    from k8slab.embedded.apiserver.store import Event
    from k8slab.objects.meta import Object


class Registry:
    """Serves what the definitions of one `Api` say."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._served: dict[str, list[Kind]] = {}
        self._listening: dict[str, Callable[[], None]] = {}
        definitions = api.list(RESOURCE)
        api.subscribe(RESOURCE, self._changed)
        for definition in definitions:
            self._take(definition)
            if is_deleting(definition):
                self._clean_up(name_of(definition))

    def _changed(self, event: Event) -> None:
        name = name_of(event.object)
        if event.type == "DELETED":
            self._drop(name)
            return
        current = self._api.get(RESOURCE, name)
        if current is None:
            return
        status = self._status(current)
        if status != current.get("status"):
            current = self._api.update_status(RESOURCE, {**current, "status": status})
        self._take(current)
        if is_deleting(current):
            self._clean_up(name)

    # --- names and conditions

    def _status(self, definition: Object) -> Object:
        spec, old = definition["spec"], definition.get("status") or {}
        conflict = self._conflict(definition)
        accepted = {
            key: value for key, value in spec["names"].items() if value not in (None, "", [])
        }
        conditions = old.get("conditions") or []
        named = ("False", *conflict) if conflict else ("True", "NoConflicts", "no conflicts found")
        conditions = _put(conditions, "NamesAccepted", *named)
        if not conflict:
            words = ("True", "InitialNamesAccepted", "the initial names have been accepted")
            conditions = _put(conditions, "Established", *words)
        elif not _holds(conditions, "Established"):
            words = ("False", "NotAccepted", "not all names are accepted")
            conditions = _put(conditions, "Established", *words)
        if is_deleting(definition):
            words = ("True", "InstanceDeletionInProgress", "CustomResource deletion is in progress")
            conditions = _put(conditions, "Terminating", *words)
        stored = list(old.get("storedVersions") or ())
        storage = _storage(spec)["name"]
        return {
            "conditions": conditions,
            "acceptedNames": (old.get("acceptedNames") or {"plural": "", "kind": ""})
            if conflict
            else accepted,
            "storedVersions": stored if storage in stored else [*stored, storage],
        }

    def _conflict(self, definition: Object) -> tuple[str, str] | None:
        """Return reason and message when another kind of the group has one of these names."""
        spec, resource = definition["spec"], name_of(definition)
        words = spec["names"]
        others = [
            kind
            for kind in self._api.kinds.rows.values()
            if kind.group == spec["group"] and (kind.resource != resource or not kind.custom)
        ]
        plurals = {
            name for kind in others for name in (kind.plural, kind.singular_name, *kind.short)
        }
        kinds = {name for kind in others for name in (kind.kind, f"{kind.kind}List")}
        for key, reason, taken in (
            ("plural", "PluralConflict", plurals),
            ("singular", "SingularConflict", plurals),
            ("kind", "KindConflict", kinds),
            ("listKind", "ListKindConflict", kinds),
        ):
            if words.get(key) in taken:
                return reason, f'"{words[key]}" is already in use'
        for short in words.get("shortNames") or ():
            if short in plurals:
                return "ShortNamesConflict", f'"{short}" is already in use'
        return None

    # --- serving

    def _take(self, definition: Object) -> None:
        """Serve a definition as it is now."""
        resource = name_of(definition)
        kinds = kinds_of(definition)
        if not _holds((definition.get("status") or {}).get("conditions") or (), "Established"):
            kinds = []
        for kind in self._served.pop(resource, ()):
            self._api.kinds.remove(kind)
        if not kinds:
            return
        self._served[resource] = kinds
        served = {v["name"] for v in definition["spec"]["versions"] if v.get("served")}
        for kind in kinds:  # the storage version is the last and stands for the resource
            self._api.kinds.add(kind, served=kind.version in served)
        if resource not in self._listening:
            listener = self._listener(resource)
            self._listening[resource] = self._api.store.subscribe(resource, listener)

    def _drop(self, resource: str) -> None:
        for kind in self._served.pop(resource, ()):
            self._api.kinds.remove(kind)
        if stop := self._listening.pop(resource, None):
            stop()

    # --- the end of a definition

    def _listener(self, resource: str) -> Callable[[Event], None]:
        def changed(event: Event) -> None:
            if event.type == "DELETED":
                definition = self._api.get(RESOURCE, resource)
                if definition is not None and is_deleting(definition):
                    self._clean_up(resource)

        return changed

    def _clean_up(self, resource: str) -> None:
        """Delete the objects of a definition that is going; the last one lets it go."""
        store = self._api.store
        for obj in store.list(resource):
            if not is_deleting(obj) and store.get(resource, namespace_of(obj), name_of(obj)):
                self._api.delete(resource, name_of(obj), namespace_of(obj), uid=uid_of(obj))
        definition = self._api.get(RESOURCE, resource)
        if definition is None or store.list(resource):
            return
        held = definition["metadata"].get("finalizers") or []
        if CLEANUP in held:
            left = [finalizer for finalizer in held if finalizer != CLEANUP]
            metadata = {**definition["metadata"], "finalizers": left}
            self._api.update(RESOURCE, {**definition, "metadata": metadata})


def kinds_of(definition: Object) -> list[Kind]:
    """Return a `Kind` for each version that is served or stored, the stored one last."""
    spec = definition["spec"]
    storage = _storage(spec)
    rows = [v for v in spec["versions"] if v.get("served") and v is not storage]
    return [_kind(definition, version) for version in (*rows, storage)]


def _kind(definition: Object, version: Object) -> Kind:
    spec, words = definition["spec"], definition["spec"]["names"]
    subresources = version.get("subresources") or {}
    made = []
    if subresources.get("scale") is not None:
        made.append(
            Subresource(
                name="scale",
                kind="Scale",
                verbs=("get", "patch", "update"),
                group="autoscaling",
                version="v1",
            )
        )
    if subresources.get("status") is not None:
        made.append(
            Subresource(name="status", kind=words["kind"], verbs=("get", "patch", "update"))
        )
    going = is_deleting(definition)
    return Kind(
        group=spec["group"],
        version=version["name"],
        plural=words["plural"],
        kind=words["kind"],
        singular=words.get("singular") or "",
        short=tuple(words.get("shortNames") or ()),
        categories=tuple(words.get("categories") or ()),
        namespaced=spec["scope"] == "Namespaced",
        verbs=tuple(verb for verb in VERBS if not (going and verb == "create")),
        subresources=tuple(made),
        custom=_version(definition, version),
    )


def _version(definition: Object, version: Object) -> Version:
    spec, metadata = definition["spec"], definition["metadata"]
    document = version["schema"]["openAPIV3Schema"]
    stored = set((definition.get("status") or {}).get("storedVersions") or ())
    name = ".".join([*reversed(spec["group"].split(".")), version["name"], spec["names"]["kind"]])
    # Unique for each form that the definition ever had: types are kept by name.
    form = f"{name}@{metadata['uid']}/{metadata.get('generation', 0)}"
    return Version(
        name=name,
        stored_as=f"{spec['group']}/{_storage(spec)['name']}",
        is_only=len(spec["versions"]) == 1 and stored <= {version["name"]},
        schema=document,
        columns=tuple(version.get("additionalPrinterColumns") or (AGE,)),
        scale=(version.get("subresources") or {}).get("scale"),
        selectable=tuple(
            field["jsonPath"].lstrip(".") for field in version.get("selectableFields") or ()
        ),
        type=type_of_schema(form, document),
        deprecation=_deprecation(spec, version),
    )


def _deprecation(spec: Object, version: Object) -> str:
    """Return what is told of a version that is going away (defaultDeprecationWarning)."""
    if not version.get("deprecated"):
        return ""
    if said := version.get("deprecationWarning"):
        return str(said)
    group, kind = spec["group"], spec["names"]["kind"]
    better = [
        other["name"]
        for other in spec["versions"]
        if other.get("served") and not other.get("deprecated")
    ]
    rank = version_rank(version["name"])
    better = [name for name in better if version_rank(name) < rank]
    warning = f"{group}/{version['name']} {kind} is deprecated"
    return f"{warning}; use {group}/{min(better, key=version_rank)} {kind}" if better else warning


def _storage(spec: Object) -> Object:
    found: Object = next(version for version in spec["versions"] if version.get("storage"))
    return found


def _holds(conditions: Any, word: str) -> bool:
    return any(c["type"] == word and c["status"] == "True" for c in conditions)


def _put(conditions: list[Object], word: str, status: str, reason: str, message: str) -> list:
    """Return the conditions with this one set; its time changes only with its status."""
    before = next((c for c in conditions if c["type"] == word), None)
    same = before is not None and before["status"] == status
    made = {
        "type": word,
        "status": status,
        "lastTransitionTime": before["lastTransitionTime"] if before and same else now_text(),
        "reason": reason,
        "message": message,
    }
    if before is None:
        return [*conditions, made]
    return [made if c["type"] == word else c for c in conditions]
