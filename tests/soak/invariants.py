"""What is true of every cluster that nobody is changing, whatever was done to it before.

Each check is a function of a `View` that yields one sentence for each fault it finds. On a
cluster at work some of them are not true for a moment; `settle` looks again and again until
none is left, and says which were when the time is up.
"""

import random
import time
from collections import Counter
from select import select

import rulesets
from faults_kit import LAB
from views import View

from k8slab import policy
from k8slab.embedded.runtime.runtime import SPARES
from k8slab.errors import K8slabError

OBSERVER = ("observer", "observer")
"""Namespace and name of the pod that asks for names; no policy selects it."""
FLOWS = 24
"""Pairs of pods whose connection is predicted and tried, in one look."""
_RESOLVE = """
    for name in "$@"; do
        echo "$name" $(getent ahostsv4 "$name" | while read address kind rest; do
            [ "$kind" != STREAM ] || echo "$address"; done)
    done
"""


def settle(cluster, *more, deadline=30.0):
    """Look until nothing is at fault; return the faults that stay, none if all is well.

    `more` are further checks of a `View`. Between two looks nothing is slept away but
    what the machine needs to go on.
    """
    ends = time.monotonic() + deadline
    while True:
        view = View(cluster)
        found = faults(view, *more)
        if not found or time.monotonic() > ends:
            return found
        select([], [], [], 0.1)  # nothing tells when a cluster has settled


def faults(view, *more):
    """Return every fault of a cluster as a sentence, the cheap checks first.

    What the kernel has is looked at only when the objects are whole: else they differ anyway.
    """
    for checks in (
        (workloads, states, slices, owners),
        (*more, routes, rules, processes, held, names),
    ):
        found = [text for check in checks for text in _asked(check, view)]
        if found:
            return found
    return [*_asked(packets, view)]


def _asked(check, view):
    try:
        yield from check(view)
    except K8slabError as error:
        yield f"{check.__name__}: {error}"


def workloads(view):
    """Every workload has its pods."""
    objects = view.objects
    for kind in (objects.deployments, objects.statefulsets, objects.replicasets):
        for item in kind:
            wanted, status = item["spec"].get("replicas", 1), item.get("status") or {}
            counts = {key: status.get(key, 0) for key in ("replicas", "readyReplicas")}
            if set(counts.values()) != {wanted}:
                yield f"{item['kind']} {_key(item)} wants {wanted} pods and has {counts}"
    for item in objects.daemonsets:
        status = item.get("status") or {}
        if status.get("numberReady") != status.get("desiredNumberScheduled"):
            yield f"DaemonSet {_key(item)} is not whole: {status}"
    for item in objects.jobs:
        if _condition(item, "Complete") != "True":
            yield f"Job {_key(item)} is not complete: {item.get('status')}"


def states(view):
    """Every pod runs or has ended well, every node is Ready, what was deleted goes."""
    for pod in view.objects.pods:
        status = pod.get("status") or {}
        if pod["metadata"].get("deletionTimestamp"):
            yield f"pod {_key(pod)} does not go: {status.get('phase')}"
        elif not _ended_rightly(pod) and _condition(pod, "Ready") != "True":
            waiting = [entry.get("state") for entry in status.get("containerStatuses") or ()]
            yield f"pod {_key(pod)} is not Ready: {status.get('phase')} {waiting}"
    for node in view.objects.nodes:
        if _condition(node, "Ready") != "True":
            yield f"node {_key(node)} is not Ready"
    for item in view.objects.namespaces:
        if item["metadata"].get("deletionTimestamp"):
            yield f"namespace {_key(item)} does not go: {item.get('status')}"


def slices(view):
    """The slices of a Service are its pods; so are its Endpoints; none is without a Service."""
    objects = view.objects
    services = {_key(service): service for service in objects.services}
    found = {}
    for item in objects.slices:
        name = (item["metadata"].get("labels") or {}).get("kubernetes.io/service-name")
        key = f"{item['metadata']['namespace']}/{name}"
        if key not in services:
            yield f"EndpointSlice {_key(item)} has no Service"
        for endpoint in item["endpoints"]:
            for address in endpoint["addresses"]:
                ready = endpoint["conditions"].get("ready")
                found.setdefault(key, []).append((address, bool(ready)))
    legacy = {
        _key(item): sorted(
            address["ip"]
            for subset in item.get("subsets") or ()
            for address in subset.get("addresses") or ()
        )
        for item in objects.endpoints
    }
    for key, service in services.items():
        selector = service["spec"].get("selector")
        if not selector:
            continue
        wanted = sorted(
            (entry["ip"], _condition(pod, "Ready") == "True")
            for pod in _selected(objects.pods, service["metadata"]["namespace"], selector)
            for entry in (pod.get("status") or {}).get("podIPs") or ()
            if ":" not in entry["ip"]
        )
        if sorted(found.get(key, [])) != wanted:
            yield f"Service {key} leads to {sorted(found.get(key, []))}, its pods are {wanted}"
        ready = [address for address, is_ready in wanted if is_ready]
        if sorted(legacy.get(key, [])) != sorted(ready):
            yield f"Endpoints {key} are {legacy.get(key)}, its ready pods are {ready}"


