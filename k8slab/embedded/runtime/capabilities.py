"""Which of root's powers a container keeps: capabilities(7), and the usual default set.

The default set is the one that containerd and Docker give a container
(containerd ``pkg/oci``, ``defaultUnixCaps``). NET_ADMIN and SYS_ADMIN are not in it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from k8slab.embedded import linux
from k8slab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

NAMES = (
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
)
"""Capability number n is ``NAMES[n]`` (linux/capability.h)."""

DEFAULT = frozenset(
    (
        "CHOWN",
        "DAC_OVERRIDE",
        "FSETID",
        "FOWNER",
        "MKNOD",
        "NET_RAW",
        "SETGID",
        "SETUID",
        "SETFCAP",
        "SETPCAP",
        "NET_BIND_SERVICE",
        "SYS_CHROOT",
        "KILL",
        "AUDIT_WRITE",
    )
)
NODE = DEFAULT | {"NET_ADMIN", "SYS_PTRACE"}
"""What a command in a node's network namespace keeps: routes, rules and other sockets' owners."""


def choose(
    *, privileged: bool, add: Iterable[str] = (), drop: Iterable[str] = ()
) -> frozenset[str]:
    """Return the set for ``securityContext.capabilities``; ``ALL`` means every one.

    Names may carry the prefix ``CAP_``. Raises `UsageError` for a name that no kernel has.
    """
    every = frozenset(NAMES)
    if privileged:
        return every
    added, dropped = _names(add), _names(drop)
    base = frozenset() if "ALL" in dropped else DEFAULT
    return (every if "ALL" in added else base | added) - (dropped - {"ALL"})


def _names(given: Iterable[str]) -> frozenset[str]:
    names = frozenset(name.upper().removeprefix("CAP_") for name in given)
    if unknown := names - {"ALL", *NAMES}:
        raise UsageError(f"unknown capability {', '.join(sorted(unknown))}")
    return names


def mask(names: Iterable[str]) -> int:
    """Return a number whose bit n says whether capability number n is among `names`."""
    return sum(1 << NAMES.index(name) for name in set(names))


def limit(mask: int) -> None:
    """Drop every other capability from this process' bounding set: no program gets it back."""
    for number in range(last() + 1):
        if not mask >> number & 1:
            linux.prctl(linux.PR_CAPBSET_DROP, number)


def hold(mask: int) -> None:
    """Make these the effective capabilities of this process, as far as the kernel has them."""
    linux.set_capabilities(mask & (1 << last() + 1) - 1)


@cache
def last() -> int:
    """Return the number of the last capability that this kernel knows."""
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
        return int(file.read())
