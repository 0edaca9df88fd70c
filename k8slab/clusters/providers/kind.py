"""kind with Calico: real upstream Kubernetes in containers.

The steps are those in the header of ``kind-calico.yaml``, run by the real `kind` and
`kubectl`; what a learner types by hand gives the same cluster. Up to three programs must be
there and new enough; each lack is told with its remedy before anything is made.
"""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k8slab import programs
from k8slab.clusters import records
from k8slab.clusters.cluster import Cluster
from k8slab.clusters.providers.base import BROKEN, RUNNING, STOPPED, Status
from k8slab.embedded.config import ClusterPaths
from k8slab.errors import EnvironmentLacksError, K8slabError, ProgramError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from k8slab.clusters.wanted import Wanted

NAME = "kind"

CALICO = "v3.32.1"
CALICO_MANIFEST = (
    f"https://raw.githubusercontent.com/projectcalico/calico/{CALICO}/manifests/calico.yaml"
)
"""Calico's released manifest. `create`, not `apply`: its CRDs exceed the 256 KiB of the
annotation that client-side apply keeps (kubernetes/kubernetes#82292)."""

OLDEST_KIND = (0, 30)
"""The oldest kind whose own node image (Kubernetes 1.34) is one that Calico 3.32 is tested with."""

CREATE_DEADLINE = 600.0
"""Seconds for pulling the node image and starting; a slow line needs minutes."""

READY_DEADLINE = 420.0
"""Seconds until Calico's images are pulled and every node is Ready."""


def up(name: str, wanted: Wanted, progress: Callable[[str], None]) -> None:
    """Make the cluster, or start its stopped nodes, and wait until it is really ready."""
    if not records.provider_of(name):
        if wanted.ip_versions != (4,):
            # Calico's manifest has to be changed for it (IP6, its pools): not done here.
            raise UsageError(
                f"--ip-family {wanted.ip_family} is for the embedded cluster; on kind it is ipv4",
                hint="leave out --provider kind, or --ip-family",
            )
        preflight()
        records.write(name, {"provider": NAME, "calico": CALICO})
        try:
            _create(name, wanted, progress)
        except BaseException:
            progress("not finished: removing what was made")
            delete(name)
            raise
        return
    if wanted.nodes or wanted.ip_family or wanted.pod_cidr or wanted.service_cidr:
        raise UsageError(
            f"the cluster {name} exists and keeps its nodes and address ranges",
            hint=f"start afresh: k8slab reset --name {name}",
        )
    preflight()
    stopped = [node for node, state in _nodes(name).items() if state != "running"]
    if stopped:
        progress("starting the node containers")
        programs.run(["docker", "start", *stopped], deadline=120)
    _wait_until_ready(name, progress)


def down(name: str) -> None:
    """Stop the node containers; what they hold stays."""
    if nodes := [*_nodes(name)]:
        programs.run(["docker", "stop", "--time", "5", *nodes], deadline=120)


def delete(name: str) -> None:
    """Delete the kind cluster and its record."""
    programs.run(
        ["kind", "delete", "cluster", "--name", name, "--kubeconfig", str(kubeconfig(name))],
        deadline=180,
    )
    records.forget(name)


def status(name: str) -> Status:
    """Describe the cluster by its containers and its API."""
    try:
        nodes = _nodes(name)
    except K8slabError as error:
        return _status(name, BROKEN, detail=error.message)
    if not nodes:
        return _status(name, BROKEN, detail="its node containers are gone")
    if any(state != "running" for state in nodes.values()):
        return _status(name, STOPPED, nodes=[*nodes])
    try:
        version = cluster(name).request("GET", "/version", deadline=5)["gitVersion"]
    except K8slabError as error:
        return _status(name, BROKEN, detail=error.message, nodes=[*nodes])
    versions = {"kubernetes": version, "calico": CALICO}
    return _status(name, RUNNING, nodes=[*nodes], versions=versions)


def kubeconfig(name: str) -> Path:
    """Return the kubeconfig that was written for this cluster alone."""
    return ClusterPaths.of(name).kubeconfig


def cluster(name: str) -> Cluster:
    """Return the handle; commands on nodes run in their containers."""
    records.read(name)
    return Cluster(
        name,
        provider=NAME,
        kubeconfig=kubeconfig(name),
        context=f"kind-{name}",  # as kind calls it (kind.sigs.k8s.io, Quick Start)
        capabilities=frozenset({"nodes"}),
        node_runner=_run_on_node,
    )


