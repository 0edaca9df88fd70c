"""What changes nodes for everybody, and so is run alone."""

from step import Step, removed

S = Step

_BUDGET = removed("policy/v1beta1", "1.25")

NODES = (
    S("kubectl cordon $WORKER", r"^node/\S+ cordoned$"),
    S("kubectl cordon $WORKER", r"^node/\S+ already cordoned$"),
    S("kubectl get node $WORKER", r" Ready,SchedulingDisabled "),
    S("kubectl drain $WORKER", r"cannot delete .*: (.*, )?\S+/box", 1),
    S(
        "kubectl create pdb keep --selector=app=box --min-available=1",
        r"^poddisruptionbudget.policy/keep created$",
        not_old=_BUDGET,
    ),
    S(
        "exec 3< <(exec kubectl drain $WORKER --force --ignore-daemonsets --grace-period=1 2>&1); "
        "grep -m1 disruption <&3; kill $!",
        r"Cannot evict pod as it would violate the pod's disruption budget\.",
        not_old=_BUDGET,
    ),
    S("kubectl delete pdb keep", r'^poddisruptionbudget.policy "keep" deleted', not_old=_BUDGET),
    S(
        "kubectl drain $WORKER --force --ignore-daemonsets --grace-period=1 --timeout=90s",
        r"^evicting pod \S+/box$(.*\n)*^node/\S+ (drained|evicted)$",
    ),
    S("kubectl get pods --field-selector=spec.nodeName=$WORKER", r"^No resources found in"),
    S("kubectl uncordon $WORKER", r"^node/\S+ uncordoned$"),
    S("kubectl taint node $WORKER a=b:NoSchedule", r"^node/\S+ tainted$"),
    S("kubectl taint node $WORKER a=b:NoSchedule", r"already has a taint|already has .* taint", 1),
    S("kubectl describe node $WORKER", r"^Taints: +a=b:NoSchedule$"),
    S("kubectl taint node $WORKER a-", r"^node/\S+ untainted$"),
    S("kubectl label node $WORKER disk=ssd", r"^node/\S+ labeled$"),
    S("kubectl get nodes -l disk=ssd -o name", r"^node/\S+-worker$"),
    S("kubectl label node $WORKER disk-", r"^node/\S+ (un)?labeled$"),
)
