"""`LabBackend`: probes, denials, commands on nodes, and what this cluster is.

Probes run on worker threads (see `exchanges`); here flows become exchanges and results
become outcomes. Every packet that a policy dropped passes through `denied`: it is kept
under a number for who watches denials, and shown to the probes that are under way.
"""

from __future__ import annotations

import asyncio
import errno
import os
import platform
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from ipaddress import ip_address, ip_network
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from k8slab.embedded import linux
from k8slab.embedded.apiserver import statuses
from k8slab.embedded.config import KUBERNETES_MINOR, capabilities, world_hosts
from k8slab.embedded.controllers import proxy_config
from k8slab.embedded.daemon.exchanges import Exchange, Ports, Result, Run
from k8slab.embedded.daemon.names import Answer, Lookup, ResolvConf, resolve
from k8slab.errors import ClusterError, ProbeError, UsageError
from k8slab.objects.meta import name_of, namespace_of, uid_of
from k8slab.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from k8slab.embedded.apiserver.api import Api
    from k8slab.embedded.config import ClusterConfig
    from k8slab.embedded.controllers.kubelet.kubelets import Kubelets
    from k8slab.embedded.controllers.start import Controllers
    from k8slab.embedded.network.model import Denial
    from k8slab.embedded.network.network import Network
    from k8slab.embedded.runtime.runtime import Runtime
    from k8slab.objects.meta import Object

KEPT_DENIALS = 10_000
NAME_SECONDS = 2.0
"""How long one DNS question may take, when the probe's own deadline is shorter."""
RESOLV_CONF = 65_536
"""Bytes of a pod's resolv.conf that are read; the kubelet writes some hundred."""
_THREADS = 2
_SHARED_FROM = 256


@dataclass(frozen=True, slots=True)
class Source:
    """Where flows come from; `netns` is a copy that belongs to the probe."""

    key: str
    netns: int
    resolv_conf: str


