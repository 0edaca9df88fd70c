"""The kind provider up to the point where images are pulled: with fakes for the programs."""

import json
import re
from pathlib import Path

import pytest
import yaml

from k8slab import clusters, programs
from k8slab.clusters import records
from k8slab.clusters.providers import kind
from k8slab.clusters.wanted import Wanted
from k8slab.errors import EnvironmentLacksError, ProgramError, UsageError

pytestmark = pytest.mark.usefixtures("state_home")


class Door:
    """Programs as a machine may have them; records what is run."""

    def __init__(self, missing=(), answers=None):
        self.missing, self.answers, self.calls = missing, answers or {}, []

    def find(self, program):
        return None if program in self.missing else program

    def run(self, argv, *, deadline, stdin, env):
        command = " ".join(argv)
        self.calls.append(command)
        for pattern, answer in self.answers.items():
            if re.match(pattern, command):
                code, stdout, stderr = answer(argv) if callable(answer) else answer
                return programs.Completed(tuple(argv), code, stdout, stderr)
        return programs.Completed(tuple(argv), 0)


GOOD = {
    "kind version": (0, "kind v0.31.0 go1.25 linux/amd64\n", ""),
    "docker info": (0, "29\n", ""),
}


@pytest.mark.parametrize(
    ("door", "message", "hint"),
    [
        (Door(missing=["docker"]), "docker was not found", "install"),
        (Door(missing=["kind"]), "kind was not found", r"kind\.sigs\.k8s\.io"),
        (Door(missing=["kubectl"]), "kubectl was not found", "kubectl|kubernetes"),
        (
            Door(answers={"docker info": (1, "", "Cannot connect to the Docker daemon\n")}),
            "Docker is installed and does not answer: Cannot connect to the Docker daemon",
            "start it",
        ),
        (
            Door(answers={**GOOD, "kind version": (0, "kind v0.17.0 go1.19\n", "")}),
            r"kind is too old: kind v0\.17\.0 go1\.19; k8slab needs 0\.30 or newer",
            r"kind\.sigs",
        ),
    ],
)
def test_each_lack_says_what_to_do_and_leaves_no_cluster(door, message, hint):
    with programs.replaced(door), pytest.raises(EnvironmentLacksError, match=message) as caught:
        clusters.up("blue", provider="kind")
    assert re.search(hint, caught.value.hint)
    assert caught.value.exit_code == 3
    assert clusters.names() == []
    assert not any("create" in call for call in door.calls)


def test_the_steps_are_those_in_the_header_of_the_shipped_file(api, monkeypatch):
    def create(argv):
        target = Path(argv[argv.index("--kubeconfig") + 1])
        target.write_text(
            json.dumps(
                {
                    "current-context": "kind-blue",
                    "clusters": [{"name": "c", "cluster": {"server": api.url}}],
                    "contexts": [{"name": "kind-blue", "context": {"cluster": "c"}}],
                }
            )
        )
        return 0, "", ""

    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    api.put("/api/v1/nodes/a", {"kind": "Node", "metadata": {"name": "a"}, "status": ready})
    system = "/namespaces/kube-system"
    api.put(
        f"/apis/apps/v1{system}/daemonsets/calico-node",
        {
            "metadata": {"name": "calico-node", "generation": 1},
            "status": {
                "observedGeneration": 1,
                "desiredNumberScheduled": 3,
                "numberReady": 3,
                "updatedNumberScheduled": 3,
            },
        },
    )
    api.put(
        f"/apis/apps/v1{system}/deployments/coredns",
        {
            "metadata": {"name": "coredns"},
            "spec": {"replicas": 2},
            "status": {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2},
        },
    )
    api.put(
        f"/api/v1{system}/services/kube-dns",
        {"metadata": {"name": "kube-dns"}, "spec": {"clusterIP": "10.96.0.10"}},
    )
    door = Door(answers={**GOOD, "kind create": create})
    told = []
    with programs.replaced(door):
        clusters.up("blue", provider="kind", progress=told.append)
    home = records.directory("blue")
    steps = [call for call in door.calls if re.match("kind create|kubectl|docker exec", call)]
    assert steps[:2] == [
        f"kind create cluster --name blue --config {home}/kind.yaml --kubeconfig {home}/kubeconfig",
        f"kubectl --kubeconfig {home}/kubeconfig create -f {kind.CALICO_MANIFEST}",
    ]
    assert steps[2].startswith("docker exec blue-control-plane unshare --mount sh -c")
    assert "nameserver 10.96.0.10" in steps[2]
    header = Path(kind.__file__).parents[3].joinpath("clusters/kind-calico.yaml").read_text()
    assert f"#   kubectl create -f {kind.CALICO_MANIFEST}" in header
    assert told[-1] == "waiting for the name server"
    assert clusters.names() == ["blue"]


