r"""What kubectl is asked, and what a real cluster says to it: one table, by subject.

A step is a line as a learner types it, a pattern (`re`, multi-line) that must be found in
what it says on both outputs, and its exit code. Steps of one subject follow each other in
one namespace, in which `MANIFEST` is applied and running.

`python tests/conformance/battery.py` prints the table as the page ``book/kubectl.md``.
"""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True)
class Step:
    """One line, what it must say, and how it must end."""

    line: str
    says: str
    code: int = 0


S = Step

GET = (
    S("kubectl get pods", r"^NAME +READY +STATUS +RESTARTS +AGE$\n^box +2/2 +Running +0 "),
    S("kubectl get pods -o wide", r"AGE +IP +NODE +NOMINATED NODE +READINESS GATES$"),
    S("kubectl get pods -o name", r"^pod/box$\n^pod/web-[a-z0-9]+-[a-z0-9]{5}$"),
    S("kubectl get pod box -o json | head -3", r'"apiVersion": "v1",\n +"kind": "Pod",'),
    S("kubectl get pod box -o yaml", r"^  phase: Running$"),
    S("kubectl get pod box -o jsonpath='{.status.podIP}'", r"^10\.244\.\d+\.\d+$"),
    S("kubectl get svc -o custom-columns=N:.metadata.name,P:.spec.ports[0].port", r"^web +80$"),
    S("kubectl get po -o go-template='{{len .items}}'", r"^3$"),
    S("kubectl get pods --show-labels", r"LABELS$\n^box .* app=box$"),
    S("kubectl get pods -L app", r"APP$\n^box .* box$"),
    S("kubectl get pods -l 'app in (web),app!=box' -o name | wc -l", r"^2$"),
    S("kubectl get pods --field-selector=metadata.name=box -o name", r"^pod/box$"),
    S("kubectl get pods --field-selector=a=b", r"BadRequest.*field label not supported: a", 1),
    S("kubectl get pods --sort-by=.metadata.name --no-headers | tail -1", r"^web-"),
    S("kubectl get deploy,rs,svc,endpointslices", r"^deployment.apps/web +2/2 +2 +2 "),
    S("kubectl get svc web", r"^web +ClusterIP +10\.96\.\d+\.\d+ +<none> +80/TCP +\d+s$"),
    S("kubectl get all", r"^replicaset.apps/web-\w+ +2 +2 +2 "),
    S("kubectl get nodes", r"^\S+-control-plane +Ready +control-plane +\S+ +v1\.\d+\.\d+$"),
    S("kubectl get ns -A", r"^kube-system +Active "),
    S("kubectl get pods nosuch", r'^Error from server \(NotFound\): pods "nosuch" not found$', 1),
    S("kubectl get nosuch", r'^error: the server doesn\'t have a resource type "nosuch"$', 1),
    S("kubectl get pods -n nosuch", r"^No resources found in nosuch namespace\.$"),
    S("timeout 1 kubectl get pods -w", r"^box +2/2 +Running", 124),
    S("kubectl events --for pod/box", r"Normal +Scheduled +Pod/box +Successfully assigned"),
    S("kubectl get events --field-selector involvedObject.name=box", r"Normal +Started +pod/box"),
    S("kubectl get ep web", r"^Warning: v1 Endpoints is deprecated in v1.33\+"),
)

DESCRIBE = (
    S("kubectl describe pod box", r"^Events:\n.*\n.*\n +Normal +Scheduled "),
    S("kubectl describe svc web", r"^Endpoints: +10\.244\.\d+\.\d+:8080,10\.244\.\d+\.\d+:8080$"),
    S("kubectl describe deploy web", r"^NewReplicaSet: +web-\w+ \(2/2 replicas created\)$"),
    S("kubectl describe rs", r"^Controlled By: +Deployment/web$"),
    S("kubectl describe endpointslices", r"^  Name +Port +Protocol$\n.*\n^  http +8080 +TCP$"),
    S("kubectl describe ns $NS", r"^Status: +Active$"),
    S("kubectl describe node -l node-role.kubernetes.io/control-plane", r"^Taints: +node-role"),
    S("kubectl explain pod.spec.containers.ports", r"^  containerPort\s<integer> -required-$"),
    S("kubectl explain networkpolicy --recursive", r"^        podSelector\s<LabelSelector>$"),
    S("kubectl explain pod.nosuch", r'^error: field "nosuch" does not exist$', 1),
    S("kubectl api-resources --api-group=apps", r"^deployments +deploy +apps/v1 +true +Deployment"),
    S("kubectl api-versions", r"^networking.k8s.io/v1$"),
    S("kubectl cluster-info", r"Kubernetes control plane.* is running at .*https://127.0.0.1:"),
    S("kubectl version", r"^Server Version: v1\.\d+\.\d+$"),
    S("kubectl top pod", r"^error: Metrics API not available$", 1),
    S("kubectl auth can-i create pods", r"^yes$"),
    S("kubectl auth whoami", r"^Username +kubernetes-admin$"),
    S("kubectl config current-context", r"^k8slab-"),
)

