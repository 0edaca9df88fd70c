"""What holds for every provider: with one that keeps its clusters in a dict."""

import pytest

from k8slab import clusters
from k8slab.clusters import records
from k8slab.clusters.wanted import Wanted
from k8slab.embedded import supervisor
from k8slab.errors import ClusterNotFoundError, ClusterNotReadyError, UsageError

pytestmark = pytest.mark.usefixtures("state_home")


def test_a_cluster_that_was_never_made_is_not_found():
    for question in (clusters.status, clusters.attach, clusters.down, clusters.kubeconfig_of):
        with pytest.raises(ClusterNotFoundError, match="no cluster named 'blue'"):
            question("blue")


def test_an_existing_cluster_is_attached_by_its_kubeconfig(api, kubeconfig):
    api.answers["/apis/lab.k8slab.dev/v1/cluster"] = (200, {"capabilities": ["probe", "nodes"]})
    handle = clusters.attach(kubeconfig=kubeconfig, context="lab")
    assert handle.capabilities == {"probe", "nodes"}
    assert handle.provider == "existing"


def test_a_cluster_without_our_api_group_has_no_capability(kubeconfig):
    handle = clusters.attach(kubeconfig=kubeconfig)
    assert handle.capabilities == frozenset()


def test_an_existing_cluster_gets_a_name_and_is_only_forgotten(api, kubeconfig):
    api.answers["/version"] = (200, {"gitVersion": "v1.36.1"})
    api.put("/api/v1/nodes/a", {"metadata": {"name": "a"}})
    wanted = Wanted(kubeconfig=kubeconfig)
    for _ in range(2):
        clusters.up("team", provider="existing", wanted=wanted)
    clusters.up("team")
    found = clusters.status("team")
    assert (found.state, found.nodes, found.versions) == (
        "running",
        ["a"],
        {"kubernetes": "v1.36.1"},
    )
    assert clusters.attach("team").context == "lab"
    clusters.down("team")
    clusters.delete("team")
    assert clusters.names() == []
    assert all(request[0] == "GET" for request in api.requests)


def test_an_existing_cluster_cannot_be_asked_for_nodes(kubeconfig):
    with pytest.raises(UsageError, match="as it is"):
        clusters.up("team", provider="existing", wanted=Wanted(kubeconfig=kubeconfig, nodes=2))
    assert clusters.names() == []


def test_a_cluster_that_does_not_answer_is_broken_and_not_attached(api, kubeconfig):
    record = {"provider": "existing", "kubeconfig": str(kubeconfig), "context": "lab"}
    records.write("team", record)
    api.close()
    found = clusters.status("team")
    assert found.state == "broken"
    assert "does not answer" in found.detail
    with pytest.raises(ClusterNotReadyError, match="the cluster team is broken"):
        clusters.attach("team")


def test_a_name_belongs_to_the_provider_that_took_it(kubeconfig):
    record = {"provider": "existing", "kubeconfig": str(kubeconfig), "context": "lab"}
    records.write("team", record)
    with pytest.raises(UsageError, match="made with the provider existing, not kind"):
        clusters.up("team", provider="kind")


def test_a_provider_that_does_not_exist_is_refused():
    with pytest.raises(UsageError, match="there is no provider 'cloud'"):
        clusters.up("team", provider="cloud")


def test_a_cluster_without_names_is_not_called_ready(monkeypatch, tmp_path):
    """`up` promises that names resolve; a start without them says where to look."""
    monkeypatch.setenv("K8SLAB_HOME", str(tmp_path))
    started = supervisor.Started(pid=1, seconds=0.1, already_running=False, ready={"dns": False})
    monkeypatch.setattr(supervisor, "start", lambda *_args, **_options: started)
    with pytest.raises(ClusterNotReadyError, match="names do not resolve") as caught:
        clusters.up("lab", provider="embedded")
    assert "kubectl -n kube-system" in str(caught.value)
