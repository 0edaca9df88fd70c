"""A terminal of JupyterLab, opened and typed into as the page does it, by REST and WebSocket."""

import json
import re
import shutil
import time
import urllib.request
from contextlib import contextmanager

import pytest
from browser_kit import ROOT, serving
from websockets.sync.client import connect

PATIENCE = 60
"""Seconds for an answer, on a busy machine."""

CONTROL = re.compile(r"\x1b\[[?\d;]*[a-zA-Z]")
"""Sequences for colours and the like (ECMA-48, section 5.4)."""


class Terminal:
    def __init__(self, socket):
        self._socket = socket
        self.said = ""

    def press(self, keys):
        self._socket.send(json.dumps(["stdin", keys]))

    def wait_for(self, pattern):
        """Return the match when the terminal has shown it."""
        until = time.monotonic() + PATIENCE
        while not (found := re.search(pattern, self.said)):
            left = until - time.monotonic()
            assert left > 0, f"no {pattern!r} in {self.said!r}"
            kind, *content = json.loads(self._socket.recv(timeout=left))
            if kind == "stdout":
                self.said = CONTROL.sub("", self.said + content[0])
        return found

    def run(self, command):
        """Run a command and return what it says; the marks are not what is typed for them."""
        self.said = ""
        self.press(f"echo be''gun; {command}; echo en''ded\r")
        return self.wait_for(r"(?s)begun\r\n(.*?)ended\r\n")[1]


@contextmanager
def terminal(url):
    server, _, token = url.partition("/lab")
    token = token.partition("token=")[2]
    request = urllib.request.Request(f"{server}/api/terminals?token={token}", method="POST")
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        name = json.load(answer)["name"]
    place = f"{server.replace('http', 'ws')}/terminals/websocket/{name}?token={token}"
    with connect(place, open_timeout=PATIENCE) as socket:
        yield Terminal(socket)


@pytest.fixture
def house(tmp_path, monkeypatch):
    """Give a learner who has a cluster of their own in mind: it must not be met by accident."""
    own = "export KUBECONFIG=/elsewhere K8SLAB_CLUSTER=mine PATH=/usr/bin:/bin MINE=kept\n"
    (tmp_path / ".bashrc").write_text(own)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_a_terminal_knows_the_cluster_and_completes(cluster, house):
    labs = shutil.copytree(ROOT / "labs", house / "labs")
    with serving(labs, cluster, "00") as url, terminal(url) as shell:
        told = shell.run("echo $KUBECONFIG $K8SLAB_CLUSTER $MINE").split()
        assert told == [str(cluster.kubeconfig), cluster.name, "kept"]
        assert shell.run("pwd").strip() == str(labs)
        nodes = [node["metadata"]["name"] for node in cluster.list("nodes")]
        assert set(shell.run("kubectl get nodes -o name").split()) == {f"node/{n}" for n in nodes}
        # Others may run beside it: the clusters of other tests in this process.
        state = shell.run(f"k8slab status --json --name {cluster.name} | grep '\"state\"'")
        assert state.split() == ['"state":', '"running",']

        shell.said = ""
        shell.press("kubectl get configmaps -n kube-system cored\t")
        shell.wait_for("coredns")
        shell.press("\r")
        shell.wait_for(r"NAME +DATA +AGE")

        shell.said = ""
        shell.press("k8slab check 00-orientation/nam\t")
        shell.wait_for("namespaces")
        shell.press("\x03")
