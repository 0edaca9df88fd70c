"""What works with pods: run, exec, attach, cp, logs, port-forward, proxy, debug, wait, delete."""

from step import Step, removed, since

S = Step

RUN = (
    S(
        "kubectl run tmp --image=busybox -i --rm --restart=Never -- cat /etc/resolv.conf",
        r"^search \S+\.svc\.cluster\.local svc\.cluster\.local cluster\.local$\n"
        # In between kubectl may say what is recorded, when it attached while the program ran.
        r"^nameserver 10\.96\.0\.10$\n^options ndots:5$\n(?:[AI].*\n)*^pod \"tmp\" deleted",
    ),
    S(
        "kubectl run tmp --image=busybox -i --rm --restart=Never -- sh -c 'exit 3'",
        r"terminated \(Error\)$",
        3,
    ),
    S(
        "echo input | kubectl run tmp --image=busybox -i --quiet --rm --restart=Never -- cat",
        r"^input$",
    ),
    S(
        'script -qec "kubectl run tmp --image=busybox -it --quiet --rm --restart=Never -- tty" '
        "/dev/null",
        r"\A/dev/pts/0\r+\n",  # two when it comes before kubectl makes its terminal raw
    ),
    S(
        "for n in 1 2 3; do kubectl run o$n --image=busybox -i --rm --quiet --restart=Never "
        "-- echo once; done | sort | uniq -c",
        r"^ +3 once$",
    ),
    S("kubectl run job --image=busybox --restart=Never --command -- echo hi", r"^pod/job created$"),
    S(
        "kubectl run named --image=k8slab/app --port=8080 --expose --labels=run=named",
        r"^(service|pod)/named created$\n^(service|pod)/named created$",
    ),
    S("kubectl wait pod named --for=condition=Ready --timeout=90s", r"^pod/named condition met$"),
    S(
        "kubectl exec box -c main -- sh -c 'until curl -s named:8080/; do :; done'",
        r"^pod: named$",
    ),
    S("kubectl run dry --image=nginx --dry-run=client -o yaml", r"^    name: dry$"),
    S("kubectl run one --image=nginx --env=A=b --annotations=x=y", r"^pod/one created$"),
    S(
        "kubectl run bad --image=ngnix && kubectl wait pod/bad --timeout=90s "
        "--for=jsonpath='{.status.containerStatuses[0].state.waiting.reason}'=ErrImagePull",
        r"^pod/bad condition met$",
        not_old=since("1.23") + " (wait for jsonpath)",
    ),
    S(
        "kubectl describe pod bad",
        r"Failed to pull image \"ngnix\": .*The nearest is nginx\.",
        not_old="what the line before makes",
    ),
    S(
        "kubectl logs bad",
        r'container "bad" in pod "bad" is waiting to start: ',
        1,
        not_old="what the line before makes",
    ),
    S(
        'kubectl run picky --image=nginx --overrides=\'{"spec":{"nodeSelector":{"disk":"ssd"}}}\''
        " && kubectl wait pod/picky --for=condition=PodScheduled=false --timeout=90s",
        r"^pod/picky condition met$",
    ),
    S(
        "kubectl get pod picky -o jsonpath='{.status.conditions[0].message}'",
        r"^0/3 nodes are available: .*2 node\(s\) didn't match Pod's node affinity/selector",
    ),
)

