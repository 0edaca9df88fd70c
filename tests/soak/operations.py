"""What a player can do to a cluster: workloads, Services, policies, labels, and life inside pods.

An operation is a function of a `players.Player` that returns what it did in a few words. Names
come from small pools, so that the same objects are made, changed and deleted again and again.
"""

from faults_kit import pod

from k8slab.errors import ClusterNotReadyError, K8slabError

APPS = ("web", "db", "cache")
PLAYED = "soak"
"""The label of the players' namespaces; cluster-wide policies keep to these."""
PLAYS = {}
"""How often each operation is chosen, relative to the others."""


def play(weight):
    """Make a function an operation."""

    def add(function):
        PLAYS[function] = weight
        return function

    return add


# --- workloads


@play(10)
def deploy(me):
    number = me.pick(0, 1, 2)
    replicas, version = me.pick(0, 1, 2, 3), me.pick("1", "2", "3")
    made = deployment(f"d{number}", APPS[number], replicas, version)
    return f"{me.apply(made)} x {replicas}, version {version}"


@play(8)
def scale(me):
    if not (names := me.ledger.names("Deployment", me.space)):
        return "nothing"
    count = me.pick(0, 1, 2, 3, 4)
    change = {"spec": {"replicas": count}}
    return (
        me.merge("Deployment", "/apis/apps/v1/deployments", me.pick(*names), change) + f" {count}"
    )


@play(3)
def delete_deployment(me):
    return me.delete_one("Deployment")


@play(3)
def stateful_set(me):
    return me.apply(stateful(me.pick(0, 1, 2)))


@play(1)
def delete_stateful_set(me):
    return me.delete_one("StatefulSet")


@play(2)
def job(me):
    return me.apply(job_object(f"j{me.pick(*range(20))}"))


@play(2)
def delete_job(me):
    return me.delete_one("Job")


@play(6)
def bare_pod(me):
    name, app = f"b{me.pick(*range(5))}", me.pick(*APPS)
    made = pod(name, image="k8slab/app", **me.pick({}, {"terminationGracePeriodSeconds": 1}))
    made["metadata"]["labels"]["app"] = app
    if me.pick(True, False):
        made["spec"]["containers"][0]["readinessProbe"] = me.pick(*PROBES)
    if me.pick(True, False):
        scratch = {"name": "scratch", "emptyDir": {}}
        made["spec"]["volumes"] = [scratch]
        made["spec"]["containers"][0]["volumeMounts"] = [{"name": "scratch", "mountPath": "/s"}]
    return f"{me.apply(made)} as {app}"


@play(6)
def delete_pod(me):
    return me.delete_one("Pod", grace=me.pick(None, 0, 1))


@play(3)
def flash_pod(me):
    """Delete a pod while it starts."""
    name = f"f{me.pick(*range(9))}"
    me.apply(pod(name, image="k8slab/app"))
    return me.delete("Pod", name, me.space, grace=me.pick(None, 0))


@play(2)
def delete_any_pod(me):
    names = [name for name in me.ready_pods() if name.startswith(("d", "t"))]
    if not names:
        return "nothing"
    name, grace = me.pick(*names), me.pick(None, 0)
    me.cluster.delete("pods", name, me.space, grace=grace)
    return f"{name} (grace {grace})"


# --- Services and labels


@play(5)
def service(me):
    name, app = f"s{me.pick(0, 1, 2)}", me.pick(*APPS)
    kind = me.pick("ClusterIP", "NodePort", "LoadBalancer")
    spec = {"type": kind, "sessionAffinity": me.pick("None", "ClientIP")}
    return f"{me.apply(service_object(name, app, spec))} {kind} to {app}"


@play(2)
def delete_service(me):
    return me.delete_one("Service")


@play(1)
def always_there(me):
    headless = service_object("headless", "db", {"clusterIP": "None"})
    return f"{me.apply(service_object('web', 'web', {}))}, {me.apply(headless)}"


@play(5)
def relabel(me):
    names = [name for name in me.ledger.names("Pod", me.space) if name.startswith("b")]
    if not names:
        return "nothing"
    app = me.pick(*APPS, None)
    change = {"metadata": {"labels": {"app": app}}}
    return f"{me.merge('Pod', '/api/v1/pods', me.pick(*names), change)} to {app}"


@play(1)
def relabel_namespace(me):
    return me.apply(namespace(me.space, me.pick("a", "b")), "")


# --- policies


@play(8)
def policy(me):
    return me.apply(network_policy(f"p{me.pick(*range(4))}", me.pick(*SUBJECTS), me.pick(*RULES)))


@play(4)
def delete_policy(me):
    return me.delete_one("NetworkPolicy")


@play(2)
def cluster_policy(me):
    return me.apply(cluster_policy_object(me.space, me.pick("Accept", "Deny", "Pass")), "")


@play(1)
def delete_cluster_policy(me):
    names = [n for n in me.ledger.names("ClusterNetworkPolicy", "") if n == me.space]
    return me.delete("ClusterNetworkPolicy", names[0], "") if names else "nothing"


# --- configuration, namespaces, nodes


@play(6)
def config_map(me):
    return me.apply(config(f"c{me.pick(*range(5))}", me.random.randrange(10**6)))


