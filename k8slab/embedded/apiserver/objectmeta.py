"""Fill and guard ``metadata``: what the server owns, and what a client may say.

Source: apiserver ``registry/rest`` (BeforeCreate, BeforeUpdate) and ``names.SimpleNameGenerator``.
"""

from __future__ import annotations

import random
import time
import uuid
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import orjson

from k8slab.embedded import clock
from k8slab.embedded.apiserver import statuses

if TYPE_CHECKING:
    from k8slab.objects.meta import Object

SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels and no look-alikes: apimachinery ``util/rand``."""

GENERATE_NAME_LIMIT = 58
"""63 for a label, less the five random letters."""

SERVER_OWNED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")

_ORDER = (
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
)
"""The order of the fields in the API's types, which clients print."""


def now_text() -> str:
    """Return the time as the API writes it: RFC 3339, seconds, UTC."""
    return time_text(clock.now())


def time_text(moment: float) -> str:
    """Return a moment (seconds since the epoch) as the API writes it."""
    return _second_text(int(moment))


def moment(text: str) -> float:
    """Return the seconds since the epoch of a time as the API writes it."""
    return datetime.fromisoformat(text).timestamp()


@lru_cache(maxsize=1)
def _second_text(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def copy(obj: Any) -> Any:
    """Return a deep copy of a JSON value (through JSON, which is the fastest way)."""
    return orjson.loads(orjson.dumps(obj))


def random_suffix(length: int = 5) -> str:
    """Return random letters as ``generateName`` appends them."""
    return "".join(random.choices(SUFFIX_LETTERS, k=length))


def generated_name(prefix: str) -> str:
    """Return a name for ``generateName``."""
    return prefix[:GENERATE_NAME_LIMIT] + random_suffix()


def new_metadata(metadata: Object, *, namespace: str, generation: bool) -> Object:
    """Return the metadata of an object that is being created."""
    if metadata.get("resourceVersion"):
        raise statuses.bad_request("resourceVersion should not be set on objects to be created")
    name = metadata.get("name") or ""
    if not name and (prefix := metadata.get("generateName")):
        name = generated_name(prefix)
    made = {
        key: value
        for key, value in metadata.items()
        if key not in SERVER_OWNED and key != "selfLink" and value not in (None, {}, [], "")
    }
    made["name"] = name
    made["uid"] = str(uuid.uuid4())
    made["creationTimestamp"] = now_text()
    if namespace:
        made["namespace"] = namespace
    else:
        made.pop("namespace", None)
    made.pop("generation", None)
    if generation:
        made["generation"] = 1
    return ordered(made)


def kept_metadata(new: Object, old: Object) -> Object:
    """Return the metadata of an update: the server's own fields come from `old`."""
    made = {
        key: value
        for key, value in new.items()
        if key not in SERVER_OWNED
        and key not in ("selfLink", "generation")
        and value not in (None, {}, [], "")
    }
    for key in (*SERVER_OWNED, "name", "namespace", "generation", "generateName"):
        if key in old:
            made[key] = old[key]
    made["resourceVersion"] = old["resourceVersion"]
    return ordered(made)


def ordered(metadata: Object) -> Object:
    """Return the same metadata with its fields in the order of the API's types."""
    made = {key: metadata[key] for key in _ORDER if key in metadata}
    made.update((key, value) for key, value in metadata.items() if key not in made)
    return made


def check_place(metadata: Object, name: str, namespace: str) -> None:
    """Refuse with 400 an object that is not the one which the path of the request names.

    Source: ``endpoints/handlers/rest.go`` (checkName). No namespace means that of the path.
    """
    own, space = metadata.get("name") or "", metadata.get("namespace") or ""
    if not own:
        raise statuses.bad_request(
            f"the name of the object ({name} based on URL) was undeterminable: "
            "name must be provided"
        )
    if own != name:
        raise statuses.bad_request(
            f"the name of the object ({own}) does not match the name on the URL ({name})"
        )
    if namespace and space not in ("", namespace):
        raise statuses.bad_request(
            f"the namespace of the object ({space}) does not match "
            f"the namespace on the request ({namespace})"
        )


def check_owner(obj: Object, *, uid: str, version: str) -> None:
    """Refuse with 409 when a delete's preconditions do not hold."""
    metadata, name = obj["metadata"], obj["metadata"]["name"]
    group = obj["apiVersion"].rpartition("/")[0]
    kind = f"{obj['kind']}.{group}" if group else obj["kind"]
    if uid and uid != metadata["uid"]:
        why = (
            f"the UID in the precondition ({uid}) does not match the UID in record "
            f"({metadata['uid']}). The object might have been deleted and then recreated"
        )
        raise statuses.conflict(kind, name, why)
    if version and version != metadata["resourceVersion"]:
        why = (
            f"the ResourceVersion in the precondition ({version}) does not match the "
            f"ResourceVersion in record ({metadata['resourceVersion']}). The object might have "
            "been modified"
        )
        raise statuses.conflict(kind, name, why)
