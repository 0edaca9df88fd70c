"""Spoilt manifests through the policy and graph commands: an answer, or an error that says where.

A manifest of an estate is spoilt as text (characters cut out, doubled, put in) or as a value
(nonsense in some field), and given to one of the commands, in this process. A sample runs with
all tests, ten thousand with ``make test ARGS="-m slow tests/malformed"``.
"""

from __future__ import annotations

import copy
import json
import os
import random
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from k8slab.cli import main as cli
from k8slab.testing.chance import Chance

SEED = int(os.environ.get("K8SLAB_SEED", "1"))
SECONDS = 10.0
"""Of the processor, for manifests of some kilobytes, on a machine that is busy."""
MEBIBYTES = 300
"""That this process may grow by; it is asked about at the end."""

ESTATE = """
- {apiVersion: v1, kind: Namespace, metadata: {name: one, labels: {team: red}}}
- apiVersion: v1
  kind: Node
  metadata: {name: n}
  status: {addresses: [{type: InternalIP, address: 172.18.0.2}]}
- apiVersion: v1
  kind: Pod
  metadata: {name: web, namespace: one, labels: {app: web}}
  spec: {nodeName: n, containers: [{name: a, image: x, ports: [{name: http, containerPort: 80}]}]}
  status: {podIPs: [{ip: 10.244.0.1}], conditions: [{type: Ready, status: "True"}]}
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: db, namespace: one}
  spec:
    selector: {matchLabels: {app: db}}
    template:
      metadata: {labels: {app: db}}
      spec: {containers: [{name: a, image: x, ports: [{name: sql, containerPort: 5432}]}]}
- apiVersion: v1
  kind: Service
  metadata: {name: db, namespace: one}
  spec:
    selector: {app: db}
    clusterIP: 10.96.0.9
    type: NodePort
    ports: [{name: sql, port: 80, targetPort: sql, nodePort: 30000}]
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: e, namespace: one, labels: {kubernetes.io/service-name: far}}
  addressType: IPv4
  endpoints: [{addresses: [10.0.0.1], conditions: {ready: true}}]
  ports: [{name: a, port: 80}]
- apiVersion: networking.k8s.io/v1
  kind: Ingress
  metadata: {name: i, namespace: one}
  spec:
    rules:
    - host: h.test
      http:
        paths: [{path: /, pathType: Prefix, backend: {service: {name: db, port: {number: 80}}}}]
- apiVersion: gateway.networking.k8s.io/v1
  kind: HTTPRoute
  metadata: {name: r, namespace: one}
  spec: {hostnames: [h.test], rules: [{backendRefs: [{name: db, port: 80}]}]}
"""
NONSENSE = (
    *(None, True, 0, -1, 1.5, 10**30, "", "x", "80", "a/b c", [], [None], [[]], {}, [{}]),
    *({"a": {}}, {"": None}, {"matchLabels": []}, "10.0.0.0/99", {"cidr": 5}, "\ud83d", "é\n"),
)
SPLINTERS = (
    *("\t", "\x00", "\ufeff", "\u2028", "&a ", "*a", "<<: *a", "!!int ", "? ", "- ", ": ", "#"),
    *(
        "---\n",
        "...\n",
        "|\n",
        "{",
        "]",
        '"',
        "'",
        "\\u",
        "\n\n",
        " " * 99,
        "1e999",
        "0x",
        "{{ x }}",
    ),
)
FLOW = ("one/web", "one/deployment/db", "sql")
COMMANDS = (
    ("policy", "lint", "FILE"),
    ("policy", "lint", "FILE", "--json"),
    ("policy", "audit", "FILE", "--rules", "pci-dss-v4"),
    ("policy", "audit", "FILE", "-o", "sarif"),
    ("policy", "audit", "FILE", "-o", "html"),
    ("policy", "decide", "-f", "FILE", *FLOW),
    ("policy", "explain", "-f", "FILE", "ip:8.8.8.8", "svc:one/db", "80"),
    ("policy", "explain", "-f", "FILE", "one/web", "node:n", "30000", "--json"),
    ("policy", "decide", "-f", "FILE", "--flows", "FLOWS", "--json"),
    ("policy", "connections", "-f", "FILE", "--exposure"),
    ("policy", "connections", "-f", "FILE", "--focus", "one/web", "-o", "csv"),
    ("policy", "connections", "-f", "FILE", "--json"),
    ("policy", "diff", "FILE", "GOOD"),
    ("policy", "diff", "GOOD", "FILE", "--json"),
    ("policy", "suggest", "-f", "FILE", "--from", "FLOWS"),
    ("graph", "policy", "-f", "FILE", "-o", "dot"),
    ("graph", "matrix", "-f", "FILE", "--json"),
    ("graph", "topology", "-f", "FILE", "-o", "dot"),
    ("graph", "diff", "FILE", "GOOD", "-o", "dot"),
)
RUNS = [
    pytest.param(150, id="sample"),
    pytest.param(10_000, id="long", marks=[pytest.mark.slow, pytest.mark.timeout(3600)]),
]


