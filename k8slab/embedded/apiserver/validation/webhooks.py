"""Check MutatingWebhookConfigurations and ValidatingWebhookConfigurations.

Source: ``pkg/apis/admissionregistration/validation`` of kube-apiserver, and apiserver's
``util/webhook`` (ValidateWebhookURL, ValidateWebhookService). What is checked here and not there:
a URL has to name its host by an address, since nothing here resolves names for the API server.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from k8slab.embedded.apiserver.custom import rules
from k8slab.embedded.apiserver.statuses import (
    FieldError,
    duplicate,
    each,
    invalid,
    not_supported,
    required,
)
from k8slab.embedded.apiserver.validation import names
from k8slab.embedded.apiserver.validation.common import (
    at_most,
    port_number_errors,
    selector_errors,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.objects.meta import Object

REVIEW_VERSIONS = ("v1", "v1beta1")
"""What the field may name; reviews are sent in the first form alone."""

MOST_CONDITIONS = 64
LONGEST_TIMEOUT = 30

_WORDS = {
    "failurePolicy": ("Fail", "Ignore"),
    "matchPolicy": ("Equivalent", "Exact"),
    "reinvocationPolicy": ("IfNeeded", "Never"),
}
_SIDE_EFFECTS = ("None", "NoneOnDryRun")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_SCOPES = ("*", "Cluster", "Namespaced")
_FORM = "; desired format: https://host[/path]"


def configuration_errors(new: Object, _old: Object | None) -> list[FieldError]:
    """Return what is wrong with a configuration of webhooks."""
    errors: list[FieldError] = []
    taken: set[str] = set()
    for number, webhook in each(new.get("webhooks"), errors):
        path = f"webhooks[{number}]"
        errors += _webhook_errors(webhook, path)
        versions = webhook.get("admissionReviewVersions") or []
        errors += _version_errors(versions, f"{path}.admissionReviewVersions")
        name = webhook.get("name") or ""
        if name and name in taken:
            errors.append(duplicate(f"{path}.name", name))
        taken.add(name)
    return errors


def _webhook_errors(webhook: Object, path: str) -> list[FieldError]:
    errors = _name_errors(webhook.get("name") or "", f"{path}.name")
    for number, rule in each(webhook.get("rules"), errors):
        errors += _rule_errors(rule, f"{path}.rules[{number}]")
    for field, words in _WORDS.items():
        if field in webhook and webhook[field] not in words:
            errors.append(not_supported(f"{path}.{field}", webhook[field], words))
    effects = webhook.get("sideEffects")
    if not effects:
        why = f"must specify one of {', '.join(_SIDE_EFFECTS)}"
        errors.append(required(f"{path}.sideEffects", why))
    elif effects not in _SIDE_EFFECTS:
        errors.append(not_supported(f"{path}.sideEffects", effects, _SIDE_EFFECTS))
    seconds = webhook.get("timeoutSeconds", 1)
    if not 1 <= seconds <= LONGEST_TIMEOUT:
        why = f"the timeout value must be between 1 and {LONGEST_TIMEOUT} seconds"
        errors.append(invalid(f"{path}.timeoutSeconds", seconds, why))
    for field in ("namespaceSelector", "objectSelector"):
        errors += selector_errors(webhook.get(field), f"{path}.{field}")
    errors += _client_errors(webhook.get("clientConfig") or {}, f"{path}.clientConfig")
    return [
        *errors,
        *_condition_errors(webhook.get("matchConditions") or [], f"{path}.matchConditions"),
    ]


def _name_errors(name: str, path: str) -> list[FieldError]:
    """Check a fully qualified name (``IsFullyQualifiedName``)."""
    if not name:
        return [required(path)]
    if whys := names.dns_subdomain(name):
        return [invalid(path, name, ",".join(whys))]
    if name.count(".") < 2:
        why = "should be a domain with at least three segments separated by dots"
        return [invalid(path, name, why)]
    return []


def _version_errors(versions: Sequence[str], path: str) -> list[FieldError]:
    known = ", ".join(REVIEW_VERSIONS)
    if not versions:
        return [required(path, f"must specify one of {known}")]
    errors: list[FieldError] = []
    for number, version in each(versions, errors):
        where = f"{path}[{number}]"
        if version in versions[:number]:
            errors.append(invalid(where, version, "duplicate version"))
        else:
            errors += [invalid(where, version, why) for why in names.dns_1035_label(version)]
    if not set(versions) & set(REVIEW_VERSIONS):
        errors.append(invalid(path, versions, f"must include at least one of {known}"))
    elif "v1" not in versions:
        errors.append(invalid(path, versions, "this cluster sends reviews of version v1 only"))
    return errors


# --- rules


def _rule_errors(rule: Object, path: str) -> list[FieldError]:
    operations = rule.get("operations") or []
    errors = _list_errors(operations, f"{path}.operations", "operations")
    for number, operation in each(operations, errors):
        if operation not in _OPERATIONS:
            errors.append(not_supported(f"{path}.operations[{number}]", operation, _OPERATIONS))
    errors += _list_errors(rule.get("apiGroups") or [], f"{path}.apiGroups", "API groups")
    versions = rule.get("apiVersions") or []
    errors += _list_errors(versions, f"{path}.apiVersions", "API versions")
    errors += [
        required(f"{path}.apiVersions[{number}]")
        for number, version in each(versions, errors)
        if not version
    ]
    errors += _resource_errors(rule.get("resources") or [], f"{path}.resources")
    if "scope" in rule and rule["scope"] not in _SCOPES:
        errors.append(not_supported(f"{path}.scope", rule["scope"], _SCOPES))
    return errors


def _list_errors(values: Sequence[str], path: str, what: str) -> list[FieldError]:
    if not values:
        return [required(path)]
    if len(values) > 1 and "*" in values:
        return [invalid(path, values, f"if '*' is present, must not specify other {what}")]
    return []


def _resource_errors(resources: Sequence[str], path: str) -> list[FieldError]:
    errors = [] if resources else [required(path)]
    whole: set[str] = set()  # x of each x/*
    everywhere: set[str] = set()  # y of each */y
    for number, word in each(resources, errors):
        where = f"{path}[{number}]"
        if not word:
            errors.append(required(where))
        resource, slash, sub = word.partition("/")
        if not slash:
            continue
        if resource in whole:
            why = f"if '{resource}/*' is present, must not specify {word}"
            errors.append(invalid(where, word, why))
        if sub in everywhere:
            errors.append(invalid(where, word, f"if '*/{sub}' is present, must not specify {word}"))
        whole |= {resource} if sub == "*" else set()
        everywhere |= {sub} if resource == "*" else set()
    if len(resources) > 1 and "*/*" in resources:
        why = "if '*/*' is present, must not specify other resources"
        errors.append(invalid(path, resources, why))
    if "*" in resources and any(word != "*" and "/" not in word for word in resources):
        why = "if '*' is present, must not specify other resources without subresources"
        errors.append(invalid(path, resources, why))
    return errors


# --- who is called


def _client_errors(client: Object, path: str) -> list[FieldError]:
    url, service = client.get("url"), client.get("service")
    if (url is None) == (service is None):
        return [required(path, "exactly one of url or service is required")]
    if url is not None:
        return _url_errors(url, f"{path}.url")
    return _service_errors(service or {}, f"{path}.service")


def _url_errors(url: str, path: str) -> list[FieldError]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        return [required(path, f"url must be a valid URL: {error}{_FORM}")]
    errors = []
    if parts.scheme != "https":
        why = f"'https' is the only allowed URL scheme{_FORM}"
        errors.append(invalid(path, parts.scheme, why))
    if not host or port == 0:
        errors.append(invalid(path, parts.netloc, f"host must be provided{_FORM}"))
    for value, what in (
        (parts.netloc.rpartition("@")[0], "user information is"),
        (parts.fragment, "fragments are"),
        (parts.query, "query parameters are"),
    ):
        if value:
            errors.append(invalid(path, value, f"{what} not permitted in the URL"))
    return errors or _host_errors(host, path)


def _host_errors(host: str, path: str) -> list[FieldError]:
    try:
        ip_address(host)
    except ValueError:
        why = (
            "the API server of this cluster resolves no names; use clientConfig.service, or an "
            "address as the host"
        )
        return [invalid(path, host, why)]
    return []


def _service_errors(service: Object, path: str) -> list[FieldError]:
    errors = [
        required(f"{path}.{field}", f"service {field} is required")
        for field in ("name", "namespace")
        if not service.get(field)
    ]
    for error in port_number_errors(service.get("port"), f"{path}.port"):
        why = "port is not valid: must be between 1 and 65535, inclusive"
        errors.append(invalid(error.path, service.get("port"), why))
    return errors + _path_errors(service.get("path") or "", f"{path}.path")


def _path_errors(text: str, path: str) -> list[FieldError]:
    if text in ("", "/"):
        return []
    if text == "//":
        return [invalid(path, text, "segment[0] may not be empty")]
    errors = [] if text.startswith("/") else [invalid(path, text, "must start with a '/'")]
    for number, step in each(text[1:].removesuffix("/").split("/"), errors):
        whys = names.dns_subdomain(step) if step else ["may not be empty"]
        joint = ": " if step else " "
        errors += [invalid(path, text, f"segment[{number}]{joint}{why}") for why in whys]
    return errors


# --- conditions


def _condition_errors(conditions: Sequence[Object], path: str) -> list[FieldError]:
    errors = at_most(conditions, MOST_CONDITIONS, path)
    taken: set[Any] = set()
    for number, condition in each(conditions, errors):
        where = f"{path}[{number}]"
        expression, name = condition.get("expression") or "", condition.get("name") or ""
        if not expression.strip():
            errors.append(required(f"{where}.expression"))
        elif why := rules.problem(expression):
            errors.append(invalid(f"{where}.expression", expression, why))
        if not name:
            errors.append(required(f"{where}.name"))
        errors += [invalid(f"{where}.name", name, why) for why in names.qualified_name(name or "x")]
        if name and name in taken:
            errors.append(duplicate(f"{where}.name", name))
        taken.add(name)
    return errors
