"""Which package brings a program, on the distributions that a learner may have."""

from __future__ import annotations

import sys
from pathlib import Path

INSTALL = {
    "apt": "apt-get install",
    "dnf": "dnf install",
    "pacman": "pacman -S",
    "zypper": "zypper install",
    "apk": "apk add",
    "brew": "brew install",
}
"""How each package manager installs."""

_MANAGER = {
    "debian": "apt",
    "ubuntu": "apt",
    "fedora": "dnf",
    "rhel": "dnf",
    "centos": "dnf",
    "arch": "pacman",
    "suse": "zypper",
    "opensuse": "zypper",
    "alpine": "apk",
}
"""os-release(5) ID or ID_LIKE to package manager."""

# program: package by manager; "*" is every manager that is not named.
_PACKAGES: dict[str, dict[str, str]] = {
    "nft": {"*": "nftables"},
    "ip": {"*": "iproute2", "dnf": "iproute"},
    "ss": {"*": "iproute2", "dnf": "iproute"},
    "ping": {"*": "iputils", "apt": "iputils-ping"},
    "curl": {"*": "curl"},
    "dig": {"*": "bind-utils", "apt": "bind9-dnsutils", "pacman": "bind", "apk": "bind-tools"},
    "nslookup": {"*": "bind-utils", "apt": "bind9-dnsutils", "pacman": "bind", "apk": "bind-tools"},
    "nc": {"*": "netcat-openbsd", "dnf": "nmap-ncat", "pacman": "openbsd-netcat"},
    "tcpdump": {"*": "tcpdump"},
    "dot": {"*": "graphviz"},
    "newuidmap": {"*": "uidmap", "dnf": "shadow-utils", "pacman": "shadow", "zypper": "shadow"},
    "kubectl": {
        "*": "kubectl",
        "apt": "kubernetes-client",
        "dnf": "kubernetes-client",
        "zypper": "kubernetes-client",
        "brew": "kubernetes-cli",
    },
    "docker": {"*": "docker", "apt": "docker.io", "dnf": "moby-engine"},
    "chromium": {"*": "chromium"},
    "make": {"*": "make"},
}

_ELSEWHERE = {
    "kind": "kind.sigs.k8s.io/docs/user/quick-start tells how to install it",
    "kubectl": "kubernetes.io/docs/tasks/tools has a current one",
}
"""Where to get what distributions lack or have only in an old version."""


def package_manager(os_release: Path = Path("/etc/os-release")) -> str | None:
    """Return the package manager of this machine by os-release(5), ``None`` when unknown."""
    if sys.platform == "darwin":
        return "brew"
    try:
        text = os_release.read_text(encoding="utf-8")
    except OSError:
        return None
    fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    words = f"{fields.get('ID', '')} {fields.get('ID_LIKE', '')}".replace('"', "").split()
    return next((_MANAGER[word] for word in words if word in _MANAGER), None)


def package_of(program: str, manager: str) -> str | None:
    """Return the package that brings a program, ``None`` when the distribution has none."""
    packages = _PACKAGES.get(program, {})
    return packages.get(manager, packages.get("*"))


def how_to_install(program: str, *, manager: str | None = None) -> str:
    """Say in one line how to get a program on this machine."""
    manager = manager or package_manager()
    package = package_of(program, manager) if manager else None
    elsewhere = _ELSEWHERE.get(program)
    if manager and package:
        sudo = "" if manager == "brew" else "sudo "
        line = f"install it: {sudo}{INSTALL[manager]} {package}"
        return f"{line} (or newer: {elsewhere})" if elsewhere else line
    if elsewhere:
        return elsewhere
    return f"install the package that has the program {program}"
