"""Check pods and pod templates. Source: ``pkg/apis/core/validation/validation.go``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

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
from k8slab.embedded.apiserver.validation.affinity import affinity_errors
from k8slab.embedded.apiserver.validation.common import (
    PROTOCOLS,
    address_errors,
    at_least_zero,
    one_of,
    port_number_errors,
    port_or_name_errors,
    quantity_errors,
)
from k8slab.embedded.apiserver.validation.metadata import annotation_errors, label_errors

if TYPE_CHECKING:
    from k8slab.objects.meta import Object

RESTART_POLICIES = ("Always", "Never", "OnFailure")
DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")

UPDATE_MESSAGE = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
    "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set "
    "to 1 if it was previously negative)"
)

_ENV_NAME = re.compile(r"[ -<>-~]+\Z")


def pod_errors(new: Object, _old: Object | None) -> list[FieldError]:
    """Return what is wrong with a pod."""
    return spec_errors(new["spec"], "spec")


def template_errors(template: Object, path: str) -> list[FieldError]:
    """Return what is wrong with a pod template."""
    metadata = template.get("metadata") or {}
    return [
        *label_errors(metadata.get("labels"), f"{path}.metadata.labels"),
        *annotation_errors(metadata.get("annotations"), f"{path}.metadata.annotations"),
        *spec_errors(template.get("spec") or {}, f"{path}.spec"),
    ]


def spec_errors(spec: Object, path: str) -> list[FieldError]:
    """Return what is wrong with a pod's spec."""
    errors, volumes = _volume_errors(spec.get("volumes") or [], f"{path}.volumes")
    if not spec.get("containers"):
        errors.append(required(f"{path}.containers"))
    taken: set[str] = set()
    for group in ("initContainers", "containers", "ephemeralContainers"):
        for number, container in each(spec.get(group), errors):
            where = f"{path}.{group}[{number}]"
            errors += _container_errors(container, where, volumes, taken)
            if spec.get("hostNetwork"):
                errors += _host_port_errors(container, where)
    errors += _port_conflicts(spec, path)
    errors += one_of(spec.get("restartPolicy"), RESTART_POLICIES, f"{path}.restartPolicy")
    errors += one_of(spec.get("dnsPolicy"), DNS_POLICIES, f"{path}.dnsPolicy")
    errors += label_errors(spec.get("nodeSelector"), f"{path}.nodeSelector")
    errors += _small_errors(spec, path)
    return errors