EXEC = (
    S("kubectl exec box -- sh -c 'exit 7'", r"^command terminated with exit code 7$", 7),
    S("kubectl exec box -- nosuch", r'exec: "nosuch": executable file not found in \$PATH', 1),
    S("kubectl exec box -c nope -- ls", r"container nope is not valid for pod box", 1),
    S("kubectl exec nosuch -- ls", r'pods "nosuch" not found$', 1),
    S("kubectl exec deploy/web -- hostname", r"^web-\w+-\w{5}$"),
    S('script -qec "kubectl exec -it box -c main -- tty" /dev/null', r"/dev/pts/0\r$"),
    S(
        "head -c 50000000 /dev/urandom > big; sha1sum < big > sum; "
        "kubectl exec -i box -c main -- sha1sum < big | diff sum - && echo same",
        r"^same$",
    ),
    S(
        "kubectl cp big box:/tmp/big -c main && kubectl cp -c main box:/tmp/big back "
        "&& cmp big back && echo same",
        r"^same$",
    ),
    S(
        "mkdir -p in/sub && echo x > in/sub/file && kubectl cp in box:/tmp/in -c main && "
        "kubectl exec box -c main -- cat /tmp/in/sub/file",
        r"^x$",
    ),
    S("kubectl logs box -c main", r"\Aone\ntwo\n\Z"),
    S(
        "kubectl logs box",
        r'^Defaulted container "main" out of: main, side$\n^one$',
        not_old="asks for a container's name (1.20)",
    ),
    S("kubectl logs box --all-containers --prefix", r"^\[pod/box/side\] aside$"),
    S("kubectl logs box -c main --tail=1", r"\Atwo\n\Z"),
    S("kubectl logs box -c main --timestamps --tail=1", r"^20\d\d-\d\d-\d\dT\S+Z two$"),
    S("kubectl logs -l app=web --since=1h", r"^listening on http 8080$"),
    S("kubectl logs -l app=web --prefix --tail=1", r"^\[pod/web-\S+/web\] "),
    S("kubectl logs deploy/web --limit-bytes=5", r"^liste"),
    S(
        "kubectl logs box -c main --since-time=2026-01-01T00:00:00Z",
        r"^one$\n^two$",
    ),
    S(
        "kubectl logs box -c main -p",
        r'previous terminated container "main" in pod "box" not found',
        1,
    ),
    S("exec 3< <(exec kubectl logs -f box -c main); grep -m1 two <&3; kill $!", r"^two$"),
    S("kubectl logs nosuch", r'pods "nosuch" not found', 1),
    S(
        "kubectl run twice --image=busybox -- sh -c 'echo life; [ -e /dev/shm/x ] && sleep 999' && "
        "until kubectl logs twice -p 2>/dev/null; do :; done",
        r"^life$",
    ),
    S(
        "kubectl run talk --image=busybox -i --attach=false -- sh -c 'read x; echo got $x' && "
        "kubectl wait pod/talk --for=condition=Ready --timeout=90s && "
        "echo words | kubectl attach -i talk",
        r"^got words$",
    ),
    S("kubectl attach nosuch", r'pods "nosuch" not found$', 1),
)

_AT = "read -r _ _ at _ <&3; curl -s $at/; kill $!"

REACH = (
    *(
        S(f"exec 3< <(exec kubectl port-forward {target}); {_AT}", r"^pod: web-\w+-\w{5}$")
        for target in ("deploy/web :8080", "svc/web :80", "svc/web :http")
    ),
    S(
        "pod=$(kubectl get pods -l app=web -o name | head -1); "
        f"exec 3< <(exec kubectl port-forward $pod :8080); {_AT}",
        r"^pod: web-\w+-\w{5}$",
    ),
    S("kubectl port-forward pod/nosuch :80", r'pods "nosuch" not found$', 1),
    S("kubectl port-forward svc/web :81", r"Service web does not have a service port 81$", 1),
    S(
        "exec 3< <(exec kubectl port-forward pod/box :9); exec 2> said; "
        "read -r _ _ at _ <&3; curl -s $at; kill $!; echo ended",
        r"^ended$",
    ),
    S(
        "exec 3< <(exec kubectl proxy --port=0); read -r _ _ _ _ at <&3; "
        "curl -s $at/api/v1/namespaces/$NS/services/web:80/proxy/; kill $!",
        r'"?pod"?: "?web-',
    ),
    S(
        "exec 3< <(exec kubectl proxy --port=0); read -r _ _ _ _ at <&3; "
        "curl -s $at/api/v1/namespaces/$NS/pods/box; kill $!",
        r'"name": ?"box"',
    ),
    S("kubectl get --raw /api/v1/namespaces/$NS/services/web:http/proxy/x", r'"path": "/x"'),
    S(
        "kubectl get --raw /api/v1/namespaces/$NS/services/web:81/proxy/",
        r'\(ServiceUnavailable\): no service port 81 found for service "web"$',
        1,
    ),
    S(
        "kubectl get --raw /api/v1/namespaces/$NS/pods/box:9/proxy/",
        r"error trying to reach service: dial tcp \S+:9: connect: connection refused$",
        1,
    ),
)

_NO_EPHEMERAL = removed("v1 EphemeralContainers", "1.22")

