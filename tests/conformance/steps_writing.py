"""What writes objects: apply and its kin, the generators of create, rollouts and scale."""

from step import Step, removed, since

S = Step

APPLY = (
    S("kubectl apply -f web.yaml", r"^deployment.apps/web unchanged$\n^service/web unchanged$"),
    S("kubectl diff -f web.yaml", r"\A\Z"),
    # Before pods go: one that is listed and then gone is an error.
    S("kubectl label pods --all part=y", r"^pod/box labeled$\n^pod/web-\S+ labeled$"),
    S(
        "sed 's/replicas: 2/replicas: 3/' web.yaml > more.yaml; kubectl diff -f more.yaml",
        r"^-  replicas: 2$\n^\+  replicas: 3$",
        1,
    ),
    S("kubectl apply -f more.yaml --dry-run=server", r"web configured \(server dry run\)$"),
    S("kubectl apply -f more.yaml --dry-run=client", r"web configured \(dry run\)$"),
    S("kubectl get deploy web -o jsonpath={.spec.replicas}", r"^2$"),
    S("cat more.yaml | kubectl apply -f -", r"^deployment.apps/web configured$"),
    S("kubectl apply --server-side -f web.yaml", r"web serverside-applied$"),
    S("kubectl get deploy web -o jsonpath={.spec.replicas}", r"^2$"),
    S("kubectl apply --server-side --force-conflicts -f web.yaml", r"web serverside-applied$"),
    S("kubectl diff --server-side -f more.yaml", r"^\+  replicas: 3$", 1),
    S("mkdir dir && cp web.yaml dir && kubectl apply -f dir", r"^service/web unchanged$"),
    S(
        "printf 'resources: [web.yaml]\\nnamePrefix: k-\\n' > dir/kustomization.yaml; "
        "kubectl apply -k dir",
        r"^deployment.apps/k-web created$",
    ),
    S("kubectl kustomize dir", r"^  name: k-web$"),
    S("kubectl delete -k dir --wait=false", r'^service "k-web" deleted'),
    S("kubectl apply -f maps.yaml", r"^configmap/keep created$\n^configmap/drop created$"),
    S(
        "sed -i '/^---/,$d' maps.yaml; kubectl apply -f maps.yaml --prune -l set=a",
        r"^configmap/drop pruned$",
        not_old=removed("extensions/v1beta1", "1.22"),
    ),
    S('kubectl patch deploy web -p \'{"spec":{"replicas":1}}\'', r"^deployment.apps/web patched$"),
    # Of a Deployment, whose status its controller changes meanwhile, it might not say so.
    S('kubectl patch svc web --type=merge -p \'{"spec":{"type":"ClusterIP"}}\'', r"\(no change\)$"),
    S(
        "kubectl patch deploy web --type=json "
        '-p \'[{"op":"replace","path":"/spec/replicas","value":2}]\'',
        r"web patched$",
    ),
    S(
        "kubectl patch deploy web --type=json "
        '-p \'[{"op":"test","path":"/spec/replicas","value":9}]\'',
        r"^The request is invalid: the server rejected our request due to an error in our request",
        1,
        old=r"^The request is invalid$",
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
    S(
        "kubectl get svc web -o yaml | kubectl replace --force -f -",
        r'^service "web" deleted.*\n^service/web replaced$',
    ),
    S("kubectl label pod box tier=x", r"^pod/box labeled$"),
    S(
        "kubectl label pod box tier=y",
        r"'tier' already has a value \(x\), and --overwrite is false",
        1,
    ),
    S("kubectl label pod box tier=y --overwrite", r"^pod/box labeled$"),
    S("kubectl label pod box tier-", r"^pod/box unlabeled$", old=r"^pod/box labeled$"),
    S("kubectl annotate pod box note=x", r"^pod/box annotated$"),
    S("kubectl annotate pod box note-", r"^pod/box annotated$"),
    S(
        "sed 's/image:/imagen:/' web.yaml | kubectl apply -f -",
        r'unknown field "spec.template.spec.containers\[0\].imagen"',
        1,
        old=r'unknown field "imagen" in io.k8s.api.core.v1.Container',
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
    S("kubectl apply set-last-applied -f more.yaml", r"^deployment.apps/web configured$"),
    S("kubectl apply view-last-applied deploy web", r"^  replicas: 3$"),
)

CREATE = (
    S("kubectl create ns $NS-more", r"^namespace/\S+-more created$"),
    S("kubectl delete ns $NS-more", r'^namespace "\S+-more" deleted'),
    S("kubectl create deployment d --image=nginx --replicas=1", r"^deployment.apps/d created$"),
    S("kubectl create deployment d --image=nginx", r'deployments.apps "d" already exists$', 1),
    S("kubectl create deployment e --image=nginx --dry-run=client -o yaml", r"^  name: e$"),
    S("kubectl create deployment e --image=nginx --dry-run=server -o name", r"^deployment.apps/e$"),
    S("kubectl expose deploy d --port 80", r"^service/d exposed$"),
    S("kubectl expose deploy d --port 80 --type NodePort --name np", r"^service/np exposed$"),
    S("kubectl expose pod box --port 80 --target-port 8080", r"^service/box exposed$"),
    S("kubectl expose svc d --port 81 --name d2", r"^service/d2 exposed$"),
    S("kubectl get svc np -o jsonpath={.spec.ports[0].nodePort}", r"^3[012]\d{3}$"),
    S("kubectl create svc clusterip ci --tcp=80:8080", r"^service/ci created$"),
    S("kubectl create svc clusterip hl --clusterip=None", r"^service/hl created$"),
    S("kubectl create svc nodeport n2 --tcp=80 --node-port=30042", r"^service/n2 created$"),
    S("kubectl create svc loadbalancer lb --tcp=80", r"^service/lb created$"),
    S("kubectl create svc externalname out --external-name example.com", r"^service/out created$"),
    S("kubectl get svc", r"^out +ExternalName +<none> +example.com +<none> "),
    S("kubectl get svc lb -o wide", r"^lb +LoadBalancer +\S+ +172\.18\.255\.\d+ +80:3\d{4}/TCP "),
    S("kubectl create cm c --from-literal=a=b --from-file=web.yaml", r"^configmap/c created$"),
    S("kubectl describe cm c", r"^a:$\n^----$\n^b$"),
    S("kubectl create secret generic s --from-literal=p=word", r"^secret/s created$"),
    S("kubectl describe secret s", r"^p: +4 bytes$"),
    S(
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout k -out c 2>&1 >/dev/null; "
        "kubectl create secret tls t --cert=c --key=k",
        r"^secret/t created$",
    ),
    S(
        "kubectl create secret docker-registry r --docker-username=u --docker-password=p "
        "--docker-server=registry.test",
        r"^secret/r created$",
    ),
    S(
        "kubectl get secrets",
        r"^r +kubernetes.io/dockerconfigjson +1 .*\n(.*\n)*^t +kubernetes.io/tls",
    ),
    S("kubectl create sa bob", r"^serviceaccount/bob created$"),
    S("kubectl create token bob", r"^eyJ[\w-]+\.[\w-]+\.[\w-]+$", not_old=since("1.24")),
    S("kubectl create token bob --duration=1h", r"^eyJ[\w-]+\.", not_old=since("1.24")),
    S("kubectl create role r --verb=get --resource=pods", r"^role.rbac.authorization.k8s.io/r"),
    S("kubectl create rolebinding r --role=r --serviceaccount=$NS:bob", r"rolebinding.*/r created"),
    S("kubectl auth can-i get pods --as=system:serviceaccount:$NS:bob", r"^yes$"),
    S("kubectl create clusterrole $NS --verb=list --resource=nodes", r"clusterrole.*/\S+ created"),
    S(
        "kubectl create clusterrolebinding $NS --clusterrole=$NS --user=eve",
        r"clusterrolebinding.*/\S+ created",
    ),
    S("kubectl auth can-i list nodes --as=eve", r"^yes$"),
    S("kubectl delete clusterrole,clusterrolebinding $NS", r'clusterrolebinding.* "\S+" deleted'),
    S("kubectl create ingress i --rule=shop.test/=web:80", r"^ingress.networking.k8s.io/i created"),
    S(
        "kubectl create ingress safe --class=nginx --rule='a.test/x*=web:http,tls=t'",
        r"^ingress.networking.k8s.io/safe created",
    ),
    S("kubectl get ingress safe", r"^safe +nginx +a\.test +80, 443 +\d+s$"),
    S("kubectl create job j --image=busybox -- echo done", r"^job.batch/j created$"),
    S("kubectl wait job/j --for=condition=complete --timeout=90s", r"^job.batch/j condition met$"),
    S("kubectl logs job/j", r"^done$"),
    S(
        "kubectl describe job j",
        r"^Pods Statuses: +0 Active \(0 Ready\) / 1 Succeeded / 0 Failed$",
        old=r"^Pods Statuses: +0 Running / 1 Succeeded / 0 Failed$",
    ),
    S(
        "kubectl create cronjob tick --image=busybox --schedule='0 0 1 1 *' -- echo tock",
        r"^cronjob.batch/tick created$",
        not_old=removed("batch/v1beta1", "1.25"),
    ),
    S(
        "kubectl create job now --from=cronjob/tick "
        "&& kubectl wait job/now --for=condition=complete --timeout=90s && kubectl logs job/now",
        r"^tock$",
        not_old=removed("batch/v1beta1", "1.25"),
    ),
    S(
        "kubectl describe cronjob tick",
        r"^Schedule: +0 0 1 1 \*$",
        not_old=removed("batch/v1beta1", "1.25"),
    ),
    S(
        "kubectl create pdb b --selector=app=d --min-available=1",
        r"^poddisruptionbudget.policy/b created$",
        not_old=removed("policy/v1beta1", "1.25"),
    ),
    S("kubectl get pdb", r"^b +1 +N/A +\d +\d+s$", not_old=removed("policy/v1beta1", "1.25")),
    S("kubectl create priorityclass $NS --value=7", r"^priorityclass.*/\S+ created$"),
    S("kubectl delete priorityclass $NS", r'^priorityclass.* "\S+" deleted'),
    S("kubectl create -f policy.yaml", r"^networkpolicy.networking.k8s.io/web created$"),
    S(
        "kubectl create -f policy.yaml",
        r'networkpolicies.networking.k8s.io "web" already exists',
        1,
    ),
    S(
        "kubectl create quota q --hard=pods=3",
        r"the server could not find the requested resource \(namespaces have no limits here\)",
        1,
    ),
    S(
        "kubectl autoscale deploy d --max=3 --cpu-percent=80 || "  # until 1.33, and since 1.34
        "kubectl autoscale deploy d --max=3 --cpu=80%",
        r"the server could not find the requested resource \(no load is measured here",
        1,
    ),
)

ROLLOUT = (
    S("kubectl rollout status deploy/web", r'^deployment "web" successfully rolled out$'),
    S("kubectl set env deploy/web A=1", r"^deployment.apps/web env updated$"),
    S("kubectl rollout status deploy/web --timeout=90s", r"successfully rolled out$"),
    S("kubectl rollout history deploy/web", r"^REVISION +CHANGE-CAUSE$\n^1 +<none>$\n^2 +<none>$"),
    S("kubectl rollout history deploy/web --revision=2", r"^      A:\s1$"),
    S("kubectl rollout undo deploy/web", r"^deployment.apps/web rolled back$"),
    S("kubectl rollout status deploy/web --timeout=90s", r"successfully rolled out$"),
    S("kubectl get deploy web -o jsonpath={.spec.template.spec.containers[0].env}", r"\A\Z"),
    S("kubectl rollout undo deploy/web --to-revision=2", r"^deployment.apps/web rolled back$"),
    S(
        "kubectl rollout undo deploy/web --to-revision=99",
        r"unable to find specified revision 99",
        1,
    ),
    S("kubectl rollout pause deploy/web", r"^deployment.apps/web paused$"),
    S("kubectl set image deploy/web web=k8slab/app:2", r"^deployment.apps/web image updated$"),
    S("kubectl set image deploy/web nosuch=x", r'unable to find container named "nosuch"', 1),
    S("kubectl set resources deploy web --limits=memory=256Mi", r"resource requirements updated$"),
    S("kubectl set serviceaccount deploy web default", r"serviceaccount updated$"),
    S("kubectl rollout resume deploy/web", r"^deployment.apps/web resumed$"),
    S("kubectl rollout restart deploy/web", r"^deployment.apps/web restarted$"),
    S("kubectl rollout status deploy/web --timeout=90s", r"successfully rolled out$"),
    S("kubectl scale deploy web --replicas=1", r"^deployment.apps/web scaled$"),
    S(
        "kubectl scale deploy web --replicas=2 --current-replicas=9",
        r"Expected replicas to be 9",
        1,
    ),
    S("kubectl wait deploy/web --for=condition=Available --timeout=90s", r"condition met$"),
    S(
        "kubectl apply -f sets.yaml",
        r"^statefulset.apps/db created$\n^daemonset.apps/agent created$",
    ),
    S(
        "kubectl rollout status sts/db --timeout=90s",
        r"^partitioned roll out complete|roll(ing|ed) (update|out) complete",
    ),
    S(
        "kubectl rollout status ds/agent --timeout=90s",
        r'^daemon set "agent" successfully rolled out',
    ),
    S("kubectl rollout history ds/agent", r"^1 +<none>$"),
    S("kubectl rollout history sts/db", r"^1 +<none>$"),
    S("kubectl scale sts/db --replicas=2", r"^statefulset.apps/db scaled$"),
    S("kubectl rollout restart ds/agent sts/db", r"^daemonset.apps/agent restarted$"),
    S(
        "kubectl get rc,sts,ds",
        r"^replicationcontroller/old +1 +1 +\d .*\n(.*\n)*^statefulset.apps/db ",
    ),
    S("kubectl scale rc old --replicas=2", r"^replicationcontroller/old scaled$"),
    S(
        "kubectl describe sts db",
        r"^Pods Status: +\d Running / \d Waiting / 0 Succeeded / 0 Failed$",
    ),
    S("kubectl describe ds agent", r"^Desired Number of Nodes Scheduled: 2$"),
)