APPLY = (
    S("kubectl apply -f web.yaml", r"^deployment.apps/web unchanged$\n^service/web unchanged$"),
    S(
        "sed 's/replicas: 2/replicas: 3/' web.yaml > more.yaml; kubectl diff -f more.yaml",
        r"^-  replicas: 2$\n^\+  replicas: 3$",
        1,
    ),
    S("kubectl apply -f more.yaml --dry-run=server", r"web configured \(server dry run\)$"),
    S("kubectl apply -f more.yaml --dry-run=client", r"web configured \(dry run\)$"),
    S("kubectl get deploy web -o jsonpath={.spec.replicas}", r"^2$"),
    S("cat more.yaml | kubectl apply -f -", r"^deployment.apps/web configured$"),
    S(
        "kubectl apply --server-side -f web.yaml",
        r'1 conflict: conflict with "kubectl-client-side-apply".*: \.spec\.replicas',
        1,
    ),
    S("kubectl apply --server-side --force-conflicts -f web.yaml", r"web serverside-applied$"),
    S("mkdir dir && cp web.yaml dir && kubectl apply -f dir", r"^service/web unchanged$"),
    S(
        "printf 'resources: [web.yaml]\\nnamePrefix: k-\\n' > dir/kustomization.yaml; "
        "kubectl apply -k dir",
        r"^deployment.apps/k-web created$",
    ),
    S("kubectl delete -k dir --wait=false", r'^service "k-web" deleted'),
    S('kubectl patch deploy web -p \'{"spec":{"replicas":1}}\'', r"^deployment.apps/web patched$"),
    S('kubectl patch deploy web --type=merge -p \'{"spec":{"replicas":1}}\'', r"\(no change\)$"),
    S(
        "kubectl patch deploy web --type=json "
        '-p \'[{"op":"replace","path":"/spec/replicas","value":2}]\'',
        r"web patched$",
    ),
    S('EDITOR="sed -i s/replicas:.2/replicas:\\ 1/" kubectl edit deploy web', r"web edited$"),
    S("EDITOR=true kubectl edit deploy web", r"^Edit cancelled, no changes made\.$"),
    S("kubectl get svc web -o yaml | kubectl replace -f -", r"^service/web replaced$"),
    S(
        "kubectl get svc web -o yaml | sed 's/resourceVersion: .*/resourceVersion: \"1\"/' "
        "| kubectl replace -f -",
        r"the object has been modified; please apply your changes",
        1,
    ),
    S("kubectl label pod box tier=x", r"^pod/box labeled$"),
    S(
        "kubectl label pod box tier=y",
        r"'tier' already has a value \(x\), and --overwrite is false",
        1,
    ),
    S("kubectl label pod box tier-", r"^pod/box unlabeled$"),
    S("kubectl annotate pod box note=x", r"^pod/box annotated$"),
    S(
        "sed 's/image:/imagen:/' web.yaml | kubectl apply -f -",
        r'unknown field "spec.template.spec.containers\[0\].imagen"',
        1,
    ),
    S(
        "sed 's/name: box/name: b_x/' web.yaml | kubectl apply -f -",
        r'Pod "b_x" is invalid: metadata.name: Invalid value: "b_x": a lowercase RFC 1123',
        1,
    ),
    S(
        "sed 's/port: 80,/port: 80000,/' web.yaml | kubectl apply -f -",
        r"spec.ports\[0\].port: Invalid value: 80000: must be between 1 and 65535, inclusive",
        1,
    ),
)

