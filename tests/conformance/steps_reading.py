"""What reads: get, describe, and what asks the cluster and kubectl about themselves."""

from step import Step, removed, since

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
    S("kubectl get pods -A", r"^NAMESPACE +NAME .*\n(.*\n)*^kube-system +coredns-"),
    S("kubectl get -f web.yaml", r"^deployment.apps/web +2/2 +2 +2 "),
    S("kubectl get deploy,rs,svc,endpointslices", r"^deployment.apps/web +2/2 +2 +2 "),
    S("kubectl get svc web", r"^web +ClusterIP +10\.96\.\d+\.\d+ +<none> +80/TCP +\d+s$"),
    S("kubectl get all", r"^replicaset.apps/web-\w+ +2 +2 +2 "),
    S("kubectl get nodes", r"^\S+-control-plane +Ready +control-plane +\S+ +v1\.\d+\.\d+$"),
    S("kubectl get ns", r"^kube-system +Active "),
    S("kubectl get pods nosuch", r'^Error from server \(NotFound\): pods "nosuch" not found$', 1),
    S("kubectl get nosuch", r'^error: the server doesn\'t have a resource type "nosuch"$', 1),
    S("kubectl get pods -n nosuch", r"^No resources found in nosuch namespace\.$"),
    S(
        "exec 3< <(exec kubectl get pods -w); grep -m1 '^box ' <&3; kill $!",
        r"^box +2/2 +Running",
    ),
    S(
        "exec 3< <(exec kubectl get cm -w --output-watch-events); "
        "kubectl create cm seen >&2; grep -m1 'seen' <&3; kill $!",
        r"^ADDED +seen +0 ",
    ),
    S("kubectl events --for pod/box", r"Normal +Scheduled +Pod/box ", not_old=since("1.23")),
    S("kubectl get events --field-selector involvedObject.name=box", r"Normal +Started +pod/box"),
    S("kubectl get priorityclasses", r"^system-node-critical +2000001000 +false "),
    S("kubectl get ep web", r"^Warning: v1 Endpoints is deprecated in v1.33\+"),
    S("kubectl get pod box --subresource=status -o name", r"^pod/box$", not_old=since("1.24")),
    S("kubectl get --raw /version", r'"gitVersion": ?"v1\.\d+\.\d+"'),
    S(
        "kubectl get $(kubectl api-resources --verbs=list -o name | paste -sd,) -A",
        r" deployment.apps/coredns +\d/\d(.*\n)*.* networkpolicy|clusterrole\S*/view ",
    ),
    S(
        "all=$(kubectl api-resources --verbs=list -o name | paste -sd,); "
        "for form in wide json yaml name; do kubectl get $all -A -o $form 2>&- | tail -1; done",
        r"\A.*\S.*\n}\n  resourceVersion: \"\"\n[a-z0-9.]+/\S+\n\Z",
        old=r"\A.*\S.*\n}\n  selfLink: \"\"\n[a-z0-9.]+/\S+\n\Z",
    ),
)

DESCRIBE = (
    S("kubectl describe pod box", r"^Events:\n.*\n.*\n +Normal +Scheduled "),
    S("kubectl describe pods -l app=web", r"^    Ready:          True$"),
    S("kubectl describe svc web", r"^Endpoints: +10\.244\.\d+\.\d+:8080,10\.244\.\d+\.\d+:8080$"),
    S("kubectl describe deploy web", r"^NewReplicaSet: +web-\w+ \(2/2 replicas created\)$"),
    S("kubectl describe rs", r"^Controlled By: +Deployment/web$"),
    S(
        "kubectl describe endpointslices",
        r"^  Name +Port +Protocol$\n.*\n^  http +8080 +TCP$",
        not_old=removed("discovery.k8s.io/v1beta1", "1.25"),
    ),
    S("kubectl apply -f policy.yaml", r"^networkpolicy.networking.k8s.io/web created$"),
    S("kubectl get netpol", r"^web +app=web +\d+s$"),
    S(
        "kubectl describe networkpolicy web",
        r"^  PodSelector: +app=web$\n"
        r"^  Allowing ingress traffic:$\n"
        r"^    To Port: 8080/TCP$\n"
        r"^    From:$\n"
        r"^      NamespaceSelector: team=a$\n"
        r"^      PodSelector: app=box$\n"
        r"^    From:$\n"
        r"^      IPBlock:$\n"
        r"^        CIDR: 10\.0\.0\.0/8$\n"
        r"^        Except: 10\.1\.0\.0/16$\n"
        r"^  Not affecting egress traffic$\n"
        r"^  Policy Types: Ingress$",
    ),
    S("kubectl create ingress shop --rule='shop.test/*=web:80'", r"ingress.*/shop created$"),
    S(
        "kubectl describe ingress shop",
        r"^  shop\.test +$\n^ +/ +web:80 \(10\.244\.\d+\.\d+:8080,10\.244\.\d+\.\d+:8080\)$",
    ),
    S("kubectl get ingress", r"^shop +<none> +shop\.test +80 +\d+s$"),
    S("kubectl describe ns $NS", r"^Status: +Active$"),
    S("kubectl describe node $WORKER", r"^  Namespace +Name +CPU Requests .*\n(.*\n)*^Allocated"),
    S("kubectl describe node -l node-role.kubernetes.io/control-plane", r"^Taints: +node-role"),
    S("kubectl describe cm kube-root-ca.crt", r"^ca\.crt:$\n^----$\n^-----BEGIN CERTIFICATE-----"),
    S("kubectl describe sa default", r"^Name: +default$"),
    S("kubectl describe clusterrole view", r"^  pods/log +\[\] +\[\] +\[get list watch\]$"),
    S("kubectl describe sts,ds,jobs", r"^No resources found in \S+ namespace\.$"),
    S("kubectl describe pod nosuch", r'pods "nosuch" not found$', 1),
)

