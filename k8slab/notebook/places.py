"""A pod or a node from a notebook: a place where commands run."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from k8slab.clusters import agents
from k8slab.errors import ApiStatusError, ProbeError, UsageError
from k8slab.notebook.views import Output, shown
from k8slab.objects import meta
from k8slab.policy import Party
from k8slab.probes import run_in_pod
from k8slab.programs import Completed

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHELL = re.compile(r"[|&;<>$`*?~()]")


def words(command: str | Sequence[str]) -> list[str]:
    """Return the words of a command; one with shell characters goes through ``sh -c``."""
    if isinstance(command, str) and _SHELL.search(command):
        return ["sh", "-c", command]
    return split(command)


def split(command: str | Sequence[str]) -> list[str]:
    """Return the words of a command as a shell splits them; `UsageError` for an open quote."""
    if not isinstance(command, str):
        return list(command)
    try:
        return shlex.split(command)
    except ValueError as error:
        raise UsageError(f"{command}: {error}", hint="a quote is opened and not closed") from error


def output(done: Completed, command: str) -> Output:
    """Show and return what a command said, both streams."""
    return shown(Output(command, done.stdout + done.stderr, done.code))


def _host(address: str) -> str:
    """Return an address as the host of a URL: IPv6 stands in brackets (RFC 3986, section 3.2.2)."""
    return f"[{address}]" if ":" in address else address


@dataclass(frozen=True)
class Pod:
    """A pod in which commands run."""

    cluster: Any
    namespace: str
    name: str

    def __repr__(self) -> str:
        return f"pod {self.namespace}/{self.name}"

    @property
    def address(self) -> str:
        """The pod's address now; empty while it has none."""
        found = self.cluster.get("pods", self.name, self.namespace) or {}
        return str(found.get("status", {}).get("podIP") or "")

    @property
    def host(self) -> str:
        """The pod's address as URLs have it: ``curl {pod.host}:8080`` for both IP families."""
        return _host(self.address)

    @property
    def node(self) -> Node:
        """The node that runs the pod; while none does, a place that says so."""
        found = self.cluster.get("pods", self.name, self.namespace) or {}
        return Node(self.cluster, str(found.get("spec", {}).get("nodeName") or ""), repr(self))

    def run(
        self, command: str | Sequence[str], *, container: str = "", seconds: float = 30
    ) -> Output:
        """Run a command in the pod, as ``kubectl exec`` does."""
        argv = words(command)
        party = Party("pod", self.name, self.namespace)
        try:
            done = run_in_pod(self.cluster, party, argv, container=container, deadline=seconds)
        except (ApiStatusError, ProbeError) as error:  # shown, as kubectl shows it
            done = Completed(tuple(argv), 1, "", f"error: {error}")
        return output(done, shlex.join(argv))


@dataclass(frozen=True)
class Node:
    """A node, in whose network namespace commands run."""

    cluster: Any
    name: str
    """Empty where the pod that was asked for its node has none; `asked` is that pod."""
    asked: str = "nobody"

    def __repr__(self) -> str:
        return f"node {self.name}" if self.name else f"no node: none runs the {self.asked}"

    @property
    def address(self) -> str:
        """The node's own address; empty while it has none."""
        found = self.cluster.get("nodes", self.name) or {}
        addresses = found.get("status", {}).get("addresses") or ()
        own = (a["address"] for a in addresses if a.get("type") == "InternalIP")
        return next(own, "")

    @property
    def host(self) -> str:
        """The node's own address as URLs have it."""
        return _host(self.address)

    def run(self, command: str | Sequence[str], *, seconds: float = 30) -> Output:
        """Run a command on the node."""
        argv = words(command)
        if not self.name:  # shown, as what fails in a pod is
            return output(Completed(tuple(argv), 1, "", f"error: {self!r}"), shlex.join(argv))
        return output(self.cluster.node_run(self.name, argv, deadline=seconds), shlex.join(argv))

    def agents(self) -> Output:
        """Show which agents of the node run."""
        states = agents.agents(self.cluster, self.name)
        lines = (f"{agent}: {'running' if runs else 'stopped'}" for agent, runs in states.items())
        told = "".join(f"{line}\n" for line in lines)
        return output(Completed((), 0, told, ""), f"k8slab agents (of {self.name})")

    def restart(self, agent: str) -> Output:
        """Start an agent (again), as ``systemctl restart`` does; it writes anew what it keeps."""
        agents.run_agent(self.cluster, self.name, agent, running=True)
        command = f"k8slab agents restart {self.name} {agent}"
        return output(Completed((), 0, f"{agent} runs\n", ""), command)


def find_node(cluster: Any, name: str) -> Node:
    """Return a node by name, or by the end of its name (``worker2``)."""
    names = sorted(meta.name_of(node) for node in cluster.list("nodes"))
    found = [one for one in names if one == name] or [
        one for one in names if one.endswith(f"-{name}")
    ]
    if len(found) != 1:
        raise UsageError(f"there is no node {name!r}", hint=f"there are: {', '.join(names)}")
    return Node(cluster, found[0])
