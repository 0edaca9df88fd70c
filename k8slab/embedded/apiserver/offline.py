"""Say what the API would refuse in a manifest, without any server.

The same steps as for a request that creates the object: decode by the type (which finds
unknown fields and wrong types), fill in the defaults, check the rules of the kind. What needs
the other objects of a cluster (does the namespace exist?) is not asked.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from k8slab.embedded.apiserver import defaults, objectmeta, schema, validation
from k8slab.embedded.apiserver.kinds import KindTable
from k8slab.errors import ApiStatusError, ManifestError

if TYPE_CHECKING:
    from k8slab.objects.meta import Object


@lru_cache(maxsize=1)
def _kinds() -> KindTable:
    return KindTable.built_in()


def defaulted(obj: Object) -> Object:
    """Return an object with what the API fills in where a manifest says nothing.

    One of a kind that the embedded cluster does not serve is returned as it is.
    """
    kind = _kinds().of_object(obj["apiVersion"], obj["kind"])
    new: Object = objectmeta.copy(obj)
    if kind is not None:
        defaults.apply(kind, new)
    return new


def refusals(obj: Object) -> list[tuple[str, str]]:
    """Return the field and the message of everything that a real server would refuse.

    Unknown fields are among them, as with ``fieldValidation=Strict``, which is what kubectl
    asks for. Nothing is said of kinds that the embedded cluster does not serve.
    """
    kind = _kinds().of_object(obj["apiVersion"], obj["kind"])
    known = schema.type_of_kind(kind) if kind else None
    if kind is None or known is None:
        return []
    try:
        new = objectmeta.copy(obj)
    except TypeError as error:  # NaN, numbers beyond 64 bits: YAML has them, JSON has not
        raise ManifestError(f"{kind.kind} cannot be written as JSON: {error}") from error
    try:
        unknown = schema.decode(new, known)
    except schema.WrongTypeError as error:
        return [(error.path, str(error))]
    found = [(path, f'unknown field "{path}"') for path in unknown]
    metadata = new.get("metadata") or {}
    namespace = (metadata.get("namespace") or "default") if kind.namespaced else ""
    new["metadata"] = {**metadata, "namespace": namespace} if namespace else {**metadata}
    if not metadata.get("name") and (prefix := metadata.get("generateName")):
        new["metadata"]["name"] = prefix + objectmeta.random_suffix()
    defaults.apply(kind, new)
    try:
        validation.check(kind, new, None)
    except ApiStatusError as error:
        causes = error.details.get("causes") or [{"field": "", "message": error.args[0]}]
        found += [(cause.get("field", ""), cause["message"]) for cause in causes]
    return found
