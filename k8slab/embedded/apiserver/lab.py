"""The API group ``lab.k8slab.dev/v1``: what only this provider can do.

    POST probes               observe flows from pods, nodes and the world outside
    POST traces               follow one packet through the kernel
    GET  denials[?since&watch]  packets that policies dropped
    POST nodes/NAME/commands  run a command in a node's network namespace
    POST nodes/NAME/agent     stop or start one of a node's `AGENTS`
    GET  nodes/NAME/agent     which of them run
    GET  cluster              config, capabilities, versions, the world's hosts

Its paths are resources like any other (``create probes``), authorized before they come here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from k8slab.embedded.apiserver import statuses
from k8slab.embedded.apiserver.http import Response
from k8slab.errors import ApiStatusError
from k8slab.objects.packets import MOST_DATAGRAM, MOST_PORT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from k8slab.embedded.apiserver.backends import LabBackend
    from k8slab.embedded.apiserver.http import Request
    from k8slab.objects.meta import Object

GROUP, VERSION = "lab.k8slab.dev", "v1"
API_VERSION = f"{GROUP}/{VERSION}"
MAX_FLOWS = 100_000
MAX_DEADLINE = 600.0
MAX_JOURNEY = 10.0
"""Seconds: a journey holds a thread, which a cluster that ends waits for."""
AGENTS = ("kubelet", "kube-proxy", "network-agent", "cni")
"""What of a node can be stopped; ``cni`` is the configuration of the network plugin."""
LONGEST_NUMBER = 19
"""Digits of a number of 64 bits."""
_RESOURCES: tuple[tuple[str, str, str, list[str]], ...] = (
    ("clusters", "cluster", "Cluster", ["get"]),
    ("denials", "denial", "Denial", ["get", "watch"]),
    ("nodes", "node", "Node", []),
    ("nodes/agent", "", "Agent", ["create", "get"]),
    ("nodes/commands", "", "Command", ["create"]),
    ("probes", "probe", "Probe", ["create"]),
    ("traces", "trace", "Trace", ["create"]),
)


class LabGroup:
    """Answers the requests of the group."""

    def __init__(self, backend: LabBackend) -> None:
        self._backend = backend

    def answer(self, request: Request) -> Response | Awaitable[Response]:
        """Answer one request."""
        parts = [part for part in request.path.split("/") if part][2:]
        match request.method, parts:
            case "GET", []:
                return _json(_group())
            case "GET", ["v1"]:
                return _json(_resources())
            case "GET", ["v1", "cluster"]:
                return _json(_head("Cluster") | self._backend.cluster())
            case "GET", ["v1", "denials"]:
                return self._denials(request)
            case "POST", ["v1", "probes"]:
                return self._probe(_body(request))
            case "POST", ["v1", "traces"]:
                return self._trace(_body(request))
            case "POST", ["v1", "nodes", name, "commands"]:
                return self._command(name, _body(request))
            case "POST", ["v1", "nodes", name, "agent"]:
                return self._agent(name, _body(request))
            case "GET", ["v1", "nodes", name, "agent"]:
                return self._agents(name)
        raise ApiStatusError(
            "the server could not find the requested resource", code=404, reason="NotFound"
        )

    async def _probe(self, body: Object) -> Response:
        flows = body.get("flows")
        if not isinstance(flows, list) or not all(isinstance(flow, dict) for flow in flows):
            raise statuses.bad_request("flows must be a list of objects")
        if len(flows) > MAX_FLOWS:
            raise statuses.bad_request(f"at most {MAX_FLOWS} flows in one request")
        deadline = _seconds(body, 1.0)
        for number, flow in enumerate(flows):
            _check_flow(flow, f"flows[{number}]")
        results = await self._backend.probe(flows, deadline=deadline)
        return _json(_head("Probe") | {"results": results})

    async def _trace(self, body: Object) -> Response:
        flow = body.get("flow")
        if not isinstance(flow, dict):
            raise statuses.bad_request("flow must be an object")
        _check_flow(flow, "flow")
        _check_packet(flow, "flow")
        return _json(_head("Trace") | await self._backend.trace(flow, deadline=_seconds(body, 1.0)))

    async def _command(self, node: str, body: Object) -> Response:
        argv = body.get("argv")
        if not (isinstance(argv, list) and argv and all(isinstance(word, str) for word in argv)):
            raise statuses.bad_request("argv must be a list of words, the program first")
        deadline = _seconds(body, 30.0)
        answer = await self._backend.run_on_node(node, argv, deadline=deadline)
        return _json(_head("Command") | answer)

    async def _agent(self, node: str, body: Object) -> Response:
        running, agent = body.get("running"), body.get("agent", AGENTS[0])
        if not isinstance(running, bool):
            raise statuses.bad_request("running must be true or false")
        if agent not in AGENTS:
            raise statuses.bad_request(f"agent must be one of {', '.join(AGENTS)}")
        await self._backend.run_agent(node, agent, running=running)
        return _json(_head("Agent") | {"node": node, "agent": agent, "running": running})

    async def _agents(self, node: str) -> Response:
        found = await self._backend.agents(node)
        return _json(_head("AgentList") | {"node": node, "agents": found})

    def _denials(self, request: Request) -> Response:
        since = request.parameter("since") or "0"
        if not (since.isascii() and since.isdecimal() and len(since) < LONGEST_NUMBER):
            raise statuses.bad_request(f"since: {since[:80]!r} is not a number")
        if request.flag("watch"):
            return Response(pieces=self._watch(int(since)))
        return _json(_head("DenialList") | {"items": self._backend.denials(int(since))})

    async def _watch(self, since: int) -> AsyncIterator[bytes]:
        while True:
            found = self._backend.denials(since)
            if found:
                since = found[-1]["number"]
                yield b"".join(orjson.dumps(denial) + b"\n" for denial in found)
            await self._backend.wait_denials(since)


def _json(value: Any) -> Response:
    return Response(body=orjson.dumps(value))


def _head(kind: str) -> Object:
    return {"kind": kind, "apiVersion": API_VERSION}


def _body(request: Request) -> Object:
    try:
        body = orjson.loads(request.body)
    except orjson.JSONDecodeError as error:
        raise statuses.bad_request(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise statuses.bad_request("the body must be an object")
    return body


def _seconds(body: Object, default: float) -> float:
    value = body.get("deadlineSeconds", default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise statuses.bad_request("deadlineSeconds must be a number above 0")
    return min(float(value), MAX_DEADLINE)


def _check_flow(flow: Object, where: str) -> None:
    source = flow.get("from")
    if not isinstance(source, dict) or not ({"pod", "node", "world"} & source.keys()):
        raise statuses.bad_request(f"{where}.from must name a pod, a node or a part of the world")
    if not all(isinstance(value, str) for value in source.values()):
        raise statuses.bad_request(f"{where}.from must hold names")
    if not isinstance(flow.get("to"), str) or not flow["to"]:
        raise statuses.bad_request(f"{where}.to must be an address or a name")
    port = flow.get("port")
    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port <= MOST_PORT:
        raise statuses.bad_request(f"{where}.port must be 1 to {MOST_PORT}")
    if flow.get("protocol", "TCP") not in ("TCP", "UDP"):
        raise statuses.bad_request(f"{where}.protocol must be TCP or UDP")


def _check_packet(flow: Object, where: str) -> None:
    """Check what only a journey's packet can have: its own source port, and its size."""
    _check_range(flow, "fromPort", MOST_PORT, where)
    _check_range(flow, "bytes", MOST_DATAGRAM, where)
    if flow.get("bytes") and flow.get("protocol", "TCP") != "UDP":
        raise statuses.bad_request(
            f"{where}.bytes is for UDP: TCP begins with a SYN, which is empty"
        )


def _check_range(flow: Object, field: str, most: int, where: str) -> None:
    value = flow.get(field, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise statuses.bad_request(f"{where}.{field} must be 1 to {most}, or 0 for any")


def _group() -> Object:
    version = {"groupVersion": API_VERSION, "version": VERSION}
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": GROUP,
        "versions": [version],
        "preferredVersion": version,
    }


def _resources() -> Object:
    rows = [
        {
            "name": name,
            "singularName": singular,
            "namespaced": False,
            "kind": kind,
            "verbs": verbs,
        }
        for name, singular, kind, verbs in _RESOURCES
    ]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": API_VERSION,
        "resources": rows,
    }