CREATE = (
    S("kubectl create deployment d --image=nginx --replicas=1", r"^deployment.apps/d created$"),
    S("kubectl create deployment d --image=nginx", r'deployments.apps "d" already exists$', 1),
    S("kubectl create deployment e --image=nginx --dry-run=client -o yaml", r"^  name: e$"),
    S("kubectl create deployment e --image=nginx --dry-run=server -o name", r"^deployment.apps/e$"),
    S("kubectl expose deploy d --port 80", r"^service/d exposed$"),
    S("kubectl expose deploy d --port 80 --type NodePort --name np", r"^service/np exposed$"),
    S("kubectl get svc np -o jsonpath={.spec.ports[0].nodePort}", r"^3[012]\d{3}$"),
    S("kubectl create svc externalname out --external-name example.com", r"^service/out created$"),
    S("kubectl create cm c --from-literal=a=b --from-file=web.yaml", r"^configmap/c created$"),
    S("kubectl describe cm c", r"^a:$\n^----$\n^b$"),
    S("kubectl create secret generic s --from-literal=p=word", r"^secret/s created$"),
    S("kubectl describe secret s", r"^p: +4 bytes$"),
    S("kubectl create sa bob && kubectl create token bob", r"^eyJ[\w-]+\.[\w-]+\.[\w-]+$"),
    S("kubectl create role r --verb=get --resource=pods", r"^role.rbac.authorization.k8s.io/r"),
    S("kubectl create ingress i --rule=shop.test/=web:80", r"^ingress.networking.k8s.io/i created"),
    S("kubectl create job j --image=busybox -- echo done", r"^job.batch/j created$"),
    S("kubectl wait job/j --for=condition=complete --timeout=20s", r"^job.batch/j condition met$"),
    S("kubectl logs job/j", r"^done$"),
    S("kubectl autoscale deploy d --max=3", r"could not find the requested resource", 1),
)

ROLLOUT = (
    S("kubectl rollout status deploy/web", r'^deployment "web" successfully rolled out$'),
    S("kubectl set env deploy/web A=1", r"^deployment.apps/web env updated$"),
    S("kubectl rollout status deploy/web --timeout=30s", r"successfully rolled out$"),
    S("kubectl rollout history deploy/web", r"^REVISION +CHANGE-CAUSE$\n^1 +<none>$\n^2 +<none>$"),
    S("kubectl rollout history deploy/web --revision=2", r"^      A:\s1$"),
    S("kubectl rollout undo deploy/web", r"^deployment.apps/web rolled back$"),
    S("kubectl rollout status deploy/web --timeout=30s", r"successfully rolled out$"),
    S("kubectl get deploy web -o jsonpath={.spec.template.spec.containers[0].env}", r"\A\Z"),
    S("kubectl rollout pause deploy/web", r"^deployment.apps/web paused$"),
    S("kubectl set image deploy/web web=k8slab/app:2", r"^deployment.apps/web image updated$"),
    S("kubectl rollout resume deploy/web", r"^deployment.apps/web resumed$"),
    S("kubectl rollout restart deploy/web", r"^deployment.apps/web restarted$"),
    S("kubectl scale deploy web --replicas=1", r"^deployment.apps/web scaled$"),
    S(
        "kubectl scale deploy web --replicas=2 --current-replicas=9",
        r"Expected replicas to be 9",
        1,
    ),
    S("kubectl wait deploy/web --for=condition=Available --timeout=30s", r"condition met$"),
)

