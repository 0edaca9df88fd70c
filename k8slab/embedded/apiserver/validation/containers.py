"""Check the containers of a pod. Source: ``pkg/apis/core/validation/validation.go``.

A container that only begins with the pod may have neither probes nor a lifecycle, unless it goes on
beside the others (``restartPolicy: Always``); an ephemeral one is a guest and may claim nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from k8slab.embedded.apiserver.statuses import (
    FieldError,
    duplicate,
    each,
    forbidden,
    invalid,
    missing,
    not_supported,
    required,
)
from k8slab.embedded.apiserver.validation import names
from k8slab.embedded.apiserver.validation.amounts import resource_errors
from k8slab.embedded.apiserver.validation.common import (
    PROTOCOLS,
    at_least_zero,
    one_of,
    port_number_errors,
    port_or_name_errors,
    unique_name_errors,
)
from k8slab.embedded.apiserver.validation.sources import env_errors, env_from_errors

if TYPE_CHECKING:
    from k8slab.objects.meta import Object

PULL_POLICIES = ("Always", "IfNotPresent", "Never")
RESTART_POLICIES = ("Always", "Never", "OnFailure")
MESSAGE_POLICIES = ("File", "FallbackToLogsOnError")
PROBE_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
HOOK_HANDLERS = ("exec", "httpGet", "tcpSocket", "sleep")
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
HOOKS = ("postStart", "preStop")
COUNTS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "failureThreshold")

NOT_EPHEMERAL = ("ports", "resources", *PROBES, "lifecycle", "resizePolicy", "restartPolicy")
"""What an ephemeral container may not claim (allowedEphemeralContainerFields)."""

_HEADER = re.compile(r"[-A-Za-z0-9]+\Z")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the containers of a pod share."""

    volumes: set[str]
    grace: int
    """Seconds; what a hook that sleeps may take."""
    taken: set[str] = field(default_factory=set)
    """The names of the containers before; grows."""


def container_errors(container: Object, path: str, pod: Surroundings) -> list[FieldError]:
    """Return what is wrong with a container of whatever group."""
    errors = unique_name_errors(container, path, pod.taken)
    image = container.get("image") or ""
    if not image:
        errors.append(required(f"{path}.image"))
    elif image != image.strip():
        why = "must not have leading or trailing whitespace"
        errors.append(invalid(f"{path}.image", image, why))
    errors += one_of(container.get("imagePullPolicy"), PULL_POLICIES, f"{path}.imagePullPolicy")
    errors += _ports_errors(container.get("ports") or [], f"{path}.ports")
    errors += env_errors(container.get("env") or [], f"{path}.env")
    errors += env_from_errors(container.get("envFrom") or [], f"{path}.envFrom")
    mounts = container.get("volumeMounts") or []
    errors += _mount_errors(mounts, f"{path}.volumeMounts", pod.volumes)
    errors += resource_errors(container.get("resources") or {}, f"{path}.resources")
    message = container.get("terminationMessagePolicy")
    if message and message not in MESSAGE_POLICIES:
        where = f"{path}.terminationMessagePolicy"
        errors.append(not_supported(where, message, MESSAGE_POLICIES))
    policy = container.get("restartPolicy")
    if policy is not None and policy not in RESTART_POLICIES:
        errors.append(not_supported(f"{path}.restartPolicy", policy, RESTART_POLICIES))
    security = container.get("securityContext") or {}
    errors += security_errors(security, f"{path}.securityContext")
    if security.get("privileged") and security.get("allowPrivilegeEscalation") is False:
        why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
        errors.append(invalid(f"{path}.securityContext", security, why))
    for probe in PROBES:
        if (body := container.get(probe)) is not None:
            errors += _probe_errors(body, f"{path}.{probe}")
    for hook in HOOKS:
        if (body := (container.get("lifecycle") or {}).get(hook)) is not None:
            where = f"{path}.lifecycle.{hook}"
            errors += _handler_errors(body, where, HOOK_HANDLERS)
            errors += _sleep_errors(body.get("sleep"), f"{where}.sleep", pod.grace)
    return errors


def security_errors(security: Object, path: str) -> list[FieldError]:
    """Return what is wrong with the numbers of a security context, of a container or a pod."""
    why = "must be between 0 and 2147483647, inclusive"
    return [
        invalid(f"{path}.{name}", security[name], why)
        for name in ("fsGroup", "runAsUser", "runAsGroup")
        if not 0 <= (security.get(name) or 0) < 2**31
    ]


def init_errors(container: Object, path: str) -> list[FieldError]:
    """Return what a container that runs before the others has and may not have."""
    if container.get("restartPolicy") == "Always":
        return []
    why = "may not be set for init containers without restartPolicy=Always"
    fields = ("lifecycle", *PROBES)
    return [forbidden(f"{path}.{f}", why) for f in fields if container.get(f) is not None]


