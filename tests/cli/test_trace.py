"""`k8slab trace` on a real cluster: table, JSON, picture, capture and exit codes."""

import json
import os
import shutil
from types import SimpleNamespace

import pytest

from k8slab.cli import sources
from k8slab.graphs.journey import JourneyGraph
from k8slab.objects import manifests
from k8slab.probes import Outcome

PODS = """
{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {terminationGracePeriodSeconds: 0,
 containers: [{name: a, image: k8slab/app}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: db}, spec: {terminationGracePeriodSeconds: 0,
 containers: [{name: a, image: k8slab/app, ports: [{containerPort: 8080, name: http}],
  readinessProbe: {httpGet: {path: /ready, port: 8080}, periodSeconds: 1}}]}}
"""


@pytest.fixture
def pods(cluster, namespace, monkeypatch):
    cluster.apply(manifests.load(PODS), namespace=namespace)
    cluster.wait("pods", "", namespace, until="ready")
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    return f"{namespace}/web", f"{namespace}/db"


def test_an_open_flow_is_shown_hop_by_hop(k8slab, pods):
    ran = k8slab("trace", *pods, "http")
    assert ran.code == 0, ran.err
    assert ran.out.startswith(f"+ {pods[0]} -> {pods[1]} port http/TCP: open")
    assert "WHERE" in ran.out
    assert "predicted by policies: allow" in ran.out


def test_a_refused_one_has_exit_code_1_and_is_json_for_programs(k8slab, pods):
    ran = k8slab("trace", *pods, "9", "--json", "--no-predict")
    assert ran.code == 1
    found = json.loads(ran.out)
    assert (found["outcome"], found["lost"], found["predicted"]) == ("refused", None, None)
    assert "no program listens on port 9" in [step["text"] for step in found["steps"]]


def test_an_error_is_no_lost_packet(k8slab, pods, namespace):
    ran = k8slab("trace", pods[0], f"{namespace}/deployment/none", "80")
    assert ran.code == 4, ran.err
    ran = k8slab("trace", *pods, "9", "--from-port", "8080")
    assert (ran.code, ran.out) == (4, ""), ran.err
    ran = k8slab("trace", *pods, "80", "--name", "nobodys")
    assert ran.code == 4, ran.err


def test_a_name_that_nobody_has_is_named_once(k8slab, pods):
    ran = k8slab("trace", pods[0], "name:nowhere", "80")
    assert (ran.code, ran.err) == (4, "error: nowhere: NXDOMAIN\n")


def test_a_probe_that_did_not_work_is_no_lost_packet(k8slab, monkeypatch):
    found = SimpleNamespace(text=lambda: "the journey", outcome=Outcome.FAILED)
    monkeypatch.setattr(sources, "attach", lambda _name: None)
    monkeypatch.setattr("k8slab.probes.journey.journey", lambda *_, **__: found)
    assert k8slab("trace", "a/a", "a/b", "80").code == 4


@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")
def test_picture_and_capture_are_files(k8slab, pods, tmp_path):
    capture, picture = tmp_path / "a.pcapng", tmp_path / "a.svg"
    ran = k8slab("trace", *pods, "8080", "--pcap", str(capture), "--out", str(picture))
    assert ran.code == 0, ran.err
    assert capture.read_bytes().startswith(b"\x0a\x0d\x0d\x0a")
    assert "<svg" in picture.read_text()


def test_a_form_that_nobody_draws_is_refused_before_anything_is_sent(k8slab):
    ran = k8slab("trace", "a", "b", "80", "--out", "a.jpeg")
    assert ran.code == 2
    assert "there is no form 'jpeg'" in ran.err


@pytest.mark.parametrize("option", ["--pcap", "--out"])
def test_a_file_that_cannot_be_written_is_said_after_the_journey(
    k8slab, monkeypatch, tmp_path, option
):
    found = SimpleNamespace(
        text=lambda: "the journey", pcapng=lambda: b"packets", frames=(), outcome=None
    )
    monkeypatch.setattr(sources, "attach", lambda _name: None)
    monkeypatch.setattr("k8slab.probes.journey.journey", lambda *_, **__: found)
    monkeypatch.setattr(JourneyGraph, "__init__", lambda *_: None)
    monkeypatch.setattr(JourneyGraph, "file", lambda *_: b"<svg/>")
    full = tmp_path / "full.svg"
    full.symlink_to("/dev/full")
    ran = k8slab("trace", "a/a", "a/b", "80", option, str(full))
    assert (ran.code, ran.out) == (3, "the journey\n")
    assert f"{full} cannot be written" in ran.err


@pytest.mark.parametrize(("option", "place"), [("--pcap", "-"), ("--out", "none/a.svg")])
def test_a_place_that_can_be_no_file_is_said_before(k8slab, tmp_path, monkeypatch, option, place):
    monkeypatch.chdir(tmp_path)
    ran = k8slab("trace", "a/a", "a/b", "80", option, place)
    assert ran.code == 2
    assert f"{place}" in ran.err
    assert [*tmp_path.iterdir()] == []


def test_completion_offers_who_can_send_and_be_sent_to(process, pods):
    environment = {
        **os.environ,
        "_K8SLAB_COMPLETE": "bash_complete",
        "COMP_WORDS": f"k8slab trace {pods[0]} {pods[1][:-1]}",
        "COMP_CWORD": "3",
    }
    assert process(env=environment).stdout == f"plain,{pods[1]}\n"


def test_a_packet_is_sent_from_a_port_of_its_own_and_with_a_size(k8slab, pods):
    ran = k8slab("trace", *pods, "9/UDP", "--from-port", "5060", "--bytes", "1400", "--json")
    sent = json.loads(ran.out)["steps"][1]["packet"]
    assert ":5060 > " in sent
    assert sent.endswith("UDP, 1428 bytes")


def test_a_size_is_for_datagrams_and_a_port_for_who_can_have_it(k8slab, pods):
    ran = k8slab("trace", *pods, "8080", "--bytes", "1400")
    assert ran.code == 2
    assert "only datagrams can have a size" in ran.err
    assert "PORT/UDP" in ran.err
    ran = k8slab("trace", *pods, "9", "--from-port", "8080")
    assert "port 8080 of the source: Address already in use" in ran.err
    assert k8slab("trace", *pods, "9", "--from-port", "0").code == 2