def _small_errors(spec: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for field in ("hostname", "subdomain"):
        if value := spec.get(field):
            errors += [invalid(f"{path}.{field}", value, why) for why in names.dns_label(value)]
    if (name := spec.get("serviceAccountName")) and (wrong := names.dns_subdomain(name)):
        errors += [invalid(f"{path}.serviceAccountName", name, why) for why in wrong]
    seconds = spec.get("activeDeadlineSeconds")
    if seconds is not None and seconds < 1:
        why = "must be between 1 and 2147483647, inclusive"
        errors.append(invalid(f"{path}.activeDeadlineSeconds", seconds, why))
    if spec.get("dnsPolicy") == "None" and not (spec.get("dnsConfig") or {}).get("nameservers"):
        why = "must provide at least one DNS nameserver when `dnsPolicy` is None"
        errors.append(required(f"{path}.dnsConfig.nameservers", why))
    for number, alias in each(spec.get("hostAliases"), errors):
        errors += address_errors(alias.get("ip") or "", f"{path}.hostAliases[{number}].ip")
    for number, toleration in each(spec.get("tolerations"), errors):
        errors += _toleration_errors(toleration, f"{path}.tolerations[{number}]")
    return errors + affinity_errors(spec, path)


def _toleration_errors(toleration: Object, path: str) -> list[FieldError]:
    errors = []
    operator = toleration.get("operator") or "Equal"
    if operator not in ("Equal", "Exists"):
        errors.append(not_supported(f"{path}.operator", operator, ["Equal", "Exists"]))
    if operator == "Exists" and toleration.get("value"):
        why = "value must be empty when `operator` is 'Exists'"
        errors.append(invalid(f"{path}.operator", toleration["value"], why))
    if not toleration.get("key") and operator != "Exists":
        why = 'operator must be Exists when `key` is empty, which means "match all values and keys"'
        errors.append(invalid(f"{path}.operator", operator, why))
    effect = toleration.get("effect")
    effects = ("NoExecute", "NoSchedule", "PreferNoSchedule")
    if effect and effect not in effects:
        errors.append(not_supported(f"{path}.effect", effect, effects))
    return errors


def _volume_errors(volumes: list[Object], path: str) -> tuple[list[FieldError], set[str]]:
    errors: list[FieldError] = []
    taken: set[str] = set()
    for number, volume in each(volumes, errors):
        where = f"{path}[{number}]"
        name = volume.get("name") or ""
        if not name:
            errors.append(required(f"{where}.name"))
        elif wrong := names.dns_label(name):
            errors += [invalid(f"{where}.name", name, why) for why in wrong]
        elif name in taken:
            errors.append(duplicate(f"{where}.name", name))
        taken.add(name)
        sources = [key for key in volume if key != "name"]
        if len(sources) > 1:
            why = "may not specify more than 1 volume type"
            errors += [forbidden(f"{where}.{source}", why) for source in sources[1:]]
        config, secret = volume.get("configMap"), volume.get("secret")
        if config is not None and not config.get("name"):
            errors.append(required(f"{where}.configMap.name"))
        if secret is not None and not secret.get("secretName"):
            errors.append(required(f"{where}.secret.secretName"))
    return errors, taken


def _container_errors(
    container: Object, path: str, volumes: set[str], taken: set[str]
) -> list[FieldError]:
    errors: list[FieldError] = []
    name = container.get("name") or ""
    if not name:
        errors.append(required(f"{path}.name"))
    elif wrong := names.dns_label(name):
        errors += [invalid(f"{path}.name", name, why) for why in wrong]
    elif name in taken:
        errors.append(duplicate(f"{path}.name", name))
    taken.add(name)
    image = container.get("image") or ""
    if not image:
        errors.append(required(f"{path}.image"))
    elif image != image.strip():
        why = "must not have leading or trailing whitespace"
        errors.append(invalid(f"{path}.image", image, why))
    errors += one_of(container.get("imagePullPolicy"), PULL_POLICIES, f"{path}.imagePullPolicy")
    errors += _ports_errors(container.get("ports") or [], f"{path}.ports")
    errors += _env_errors(container.get("env") or [], f"{path}.env")
    errors += _mount_errors(container.get("volumeMounts") or [], f"{path}.volumeMounts", volumes)
    errors += _resource_errors(container.get("resources") or {}, f"{path}.resources")
    for probe in PROBES:
        if (body := container.get(probe)) is not None:
            errors += _probe_errors(body, f"{path}.{probe}")
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


def _host_port_errors(container: Object, path: str) -> list[FieldError]:
    return [
        invalid(
            f"{path}.ports[{number}].containerPort",
            port.get("containerPort"),
            "must match `hostPort` when `hostNetwork` is true",
        )
        for number, port in enumerate(container.get("ports") or ())
        if port.get("hostPort") and port["hostPort"] != port.get("containerPort")
    ]


def _port_conflicts(spec: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    taken: set[tuple[Any, ...]] = set()
    for number, container in each(spec.get("containers"), errors):
        for place, port in each(container.get("ports"), errors):
            if not port.get("hostPort"):
                continue
            key = (port.get("protocol"), port.get("hostIP") or "", port["hostPort"])
            if key in taken:
                where = f"{path}.containers[{number}].ports[{place}].hostPort"
                text = "/".join(str(part) for part in key)
                errors.append(duplicate(where, text))
            taken.add(key)
    return errors


def _env_errors(variables: list[Object], path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for number, variable in each(variables, errors):
        where = f"{path}[{number}]"
        name = variable.get("name") or ""
        if not name:
            errors.append(required(f"{where}.name"))
        elif not _ENV_NAME.match(name):
            why = (
                "a valid environment variable name must consist only of printable ASCII "
                "characters other than '='"
            )
            errors.append(invalid(f"{where}.name", name, why))
        source = variable.get("valueFrom")
        if source is None:
            continue
        if variable.get("value"):
            why = "may not be specified when `value` is not empty"
            errors.append(invalid(f"{where}.valueFrom", "", why))
        if len(source) != 1:
            count = "must specify one of" if not source else "may not have more than one of"
            kinds = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `fileKeyRef` or "
            why = f"{count}: {kinds}`secretKeyRef`"
            errors.append(invalid(f"{where}.valueFrom", "", why))
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
    return errors


def _resource_errors(resources: Object, path: str) -> list[FieldError]:
    return [
        error
        for part in ("limits", "requests")
        for name, value in (resources.get(part) or {}).items()
        for error in quantity_errors(value, f"{path}.{part}[{name}]")
    ]


def _probe_errors(probe: Object, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    handlers = [key for key in HANDLERS if probe.get(key) is not None]
    if not handlers:
        errors.append(required(path, "must specify a handler type"))
    errors += [
        forbidden(f"{path}.{handler}", "may not specify more than 1 handler type")
        for handler in handlers[1:]
    ]
    for handler in ("httpGet", "tcpSocket"):
        if body := probe.get(handler):
            errors += port_or_name_errors(body.get("port"), f"{path}.{handler}.port")
    command = probe.get("exec")
    if command is not None and not command.get("command"):
        errors.append(required(f"{path}.exec.command"))
    for field in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "failureThreshold"):
        errors += at_least_zero(probe.get(field), f"{path}.{field}")
    threshold = probe.get("successThreshold", 1)
    if not path.endswith("readinessProbe") and threshold != 1:
        errors.append(invalid(f"{path}.successThreshold", threshold, "must be 1"))
    return errors


# --- changes


def update_errors(new: Object, old: Object, *, internal: bool) -> list[FieldError]:
    """Return what an update may not change in a pod."""
    after, before = _comparable(new["spec"]), _comparable(old["spec"])
    if internal and not before.get("nodeName"):
        after.pop("nodeName", None)
        before.pop("nodeName", None)
    kept = old["spec"].get("tolerations") or []
    errors = []
    if any(toleration not in (new["spec"].get("tolerations") or []) for toleration in kept):
        why = "existing toleration can not be modified except its tolerationSeconds"
        errors.append(forbidden("spec.tolerations", why))
    period = old["spec"].get("terminationGracePeriodSeconds", 0)
    wanted = new["spec"].get("terminationGracePeriodSeconds")
    if after != before or (wanted != period and not (period < 0 and wanted == 1)):
        errors.append(forbidden("spec", UPDATE_MESSAGE))
    return errors


def _comparable(spec: Object) -> Object:
    """Return the spec without what may change."""
    free = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds")
    made = {key: value for key, value in spec.items() if key not in free}
    for group in ("containers", "initContainers"):
        if group in made:
            made[group] = [{**container, "image": ""} for container in made[group]]
    return made


def ephemeral_errors(new: Object, old: Object) -> list[FieldError]:
    """Return what is wrong with the ephemeral containers of a pod (they can only be added)."""
    after = new["spec"].get("ephemeralContainers") or []
    before = old["spec"].get("ephemeralContainers") or []
    errors = spec_errors(new["spec"], "spec")
    by_name = {container.get("name"): container for container in after}
    for container in before:
        held = by_name.get(container["name"])
        if held is None:
            why = f"existing ephemeral containers {container['name']!r} may not be removed\n"
            errors.append(forbidden("spec.ephemeralContainers", why.replace("'", '"')))
        elif held != container:
            why = f"existing ephemeral containers {container['name']!r} may not be changed\n"
            errors.append(forbidden("spec.ephemeralContainers", why.replace("'", '"')))
    names_of_others = {
        container["name"]
        for group in ("containers", "initContainers")
        for container in new["spec"].get(group) or ()
    }
    for number, container in each(after, errors):
        target = container.get("targetContainerName")
        if target and target not in names_of_others:
            path = f"spec.ephemeralContainers[{number}].targetContainerName"
            errors.append(missing(path, target))
    return errors
