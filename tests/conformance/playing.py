"""Run steps of the battery in a shell, and have there what they ask for."""

import re

import battery


def applied(cluster, namespace, shell):
    done = shell("kubectl apply -f web.yaml")
    assert done.returncode == 0, done.stdout.decode()
    cluster.wait("deployments.apps", "web", namespace)
    cluster.wait("pods", "box", namespace)
    return shell


def pinned(cluster, namespace, shell):
    """Have the battery's pod on the node that its steps drain."""
    box = battery.MANIFEST.split("---\n")[-1]
    text = box.replace("spec:\n", f"spec:\n  nodeName: {cluster.name}-worker\n")
    shell(f"kubectl apply -f - <<'END'\n{text}END")
    cluster.wait("pods", "box", namespace)
    return shell


def drained(cluster, shell, *, old=False):
    """Run the steps that drain a node; afterwards its name servers run elsewhere."""
    try:
        play(shell, battery.NODES, old=old)
    finally:
        cluster.wait("deployments.apps", "coredns", "kube-system")


def play(shell, steps, *, old=False):
    """Run the steps one after the other; fail with all that was different."""
    wrong = []
    for step in steps:
        if old and step.not_old:
            continue
        wanted = step.old if old and step.old else step.says
        done = shell(step.line)
        said = done.stdout.decode(errors="replace")
        if done.returncode != step.code or not re.search(wanted, said, re.MULTILINE):
            wrong.append(
                f"$ {step.line}\n{said}[exit {done.returncode}]\n"
                f"wanted: {wanted!r} [exit {step.code}]"
            )
    assert not wrong, "\n\n".join(wrong)