class Lab:
    """What only this provider can do."""

    def __init__(self, api: Api, network: Network, runtime: Runtime, config: ClusterConfig) -> None:
        self.kubelets: Kubelets | None = None
        self.controllers: Controllers | None = None
        """Set once there are any; before, no pod can be a source."""
        self._api = api
        self._network = network
        self._runtime = runtime
        self._config = config
        self._hosts = world_hosts(config.ip_versions)
        self._denials: deque[tuple[int, Denial]] = deque(maxlen=KEPT_DENIALS)
        self._waiters = 0
        self._number = 0
        self._more = asyncio.Event()
        self._runs: set[Run] = set()
        self._tasks: set[asyncio.Future[Any]] = set()
        self._ports = Ports()
        self._workers = ThreadPoolExecutor(_THREADS, thread_name_prefix="probe")

    def close(self) -> None:
        """Let the worker threads go."""
        self._workers.shutdown(wait=False, cancel_futures=True)

    # denials

    def denied(self, denial: Denial) -> None:
        """Learn that a policy dropped a packet."""
        for run in self._runs:
            run.deny(denial)
        self._number += 1
        self._denials.append((self._number, denial))
        if self._waiters:
            self._more.set()

    def denials(self, since: int) -> list[Object]:
        """Return the packets that policies dropped after the one numbered `since`."""
        names = self._pod_names()
        return [
            {"number": number, **_shown(denial, names)}
            for number, denial in self._denials
            if number > since
        ]

    def _pod_names(self) -> dict[str, Object]:
        """Return namespace and name of each pod by its UID."""
        return {
            uid_of(pod): {"namespace": namespace_of(pod), "name": name_of(pod)}
            for pod in self._api.list("pods")
        }

    async def wait_denials(self, since: int) -> None:
        """Return when there is a denial after the one numbered `since`."""
        self._waiters += 1
        try:
            while self._number <= since:
                self._more.clear()
                await self._more.wait()
        finally:
            self._waiters -= 1

    # commands

    async def run_on_node(self, node: str, argv: list[str], *, deadline: float) -> Object:
        """Run a command in a node's network namespace."""
        try:
            netns = self._network.node_netns(node)
        except ClusterError as error:
            raise statuses.not_found("nodes", node) from error
        try:
            done = await self._runtime.run_in_netns(netns, argv, hostname=node, deadline=deadline)
        except ClusterError as error:
            raise statuses.bad_request(error.message) from error
        return {
            "code": done.code,
            "stdout": done.stdout.decode(errors="replace"),
            "stderr": done.stderr.decode(errors="replace"),
        }

    # agents

    async def run_agent(self, node: str, agent: str, *, running: bool) -> None:
        """Start an agent of a node, or stop it.

        The network's agent brings the plugin's configuration along, as calico-node does.
        """
        controllers = self._on(node)
        if agent == "kubelet":
            (controllers.start_agent if running else controllers.stop_agent)(node)
        if agent == "cni" or (agent == "network-agent" and running):
            await self._network.plug(node, there=running)
            controllers.plug(node, there=running)
        if agent == "kube-proxy" and running:
            try:
                await self._network.pace_proxy(node, proxy_config.min_sync_period(self._api))
            except UsageError as error:
                raise statuses.bad_request(f"kube-proxy does not start: {error.message}") from error
        if agent in ("kube-proxy", "network-agent"):
            act = self._network.start_agent if running else self._network.stop_agent
            await act(node, agent)

    async def agents(self, node: str) -> dict[str, bool]:
        """Return which agents of a node run."""
        nodes = self._on(node).nodes
        own = {"kubelet": not nodes.silent(node), "cni": nodes.plugged(node)}
        return own | await self._network.agents(node)

    def _on(self, node: str) -> Controllers:
        if self.controllers is None or node not in self.controllers.nodes.addresses:
            raise statuses.not_found("nodes", node)
        return self.controllers

    # about

    def cluster(self) -> Object:
        """Return what this cluster is and what it can do."""
        return {
            "name": self._config.name,
            "config": asdict(self._config),
            "capabilities": capabilities(self._config),
            "versions": {
                "k8slab": __version__,
                "kubernetes": f"v1.{KUBERNETES_MINOR}.0",
                "kernel": platform.release(),
                "python": platform.python_version(),
            },
            "world": [asdict(host) for host in self._hosts],
            "lostDenials": self._network.lost_denials,
        }

    # probes

    async def probe(self, flows: list[Object], *, deadline: float) -> list[Object]:
        """Observe flows; one result for each, in their order.

        A caller that goes does not interrupt the threads, which use its descriptors: the
        probe runs to its end, which is near.
        """
        task = asyncio.ensure_future(self._probe(flows, deadline))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _probe(self, flows: list[Object], deadline: float) -> list[Object]:
        keys = [_key(flow) for flow in flows]
        with ExitStack() as stack:
            sources, problems = self._sources(flows, keys, stack)
            addresses, unresolved = await self._addresses(flows, keys, sources, deadline)
            chosen = [index for index in range(len(flows)) if index in addresses]
            exchanges = [
                _exchange(flows[index], sources[keys[index]], addresses[index]) for index in chosen
            ]
            found = await self._run(exchanges, deadline)
        names = self._pod_names()
        results: dict[int, Object] = {
            index: _observed(result, addresses[index], names)
            for index, result in zip(chosen, found, strict=True)
        }
        for index, key in enumerate(keys):
            if problem := problems.get(key):
                results[index] = _told("failed", problem)
            elif answer := unresolved.get(index):
                results[index] = _unresolved(answer, names)
        return [results[index] for index in range(len(flows))]

    async def _run(self, exchanges: list[Exchange], deadline: float) -> list[Result]:
        """Do all exchanges, shared out to the threads by source when there are many."""
        count = _THREADS if len(exchanges) >= _SHARED_FROM else 1
        order = sorted(range(len(exchanges)), key=lambda index: exchanges[index].netns)
        size = -(-len(order) // count) or 1
        parts = [order[at : at + size] for at in range(0, len(order), size)]
        found = await asyncio.gather(
            *(self._run_one([exchanges[index] for index in part], deadline) for part in parts)
        )
        by_index = dict(zip(order, chain.from_iterable(found), strict=True))
        return [by_index[index] for index in range(len(exchanges))]

    async def _run_one(self, exchanges: list[Exchange], deadline: float) -> list[Result]:
        run = Run(exchanges, deadline, self._ports)
        self._runs.add(run)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._workers, run.run)
        finally:
            self._runs.discard(run)
            run.close()

    # journeys

    async def trace(self, flow: Object, *, deadline: float) -> Object:
        """Send one packet and follow it through the cluster; a caller that goes ends nothing."""
        task = asyncio.ensure_future(self._trace(flow, deadline))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _trace(self, flow: Object, deadline: float) -> Object:
        # Imported by the first journey: most clusters never see one.
        from k8slab.embedded.daemon import journeys  # noqa: PLC0415
        from k8slab.embedded.network.sending import Question  # noqa: PLC0415

        key = _key(flow)
        with ExitStack() as held:
            sources, problems = self._sources([flow], [key], held)
            if key in problems:
                raise statuses.bad_request(problems[key])
            addresses, unresolved = await self._addresses([flow], [key], sources, deadline)
            if 0 not in addresses:
                why = unresolved[0].problem.removeprefix(f"{flow['to']}: ")
                raise statuses.bad_request(f"{flow['to']}: {why}")
            source = journeys.origin(self._api, flow, sources[key].netns)
            protocol = flow.get("protocol") or "TCP"
            sent = flow.get("fromPort") or 0, flow.get("bytes") or 0
            question = Question(source, addresses[0], flow["port"], protocol, *sent)
            netns = self.kubelets.pod_netns if self.kubelets else lambda _pod: None
            places = journeys.watched(self._api, self._network, netns, question, held)
            question = replace(question, source=places[0])
            try:
                found = await self._network.follow(
                    question, places, lambda: self._ports.take(key), deadline=deadline
                )
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                raise statuses.bad_request(str(error.strerror)) from error
        return journeys.as_json(found)

    def _sources(
        self, flows: Sequence[Object], keys: Sequence[str], stack: ExitStack
    ) -> tuple[dict[str, Source], dict[str, str]]:
        """Open each source's namespace once; say what is wrong with those that have none."""
        sources: dict[str, Source] = {}
        problems: dict[str, str] = {}
        for key, flow in zip(keys, flows, strict=True):
            if key in sources or key in problems:
                continue
            try:
                netns, conf = self._source(flow["from"])
            except (ProbeError, ClusterError) as error:
                problems[key] = error.message
                continue
            copy = os.dup(netns)  # a pod that goes meanwhile closes its own
            stack.callback(os.close, copy)
            sources[key] = Source(key, copy, conf)
        return sources, problems

    def _source(self, where: Object) -> tuple[int, str]:
        if pod_name := where.get("pod"):
            namespace = where.get("namespace") or "default"
            pod = self._api.get("pods", pod_name, namespace)
            if pod is None:
                raise ProbeError(f"there is no pod {namespace}/{pod_name}")
            netns = self.kubelets.pod_netns(pod) if self.kubelets else None
            if netns is None:
                raise ProbeError(f"the pod {namespace}/{pod_name} is not running")
            return netns, self._resolv_conf(pod)
        if node := where.get("node"):
            return self._network.node_netns(node), _conf([_router(self._config)])
        world = str(where.get("world"))
        if world not in self._network.world:
            known = ", ".join(self._network.world)
            raise ProbeError(f"there is no part of the world {world!r}, only {known}")
        servers = [
            host.address for host in self._hosts if (host.network, host.role) == (world, "dns")
        ]
        return self._network.world[world], _conf(servers or [_router(self._config)])

    def _resolv_conf(self, pod: Object) -> str:
        """Return the pod's resolv.conf as its first running container sees it now.

        Whatever a program there has put in its place must not hold the daemon up.
        """
        for container in pod["spec"]["containers"]:
            info = self.kubelets.container(pod, container["name"]) if self.kubelets else None
            if info and info.running:
                with suppress(ClusterError, OSError):
                    pid = self._runtime.container(info.id).pid
                    path = Path(f"/proc/{pid}/root/etc/resolv.conf")
                    return linux.read_regular(path, RESOLV_CONF).decode(errors="replace")
        return ""

    async def _addresses(
        self,
        flows: Sequence[Object],
        keys: Sequence[str],
        sources: dict[str, Source],
        deadline: float,
    ) -> tuple[dict[int, str], dict[int, Answer]]:
        """Return the address of each flow's destination, or why it has none."""
        addresses: dict[int, str] = {}
        asked: dict[tuple[str, str], list[int]] = {}
        literal = {to: _literal(to) for to in {flow["to"] for flow in flows}}
        for index, (key, flow) in enumerate(zip(keys, flows, strict=True)):
            if key not in sources:
                continue
            if address := literal[flow["to"]]:
                addresses[index] = address
            else:
                asked.setdefault((key, flow["to"]), []).append(index)
        unresolved: dict[int, Answer] = {}
        if not asked:
            return addresses, unresolved
        lookups = [
            Lookup(sources[key].netns, key, ResolvConf.parse(sources[key].resolv_conf), name)
            for key, name in asked
        ]
        for answer, indexes in zip(
            await self.resolve(lookups, max(deadline, NAME_SECONDS)), asked.values(), strict=True
        ):
            for index in indexes:
                if answer.addresses:
                    addresses[index] = answer.addresses[0]
                else:
                    unresolved[index] = answer
        return addresses, unresolved

    async def resolve(self, lookups: list[Lookup], deadline: float) -> list[Answer]:
        """Look names up; each question may take `deadline` seconds."""
        loop = asyncio.get_running_loop()

        def exchange(exchanges: list[Exchange]) -> list[Result]:
            running = self._run(exchanges, deadline)
            return asyncio.run_coroutine_threadsafe(running, loop).result()

        return await asyncio.to_thread(resolve, lookups, exchange)


