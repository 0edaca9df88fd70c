r"""What kubectl is asked, and what a real cluster says to it: one table, by subject.

The steps of one subject (`step.Step`) follow each other in one namespace and in a directory that
has `FILES`, of which ``web.yaml`` is applied and running.

`python tests/conformance/battery.py` prints the table as the page ``book/kubectl.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import steps_nodes
import steps_pods
import steps_reading
import steps_writing

if TYPE_CHECKING:
    from step import Step

MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: k8slab/app
        ports: [{containerPort: 8080, name: http}]
        resources: {requests: {cpu: 10m}, limits: {memory: 128Mi}}
        readinessProbe: {httpGet: {path: /ready, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web}}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: http, name: http}]
---
apiVersion: v1
kind: Pod
metadata: {name: box, labels: {app: box}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: busybox, command: [sh, -c, "echo one; echo two; sleep 3600"]}
  - {name: side, image: busybox, command: [sh, -c, "echo aside; sleep 3600"]}
"""

POLICY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - ports: [{port: 8080}]
    from:
    - namespaceSelector: {matchLabels: {team: a}}
      podSelector: {matchLabels: {app: box}}
    - ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}
"""

_TEMPLATE = """\
    metadata: {labels: {app: NAME}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: main, image: k8slab/app}]
"""

SETS = f"""\
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: db}}
spec:
  serviceName: db
  selector: {{matchLabels: {{app: db}}}}
  template:
{_TEMPLATE.replace("NAME", "db")}---
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: agent}}
spec:
  selector: {{matchLabels: {{app: agent}}}}
  template:
{_TEMPLATE.replace("NAME", "agent")}---
apiVersion: v1
kind: ReplicationController
metadata: {{name: old}}
spec:
  template:
{_TEMPLATE.replace("NAME", "old")}"""

MAPS = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: keep, labels: {set: a}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: drop, labels: {set: a}}
"""

FILES = {"web.yaml": MANIFEST, "policy.yaml": POLICY, "sets.yaml": SETS, "maps.yaml": MAPS}
"""What lies in the directory of the steps."""

SUBJECTS: dict[str, tuple[Step, ...]] = {
    "get": steps_reading.GET,
    "describe": steps_reading.DESCRIBE,
    "the cluster, the API and kubectl's own settings": steps_reading.ABOUT,
    "apply and change": steps_writing.APPLY,
    "create, expose and autoscale": steps_writing.CREATE,
    "roll out and scale": steps_writing.ROLLOUT,
    "run": steps_pods.RUN,
    "exec, attach, cp and logs": steps_pods.EXEC,
    "port-forward and proxy": steps_pods.REACH,
    "debug": steps_pods.DEBUG,
    "wait and delete": steps_pods.DELETE,
}
"""Those that can run side by side."""

NODES = steps_nodes.NODES
"""Those that change a node for everybody."""

INTRODUCTION = """\
# kubectl: what is tested

Each line is run by the real kubectl against the embedded cluster, and must say what a real cluster
says and end with its exit code (0 where the column is empty). It is run by three:

- the newest kubectl on the machine that runs the tests (1.33 or newer is expected);
- **1.37**, of the version that the cluster calls itself, built from the Go module `k8s.io/kubectl`
  (`make test ARGS="-m slow"`): all lines;
- **1.20**, the old one in the package `kubernetes-client` of Debian 12: the lines that it can do
  with a real server of version 1.37. The last column says so: *yes*; *own words*, where it says the
  same differently; or why it cannot, on any cluster of this version.

`$NS` is the namespace, `$WORKER` a node; `web.yaml` has a Deployment, a Service and a pod `box` of
two containers. This page is made from `tests/conformance/battery.py`.
"""


def _cell(line: str) -> str:
    """Return a line as code in a cell of a table."""
    fence = "``" if "`" in line else "`"
    return f"{fence}{line}{fence}".replace("|", "\\|").replace("\n", " ")


def _old(step: Step) -> str:
    return step.not_old or ("own words" if step.old else "yes")


def page() -> str:
    """Return the table as a page of the book."""
    lines = INTRODUCTION.splitlines()
    for subject, steps in {**SUBJECTS, "nodes": NODES}.items():
        lines += ["", f"## {subject}", "", "| line | exit | 1.20 |", "| --- | --- | --- |"]
        lines += [f"| {_cell(s.line)} | {s.code or ''} | {_old(s)} |" for s in steps]
    steps = [step for subject in (*SUBJECTS.values(), NODES) for step in subject]
    able = sum(1 for step in steps if not step.not_old)
    lines += ["", f"{len(steps)} lines; kubectl 1.20 can do {able} of them.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    print(page(), end="")
