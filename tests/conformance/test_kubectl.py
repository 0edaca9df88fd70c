"""The battery: the real kubectl says on the embedded cluster what it says on a real one."""

import re
from pathlib import Path

import battery
import pytest
from battery import Step

BOOK = Path(__file__).parents[2] / "book" / "kubectl.md"


def play(shell, steps):
    """Run the steps one after the other; fail with all that was different."""
    wrong = []
    for step in steps:
        done = shell(step.line)
        said = done.stdout.decode(errors="replace")
        if done.returncode != step.code or not re.search(step.says, said, re.MULTILINE):
            wrong.append(
                f"$ {step.line}\n{said}[exit {done.returncode}]\n"
                f"wanted: {step.says!r} [exit {step.code}]"
            )
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.usefixtures("base")
@pytest.mark.parametrize("subject", battery.SUBJECTS)
def test_kubectl_finds_what_a_real_cluster_has_for(subject, shell):
    play(shell, battery.SUBJECTS[subject])


def test_a_node_is_drained_and_tainted_as_on_a_real_cluster(cluster, namespace, shell):
    box = battery.MANIFEST.split("---\n")[-1]
    pinned = box.replace("spec:\n", f"spec:\n  nodeName: {cluster.name}-worker\n")
    shell(f"kubectl apply -f - <<'END'\n{pinned}END")
    cluster.wait("pods", "box", namespace)
    play(shell, battery.NODES)


OLDER = (
    Step("kubectl get pods -o wide", r"^box +2/2 +Running"),
    Step("kubectl get all,endpointslices,networkpolicies", r"^deployment.apps/web +2/2"),
    Step("kubectl describe pod box", r"Started +\S+ +kubelet"),
    Step("kubectl describe svc web", r"^Endpoints: +10\.244\.\d+\.\d+:8080,"),
    Step("kubectl apply -f web.yaml", r"^service/web unchanged$"),
    Step("kubectl explain pod.spec.nodeName", r"nodeName"),
    Step("kubectl exec box -c main -- sh -c 'exit 4'", r"exit code 4$", 4),
    Step("echo in | kubectl exec -i box -c main -- cat", r"^in$"),
    Step("kubectl logs box -c main", r"^two$"),
    Step("kubectl create deployment old --image=nginx", r"^deployment.apps/old created$"),
    Step("kubectl run one --image=nginx", r"^pod/one created$"),
    Step("kubectl wait pod/one --for=condition=Ready --timeout=20s", r"condition met$"),
    Step("kubectl scale deploy old --replicas=2", r"scaled$"),
    Step("kubectl rollout status deploy/old --timeout=20s", r"successfully rolled out$"),
    Step("kubectl delete deploy,pod --all --wait=false", r'"box" deleted'),
)
"""What every kubectl must get done."""


@pytest.mark.usefixtures("base")
def test_the_oldest_kubectl_here_does_the_everyday_things(shell, programs):
    if len(programs) < 2:
        pytest.skip("there is only one kubectl on this machine")
    shell(f"ln -sf {programs[min(programs)]} bin/kubectl")
    play(shell, OLDER)


def test_the_page_of_the_book_is_the_battery():
    assert BOOK.read_text() == battery.page(), (
        "book/kubectl.md is old: python tests/conformance/battery.py > book/kubectl.md"
    )
