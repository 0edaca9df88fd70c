"""The rules that a node should have, drawn anew from the API's objects, and those it has.

The network room changes rules step by step. Here the same objects are rendered at once, as for
a node that has just come, and loaded into a network namespace of their own; so both sides are
the kernel's own listing, and a difference is a step that went wrong.
"""

import json
import os
import subprocess

from k8slab.embedded.controllers import service_values
from k8slab.embedded.controllers.cluster_policy_values import read_cluster_policy
from k8slab.embedded.controllers.kubelet.containers import host_ports
from k8slab.embedded.controllers.policy_values import (
    Estate,
    compile_policy,
    pod_facts,
    read_policy,
)
from k8slab.embedded.controllers.slice_values import ZONE
from k8slab.embedded.network import ruleset_nat
from k8slab.embedded.network.node import Pod, Tables, families
from k8slab.embedded.network.policies import Policies
from k8slab.embedded.network.ruleset import of_family
from k8slab.embedded.network.ruleset_proxy import Place
from k8slab.embedded.network.services import Services
from k8slab.objects.slices import SERVICE_NAME


class PaperNode:
    """A node whose kernel is a text: what `Policies` and `Services` write to is kept."""

    def __init__(self, name, addresses, config):
        self.name = name
        self.addresses = tuple(addresses)
        self.pods = {}
        ranges = (
            tuple(config.pod_cidrs),
            tuple(config.service_cidrs),
            tuple(config.load_balancer_cidrs),
        )
        self.tables = {
            family: Tables(Place(family, name, self.addresses, *ranges))
            for family in families(config.pod_cidrs)
        }
        self.text = "".join(tables.base() for tables in self.tables.values())

    def change(self, table, changes):
        """Write the change down."""
        plan = table.plan(changes)
        self.text += plan.text
        table.commit(plan)


def differences(view):
    """Say for each node which rules are missing and which should not be there."""
    services, policies = _service_ports(view), _directions(view)
    for name, found in view.nodes.items():
        paper = _draw(view, name, services, policies)
        wanted, present = flatten(_listing(paper.text)), flatten(found.rules)
        for key in sorted(wanted.keys() | present.keys()):
            if wanted.get(key) != present.get(key):
                yield f"node {name}: {' '.join(key)}: {_difference(wanted, present, key)}"


def _difference(wanted, present, key):
    if key not in present:
        return "missing"
    if key not in wanted:
        return f"should not be there: {str(present[key])[:300]}"
    here, there = wanted[key], present[key]
    if isinstance(here, frozenset):
        return f"missing {sorted(here - there)}, too many {sorted(there - here)}"
    return f"wanted {here}, found {there}"


def _service_ports(view):
    slices = {}
    for item in view.objects.slices:
        meta = item["metadata"]
        service = (meta.get("labels") or {}).get(SERVICE_NAME)
        slices.setdefault((meta["namespace"], service), []).append(item)
    labels = {node["metadata"]["name"]: node["metadata"]["labels"] for node in view.objects.nodes}
    zones = {name: found[ZONE] for name, found in labels.items() if ZONE in found}
    ports = {}
    for service in view.objects.services:
        meta = service["metadata"]
        for port in service_values.service_ports(
            service, slices.get((meta["namespace"], meta["name"]), []), zones
        ):
            ports[port.key] = port
    return ports


def _directions(view):
    estate = Estate()
    for namespace in view.objects.namespaces:
        estate.namespaces[namespace["metadata"]["name"]] = namespace["metadata"].get("labels") or {}
    for pod in view.objects.pods:
        if facts := pod_facts(pod):
            estate.put(facts)
    read = [read_policy(policy) for policy in view.objects.policies]
    read += [read_cluster_policy(policy) for policy in view.objects.cluster_policies]
    return [direction for policy in read for direction in compile_policy(policy, estate)]


def _draw(view, name, services, directions):
    node = next(n for n in view.objects.nodes if n["metadata"]["name"] == name)
    addresses = [e["address"] for e in node["status"]["addresses"] if e["type"] == "InternalIP"]
    paper = PaperNode(name, addresses, view.config)
    interfaces = view.nodes[name].interfaces
    for pod in view.objects.pods:
        entries = (pod.get("status") or {}).get("podIPs") or ()
        if pod["spec"].get("nodeName") != name or pod["spec"].get("hostNetwork") or not entries:
            continue
        uid, found = pod["metadata"]["uid"], tuple(entry["ip"] for entry in entries)
        interface = next((interfaces[a] for a in found if a in interfaces), "nowhere")
        paper.pods[uid] = Pod(uid, name, interface, found)
        if ports := host_ports(pod):
            for family, tables in paper.tables.items():
                for address in of_family(family, found):
                    fragment = ruleset_nat.host_ports(family, ports, address, addresses)
                    paper.change(tables.nat, {("pod", uid): fragment})
    served = Services()
    served.sync(services, [])
    served.bring_up(paper)
    Policies().sync(directions, [paper])
    return paper


def _listing(text):
    """Return what nft lists of these rules, loaded into an empty namespace."""
    command = ["unshare", "-n"] if os.geteuid() == 0 else ["unshare", "-rn"]
    done = subprocess.run(
        [*command, "sh", "-c", "nft -f - && nft -j list ruleset"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[:2000]
    return json.loads(done.stdout)["nftables"]


def flatten(listing):
    """Return rules by chain and elements by set, without what changes with every packet."""
    found = {}
    for entry in listing:
        ((kind, body),) = entry.items()
        if kind == "metainfo":
            continue
        body = _steady({key: value for key, value in body.items() if key != "handle"})
        if kind == "rule":
            place = ("rules", body["family"], body["table"], body["chain"])
            found[place] = (*found.get(place, ()), _text([body["expr"], body.get("comment")]))
            continue
        name = (kind, body["family"], *filter(None, (body.get("table"),)), body["name"])
        if kind in ("set", "map"):
            learnt = {"dynamic", "timeout"} & set(body.get("flags") or ())
            elements = body.pop("elem", [])
            found["elements", *name[1:]] = (
                frozenset() if learnt else frozenset(map(_text, elements))
            )
        found[name] = _text(body)
    return found


def _steady(value):
    """Return a part of a listing without counts, and with what has no order sorted."""
    if isinstance(value, list):
        return [_steady(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "counter" in value:
        return {"counter": None}
    made = {key: _steady(item) for key, item in value.items()}
    if isinstance(made.get("set"), list):
        made["set"] = sorted(made["set"], key=_text)
    return made


def _text(value):
    return json.dumps(value, sort_keys=True)
