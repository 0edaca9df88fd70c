"""The columns that ``kubectl get`` shows for each kind (server-side printing, Table).

Source: ``pkg/printers/internalversion/printers.go`` of kube-apiserver: names, priorities (1 is
only shown with ``-o wide``) and how each cell is worded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from k8slab.embedded.apiserver import printpods, printseldom, printtexts
from k8slab.embedded.apiserver.printtexts import age, map_text, selector_text
from k8slab.objects.meta import is_deleting

if TYPE_CHECKING:
    from collections.abc import Callable

    from k8slab.embedded.apiserver.kinds import Kind
    from k8slab.objects.meta import Object

    Cells = Callable[[Object], list[Any]]

NONE = "<none>"
UNSET = "<unset>"
NODE_ROLE = "node-role.kubernetes.io/"


@dataclass(frozen=True, slots=True)
class Printer:
    """The columns of one kind; a name that begins with ``+`` is for ``-o wide``.

    The first column is always the name, and `cells` returns the others.
    """

    columns: tuple[str, ...]
    cells: Cells


def _spec(obj: Object) -> Object:
    return obj.get("spec") or {}


def _status(obj: Object) -> Object:
    return obj.get("status") or {}


def _containers(template: Object) -> tuple[str, str]:
    containers = ((template.get("spec") or {}).get("containers")) or []
    names = ",".join(container.get("name", "") for container in containers)
    return names, ",".join(container.get("image", "") for container in containers)


def _plain(obj: Object) -> list[Any]:
    return [age(obj)]


def _namespace(obj: Object) -> list[Any]:
    return [_status(obj).get("phase", ""), age(obj)]


def _node(obj: Object) -> list[Any]:
    status = _status(obj)
    labels = obj["metadata"].get("labels") or {}
    roles = {key.removeprefix(NODE_ROLE) for key in labels if key.startswith(NODE_ROLE)}
    ready = next((c for c in status.get("conditions") or () if c.get("type") == "Ready"), None)
    words = ["Unknown"]
    if ready is not None:
        words = ["Ready" if ready.get("status") == "True" else "NotReady"]
    if _spec(obj).get("unschedulable"):
        words.append("SchedulingDisabled")
    given = reversed(status.get("addresses") or [])
    addresses = {one.get("type"): one.get("address", "") for one in given}
    info = status.get("nodeInfo") or {}
    return [
        ",".join(words),
        ",".join(sorted(roles)) or NONE,
        age(obj),
        info.get("kubeletVersion", ""),
        addresses.get("InternalIP", NONE),
        addresses.get("ExternalIP", NONE),
        info.get("osImage") or "<unknown>",
        info.get("kernelVersion") or "<unknown>",
        info.get("containerRuntimeVersion") or "<unknown>",
    ]


def _config_map(obj: Object) -> list[Any]:
    return [len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), age(obj)]


def _secret(obj: Object) -> list[Any]:
    return [obj.get("type", ""), len(obj.get("data") or ()), age(obj)]


def _service(obj: Object) -> list[Any]:
    spec = _spec(obj)
    ports = []
    for port in spec.get("ports") or ():
        number = f"{port['port']}:{port['nodePort']}" if port.get("nodePort") else str(port["port"])
        ports.append(f"{number}/{port.get('protocol', 'TCP')}")
    addresses = spec.get("clusterIPs") or []
    return [
        spec.get("type", ""),
        addresses[0] if addresses else NONE,
        _external(obj),
        ",".join(ports) or NONE,
        age(obj),
        map_text(spec.get("selector")),
    ]


def _external(obj: Object) -> str:
    spec = _spec(obj)
    kind, given = spec.get("type"), spec.get("externalIPs") or []
    if kind == "ExternalName":
        return str(spec.get("externalName", ""))
    if kind == "LoadBalancer":
        entries = (_status(obj).get("loadBalancer") or {}).get("ingress") or []
        found = [entry.get("ip") or entry.get("hostname") or "" for entry in entries]
        return ",".join([*found, *given]) or "<pending>"
    return ",".join(given) or NONE


def _endpoints(obj: Object) -> list[Any]:
    found = []
    for subset in obj.get("subsets") or ():
        ports = subset.get("ports") or []
        for address in subset.get("addresses") or ():
            found += [f"{address['ip']}:{port['port']}" for port in ports] or [address["ip"]]
    shown = ",".join(found[:3])
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    return [shown + more or NONE, age(obj)]


def _endpoint_slice(obj: Object) -> list[Any]:
    ports = [str(p.get("port") or p.get("name") or "*") for p in obj.get("ports") or ()]
    addresses = [address for e in obj.get("endpoints") or () for address in e["addresses"]]
    return [
        obj.get("addressType", ""),
        _few(ports, UNSET),
        _few(addresses, UNSET),
        age(obj),
    ]


def _few(words: list[str], empty: str) -> str:
    more = f" + {len(words) - 3} more..." if len(words) > 3 else ""
    return ",".join(words[:3]) + more or empty


def _deployment(obj: Object) -> list[Any]:
    spec, status = _spec(obj), _status(obj)
    names, images = _containers(spec.get("template") or {})
    return [
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age(obj),
        names,
        images,
        selector_text(spec.get("selector")),
    ]


def _replica_set(obj: Object) -> list[Any]:
    spec, status = _spec(obj), _status(obj)
    names, images = _containers(spec.get("template") or {})
    return [
        spec.get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age(obj),
        names,
        images,
        selector_text(spec.get("selector")),
    ]


def _daemon_set(obj: Object) -> list[Any]:
    spec, status = _spec(obj), _status(obj)
    template = spec.get("template") or {}
    names, images = _containers(template)
    return [
        status.get("desiredNumberScheduled", 0),
        status.get("currentNumberScheduled", 0),
        status.get("numberReady", 0),
        status.get("updatedNumberScheduled", 0),
        status.get("numberAvailable", 0),
        map_text((template.get("spec") or {}).get("nodeSelector")),
        age(obj),
        names,
        images,
        selector_text(spec.get("selector")),
    ]


def _stateful_set(obj: Object) -> list[Any]:
    spec, status = _spec(obj), _status(obj)
    names, images = _containers(spec.get("template") or {})
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    return [ready, age(obj), names, images]


_JOB_WORDS = (
    "Complete",
    "Failed",
    "Terminating",
    "Suspended",
    "FailureTarget",
    "SuccessCriteriaMet",
)
"""What the status of a Job is called, the first that is true."""


def _job(obj: Object) -> list[Any]:
    spec, status = _spec(obj), _status(obj)
    found = {c["type"] for c in status.get("conditions") or () if c.get("status") == "True"}
    if is_deleting(obj):
        found.add("Terminating")
    word = next((word for word in _JOB_WORDS if word in found), "Running")
    wanted = spec.get("completions")
    if wanted is None:
        parallelism = spec.get("parallelism", 0)
        wanted = f"1 of {parallelism}" if parallelism > 1 else 1
    names, images = _containers(spec.get("template") or {})
    return [
        word,
        f"{status.get('succeeded', 0)}/{wanted}",
        printtexts.span(status.get("startTime"), status.get("completionTime")),
        age(obj),
        names,
        images,
        selector_text(spec.get("selector")),
    ]


def _controller_revision(obj: Object) -> list[Any]:
    owners = obj["metadata"].get("ownerReferences") or []
    owner = next((o for o in owners if o.get("controller")), None)
    shown = NONE
    if owner:
        group = owner["apiVersion"].rpartition("/")[0]
        shown = f"{owner['kind'].lower()}{'.' + group if group else ''}/{owner['name']}"
    return [shown, obj.get("revision", 0), age(obj)]


def _network_policy(obj: Object) -> list[Any]:
    return [selector_text(_spec(obj).get("podSelector") or {}), age(obj)]


def _cluster_network_policy(obj: Object) -> list[Any]:
    spec = _spec(obj)
    return [spec.get("tier", ""), str(spec.get("priority", "")), age(obj)]


def _ingress(obj: Object) -> list[Any]:
    spec = _spec(obj)
    rules = spec.get("rules") or []
    hosts = [rule["host"] for rule in rules if rule.get("host")]
    entries = (_status(obj).get("loadBalancer") or {}).get("ingress") or []
    return [
        spec.get("ingressClassName") or NONE,
        _few(hosts, "*"),
        ",".join(entry.get("ip") or entry.get("hostname") or "" for entry in entries),
        "80, 443" if spec.get("tls") else "80",
        age(obj),
    ]


def _ingress_class(obj: Object) -> list[Any]:
    parameters = _spec(obj).get("parameters")
    shown = NONE
    if parameters:
        group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") else ""
        shown = f"{parameters['kind']}{group}/{parameters['name']}"
    return [_spec(obj).get("controller", ""), shown, age(obj)]


def _event(obj: Object) -> list[Any]:
    involved = obj.get("involvedObject") or {}
    source = obj.get("source") or {}
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    last = (obj.get("series") or {}).get("lastObservedTime") or obj.get("lastTimestamp") or first
    kind, name = involved.get("kind", "").lower(), involved.get("name", "")
    component = source.get("component") or obj.get("reportingComponent") or ""
    host = source.get("host")
    return [
        printtexts.since(last),
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{kind}/{name}" if name else kind,
        involved.get("fieldPath", ""),
        f"{component}, {host}" if host else component,
        (obj.get("message") or "").strip(),
        printtexts.since(first),
        (obj.get("series") or {}).get("count") or obj.get("count") or 1,
        obj["metadata"]["name"],
    ]


def _lease(obj: Object) -> list[Any]:
    return [_spec(obj).get("holderIdentity", ""), age(obj)]


def _created(obj: Object) -> list[Any]:
    return [obj["metadata"].get("creationTimestamp", "")]


def _binding(obj: Object) -> list[Any]:
    role = obj.get("roleRef") or {}
    subjects: dict[str, list[str]] = {"User": [], "Group": [], "ServiceAccount": []}
    for subject in obj.get("subjects") or ():
        name = subject.get("name", "")
        if subject.get("kind") == "ServiceAccount":
            name = f"{subject.get('namespace', '')}/{name}"
        subjects.setdefault(subject.get("kind", ""), []).append(name)
    listed = [", ".join(subjects[kind]) for kind in ("User", "Group", "ServiceAccount")]
    return [f"{role.get('kind', '')}/{role.get('name', '')}", age(obj), *listed]


def _priority_class(obj: Object) -> list[Any]:
    return [
        obj.get("value", 0),
        str(bool(obj.get("globalDefault"))).lower(),
        age(obj),
        obj.get("preemptionPolicy", ""),
    ]


def _storage_class(obj: Object) -> list[Any]:
    return [
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy", ""),
        obj.get("volumeBindingMode", ""),
        str(bool(obj.get("allowVolumeExpansion"))).lower(),
        age(obj),
    ]


_WORKLOAD = ("+Containers", "+Images", "+Selector")

_PLAIN = Printer(("Age",), _plain)

_PRINTERS: dict[str, Printer] = {
    "pods": Printer(printpods.COLUMNS, printpods.cells),
    "namespaces": Printer(("Status", "Age"), _namespace),
    "nodes": Printer(
        (
            "Status",
            "Roles",
            "Age",
            "Version",
            "+Internal-IP",
            "+External-IP",
            "+OS-Image",
            "+Kernel-Version",
            "+Container-Runtime",
        ),
        _node,
    ),
    "configmaps": Printer(("Data", "Age"), _config_map),
    "secrets": Printer(("Type", "Data", "Age"), _secret),
    "serviceaccounts": _PLAIN,
    "services": Printer(
        ("Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "+Selector"), _service
    ),
    "endpoints": Printer(("Endpoints", "Age"), _endpoints),
    "endpointslices.discovery.k8s.io": Printer(
        ("AddressType", "Ports", "Endpoints", "Age"), _endpoint_slice
    ),
    "deployments.apps": Printer(
        ("Ready", "Up-to-date", "Available", "Age", *_WORKLOAD), _deployment
    ),
    "replicasets.apps": Printer(("Desired", "Current", "Ready", "Age", *_WORKLOAD), _replica_set),
    "daemonsets.apps": Printer(
        (
            "Desired",
            "Current",
            "Ready",
            "Up-to-date",
            "Available",
            "Node Selector",
            "Age",
            *_WORKLOAD,
        ),
        _daemon_set,
    ),
    "statefulsets.apps": Printer(("Ready", "Age", "+Containers", "+Images"), _stateful_set),
    **{resource: Printer(*row) for resource, row in printseldom.ROWS.items()},
    "controllerrevisions.apps": Printer(("Controller", "Revision", "Age"), _controller_revision),
    "jobs.batch": Printer(("Status", "Completions", "Duration", "Age", *_WORKLOAD), _job),
    "networkpolicies.networking.k8s.io": Printer(("Pod-Selector", "Age"), _network_policy),
    "clusternetworkpolicies.policy.networking.k8s.io": Printer(
        ("Tier", "Priority", "Age"), _cluster_network_policy
    ),
    "ingresses.networking.k8s.io": Printer(("Class", "Hosts", "Address", "Ports", "Age"), _ingress),
    "ingressclasses.networking.k8s.io": Printer(
        ("Controller", "Parameters", "Age"), _ingress_class
    ),
    "leases.coordination.k8s.io": Printer(("Holder", "Age"), _lease),
    "roles.rbac.authorization.k8s.io": Printer(("Created At",), _created),
    "clusterroles.rbac.authorization.k8s.io": Printer(("Created At",), _created),
    "rolebindings.rbac.authorization.k8s.io": Printer(
        ("Role", "Age", "+Users", "+Groups", "+ServiceAccounts"), _binding
    ),
    "clusterrolebindings.rbac.authorization.k8s.io": Printer(
        ("Role", "Age", "+Users", "+Groups", "+ServiceAccounts"), _binding
    ),
    "priorityclasses.scheduling.k8s.io": Printer(
        ("Value", "Global-Default", "Age", "PreemptionPolicy"), _priority_class
    ),
    "storageclasses.storage.k8s.io": Printer(
        ("Provisioner", "ReclaimPolicy", "VolumeBindingMode", "AllowVolumeExpansion", "Age"),
        _storage_class,
    ),
}

_EVENT_COLUMNS = (
    "Last Seen",
    "Type",
    "Reason",
    "Object",
    "+Subobject",
    "+Source",
    "Message",
    "+First Seen",
    "+Count",
    "+Name",
)

_NUMBERS = frozenset(
    {
        "Active",
        "Allowed Disruptions",
        "Available",
        "Count",
        "Current",
        "Desired",
        "Revision",
        "Up-to-date",
        "Value",
        "Webhooks",
    }
)


@lru_cache(maxsize=256)
def columns(kind: Kind) -> list[dict[str, Any]]:
    """Return the column definitions of a kind."""
    if kind.storage == "events":
        return [_definition(name) for name in _EVENT_COLUMNS]
    custom = kind.custom
    names = _PRINTERS.get(kind.resource, _PLAIN).columns
    first = {
        "name": "Name",
        "type": "string",
        "format": "name",
        "description": "Name must be unique within a namespace.",
        "priority": 0,
    }
    if custom:
        return [first, *custom.column_definitions()]
    return [first, *(_definition(name) for name in names)]


def _definition(name: str) -> dict[str, Any]:
    word = name.removeprefix("+")
    return {
        "name": word,
        "type": "integer" if word in _NUMBERS else "string",
        "format": "",
        "description": "",
        "priority": 1 if name.startswith("+") else 0,
    }


def cells(kind: Kind, obj: Object) -> list[Any]:
    """Return one row."""
    if kind.storage == "events":
        return _event(obj)
    if kind.custom:
        return [obj["metadata"].get("name", ""), *kind.custom.cells(obj)]
    printer = _PRINTERS.get(kind.resource, _PLAIN)
    return [obj["metadata"].get("name", ""), *printer.cells(obj)]