def owners(view):
    """Nothing stays behind when its owner is gone."""
    everything = [item for kind in vars(view.objects).values() for item in kind]
    uids = {item["metadata"]["uid"] for item in everything}
    spaces = {item["metadata"]["name"] for item in view.objects.namespaces}
    for item in everything:
        meta = item["metadata"]
        for owner in meta.get("ownerReferences") or ():
            if owner["uid"] not in uids and owner["kind"] != "Lease":
                yield f"{item['kind']} {_key(item)} outlived its {owner['kind']} {owner['name']}"
        if meta.get("namespace", "default") not in spaces:
            yield f"{item['kind']} {_key(item)} outlived its namespace"


def routes(view):
    """A node has a route, a link and a neighbour for each of its pods, and for nobody else."""
    addresses = Counter(
        entry["ip"]
        for pod in view.objects.pods
        if not pod["spec"].get("hostNetwork") and _is_alive(pod)
        for entry in (pod.get("status") or {}).get("podIPs") or ()
    )
    yield from (f"{n} pods have the address {a}" for a, n in addresses.items() if n > 1)
    for name, node in view.nodes.items():
        here = [pod for pod in view.objects.pods if pod["spec"].get("nodeName") == name]
        # A pod that has ended keeps its link until it is deleted, or the cluster starts anew.
        wanted, allowed = _addresses(filter(_is_alive, here)), _addresses(here)
        interfaces = node.interfaces
        if not wanted <= interfaces.keys() <= allowed:
            yield f"node {name} has routes to {sorted(interfaces)}, its pods are {sorted(wanted)}"
        links = {link["ifname"] for link in node.links if link["ifname"].startswith("cali")}
        if links != set(interfaces.values()):
            yield f"node {name} has the links {sorted(links)}, its routes lead to {interfaces}"
        known = {n["dst"] for n in node.neighbours if n["dev"].startswith("cali")}
        known = {a for a in known if ":" not in a and a != "169.254.1.1"}
        if known != interfaces.keys():
            yield f"node {name} knows {sorted(known)} as its pods, its routes lead to {interfaces}"
        yield from _blocks(view, name)
    yield from _balancers(view)


def _blocks(view, name):
    """Every node's blocks are dropped at home and routed to it everywhere else."""
    own = {r["dst"] for r in view.nodes[name].routes if r.get("type") == "blackhole"}
    for other, node in view.nodes.items():
        via = {r["dst"] for r in node.routes if r.get("gateway") == _address(view, name)}
        if other != name and via != own:
            yield f"node {other} routes {sorted(via)} to {name}, which has {sorted(own)}"
    if not own:
        yield f"node {name} has no block of addresses"


def _balancers(view):
    """Each load balancer's address is answered by exactly one node."""
    wanted = {
        entry["ip"]
        for service in view.objects.services
        for entry in ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    }
    found = [
        r["dst"] for n in view.nodes.values() for r in n.local if r["dst"].startswith("172.18.255.")
    ]
    served = sorted(dst for dst in found if dst != "172.18.255.255")
    if served != sorted(wanted):
        yield f"load balancers {sorted(wanted)} are served as {served}"


def rules(view):
    """Every node has the rules that its Services, slices, policies and pods ask for, no others."""
    return rulesets.differences(view)


def processes(view):
    """A process for every running container, and nothing else but the cluster's own."""
    found = view.processes
    names = Counter(found.system.values())
    helpers = names["k8slab-zygote"] - 1  # each waits with a sandbox for its first container
    own = {"k8slab-init": 1, "k8slab-zygote": 1 + helpers, "k8slab-daemon": 1}
    if names != own or not 0 <= helpers <= SPARES:
        yield f"the cluster's own processes are {dict(names)}"
    running, world = Counter(), 0
    owner = {}
    for pod in view.objects.pods:
        address = (pod.get("status") or {}).get("podIP")
        owner[address] = _key(pod)
        running[address] += _running(pod)
    counted = Counter()
    for pid, addresses in found.inits.items():
        mine = [a for a in addresses if a in running]
        if mine:
            counted[mine[0]] += 1
        elif "172.18.0.1" in addresses:
            world += 1
        else:
            yield f"process {pid} belongs to no pod: its addresses are {sorted(addresses)}"
    for address in running:
        if running[address] != counted[address]:
            yield (
                f"pod {owner[address]} says that {running[address]} of its containers run, "
                f"{counted[address]} do"
            )
    if world != 1:
        yield f"the world outside has {world} processes"