def preflight() -> None:
    """Check Docker, kind and kubectl; `EnvironmentLacksError` says what to do."""
    for program in ("docker", "kind", "kubectl"):
        programs.find(program)
    engine = programs.run(["docker", "info", "--format", "{{.ServerVersion}}"], check=False)
    if not engine.ok:
        raise EnvironmentLacksError(
            f"Docker is installed and does not answer: {_last_line(engine.stderr)}",
            hint="start it (sudo systemctl start docker, or Docker Desktop); as an ordinary "
            "user you must be in the group docker",
        )
    told = programs.run(["kind", "version"]).stdout
    found = re.search(r"v(\d+)\.(\d+)", told)
    if not found or (int(found[1]), int(found[2])) < OLDEST_KIND:
        oldest = ".".join(str(number) for number in OLDEST_KIND)
        raise EnvironmentLacksError(
            f"kind is too old: {told.strip() or 'version unknown'}; k8slab needs {oldest} or newer",
            hint=programs.how_to_install("kind"),
        )


def configuration(wanted: Wanted) -> str:
    """Return the kind configuration: the shipped file, changed where something else is wanted."""
    text = _shipped()
    if wanted.pod_cidr:
        text = re.sub(r"(?m)^(\s*podSubnet: ).*$", rf"\g<1>{wanted.pod_cidr}", text)
    if wanted.service_cidr:
        text = re.sub(r"(?m)^(\s*serviceSubnet: ).*$", rf"\g<1>{wanted.service_cidr}", text)
    if wanted.nodes:
        worker = "  - role: worker\n"
        before, _, _ = text.partition(worker)
        after = text.rpartition(worker)[2]
        text = before + worker * (wanted.nodes - 1) + after
    return text


def _shipped() -> str:
    packaged = files("k8slab.clusters").joinpath("kind-calico.yaml")
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    # An editable installation runs from the checkout, where the file lies in clusters/.
    checkout = Path(__file__).parents[3] / "clusters" / "kind-calico.yaml"
    return checkout.read_text(encoding="utf-8")


def _create(name: str, wanted: Wanted, progress: Callable[[str], None]) -> None:
    file = records.directory(name) / "kind.yaml"
    file.write_text(configuration(wanted), encoding="utf-8")
    progress("kind makes the node containers (the first time it pulls an image of some 350 MB)")
    programs.run(
        [
            *("kind", "create", "cluster", "--name", name),
            *("--config", str(file), "--kubeconfig", str(kubeconfig(name))),
        ],
        deadline=CREATE_DEADLINE,
    )
    progress(f"installing Calico {CALICO}")
    _kubectl(name, "create", "-f", CALICO_MANIFEST, deadline=120)
    _wait_until_ready(name, progress)


def _wait_until_ready(name: str, progress: Callable[[str], None]) -> None:
    """Wait for Calico on every node, for the nodes, and for names to resolve."""
    handle = cluster(name)
    progress("waiting for Calico on every node")
    handle.wait("daemonsets.apps", "calico-node", "kube-system", deadline=READY_DEADLINE)
    progress("waiting for the nodes")
    handle.wait("nodes", until="condition=Ready", deadline=READY_DEADLINE)
    progress("waiting for the name server")
    handle.wait("deployments.apps", "coredns", "kube-system", deadline=READY_DEADLINE)
    _ask_name_server(handle)


def _ask_name_server(handle: Cluster) -> None:
    """Ask the cluster's name server, from a node, for the API's name; fail with what it said."""
    service: Any = handle.get("services", "kube-dns", "kube-system")
    address = service["spec"]["clusterIP"]
    node = f"{handle.name}-control-plane"
    # The node's own resolver is Docker's, so a copy of resolv.conf is put in its place for
    # this one command, in a mount namespace that ends with it.
    script = (
        f"echo nameserver {address} > /run/k8slab-resolv.conf && "
        f"mount --bind /run/k8slab-resolv.conf /etc/resolv.conf && "
        "getent hosts kubernetes.default.svc.cluster.local"
    )
    done = handle.node_run(node, ["unshare", "--mount", "sh", "-c", script], deadline=30)
    if not done.ok:
        raise ProgramError(
            "the cluster's name server does not answer",
            command=done.command,
            output=done.stderr.strip(),
            hint="kubectl -n kube-system logs -l k8s-app=kube-dns",
        )


def _run_on_node(node: str, argv: Sequence[str], deadline: float) -> programs.Completed:
    return programs.run(["docker", "exec", node, *argv], deadline=deadline, check=False)


def _kubectl(name: str, *words: str, deadline: float) -> programs.Completed:
    return programs.run(
        ["kubectl", "--kubeconfig", str(kubeconfig(name)), *words], deadline=deadline
    )


def _nodes(name: str) -> dict[str, str]:
    """Return the node containers with their state (``running``, ``exited``, ...)."""
    listed = programs.run(
        [
            *("docker", "ps", "--all", "--format", "{{.Names}} {{.State}}"),
            *("--filter", f"label=io.x-k8s.kind.cluster={name}"),
        ]
    )
    pairs = (line.partition(" ") for line in sorted(listed.stdout.splitlines()) if line)
    return {node: state for node, _, state in pairs}


def _status(name: str, state: str, **more: Any) -> Status:
    return Status(
        name=name,
        provider=NAME,
        state=state,
        kubeconfig=str(kubeconfig(name)),
        capabilities=["nodes"],
        **more,
    )


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]
