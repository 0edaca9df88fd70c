"""From a container in a Pod to the runtime's `ContainerSpec`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from k8slab.embedded.controllers.kubelet import environment, files, volumes
from k8slab.embedded.network.model import HostPort
from k8slab.embedded.runtime.spec import ContainerSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from k8slab.embedded.controllers.kubelet.environment import Sources
    from k8slab.objects.meta import Object


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    """What all containers of one sandbox share."""

    sources: Sources
    addresses: Sequence[str]
    cluster_dns: Sequence[str]
    node_dns: Sequence[str]
    volumes: Mapping[str, volumes.Content]


def container_spec(
    container: Object, facts: PodFacts, *, log_path: str, share_processes_with: str = ""
) -> ContainerSpec:
    """Return what the runtime has to start; raises `environment.ConfigError`."""
    pod = facts.sources.pod
    variables = environment.build(container, facts.sources)
    # What every container has, whatever its spec says: the kubelet and containerd set it.
    variables.setdefault("HOSTNAME", files.hostname(pod))
    if container.get("image", "").partition(":")[0] == "k8slab/app":
        # The project's app names its node without a downward-API section in every manifest.
        variables.setdefault("NODE_NAME", pod["spec"].get("nodeName", ""))

    def expand(text: str) -> str:
        return environment.expand(text, variables)

    security = container.get("securityContext") or {}
    shared = pod["spec"].get("securityContext") or {}
    capabilities = security.get("capabilities") or {}
    user = security.get("runAsUser", shared.get("runAsUser"))
    if security.get("runAsNonRoot", shared.get("runAsNonRoot")) and not user:
        # Every image of the catalogue runs as root unless the pod names a user.
        why = (
            "container has runAsNonRoot and image will run as root"
            if user is None
            else "container's runAsUser breaks non-root policy"
        )
        raise environment.ConfigError(
            f'{why} (pod: "{pod["metadata"]["name"]}_{pod["metadata"]["namespace"]}'
            f'({pod["metadata"]["uid"]})", container: {container["name"]})'
        )
    return ContainerSpec(
        name=container["name"],
        image=container.get("image", ""),
        command=tuple(expand(word) for word in container.get("command") or ()),
        args=tuple(expand(word) for word in container.get("args") or ()),
        environment=variables,
        working_directory=container.get("workingDir") or "",
        files=_files(pod, facts),
        mounts=volumes.mounts(container, facts.volumes, expand),
        tty=bool(container.get("tty")),
        stdin=bool(container.get("stdin")),
        privileged=bool(security.get("privileged")),
        add_capabilities=tuple(capabilities.get("add") or ()),
        drop_capabilities=tuple(capabilities.get("drop") or ()),
        run_as_user=user,
        share_processes_with=share_processes_with,
        log_path=log_path,
    )


def _files(pod: Object, facts: PodFacts) -> dict[str, bytes]:
    resolv = files.resolv_conf(pod, cluster=facts.cluster_dns, node=facts.node_dns)
    return {
        "/etc/hosts": files.hosts(pod, facts.addresses).encode(),
        "/etc/resolv.conf": resolv.encode(),
        "/etc/hostname": f"{files.hostname(pod)}\n".encode(),
    }


def host_ports(pod: Object) -> tuple[HostPort, ...]:
    """Return the ports of its node that lead to the pod; none where it is on the host's network."""
    return tuple(
        HostPort(
            port.get("protocol", "TCP"),
            port.get("hostIP", ""),
            port["hostPort"],
            port["containerPort"],
        )
        for container in pod["spec"]["containers"]
        for port in container.get("ports") or ()
        if port.get("hostPort") and not pod["spec"].get("hostNetwork")
    )