RUN = (
    S(
        "kubectl run tmp --image=busybox -i --rm --restart=Never -- cat /etc/resolv.conf",
        r"^search \S+\.svc\.cluster\.local svc\.cluster\.local cluster\.local$\n"
        r"^nameserver 10\.96\.0\.10$\n^options ndots:5$\n^pod \"tmp\" deleted",
    ),
    S(
        "kubectl run tmp --image=busybox -i --rm --restart=Never -- sh -c 'exit 3'",
        r"terminated \(Error\)$",
        3,
    ),
    S("echo input | kubectl run tmp --image=busybox -iq --rm --restart=Never -- cat", r"^input$"),
    S(
        'script -qec "kubectl run tmp --image=busybox -itq --rm --restart=Never -- tty" /dev/null',
        r"\A/dev/pts/0\r+\n",  # two when it comes before kubectl makes its terminal raw
    ),
    S(
        "kubectl run named --image=k8slab/app --port=8080 --expose --labels=run=named",
        r"^service/named created$\n^pod/named created$",
    ),
    S("kubectl wait pod named --for=condition=Ready --timeout=20s", r"^pod/named condition met$"),
    S("kubectl exec box -c main -- curl -s named:8080/", r"^pod: named$"),
    S(
        "kubectl run bad --image=ngnix && kubectl wait pod/bad --timeout=20s "
        "--for=jsonpath='{.status.containerStatuses[0].state.waiting.reason}'=ErrImagePull",
        r"^pod/bad condition met$",
    ),
    S("kubectl describe pod bad", r"Failed to pull image \"ngnix\": .*The nearest is nginx\."),
    S("kubectl logs bad", r'container "bad" in pod "bad" is waiting to start: ', 1),
    S(
        'kubectl run picky --image=nginx --overrides=\'{"spec":{"nodeSelector":{"disk":"ssd"}}}\''
        " && kubectl wait pod/picky --for=condition=PodScheduled=false --timeout=20s",
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
    S("kubectl exec box -c nope -- ls", r"container nope is not valid for pod box$", 1),
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
    S("kubectl logs box -c main", r"\Aone\ntwo\n\Z"),
    S("kubectl logs box", r'^Defaulted container "main" out of: main, side$\n^one$'),
    S("kubectl logs box --all-containers --prefix", r"^\[pod/box/side\] aside$"),
    S("kubectl logs box -c main --tail=1", r"\Atwo\n\Z"),
    S("kubectl logs box -c main --timestamps --tail=1", r"^20\d\d-\d\d-\d\dT\S+Z two$"),
    S("kubectl logs -l app=web --since=1h", r"^listening on http 8080$"),
    S(
        "kubectl logs box -c main -p",
        r'previous terminated container "main" in pod "box" not found',
        1,
    ),
    S("timeout 1 kubectl logs -f box -c main", r"^two$", 124),
    S("kubectl logs nosuch", r'pods "nosuch" not found in namespace', 1),
)

DELETE = (
    S("kubectl wait pod/box --for=jsonpath='{.status.phase}'=Running", r"^pod/box condition met$"),
    S(
        "kubectl wait pod/box --for=condition=Nope --timeout=1s",
        r"timed out waiting .* pods/box$",
        1,
    ),
    S("kubectl wait pod/nosuch --for=condition=Ready", r'pods "nosuch" not found$', 1),
    S("kubectl delete pod nosuch", r'^Error from server \(NotFound\): pods "nosuch" not found$', 1),
    S("kubectl delete pod nosuch --ignore-not-found", r"\A\Z"),
    S("kubectl delete pod box --now", r'^pod "box" deleted'),
    S("kubectl delete pod -l app=none", r"^No resources found$"),
    S("kubectl delete pod -l app=web --wait=false", r'^pod "web-\w+-\w+" deleted'),
    S("kubectl delete deploy web --cascade=orphan", r'^deployment.apps "web" deleted'),
    S("kubectl get rs -o name", r"^replicaset.apps/web-\w+$"),
    S("kubectl delete rs --all --cascade=foreground", r'^replicaset.apps "web-\w+" deleted'),
    S("kubectl wait pod -l app=web --for=delete --timeout=20s", r"\A\Z"),
    S(
        "kubectl apply -f web.yaml >/dev/null; kubectl delete -f web.yaml --grace-period=0 --force",
        r'^Warning: Immediate deletion does not wait .*\n^deployment.apps "web" force deleted',
    ),
    S(
        "kubectl delete svc,deploy nosuch",
        r'services "nosuch" not found$\n.*deployments.apps "no',
        1,
    ),
)

NODES = (
    S("kubectl cordon $WORKER", r"^node/\S+ cordoned$"),
    S("kubectl get node $WORKER", r" Ready,SchedulingDisabled "),
    S("kubectl drain $WORKER", r"^cannot delete .*Pods that declare no controller .*: \S+/box", 1),
    S(
        "kubectl drain $WORKER --force --ignore-daemonsets --grace-period=1 --timeout=30s",
        r"^evicting pod \S+/box$(.*\n)*^node/\S+ drained$",
    ),
    S("kubectl get pods --field-selector=spec.nodeName=$WORKER", r"^No resources found in"),
    S("kubectl uncordon $WORKER", r"^node/\S+ uncordoned$"),
    S("kubectl taint node $WORKER a=b:NoSchedule", r"^node/\S+ tainted$"),
    S("kubectl describe node $WORKER", r"^Taints: +a=b:NoSchedule$"),
    S("kubectl taint node $WORKER a-", r"^node/\S+ untainted$"),
)

SUBJECTS = {
    "get": GET,
    "describe and discover": DESCRIBE,
    "apply and change": APPLY,
    "create": CREATE,
    "roll out": ROLLOUT,
    "run": RUN,
    "exec, cp and logs": EXEC,
    "wait and delete": DELETE,
}
"""Those that can run side by side; `NODES` change a node for everybody."""


def page() -> str:
    """Return the table as a page of the book."""
    lines = [
        "# kubectl: what is tested",
        "",
        "Each line is run by the real, current kubectl against the embedded cluster, and must say",
        "what a real cluster says and end with its exit code. This page is made from",
        "`tests/conformance/battery.py`.",
        "",
    ]
    for subject, steps in {**SUBJECTS, "nodes": NODES}.items():
        lines += [f"## {subject}", "", "```text"]
        lines += [
            f"{step.line}" + (f"    # exit {step.code}" if step.code else "") for step in steps
        ]
        lines += ["```", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    print(page(), end="")