ABOUT = (
    S(
        "kubectl explain pod.spec.containers.ports",
        r"^  containerPort\s<integer> -required-$",
        old=r"^   containerPort\s<integer> -required-$",
    ),
    S(
        "kubectl explain networkpolicy --recursive",
        r"^        podSelector\s<LabelSelector>$",
        old=r"^            podSelector\s<Object>$",
    ),
    S(
        "kubectl explain pod.spec.containers.imagePullPolicy",
        r"^ENUM:$\n^    Always$\n^    IfNotPresent$\n^    Never$\n(.*\n)*.*Defaults to Always if",
        old=r"^FIELD: +imagePullPolicy <string>$",
    ),
    S("kubectl explain pod.nosuch", r'^error: field "nosuch" does not exist$', 1),
    S("kubectl explain cronjob --api-version=batch/v1", r"^VERSION: +(batch/)?v1$"),
    S("kubectl api-resources --api-group=apps", r"^deployments +deploy +apps/v1 +true +Deployment"),
    S("kubectl api-resources --namespaced=false -o name", r"^nodes$"),
    S("kubectl api-resources -o wide --verbs=watch", r"^pods +po +v1 +true +Pod .*watch"),
    S("kubectl api-versions", r"^networking.k8s.io/v1$"),
    S("kubectl cluster-info", r"Kubernetes control plane.* is running at .*https://127.0.0.1:"),
    S("kubectl cluster-info dump --namespaces $NS", r"^==== START logs for container main of pod"),
    S("kubectl version", r"^Server Version: v1\.\d+\.\d+$", old=r'^Server Version: .*Minor:"\d+"'),
    S("kubectl version -o json", r'"gitVersion": "v1\.\d+\.\d+",'),
    S("kubectl top pod", r"^error: Metrics API not available$", 1),
    S("kubectl top node", r"^error: Metrics API not available$", 1),
    S("kubectl auth can-i create pods", r"^yes$"),
    S("kubectl auth can-i create pods --as=system:serviceaccount:$NS:default", r"^no", 1),
    S("kubectl auth can-i --list", r"^\*\.\* +\[\] +\[\] +\[\*\]$"),
    S("kubectl auth whoami", r"^Username +kubernetes-admin$", not_old=since("1.26")),
    S("kubectl get pods --as=nobody", r'User "nobody" cannot list resource "pods" in API', 1),
    S("kubectl config current-context", r"^k8slab-"),
    S("kubectl config get-contexts", r"^\* +k8slab-\S+ +k8slab-\S+ +\S+ +\S+$"),
    S("kubectl config view", r"^    certificate-authority-data: DATA\+OMITTED$"),
    S("kubectl config view --minify -o jsonpath={..namespace}", r"^\S+$"),
    S("kubectl config set-context other --namespace=kube-system", r'^Context "other" created\.$'),
    S("kubectl config use-context other", r'^Switched to context "other"\.$'),
    S("kubectl config use-context nosuch", r'no context exists with the name: "nosuch"', 1),
    S("kubectl config delete-context other", r"this removed your active context"),
)
