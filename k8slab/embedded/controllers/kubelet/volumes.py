"""Volumes: the files of ConfigMaps, Secrets, tokens and the downward API, and empty directories.

A volume's files are computed as a plain dict from path to bytes and computed again when a
source changes; the runtime then rewrites them in the running containers. What needs a
machine's disk (claims, hostPath other than ``/``) does not exist here and says so.
Source: core/v1 ``VolumeSource``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.controllers.kubelet import resources
from k8slab.embedded.controllers.kubelet.environment import ConfigError, data_of, field_of
from k8slab.embedded.runtime.spec import FILE_MODE, FileData, Mount
from k8slab.objects.meta import Object, name_of, namespace_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from k8slab.embedded.controllers.context import Credentials
    from k8slab.embedded.controllers.kubelet.environment import Sources

Files = dict[str, bytes]


class NodeRoot:
    """The file system of the node (hostPath ``/``), as ``kubectl debug node`` mounts it."""


NODE_ROOT = NodeRoot()
Content = Files | NodeRoot | None
"""What a volume holds: files, the node's file system, or (``None``) nothing yet."""

TOKEN_SECONDS = 3607
"""What the API server's admission asks for in a projected token, when nothing else is asked."""


def contents(volume: Object, sources: Sources, credentials: Credentials) -> Content:
    """Return what a volume holds; raises `ConfigError`."""
    readers: Mapping[str, Callable[[Object], Content]] = {
        "emptyDir": lambda _: None,
        "hostPath": lambda source: _node_root(volume["name"], source),
        "configMap": lambda source: _keys(source, source["name"], "configmaps", sources),
        "secret": lambda source: _keys(source, source["secretName"], "secrets", sources),
        "downwardAPI": lambda source: _downward(source, sources),
        "projected": lambda source: _projected(source, sources, credentials),
    }
    for kind, read in readers.items():
        if kind in volume:
            source = volume[kind] or {}
            found = read(source)
            return _with_modes(found, source) if isinstance(found, dict) else found
    kind = next((key for key in volume if key != "name"), "emptyDir")
    if kind == "emptyDir":
        return None
    raise ConfigError(
        f'volume "{volume["name"]}" is of type {kind}, which the embedded cluster does not have; '
        "use emptyDir, configMap, secret, downwardAPI or projected"
    )


def _node_root(name: str, source: Object) -> NodeRoot:
    if source.get("path") != "/":
        raise ConfigError(
            f'volume "{name}": a node of the embedded cluster has no disk, so that hostPath can '
            f'show its root ("/") only, not {source.get("path")!r}; use emptyDir'
        )
    return NODE_ROOT


def _with_modes(files: Files, source: Object) -> Files:
    """Return files that know their modes: each item's own, or the volume's ``defaultMode``."""
    parts = [source]
    for part in source.get("sources") or ():
        parts += [inner for inner in part.values() if isinstance(inner, dict)]
    own: dict[str, int] = {
        item["path"]: item["mode"]
        for part in parts
        for item in part.get("items") or ()
        if item.get("mode") is not None
    }
    default: int = source.get("defaultMode", FILE_MODE)
    return {path: FileData.of(data, own.get(path, default)) for path, data in files.items()}


def token_life(pod: Object) -> float | None:
    """Return the life in seconds of the shortest-lived token among the volumes, if any."""
    lives = [
        float(source["serviceAccountToken"].get("expirationSeconds") or TOKEN_SECONDS)
        for volume in pod["spec"].get("volumes") or ()
        for source in (volume.get("projected") or {}).get("sources") or ()
        if source.get("serviceAccountToken")
    ]
    return min(lives, default=None)


def mounts(
    container: Object, files: Mapping[str, Content], expand: Callable[[str], str]
) -> tuple[Mount, ...]:
    """Return the mounts of one container; `files` are the pod's volumes by name."""
    found = []
    for mount in container.get("volumeMounts") or ():
        if mount["name"] not in files:
            raise ConfigError(
                f'volume "{mount["name"]}" of container {container["name"]} not found'
            )
        content = files[mount["name"]]
        found.append(
            Mount(
                path=mount["mountPath"],
                volume=mount["name"],
                files=None if isinstance(content, NodeRoot) else content,
                node_root=isinstance(content, NodeRoot),
                read_only=bool(mount.get("readOnly")) or isinstance(content, dict),
                sub_path=mount.get("subPath") or expand(mount.get("subPathExpr") or ""),
            )
        )
    return tuple(found)


def references(pod: Object) -> set[tuple[str, str]]:
    """Return the (resource, name) of each ConfigMap and Secret that the pod's volumes show."""
    found: set[tuple[str, str]] = set()
    for volume in pod["spec"].get("volumes") or ():
        sources = (volume, *((volume.get("projected") or {}).get("sources") or ()))
        for source in sources:
            if source.get("configMap"):
                found.add(("configmaps", source["configMap"].get("name", "")))
            if source.get("secret"):
                secret = source["secret"]
                found.add(("secrets", secret.get("secretName") or secret.get("name") or ""))
    return found


def _keys(source: Object, name: str, resource: str, sources: Sources) -> Files:
    """Read a ConfigMap or Secret; `items` choose keys and give them paths."""
    obj = sources.find(resource, name)
    if obj is None:
        if source.get("optional"):
            return {}
        word = "configmap" if resource == "configmaps" else "secret"
        raise ConfigError(f'{word} "{name}" not found')
    data = data_of(obj)
    items = source.get("items")
    if not items:
        return data
    found: Files = {}
    for item in items:
        if item["key"] in data:
            found[item["path"]] = data[item["key"]]
        elif not source.get("optional"):
            place = f"{namespace_of(obj)}/{name_of(obj)}"
            raise ConfigError(f"references non-existent config key: {item['key']} in {place}")
    return found


def _downward(source: Object, sources: Sources) -> Files:
    found: Files = {}
    for item in source.get("items") or ():
        if "fieldRef" in item:
            text = field_of(sources.pod, item["fieldRef"]["fieldPath"])
        else:
            text = resources.field(item["resourceFieldRef"], {}, sources.pod)
        found[item["path"]] = text.encode()
    return found


def _projected(source: Object, sources: Sources, credentials: Credentials) -> Files:
    found: Files = {}
    parts: Iterable[Object] = source.get("sources") or ()
    for part in parts:
        if "serviceAccountToken" in part:
            wanted = part["serviceAccountToken"]
            token = credentials.pod_token(
                sources.pod,
                audience=wanted.get("audience") or "",
                seconds=int(wanted.get("expirationSeconds") or TOKEN_SECONDS),
            )
            found[wanted["path"]] = token.encode()
        elif "configMap" in part:
            found.update(_keys(part["configMap"], part["configMap"]["name"], "configmaps", sources))
        elif "secret" in part:
            found.update(_keys(part["secret"], part["secret"]["name"], "secrets", sources))
        elif "downwardAPI" in part:
            found.update(_downward(part["downwardAPI"], sources))
        else:
            raise ConfigError(f"unknown source of a projected volume: {sorted(part)}")
    return found