def test_a_failed_creation_is_cleaned_up_and_shown_with_its_command():
    failing = (1, "", "ERROR: failed to pull image\n")
    door = Door(answers={**GOOD, "kind create": failing})
    with programs.replaced(door), pytest.raises(ProgramError, match="failed to pull image"):
        clusters.up("blue", provider="kind")
    assert any(call.startswith("kind delete cluster --name blue") for call in door.calls)
    assert clusters.names() == []


def test_the_shipped_configuration_is_what_the_course_needs():
    config = yaml.safe_load(kind.configuration(Wanted()))
    assert [node["role"] for node in config["nodes"]] == ["control-plane", "worker", "worker"]
    assert config["networking"] == {
        "disableDefaultCNI": True,
        "podSubnet": "10.244.0.0/16",
        "serviceSubnet": "10.96.0.0/16",
    }


@pytest.mark.parametrize("nodes", [1, 2, 5])
def test_other_wishes_change_only_what_was_wished(nodes):
    wanted = Wanted(nodes=nodes, pod_cidr="10.0.0.0/16", service_cidr="10.1.0.0/16")
    config = yaml.safe_load(kind.configuration(wanted))
    assert [node["role"] for node in config["nodes"]] == ["control-plane"] + ["worker"] * (
        nodes - 1
    )
    assert config["networking"]["podSubnet"] == "10.0.0.0/16"
    assert config["networking"]["serviceSubnet"] == "10.1.0.0/16"


def test_a_made_cluster_keeps_its_ranges():
    records.write("blue", {"provider": "kind"})
    with (
        programs.replaced(Door(answers=GOOD)),
        pytest.raises(UsageError, match="keeps its nodes and address ranges"),
    ):
        clusters.up("blue", wanted=Wanted(nodes=5))


@pytest.mark.parametrize(
    ("listed", "state", "detail"),
    [
        ("", "broken", "its node containers are gone"),
        ("blue-worker running\nblue-control-plane exited\n", "stopped", ""),
    ],
)
def test_the_state_is_that_of_the_node_containers(listed, state, detail):
    records.write("blue", {"provider": "kind"})
    with programs.replaced(Door(answers={"docker ps": (0, listed, "")})):
        found = clusters.status("blue")
    assert (found.state, found.detail) == (state, detail)


def test_down_stops_the_containers_and_keeps_the_record():
    records.write("blue", {"provider": "kind"})
    door = Door(answers={"docker ps": (0, "blue-control-plane running\n", "")})
    with programs.replaced(door):
        clusters.down("blue")
    assert door.calls[-1] == "docker stop --time 5 blue-control-plane"
    assert clusters.names() == ["blue"]


def test_a_command_on_a_node_runs_in_its_container():
    records.write("blue", {"provider": "kind"})
    door = Door(answers={"docker exec": (2, "out", "err")})
    with programs.replaced(door):
        done = kind.cluster("blue").node_run("blue-worker", ["ip", "route"])
    assert (done.code, done.stdout) == (2, "out")
    assert door.calls == ["docker exec blue-worker ip route"]
