"""Check the volumes of a pod.

Source: ``ValidateVolumes``, ``validateKeyToPath``, ``validateProjectionSources`` and others of
``pkg/apis/core/validation/validation.go``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.apiserver.statuses import (
    FieldError,
    each,
    forbidden,
    invalid,
    not_supported,
    required,
)
from k8slab.embedded.apiserver.validation.common import unique_name_errors
from k8slab.embedded.apiserver.validation.sources import OF_FILES, amount_errors, field_errors

if TYPE_CHECKING:
    from k8slab.objects.meta import Object

MODE_MESSAGE = "must be a number between 0 and 0777 (octal), both inclusive"
SHORTEST_TOKEN = 600
"""Seconds."""
HOST_PATH_TYPES = (
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)


def volume_errors(volumes: list[Object], path: str) -> tuple[list[FieldError], set[str]]:
    """Return what is wrong with a pod's volumes, and their names."""
    errors: list[FieldError] = []
    taken: set[str] = set()
    for number, volume in each(volumes, errors):
        where = f"{path}[{number}]"
        errors += unique_name_errors(volume, where, taken)
        given = [key for key in volume if key != "name" and volume[key] is not None]
        why = "may not specify more than 1 volume type"
        errors += [forbidden(f"{where}.{source}", why) for source in given[1:]]
        for kind in given[:1]:
            errors += _source_errors(kind, volume[kind], f"{where}.{kind}")
    return errors, taken


def _source_errors(kind: str, source: Object, path: str) -> list[FieldError]:
    match kind:
        case "configMap" | "secret":
            named = "name" if kind == "configMap" else "secretName"
            errors = [] if source.get(named) else [required(f"{path}.{named}")]
            return errors + _mode_errors(source, path) + _item_errors(source, path)
        case "downwardAPI":
            return _mode_errors(source, path) + _file_errors(source, path)
        case "projected":
            return _mode_errors(source, path) + _projected_errors(source, path)
        case "hostPath":
            return _host_path_errors(source, path)
        case "persistentVolumeClaim" if not source.get("claimName"):
            return [required(f"{path}.claimName")]
        case "nfs":
            return [required(f"{path}.{f}") for f in ("server", "path") if not source.get(f)]
    return []


def _mode_errors(source: Object, path: str, field: str = "defaultMode") -> list[FieldError]:
    mode = source.get(field)
    if mode is None or 0 <= mode <= 0o777:
        return []
    return [invalid(f"{path}.{field}", mode, MODE_MESSAGE)]


def _local_path_errors(place: str, path: str) -> list[FieldError]:
    """Check a path below a volume (ValidateLocalNonReservedPath)."""
    errors = []
    if place.startswith("/"):
        errors.append(invalid(path, place, "must be a relative path"))
    if ".." in place.split("/"):
        errors.append(invalid(path, place, "must not contain '..'"))
    elif place.startswith(".."):
        errors.append(invalid(path, place, "must not start with '..'"))
    return errors


def _item_errors(source: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for number, item in each(source.get("items"), errors):
        where = f"{path}.items[{number}]"
        errors += [required(f"{where}.{f}") for f in ("key", "path") if not item.get(f)]
        errors += _local_path_errors(item.get("path") or "", f"{where}.path")
        errors += _mode_errors(item, where, "mode")
    return errors


def _file_errors(source: Object, path: str) -> list[FieldError]:
    """Check the files of a ``downwardAPI``; a real server numbers them nowhere."""
    errors: list[FieldError] = []
    for _, item in each(source.get("items"), errors):
        place = item.get("path") or ""
        if not place:
            errors.append(required(f"{path}.path"))
        errors += _local_path_errors(place, f"{path}.path")
        field, amount = item.get("fieldRef"), item.get("resourceFieldRef")
        if field is not None:
            errors += field_errors(field, OF_FILES, f"{path}.fieldRef")
            if amount is not None:
                why = "fieldRef and resourceFieldRef can not be specified simultaneously"
                errors.append(invalid(path, "resource", why))
        elif amount is not None:
            errors += amount_errors(amount, f"{path}.resourceFieldRef", of_file=True)
        else:
            errors.append(required(path, "one of fieldRef and resourceFieldRef is required"))
        errors += _mode_errors(item, path, "mode")
    return errors


def _projected_errors(projected: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    taken: set[str] = set()
    for number, source in each(projected.get("sources"), errors):
        where = f"{path}.sources[{number}]"
        for kind in ("secret", "configMap"):
            if (body := source.get(kind)) is not None:
                if not body.get("name"):
                    errors.append(required(f"{where}.{kind}.name"))
                errors += _item_errors(body, f"{where}.{kind}")
        if (body := source.get("downwardAPI")) is not None:
            errors += _file_errors(body, f"{where}.downwardAPI")
        if (body := source.get("serviceAccountToken")) is not None:
            errors += _token_errors(body, f"{where}.serviceAccountToken", path)
        if len([kind for kind in source if source[kind] is not None]) > 1:
            why = "may not specify more than 1 volume type per source"
            errors.append(forbidden(where, why))
        for kind in ("secret", "configMap", "downwardAPI"):
            for item in (source.get(kind) or {}).get("items") or ():
                place = item.get("path") or ""
                if place in taken:
                    named = source[kind].get("name") or place
                    errors.append(invalid(path, named, "conflicting duplicate paths"))
                taken.add(place)
        taken.discard("")
    return errors


def _token_errors(token: Object, path: str, volume: str) -> list[FieldError]:
    errors = []
    seconds = token.get("expirationSeconds")
    if seconds is not None and seconds < SHORTEST_TOKEN:
        why = "may not specify a duration less than 10 minutes"
        errors.append(invalid(f"{path}.expirationSeconds", seconds, why))
    elif seconds is not None and seconds > 1 << 32:
        why = "may not specify a duration larger than 2^32 seconds"
        errors.append(invalid(f"{path}.expirationSeconds", seconds, why))
    if not token.get("path"):
        return [*errors, required(f"{volume}.path")]
    return errors + _local_path_errors(token["path"], f"{volume}.path")


def _host_path_errors(source: Object, path: str) -> list[FieldError]:
    place, kind = source.get("path") or "", source.get("type")
    if not place:
        return [required(f"{path}.path")]
    errors = []
    if ".." in place.split("/"):
        errors.append(invalid(f"{path}.path", place, "must not contain '..'"))
    if kind is not None and kind not in HOST_PATH_TYPES:
        errors.append(not_supported(f"{path}.type", kind, HOST_PATH_TYPES))
    return errors