@play(2)
def delete_config_map(me):
    return me.delete_one("ConfigMap")


@play(1)
def side_namespace(me):
    """Make a namespace with things in it, or delete it with all of them."""
    if me.ledger.uid("Namespace", "", me.side):
        return me.delete("Namespace", me.side, "")
    said = me.apply(namespace(me.side, "side"), "")
    if not me.ledger.uid("Namespace", "", me.side):
        return said  # the one before is still ending
    me.apply(deployment("d0", "web", 2, "1"), me.side)
    me.apply(config("c0", 0), me.side)
    return me.apply(service_object("web", "web", {}), me.side)


@play(1)
def cordon(me):
    workers = [n["metadata"]["name"] for n in me.cluster.list("nodes")][1:]
    return me.cordon("" if me.cordoned else me.pick(*workers))


@play(1)
def silence(me):
    workers = [n["metadata"]["name"] for n in me.cluster.list("nodes")][1:]
    return me.silence("" if me.silenced else me.pick(*workers))


# --- life inside pods


@play(4)
def execute(me):
    if not (names := me.ready_pods()):
        return "nothing"
    name = me.pick(*names)
    return f"in {name}: {_inside(lambda: me.cluster.exec(me.space, name, ['echo', 'x']).stdout)}"


@play(2)
def read_logs(me):
    if not (names := me.ready_pods()):
        return "nothing"
    name = me.pick(*names)
    return f"of {name}: {_inside(lambda: len(me.cluster.logs(me.space, name)))}"


@play(2)
def crash(me):
    """End a container's program from inside."""
    names = [name for name in me.ready_pods() if name.startswith("t")]
    if not names:
        return "nothing"
    name = me.pick(*names)
    kill = ["sh", "-c", "kill -TERM 1"]
    return f"{name}: {_inside(lambda: me.cluster.exec(me.space, name, kill).code)}"


def _inside(work):
    """Do something in a pod, which may go meanwhile."""
    try:
        return repr(work())
    except ClusterNotReadyError:
        raise
    except K8slabError as error:
        return error.message


# --- the objects

PROBES = (
    {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
    {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
    {"exec": {"command": ["true"]}, "periodSeconds": 1},
)
SUBJECTS = ({}, *({"matchLabels": {"app": app}} for app in APPS))
RULES = (
    {"policyTypes": ["Ingress"]},
    {"policyTypes": ["Egress"]},
    {"policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]},
    {"ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}]},
    {"ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"colour": "a"}}}]}]},
    {"ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": "http"}]}]},
    {"ingress": [{"from": [{"ipBlock": {"cidr": "10.244.0.0/16", "except": ["10.244.1.0/24"]}}]}]},
    {"policyTypes": ["Egress"], "egress": [{"to": [{"podSelector": {}}]}]},
    {"policyTypes": ["Egress"], "egress": [{"ports": [{"port": 8000, "endPort": 8100}]}]},
)


def namespace(name, colour):
    """Return a namespace of a player."""
    labels = {"played": PLAYED, "colour": colour}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": labels},
    }


def config(name, number):
    """Return a ConfigMap that holds a number."""
    meta = {"name": name}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"n": str(number)}}


def template(app, version):
    """Return the template of a pod that answers on 8080, the port http."""
    container = {
        "name": "main",
        "image": "k8slab/app",
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": "VERSION", "value": version}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
    }
    return {
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }


def deployment(name, app, replicas, version):
    """Return a Deployment of web servers; that of the caches stops the old ones first."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": app}},
            "strategy": {"type": "Recreate" if app == "cache" else "RollingUpdate"},
            "template": template(app, version),
        },
    }


def stateful(replicas):
    """Return a StatefulSet behind the Service headless."""
    container = {"name": "main", "image": "k8slab/toolbox", "command": ["sh", "-c", _PATIENT]}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "t"},
        "spec": {
            "replicas": replicas,
            "serviceName": "headless",
            "selector": {"matchLabels": {"app": "db", "set": "t"}},
            "template": {
                "metadata": {"labels": {"app": "db", "set": "t"}},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
            },
        },
    }


_PATIENT = "trap 'exit 0' TERM; while :; do sleep 9999 & wait $!; done"


def job_object(name):
    """Return a Job that ends well at once."""
    container = {"name": "main", "image": "k8slab/toolbox", "command": ["true"]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"template": {"spec": {"containers": [container], "restartPolicy": "Never"}}},
    }


def service_object(name, app, spec):
    """Return a Service that leads to the pods of an app."""
    ports = [{"port": 80, "targetPort": 8080}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": app}, "ports": ports, **spec},
    }


def network_policy(name, subject, rules):
    """Return a NetworkPolicy."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": subject, **rules},
    }


def cluster_policy_object(name, action):
    """Return a ClusterNetworkPolicy that speaks about the players' namespaces only."""
    played = {"namespaces": {"matchLabels": {"played": PLAYED}}}
    peer = {"namespaces": {"matchLabels": {"colour": "b"}}}
    return {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": name},
        "spec": {
            "tier": "Admin",
            "priority": 10,
            "subject": played,
            "ingress": [{"name": "rule", "action": action, "from": [peer]}],
        },
    }
