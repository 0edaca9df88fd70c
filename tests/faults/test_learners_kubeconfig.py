"""The learner's own kubeconfig: not touched unasked, and changed with care when asked."""

import os
import shutil
import stat
import subprocess

import pytest
import yaml
from faults_kit import DEADLINE, k8slab, start_k8slab

from k8slab import clusters
from k8slab.clusters import kubeconfig

OWN = """\
# mine
apiVersion: v1
kind: Config
current-context: work
clusters: [{name: work, cluster: {server: "https://work.example:6443", proxy-url: "http://p"}}]
users: [{name: me, user: {token: "0123"}}]
contexts: [{name: work, context: {cluster: work, user: me, namespace: team}}]
preferences: {colors: true}
"""


@pytest.fixture
def own(home):
    file = home / "home" / ".kube" / "config"
    file.parent.mkdir(parents=True)
    file.write_text(OWN)
    return file


def test_the_learners_kubeconfig_changes_only_when_asked_and_only_the_context(home, own):
    clusters.up("lab", wanted=clusters.Wanted(nodes=1))
    for words in (["status", "--name", "lab"], ["env", "--name", "lab"], ["up", "--name", "lab"]):
        assert k8slab(*words).returncode == 0
    assert own.read_text() == OWN

    mode = stat.S_IMODE(own.stat().st_mode)
    real = own.rename(own.with_name("real"))
    own.symlink_to(real.name)
    (own.with_name("real.lock")).touch()  # as kubectl does while it writes
    waiting = start_k8slab("up", "--name", "lab", "--set-context")
    with pytest.raises(subprocess.TimeoutExpired):
        waiting.wait(1.5)
    assert real.read_text() == OWN
    own.with_name("real.lock").unlink()
    waiting.communicate(timeout=DEADLINE)
    assert waiting.returncode == 0
    assert own.is_symlink()
    now = yaml.safe_load(own.read_text())
    assert now.pop("current-context") == "k8slab-lab"
    before = yaml.safe_load(OWN)
    before.pop("current-context")
    for section in ("clusters", "users", "contexts"):
        assert [entry["name"] for entry in now[section][1:]] == ["k8slab-lab"]
        assert now.pop(section)[:1] == before.pop(section)
    assert now == before
    assert stat.S_IMODE(real.stat().st_mode) == mode & 0o600  # a key of the cluster is in it now
    assert real.with_name("real.before-k8slab").read_text() == OWN
    if shutil.which("kubectl"):
        done = subprocess.run(
            ["kubectl", "get", "namespaces", "-o", "name"],
            env={**os.environ, "HOME": str(home / "home")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "namespace/kube-system" in done.stdout, done.stderr


def test_a_lock_that_somebody_left_is_named(home, own, monkeypatch):
    monkeypatch.setattr(kubeconfig, "LOCK_DEADLINE", 0.1)
    own.with_name("config.lock").touch()
    with pytest.raises(kubeconfig.UsageError, match=r"config\.lock is there"):
        kubeconfig.merge(own, own, make_current=True)
    assert own.read_text() == OWN