def ephemeral_errors(container: Object, path: str) -> list[FieldError]:
    """Return what an ephemeral container has and may not have."""
    why = "cannot be set for an Ephemeral Container"
    errors = [forbidden(f"{path}.{field}", why) for field in NOT_EPHEMERAL if container.get(field)]
    for number, mount in enumerate(container.get("volumeMounts") or ()):
        errors += [
            forbidden(f"{path}.volumeMounts[{number}].{field}", why)
            for field in ("subPath", "subPathExpr")
            if mount.get(field)
        ]
    return errors


def _ports_errors(ports: list[Object], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    taken: set[str] = set()
    for number, port in each(ports, errors):
        where = f"{path}[{number}]"
        if name := port.get("name"):
            errors += [invalid(f"{where}.name", name, why) for why in names.port_name(name)]
            if name in taken:
                errors.append(duplicate(f"{where}.name", name))
            taken.add(name)
        if not port.get("containerPort"):
            errors.append(required(f"{where}.containerPort"))
        else:
            errors += port_number_errors(port["containerPort"], f"{where}.containerPort")
        if port.get("hostPort"):
            errors += port_number_errors(port["hostPort"], f"{where}.hostPort")
        errors += one_of(port.get("protocol"), PROTOCOLS, f"{where}.protocol")
    return errors


def _mount_errors(mounts: list[Object], path: str, volumes: set[str]) -> list[FieldError]:
    errors: list[FieldError] = []
    taken: set[str] = set()
    for number, mount in each(mounts, errors):
        where = f"{path}[{number}]"
        name, place = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            errors.append(required(f"{where}.name"))
        elif name not in volumes:
            errors.append(missing(f"{where}.name", name))
        if not place:
            errors.append(required(f"{where}.mountPath"))
        elif place in taken:
            errors.append(invalid(f"{where}.mountPath", place, "must be unique"))
        taken.add(place)
        sub_path = mount.get("subPath") or ""
        if sub_path.startswith("/"):
            errors.append(invalid(f"{where}.subPath", sub_path, "must be a relative path"))
        elif ".." in sub_path.split("/"):
            errors.append(invalid(f"{where}.subPath", sub_path, "must not contain '..'"))
        if sub_path and mount.get("subPathExpr"):
            why = "subPathExpr and subPath are mutually exclusive"
            errors.append(invalid(f"{where}.subPathExpr", mount["subPathExpr"], why))
    return errors


def _handler_errors(handler: Object, path: str, known: tuple[str, ...]) -> list[FieldError]:
    """Check what a probe or a hook does: one thing, and that completely."""
    errors: list[FieldError] = []
    given = [kind for kind in known if handler.get(kind) is not None]
    if not given:
        errors.append(required(path, "must specify a handler type"))
    errors += [
        forbidden(f"{path}.{kind}", "may not specify more than 1 handler type")
        for kind in given[1:]
    ]
    for kind in ("httpGet", "tcpSocket", "grpc"):
        if kind in given:
            errors += port_or_name_errors(handler[kind].get("port"), f"{path}.{kind}.port")
    scheme = (handler.get("httpGet") or {}).get("scheme", "HTTP")
    if scheme not in ("HTTP", "HTTPS"):
        errors.append(not_supported(f"{path}.httpGet.scheme", scheme, ["HTTP", "HTTPS"]))
    for header in (handler.get("httpGet") or {}).get("httpHeaders") or ():
        if not _HEADER.match(name := header.get("name") or ""):
            why = (
                "a valid HTTP header must consist of alphanumeric characters or '-' "
                "(e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')"
            )
            errors.append(invalid(f"{path}.httpGet.httpHeaders", name, why))
    if "exec" in given and not handler["exec"].get("command"):
        errors.append(required(f"{path}.exec.command"))
    return errors


def _sleep_errors(sleep: Object | None, path: str, grace: int) -> list[FieldError]:
    if sleep is None or 0 <= sleep.get("seconds", 0) <= grace:
        return []
    why = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
    return [invalid(path, sleep.get("seconds", 0), why)]


def _probe_errors(probe: Object, path: str) -> list[FieldError]:
    errors = _handler_errors(probe, path, PROBE_HANDLERS)
    for count in COUNTS:
        errors += at_least_zero(probe.get(count), f"{path}.{count}")
    is_readiness = path.endswith("readinessProbe")
    threshold = probe.get("successThreshold", 1)
    if is_readiness:
        errors += at_least_zero(threshold, f"{path}.successThreshold")
    elif threshold != 1:
        errors.append(invalid(f"{path}.successThreshold", threshold, "must be 1"))
    if (seconds := probe.get("terminationGracePeriodSeconds")) is not None:
        where = f"{path}.terminationGracePeriodSeconds"
        if is_readiness:
            errors.append(invalid(where, seconds, "must not be set for readinessProbes"))
        elif seconds <= 0:
            errors.append(invalid(where, seconds, "must be greater than 0"))
    return errors