def places(value, path=()):
    """Yield the paths of all values within a value."""
    children = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        children = enumerate(value)
    for step, child in children:
        yield (*path, step)
        yield from places(child, (*path, step))


class Spoiler:
    """Makes manifests of one estate, each spoilt in one place or a few."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.made = Chance(seed + 1)

    def objects(self, number):
        makers = (self.made.network_policy, self.made.cluster_policy, self.made.calico_policy)
        chosen = [
            self.random.choice(makers)(number * 3 + n) for n in range(self.random.randint(1, 3))
        ]
        return [*yaml.safe_load(ESTATE), *chosen]

    def text(self, number):
        """Return a spoilt manifest as bytes."""
        objects = self.objects(number)
        if self.random.random() < 0.6:
            self.spoil(objects)
        as_json = self.random.random() < 0.4
        text = json.dumps(objects[0]) if as_json else ""
        if as_json:
            text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=1)
        else:
            text = yaml.safe_dump_all(objects)
        for _ in range(self.random.choice((0, 0, 1, 3))):
            start = self.random.randint(0, len(text))
            end = min(len(text), start + self.random.randint(0, 40))
            part = self.random.choice(("", text[start:end] * 2, *SPLINTERS))
            text = text[:start] + part + text[end:]
        return text.encode("utf-8", "surrogatepass")

    def spoil(self, objects):
        for _ in range(self.random.randint(1, 3)):
            obj = self.random.choice(objects)
            path = self.random.choice(list(places(obj)))
            parent = obj
            for step in path[:-1]:
                parent = parent[step]
            parent[path[-1]] = copy.deepcopy(self.random.choice(NONSENSE))


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = yaml.safe_dump_all(yaml.safe_load(ESTATE))
    (tmp_path / "good.yaml").write_text(good)
    flows = [{"from": FLOW[0], "to": FLOW[1], "port": FLOW[2]}, {"from": "ip:8.8.8.8"}]
    flows.append({"from": "one/web", "to": "svc:one/db", "port": 80})
    (tmp_path / "flows.jsonl").write_text("\n".join(map(json.dumps, flows)))
    (tmp_path / "one.jsonl").write_text(json.dumps(flows[0]))
    return {"FILE": "spoilt.yaml", "GOOD": "good.yaml", "FLOWS": "flows.jsonl"}


WORDS = re.compile(
    r"error: (spoilt\.yaml|nothing is known about|Service \S+ |flows\.jsonl:2: |'.*' |"
    r"\S+ has no port named|no pod takes part|there is no pod)"
)
"""How an error begins: with the place in the file, or with what the flow says that is not there."""


@pytest.mark.parametrize("number", RUNS)
def test_a_spoilt_manifest_is_judged_or_refused_with_its_place(files, capsys, number):
    spoiler = Spoiler(SEED)
    before, codes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, {0: 0, 1: 0, 2: 0}
    for turn in range(number):
        content = spoiler.text(turn)
        Path("spoilt.yaml").write_bytes(content)
        argv = [files.get(word, word) for word in COMMANDS[turn % len(COMMANDS)]]
        start = time.process_time()
        code = cli.run(argv)
        took = time.process_time() - start
        told = capsys.readouterr()
        what = f"turn {turn}, seed {SEED}: k8slab {' '.join(argv)}\n{told.err}\n{content[:3000]!r}"
        assert took < SECONDS, what
        assert code in codes, what
        codes[code] += 1
        if code == 2 and not (argv[1] == "lint" or "line 2: " in told.err):
            assert WORDS.match(told.err), what
        assert "Traceback" not in told.err + told.out, what
    assert all(codes.values()), codes
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < MEBIBYTES


HOSTILE = {
    "billion laughs": "a: &a [x]\n" + "".join(
        f"b{n}: &b{n} [{', '.join([f'*b{n - 1}' if n else '*a'] * 10)}]\n" for n in range(12)
    ),
    "deep nesting": "apiVersion: v1\nkind: Pod\nspec: " + "[" * 100_000,
    "deep nesting in json": '{"apiVersion": "v1", "kind": "Pod", "spec": ' + "[" * 100_000,
    "deep flow mapping": "{a: " * 50_000,
    "a line of ten megabytes": "apiVersion: v1\nkind: Pod\nmetadata: {name: " + "x" * 10_000_000,
    "many documents": "---\n" * 100_000 + "x",
    "many keys": "".join(f"k{n}: {n}\n" for n in range(50_000)),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_manifest_is_refused_by_the_real_command_in_bounded_time(tmp_path, name):
    file = tmp_path / "hostile.yaml"
    file.write_text(HOSTILE[name])
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-c", "from k8slab.cli.main import main; main()", "policy", "audit", file],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)),
    )
    after = os.times()
    assert done.returncode == 2, done.stderr[:500]
    assert f"error: {file}:" in done.stderr, done.stderr[:500]
    assert len(done.stderr) < 1000
    assert after.children_user - before.children_user < 60
