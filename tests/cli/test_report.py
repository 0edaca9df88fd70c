import json
import subprocess

import pytest

from k8slab.clusters import doctor
from k8slab.clusters.doctor import Finding


def test_status_is_readable_and_complete(k8slab, fake, state_home):
    k8slab("up")
    ran = k8slab("status")
    assert ran.code == 0
    lines = dict(line.split(maxsplit=1) for line in ran.out.splitlines())
    assert lines == {
        "name": "k8slab",
        "provider": "embedded",
        "state": "running",
        "kubeconfig": f"{state_home}/clusters/k8slab/kubeconfig",
        "nodes": "a, b",
        "capabilities": "probe",
        "versions": "kubernetes v1.37.0",
        "daemon": "pid 42",
        "memory": "50 MiB",
    }


def test_status_of_a_stopped_cluster_is_exit_code_1(k8slab, fake):
    k8slab("up")
    k8slab("down")
    ran = k8slab("status", "--json")
    assert ran.code == 1
    answer = json.loads(ran.out)
    assert answer["state"] == "stopped"
    wanted = {"name", "provider", "state", "pid", "kubeconfig", "nodes", "capabilities", "versions"}
    assert wanted <= set(answer)


def test_kubeconfig_prints_the_path_alone(k8slab, fake, state_home):
    k8slab("up", "--name", "blue")
    ran = k8slab("kubeconfig", "--name", "blue")
    assert (ran.out, ran.err) == (f"{state_home}/clusters/blue/kubeconfig\n", "")


@pytest.mark.parametrize("name", ["k8slab", "blue"])
def test_env_is_what_a_shell_can_evaluate(k8slab, fake, state_home, name, monkeypatch, tmp_path):
    monkeypatch.setenv("K8SLAB_HOME", str(tmp_path / "with 'odd' name"))
    k8slab("up", "--name", name)
    script = k8slab("env", "--name", name).out + 'printf "%s|%s" "$KUBECONFIG" "$K8SLAB_CLUSTER"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path}/with 'odd' name/clusters/{name}/kubeconfig|{name}"


def test_env_for_fish(k8slab, fake, state_home):
    k8slab("up")
    assert k8slab("env", "--shell", "fish").out == (
        f"set -gx KUBECONFIG {state_home}/clusters/k8slab/kubeconfig\n"
        "set -gx K8SLAB_CLUSTER k8slab\n"
    )


FINDINGS = [
    Finding(what="nft", ok=False, required=True, detail="not found", remedy="install it: x"),
    Finding(what="dot", ok=False, detail="not found", remedy="install it: y"),
    Finding(what="disk", ok=True, required=True, detail="9 GiB free"),
]


def test_doctor_says_for_each_lack_what_to_install(k8slab, monkeypatch):
    monkeypatch.setattr(doctor, "examine", lambda: (FINDINGS, []))
    ran = k8slab("doctor")
    assert ran.code == 3
    assert ran.out == (
        "LACKS   nft: not found\n          install it: x\n"
        "without dot: not found\n          install it: y\n"
        "ok      disk: 9 GiB free\n"
    )
    assert "no cluster can run here yet" in ran.err


@pytest.mark.parametrize("below", ["", "/state/k8slab"])
def test_a_file_in_the_place_of_the_state_directory_is_a_lack(tmp_path, monkeypatch, below):
    (tmp_path / "file").touch()
    monkeypatch.setenv("K8SLAB_HOME", f"{tmp_path}/file{below}")
    found = doctor._disk()
    assert not found.ok
    assert found.required
    assert found.detail.endswith(f"{tmp_path}/file, which is no directory")


def test_doctor_as_json(k8slab, monkeypatch):
    monkeypatch.setattr(doctor, "examine", lambda: (FINDINGS[2:], ["embedded"]))
    ran = k8slab("doctor", "--json")
    answer = json.loads(ran.out)
    assert (ran.code, answer["providers"]) == (0, ["embedded"])
    assert answer["findings"][0]["what"] == "disk"


def test_images_shows_what_stands_in_for_what(k8slab):
    ran = k8slab("images")
    assert ran.code == 0
    assert "docker.io/library/nginx" in ran.out
    names = [entry["image"] for entry in json.loads(k8slab("images", "--json").out)]
    assert "k8slab/app" in names
