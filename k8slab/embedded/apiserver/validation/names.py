"""Names, labels and other words: what may be written, with the messages of a real server.

Source: apimachinery ``util/validation`` (IsDNS1123Subdomain, IsQualifiedName, ...).
"""

from __future__ import annotations

import re

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_DNS_LABEL = re.compile(rf"{_LABEL}\Z")
_DNS_SUBDOMAIN = re.compile(rf"{_SUBDOMAIN}\Z")
_SEARCHED_LABEL = r"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SEARCHED = re.compile(rf"{_SEARCHED_LABEL}(\.{_SEARCHED_LABEL})*\Z")
_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?\Z")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]\Z")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?\Z")
_PORT_NAME = re.compile(r"[-a-z0-9]+\Z")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+\Z")

_LETTERS = "lower case alphanumeric characters"
_ENDS = "must start and end with an alphanumeric character"
_REGEX = "regex used for validation is"

LABEL_MESSAGE = (
    f"a lowercase RFC 1123 label must consist of {_LETTERS} or '-', and {_ENDS} "
    f"(e.g. 'my-name',  or '123-abc', {_REGEX} '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
SUBDOMAIN_MESSAGE = (
    f"a lowercase RFC 1123 subdomain must consist of {_LETTERS}, '-' or '.', and {_ENDS} "
    f"(e.g. 'example.com', {_REGEX} "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
SEARCHED_MESSAGE = (
    f"a lowercase RFC 1123 subdomain must consist of {_LETTERS}, '_', '-' or '.', and {_ENDS} "
    f"(e.g. 'example.com', {_REGEX} "
    "'_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')"
)
DNS_1035_MESSAGE = (
    f"a DNS-1035 label must consist of {_LETTERS} or '-', start with an alphabetic character, and "
    "end with an alphanumeric character "
    f"(e.g. 'my-name',  or 'abc-123', {_REGEX} '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
_LABEL_KEY = (
    f"must consist of alphanumeric characters, '-', '_' or '.', and {_ENDS} "
    f"(e.g. 'MyName',  or 'my.name',  or '123-abc', {_REGEX} "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
QUALIFIED_MESSAGE = f"name part {_LABEL_KEY}"
PREFIX_MESSAGE = (
    f"a valid label key {_LABEL_KEY} "
    "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
)
LABEL_VALUE_MESSAGE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    f"and {_ENDS} (e.g. 'MyValue',  or 'my_value',  or '12345', {_REGEX} "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
CONFIG_KEY_MESSAGE = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' "
    f"(e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', {_REGEX} '[-._a-zA-Z0-9]+')"
)


_MOST = 253
"""Of a DNS name, by RFC 1123."""


def _at_most(limit: int) -> str:
    return f"must be no more than {limit} characters"


def dns_label(value: str) -> list[str]:
    """Say what is wrong with a DNS-1123 label; nothing when it is one."""
    wrong = [_at_most(63)] if len(value) > 63 else []
    if _DNS_LABEL.match(value):
        return wrong
    return [*wrong, "must not contain dots" if _DNS_SUBDOMAIN.match(value) else LABEL_MESSAGE]


def dns_subdomain(value: str, *, underscores: bool = False) -> list[str]:
    """Say what is wrong with a DNS-1123 subdomain; nothing when it is one."""
    wrong = [_at_most(_MOST)] if len(value) > _MOST else []
    if underscores:
        return wrong if _SEARCHED.match(value) else [*wrong, SEARCHED_MESSAGE]
    return wrong if _DNS_SUBDOMAIN.match(value) else [*wrong, SUBDOMAIN_MESSAGE]


def dns_1035_label(value: str) -> list[str]:
    """Say what is wrong with a DNS-1035 label (as versions are); nothing when it is one."""
    wrong = [_at_most(63)] if len(value) > 63 else []
    return wrong if _DNS_1035.match(value) else [*wrong, DNS_1035_MESSAGE]


def path_segment(value: str) -> list[str]:
    """Say what is wrong with a name that only has to be a path segment (RBAC)."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{mark}'" for mark in "/%" if mark in value]


def qualified_name(value: str) -> list[str]:
    """Say what is wrong with a label key (``[prefix/]name``); nothing when it is one."""
    prefix, slash, name = value.rpartition("/")
    wrong: list[str] = []
    if slash and "/" in prefix:
        return [PREFIX_MESSAGE]
    if slash and not prefix:
        wrong.append("prefix part must be non-empty")
    elif slash:
        wrong += [f"prefix part must be no more than {_MOST} bytes"] if len(prefix) > _MOST else []
        wrong += [] if _DNS_SUBDOMAIN.match(prefix) else [f"prefix part {SUBDOMAIN_MESSAGE}"]
    if not name:
        wrong.append("name part must be non-empty")
    elif len(name) > 63:
        wrong.append("name part must be no more than 63 bytes")
    return wrong if _QUALIFIED.match(name) else [*wrong, QUALIFIED_MESSAGE]


def label_value(value: str) -> list[str]:
    """Say what is wrong with a label's value; nothing when it is one."""
    wrong = ["must be no more than 63 bytes"] if len(value) > 63 else []
    return wrong if _LABEL_VALUE.match(value) else [*wrong, LABEL_VALUE_MESSAGE]


def config_key(value: str) -> list[str]:
    """Say what is wrong with a key of a ConfigMap or Secret."""
    wrong = [_at_most(253)] if len(value) > 253 else []
    if not _CONFIG_KEY.match(value):
        return [*wrong, CONFIG_KEY_MESSAGE]
    if value in (".", "..") or value.startswith(".."):
        return [*wrong, f"must not be '{value}'" if len(value) < 3 else "must not start with '..'"]
    return wrong


def port_name(value: str) -> list[str]:
    """Say what is wrong with the name of a port (IANA service name)."""
    wrong = ["must be no more than 15 characters"] if len(value) > 15 else []
    if not _PORT_NAME.match(value):
        wrong.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", value):
        wrong.append("must contain at least one letter (a-z)")
    if "--" in value:
        wrong.append("must not contain consecutive hyphens")
    if value[:1] == "-" or value[-1:] == "-":
        wrong.append("must not begin or end with a hyphen")
    return wrong