DEBUG = (
    S(
        "kubectl debug box --image=busybox --target=main --profile=general -c eyes -- "
        'sh -c \'tr "\\0" " " < /proc/1/cmdline\'',
        r"^Targeting container \"main\"\.",
        not_old=_NO_EPHEMERAL,
    ),
    S(
        "kubectl wait pod/box --timeout=90s --for=jsonpath="
        "'{.status.ephemeralContainerStatuses[0].state.terminated.exitCode}'=0 "
        "&& kubectl logs box -c eyes",
        r"^sh -c echo one; echo two; sleep 3600",
        not_old=_NO_EPHEMERAL,
    ),
    S(
        'script -qec "kubectl debug box -it --image=busybox --profile=general -- hostname" '
        "/dev/null",
        r"^box\r*$",
        not_old=_NO_EPHEMERAL,
    ),
    S(
        "kubectl debug box --copy-to=twin --image=busybox -c eyes -- sleep 999 "
        "&& kubectl wait pod/twin --for=condition=Ready --timeout=90s",
        r"^pod/twin condition met$",
    ),
    S("kubectl exec twin -c eyes -- hostname", r"^twin$"),
    S(
        'script -qec "kubectl debug node/$WORKER -it --image=busybox -- hostname" /dev/null',
        r"-worker\r*$",
    ),
    S(
        'script -qec "kubectl debug node/$WORKER -it --image=busybox -- ip -4 -br address" '
        "/dev/null",
        r"^eth0\S* +UP +172\.18\.0\.\d+/16",
    ),
    S("kubectl debug nosuch --image=busybox", r'pods "nosuch" not found$', 1),
)

DELETE = (
    S(
        "kubectl wait pod/box --for=jsonpath='{.status.phase}'=Running",
        r"^pod/box condition met$",
        not_old=since("1.23"),
    ),
    S(
        "kubectl wait pod/box --for=condition=Nope --timeout=1s",
        r"timed out waiting .* pods/box$",
        1,
    ),
    S("kubectl wait pod/nosuch --for=condition=Ready", r'pods "nosuch" not found$', 1),
    S("kubectl wait pods --all --for=condition=Ready", r"^pod/web-\S+ condition met$"),
    S("kubectl wait cm/soon --for=create --timeout=1s", r"timed out", 1, not_old=since("1.31")),
    S("kubectl delete pod nosuch", r'^Error from server \(NotFound\): pods "nosuch" not found$', 1),
    S("kubectl delete pod nosuch --ignore-not-found", r"\A\Z"),
    S("kubectl delete pod box --dry-run=server", r'^pod "box" deleted.*\(server dry run\)$'),
    S("kubectl delete pod box --now", r'^pod "box" deleted'),
    S("kubectl delete pod -l app=none", r"^No resources found$"),
    S("kubectl delete pod -l app=web --wait=false", r'^pod "web-\w+-\w+" deleted'),
    S("kubectl delete deploy web --cascade=orphan", r'^deployment.apps "web" deleted'),
    S("kubectl get rs -o name", r"^replicaset.apps/web-\w+$"),
    S("kubectl delete rs --all --cascade=foreground", r'^replicaset.apps "web-\w+" deleted'),
    S(
        "kubectl wait pod -l app=web --for=delete --timeout=90s",
        r"\A\Z",
        not_old="takes what is not there for an error (1.20)",
    ),
    S("kubectl apply -f web.yaml", r"^deployment.apps/web created$"),
    S("kubectl delete deploy web --cascade=background", r'^deployment.apps "web" deleted'),
    S(
        "kubectl wait rs -l app=web --for=delete --timeout=90s",
        r"\A(replicaset.apps/web-\w+ condition met\n)?\Z",
        not_old="takes what is not there for an error (1.20)",
    ),
    S("kubectl get rs", r"^No resources found in"),
    S(
        "kubectl apply -f web.yaml >/dev/null; kubectl delete -f web.yaml --grace-period=0 --force",
        r'^Warning: Immediate deletion does not wait .*\n^deployment.apps "web" force deleted',
        old=r'^warning: Immediate deletion does not wait .*\n^deployment.apps "web" force deleted',
    ),
    S(
        "kubectl delete svc,deploy nosuch",
        r'services "nosuch" not found$\n.*deployments.apps "no',
        1,
    ),
    S(
        "kubectl delete ns kube-system",
        r'namespaces "kube-system" is forbidden: .* not be deleted',
        1,
    ),
)
