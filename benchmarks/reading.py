"""How fast manifests are read, and an estate audited, from the texts that people have.

Times are of the processor, in this process. The texts are some 10,000 objects of an estate of
realistic shape (`k8slab.audit.estates`): 8,000 pods with owners and labels, policies,
Services, workloads. The audit starts from parsed objects of the estate with 10,000 pods; what
it finds is written with places.
"""

import functools
import gc
import io
import json
import os
import subprocess
import sys
import time

import yaml
from harness import Limits, bench

from k8slab import audit
from k8slab.audit.estates import Size, realistic
from k8slab.objects import manifests

OBJECTS = Size(7200, 1300, 50)
"""With namespaces, workloads and Services this comes to some 10,000 objects."""
ESTATE = Size(10_000, 2000, 50)


@functools.cache
def texts():
    found = realistic(OBJECTS)
    documents = io.StringIO()
    yaml.dump_all(found, documents, Dumper=yaml.CSafeDumper)
    listed = {"apiVersion": "v1", "kind": "List", "items": found}
    print(f"{len(found)} objects", file=sys.stderr)
    return documents.getvalue().encode(), json.dumps(listed, indent=1).encode()


def timed(rounds, work):
    for _ in range(rounds):
        gc.collect()
        start = time.process_time()
        found = work()
        yield time.process_time() - start
        assert found


@bench("read-yaml", "10,000 objects read from YAML", Limits("s", 3, 2))
def read_yaml():
    text, _ = texts()
    yield from timed(5, lambda: manifests.load_text(text, "a.yaml"))


@bench("read-json", "10,000 objects read from JSON", Limits("s", 0.5, 0.2))
def read_json():
    _, text = texts()
    yield from timed(7, lambda: manifests.load_text(text, "a.json"))


@functools.cache
def estate():
    return manifests.load_text(json.dumps({"apiVersion": "v1", "kind": "List",
                                           "items": realistic(ESTATE)}), "a.json")  # fmt: skip


@bench("audit-10k", "audit of 10,000 pods, 2,000 policies, parsed", Limits("s", 3, 0.3))
def audit_estate():
    found = estate()
    yield from timed(5, lambda: audit.audit(found))


@bench("audit-places", "file and line of every finding of that audit", Limits("s", 3, 0.3))
def places():
    found = estate()
    for _ in range(3):
        report = audit.audit(found)
        yield from timed(1, lambda made=report: [finding.place for finding in made.findings])


POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec: {podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}
"""


@bench("lint", "policy lint of one file, the whole process", Limits("s", 1, 0.25))
def lint():
    """Processor time of a process, as a pre-commit hook would start it."""
    code = "from k8slab.cli.main import main; main()"
    for _ in range(7):
        before = os.times()
        subprocess.run(
            [sys.executable, "-c", code, "policy", "lint", "-"],
            input=POLICY,
            text=True,
            check=True,
        )
        after = os.times()
        yield (after.children_user + after.children_system) - (
            before.children_user + before.children_system
        )