def held(view):
    """The daemon holds namespaces and processes of what is there, and keeps no file of the rest."""
    found = view.processes
    alive = {pod["metadata"]["uid"]: pod for pod in view.objects.pods}
    pods = sum(1 for pod in alive.values() if not pod["spec"].get("hostNetwork"))
    kinds = Counter(text.partition("[")[0] for text in set(found.descriptors))
    fixed = 1 + 3 + len(view.nodes) + 1  # the switch, the world, the nodes, the rules' reference
    if not fixed + _sandboxes(alive) <= kinds["net:"] <= fixed + pods + SPARES:
        yield f"the daemon holds {kinds['net:']} network namespaces for {pods} pods"
    users = sum(1 for text in found.descriptors if text.startswith("user:"))
    if users > pods + SPARES:
        yield f"the daemon holds {users} user namespaces for {pods} pods"
    running = sum(map(_running, alive.values())) + 1
    pidfds = sum(1 for text in found.descriptors if "pidfd" in text)
    if pidfds != running:
        yield f"the daemon holds {pidfds} processes, {running} containers run"
    for what, uids in (("volumes", found.volumes()), ("logs", found.logs())):
        for uid in uids - alive.keys():
            yield f"{what} of the pod {uid} are left, which is gone"


def names(view):
    """Cluster DNS knows each Service by its address, or by its pods, and no other."""
    wanted = {}
    for service in view.objects.services:
        spec, meta = service["spec"], service["metadata"]
        name = f"{meta['name']}.{meta['namespace']}.svc.cluster.local."
        if spec.get("type") == "ExternalName":
            continue
        if spec.get("clusterIP") != "None":
            wanted[name] = {spec["clusterIP"]}
        elif spec.get("selector"):
            wanted[name] = {
                pod["status"]["podIP"]
                for pod in _selected(view.objects.pods, meta["namespace"], spec["selector"])
                if _condition(pod, "Ready") == "True"
            }
    wanted["never-was.default.svc.cluster.local."] = set()
    done = view.cluster.exec(*OBSERVER, ["sh", "-c", _RESOLVE, "sh", *wanted], deadline=30)
    answers = [line.split() for line in done.stdout.splitlines()]
    found = {name: set(addresses) for name, *addresses in answers}
    for name, addresses in wanted.items():
        if found.get(name) != addresses:
            yield f"{name} is {found.get(name)} in DNS, it should be {addresses}"


def packets(view):
    """Connections between pods succeed exactly where policies let them, and the world answers."""
    objects = view.objects
    listening = {
        _key(pod): pod["status"]["podIP"]
        for pod in objects.pods
        if _condition(pod, "Ready") == "True"
        and pod["spec"]["containers"][0]["image"] == "k8slab/app"
    }
    everything = [*objects.pods, *objects.namespaces, *objects.policies, *objects.cluster_policies]
    estate = policy.compile([*everything, *objects.nodes])
    wanted = {("/".join(OBSERVER), "example.com", 443): "open"}
    chosen = random.choices(sorted(listening), k=2 * FLOWS) if listening else []
    for source, target in {*zip(chosen[::2], chosen[1::2], strict=True)}:
        verdict = estate.decide(policy.Flow.of(source, target, 8080))
        wanted[source, listening[target], 8080] = "open" if verdict.allowed else "silent"
    flows = [
        {"from": dict(zip(("namespace", "pod"), source.split("/"), strict=True)), **to}
        for source, to in ((key[0], {"to": key[1], "port": key[2]}) for key in wanted)
    ]
    body = {"deadlineSeconds": 2, "flows": flows}
    answer = view.cluster.request("POST", f"{LAB}/probes", body)
    for (flow, expected), seen in zip(wanted.items(), answer["results"], strict=True):
        if seen["outcome"] != expected:
            yield f"{flow}: {expected} expected, {seen['outcome']} seen: {seen['detail']}"


def _key(item):
    meta = item["metadata"]
    return f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else meta["name"]


def _condition(item, kind):
    found = (item.get("status") or {}).get("conditions") or ()
    return next((entry["status"] for entry in found if entry["type"] == kind), "")


def _ended_rightly(pod):
    """Say whether a pod ended by itself, or by a kill that its policy does not make good."""
    never = pod["spec"].get("restartPolicy") == "Never"
    phase = (pod.get("status") or {}).get("phase")
    return phase == "Succeeded" or (phase == "Failed" and never)


def _addresses(pods):
    """Return the IPv4 addresses of pods that are not on their node's network."""
    return {
        entry["ip"]
        for pod in pods
        if not pod["spec"].get("hostNetwork")
        for entry in (pod.get("status") or {}).get("podIPs") or ()
        if ":" not in entry["ip"]
    }


def _is_alive(pod):
    return (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def _selected(pods, namespace, selector):
    return [
        pod
        for pod in pods
        if pod["metadata"]["namespace"] == namespace
        and selector.items() <= (pod["metadata"].get("labels") or {}).items()
        and _is_alive(pod)
    ]


def _running(pod):
    status = pod.get("status") or {}
    groups = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
    entries = [entry for group in groups for entry in status.get(group) or ()]
    return sum(1 for entry in entries if "running" in (entry.get("state") or {}))


def _sandboxes(pods):
    return sum(1 for p in pods.values() if _is_alive(p) and not p["spec"].get("hostNetwork"))


def _address(view, name):
    node = next(n for n in view.objects.nodes if n["metadata"]["name"] == name)
    return next(e["address"] for e in node["status"]["addresses"] if e["type"] == "InternalIP")
