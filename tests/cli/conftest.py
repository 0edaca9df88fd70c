import json
import subprocess
import sys

import pytest

from k8slab.cli import main as cli


@pytest.fixture(autouse=True)
def state_home(tmp_path, monkeypatch):
    for variable in ("K8SLAB_CLUSTER", "KUBECONFIG", "K8SLAB_LABS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("K8SLAB_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "state"


class Ran:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def k8slab(capsys):
    """Run a command in this process and give its exit code, results and messages."""

    def run(*argv):
        code = cli.run([*argv])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture
def process():
    """Run the command as a process of its own."""

    def run(*argv, **options):
        command = [sys.executable, "-c", "from k8slab.cli.main import main; main()", *argv]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, **options
        )

    return run


class FakeProvider:
    """A provider that keeps its clusters in a dict; it takes the place of `embedded`."""

    NAME = "embedded"

    def __init__(self):
        self.clusters, self.calls, self.error = {}, [], None

    def up(self, name, wanted, progress):
        from k8slab.clusters import records  # noqa: PLC0415

        self.calls.append(("up", name, wanted))
        if self.error:
            raise self.error
        progress("starting the cluster")
        root = records.directory(name)
        root.joinpath("cluster.json").write_text("{}")
        context = f"k8slab-{name}"
        content = {
            "current-context": context,
            "clusters": [{"name": context, "cluster": {"server": "https://127.0.0.1:1"}}],
            "users": [{"name": context, "user": {}}],
            "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        }
        root.joinpath("kubeconfig").write_text(json.dumps(content))
        self.clusters[name] = "running"

    def down(self, name):
        self.calls.append(("down", name))
        self.clusters[name] = "stopped"

    def delete(self, name):
        from k8slab.clusters import records  # noqa: PLC0415

        self.calls.append(("delete", name))
        del self.clusters[name]
        records.forget(name)

    def kubeconfig(self, name):
        from k8slab.embedded.config import ClusterPaths  # noqa: PLC0415

        return ClusterPaths.of(name).kubeconfig

    def status(self, name):
        from k8slab.clusters import Status  # noqa: PLC0415

        return Status(
            name=name,
            provider=self.NAME,
            state=self.clusters[name],
            kubeconfig=str(self.kubeconfig(name)),
            nodes=["a", "b"],
            capabilities=["probe"],
            versions={"kubernetes": "v1.37.0"},
            pid=42,
            memory_bytes=50 * 2**20,
        )

    def cluster(self, name):
        from k8slab.clusters import Cluster  # noqa: PLC0415

        return Cluster(name, provider=self.NAME, kubeconfig=self.kubeconfig(name))


@pytest.fixture
def fake(monkeypatch):
    from k8slab import clusters  # noqa: PLC0415

    provider = FakeProvider()
    monkeypatch.setattr(clusters, "_provider", lambda _name: provider)
    return provider
