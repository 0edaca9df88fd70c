"""The files that the kubelet writes into each container: names of hosts, and of name servers.

Sources: core/v1 ``DNSPolicy``, ``PodDNSConfig``, ``HostAlias``; the concept page "DNS for
Services and Pods".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from k8slab.embedded.config import CLUSTER_DOMAIN
from k8slab.objects.meta import name_of, namespace_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from k8slab.objects.meta import Object

_LOCAL_NAMES = """# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""


def hostname(pod: Object) -> str:
    """Return the pod's host name: ``spec.hostname``, else its name, at most 63 characters."""
    name: str = pod["spec"].get("hostname") or name_of(pod)
    return name[:63].rstrip("-.")


def fully_qualified(pod: Object) -> str:
    """Return the pod's full name where it has a subdomain; else an empty string."""
    subdomain = pod["spec"].get("subdomain")
    if not subdomain:
        return ""
    return f"{hostname(pod)}.{subdomain}.{namespace_of(pod)}.svc.{CLUSTER_DOMAIN}"


def hosts(pod: Object, addresses: Sequence[str]) -> str:
    """Return /etc/hosts."""
    full = fully_qualified(pod)
    names = f"{full}\t{hostname(pod)}" if full else hostname(pod)
    text = _LOCAL_NAMES + "".join(f"{address}\t{names}\n" for address in addresses)
    aliases = pod["spec"].get("hostAliases") or ()
    if aliases:
        text += "\n# Entries added by HostAliases.\n"
        text += "".join(
            f"{alias['ip']}\t" + "\t".join(alias.get("hostnames") or ()) + "\n" for alias in aliases
        )
    return text


def resolv_conf(pod: Object, *, cluster: Sequence[str], node: Sequence[str]) -> str:
    """Return /etc/resolv.conf; `cluster` and `node` are name-server addresses.

    ``ClusterFirst`` falls back to ``Default`` for a pod on the host's network.
    """
    spec = pod["spec"]
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    if policy == "ClusterFirst" and spec.get("hostNetwork"):
        policy = "Default"
    servers: list[str] = []
    searches: list[str] = []
    options: dict[str, str | None] = {}
    if policy in ("ClusterFirst", "ClusterFirstWithHostNet"):
        zone = f"svc.{CLUSTER_DOMAIN}"
        servers = list(cluster)
        searches = [f"{namespace_of(pod)}.{zone}", zone, CLUSTER_DOMAIN]
        options = {"ndots": "5"}
    elif policy == "Default":
        servers = list(node)
    extra = spec.get("dnsConfig") or {}
    servers += extra.get("nameservers") or ()
    searches += extra.get("searches") or ()
    options.update({o["name"]: o.get("value") for o in extra.get("options") or ()})
    lines = []
    if searches:
        lines.append("search " + " ".join(dict.fromkeys(searches)))
    lines += [f"nameserver {server}" for server in dict.fromkeys(servers)]
    if options:
        words = (name if value is None else f"{name}:{value}" for name, value in options.items())
        lines.append("options " + " ".join(words))
    return "".join(f"{line}\n" for line in lines)