def _shown(denial: Denial, names: Mapping[str, Object]) -> Object:
    """Return a denial as JSON; the pod is null when it has gone since."""
    return {
        "time": denial.time,
        "node": denial.node,
        "direction": denial.direction,
        "pod": names.get(denial.pod_uid),
        "podUID": denial.pod_uid,
        "protocol": denial.protocol,
        "source": denial.source,
        "sourcePort": denial.source_port,
        "destination": denial.destination,
        "destinationPort": denial.destination_port,
        "policy": denial.policy,
    }


def _observed(result: Result, address: str, names: Mapping[str, Object]) -> Object:
    return _told(
        result.outcome,
        result.detail,
        seconds=round(result.seconds, 6),
        address=address,
        denial=_shown(result.denial, names) if result.denial else None,
    )


def _unresolved(answer: Answer, names: Mapping[str, Object]) -> Object:
    denial = answer.result.denial if answer.result else None
    return _told("unresolved", answer.problem, denial=_shown(denial, names) if denial else None)


def _told(outcome: str, detail: str, **more: Any) -> Object:
    empty: Object = {"seconds": 0.0, "address": "", "denial": None}
    return {"outcome": outcome, "detail": detail, **empty, **more}


def _key(flow: Object) -> str:
    """Name a flow's source."""
    where = flow["from"]
    if where.get("pod"):
        return f"pod {where.get('namespace') or 'default'}/{where['pod']}"
    return f"node {where['node']}" if where.get("node") else f"world {where.get('world')}"


def _exchange(flow: Object, source: Source, address: str) -> Exchange:
    return Exchange(
        netns=source.netns,
        source=source.key,
        address=address,
        port=flow["port"],
        protocol=flow.get("protocol") or "TCP",
    )


def _literal(text: str) -> str:
    """Return an address in its usual form; empty for a name."""
    try:
        return str(ip_address(text))
    except ValueError:
        return ""


def _router(config: ClusterConfig) -> str:
    """Return the address of the router, which is the nodes' name server."""
    return str(ip_network(config.node_cidrs[0])[1])


def _conf(servers: Sequence[str]) -> str:
    return "".join(f"nameserver {server}\n" for server in servers)
