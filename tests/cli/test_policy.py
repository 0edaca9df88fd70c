import json
import re
import shutil
import sys

import pytest
import yaml

SHOP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: a, image: x, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {containers: [{name: a, image: x, ports: [{containerPort: 5432}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: http, nodePort: 30080}]}
"""
POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: db}}}]
    ports: [{port: 8080}]
"""
needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")


@pytest.fixture
def shop(tmp_path):
    """A directory with a shop in two files, one of them in a directory of its own."""
    (tmp_path / "shop.yaml").write_text(SHOP)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "web.yaml").write_text(POLICY)
    return tmp_path


@pytest.mark.parametrize(
    ("flow", "code", "word"),
    [
        (("shop/db", "shop/deployment/web", "8080"), 0, "allow"),
        (("shop/db", "shop/deployment/web", "8080/UDP"), 1, "deny"),
        (("shop/db", "svc:shop/web", "80"), 0, "allow"),
        (("ip:203.0.113.9", "shop/deployment/web", "http"), 1, "deny"),
    ],
)
def test_a_flow_is_decided_and_the_exit_code_says_how(k8slab, shop, flow, code, word):
    ran = k8slab("policy", "decide", *flow, "-f", str(shop))
    assert ran.code == code
    assert ran.out.startswith(f"{word}: ")
    assert "ingress of shop/deployment/web" in ran.out


def test_the_explanation_names_the_policy_and_the_first_mismatch(k8slab, shop):
    ran = k8slab("policy", "explain", "shop/db", "shop/deployment/web", "9", "-f", str(shop))
    assert ran.code == 1
    assert "shop/web spec.ingress[0]: port 9 is not 8080" in ran.out
    told = json.loads(
        k8slab("policy", "explain", "shop/db", "shop/db", "9", "-f", str(shop), "--json").out
    )
    assert told["verdict"] == "allow"
    assert told["walk"]


def test_flows_are_decided_line_by_line_and_a_bad_line_is_reported_by_number(
    k8slab, shop, tmp_path
):
    lines = [
        '{"from": "shop/db", "to": "shop/deployment/web", "port": 8080}',
        "",
        "nonsense",
        '{"from": "shop/db", "to": "shop/nobody", "port": 1}',
        '{"from": "shop/db", "port": 1}',
        '{"from": "shop/db", "to": "shop/db", "port": true}',
        '{"from": "shop/db", "to": "shop/deployment/web", "port": "http", "protocol": "udp"}',
    ]
    file = tmp_path / "flows.jsonl"
    file.write_text("\n".join(lines))
    ran = k8slab("policy", "decide", "-f", str(shop), "--flows", str(file), "--json")
    assert ran.code == 2
    found = [json.loads(line) for line in ran.out.splitlines()]
    assert [each.get("verdict") for each in found] == ["allow", None, None, None, None, None]
    assert [each["line"] for each in found[1:]] == [3, 4, 5, 6, 7]
    assert re.findall(r"^line (\d+): ", ran.err, re.MULTILINE) == ["3", "4", "5", "6", "7"]


def test_a_verdict_as_json_has_its_reasons_as_data(k8slab, shop):
    ran = k8slab(
        "policy", "decide", "ip:1.2.3.4", "shop/deployment/web", "80", "-f", str(shop), "--json"
    )
    found = json.loads(ran.out)
    (ingress,) = [r for r in found["reasons"] if r["direction"] == "ingress"]
    assert ingress["action"] == "deny"
    assert ingress["misses"][0]["policy"] == "shop/web"


def test_several_files_follow_one_option_as_a_shell_writes_them(k8slab, shop):
    files = [str(shop / "shop.yaml"), str(shop / "policies" / "web.yaml")]
    ran = k8slab("policy", "decide", "--manifests", *files, "shop/db", "shop/deployment/web", "1")
    assert (ran.code, ran.out[:4]) == (1, "deny")


def test_manifests_come_from_standard_input_too(process):
    ran = process("policy", "connections", "-f", "-", "--json", input=f"{SHOP}---{POLICY}")
    row = next(r for r in json.loads(ran.stdout) if r["to"] == "shop/deployment/web")
    assert (row["from"], row["ports"]) == ("shop/db", "TCP 8080")


@pytest.mark.parametrize(
    "argv", [[], ["a", "b"], ["a", "b", "1", "--flows", "x"], ["a", "b", "-1"]]
)
def test_wrong_flows_are_wrong_usage(k8slab, shop, argv):
    assert k8slab("policy", "decide", "-f", str(shop), *argv).code == 2


def test_connections_come_in_every_form(k8slab, shop):
    ran = {
        form: k8slab("policy", "connections", "-f", str(shop), "-o", form).out
        for form in ("table", "csv", "md", "json", "dot")
    }
    assert re.search(r"^shop/db +shop/deployment/web +TCP 8080$", ran["table"], re.MULTILINE)
    assert "shop/db,shop/deployment/web,TCP 8080\r\n" in ran["csv"]
    assert "| shop/db | shop/deployment/web | TCP 8080 |" in ran["md"]
    assert ran["dot"].startswith("digraph")
    rows = json.loads(ran["json"])
    assert len(rows) == len(ran["table"].splitlines()) - 1
    assert not [row for row in rows if row["from"] == "0.0.0.0/0" and "web" in row["to"]]
    (row,) = [row for row in rows if row["to"] == "shop/deployment/web"]
    assert row["port_ranges"] == [{"protocol": "TCP", "first": 8080, "last": 8080}]
    (row,) = [row for row in rows if row["from"] == "0.0.0.0/0"]
    assert row["from_ranges"] == [{"first": "0.0.0.0", "last": "255.255.255.255"}]


def test_the_focus_leaves_the_connections_of_one_workload(k8slab, shop):
    ran = k8slab(
        "policy", "connections", "-f", str(shop), "--focus", "shop/deployment/web", "--json"
    )
    assert all("shop/deployment/web" in (r["from"], r["to"]) for r in json.loads(ran.out))


def test_the_exposure_follows_ways_in_and_pods_that_do_not_exist(k8slab, shop):
    ran = k8slab("policy", "connections", "-f", str(shop), "--exposure", "--json")
    found = json.loads(ran.out)
    assert found["ways_in"] == [
        {
            "via": "NodePort 30080 on every node",
            "to": "svc:shop/web",
            "port": "80",
            "workloads": ["shop/deployment/web"],
            "ports": "TCP 8080",
            "admitted": ["shop/db"],
        }
    ]
    assert {
        "from": "any pod of any namespace", "to": "shop/db", "ports": "all"
    } in found["open_beyond_what_exists"]  # fmt: skip


def test_a_difference_names_the_policy_that_made_it_once(k8slab, shop, tmp_path):
    new = tmp_path / "new.yaml"
    new.write_text(f"{SHOP}---{POLICY.replace('8080', '9090')}")
    ran = k8slab("policy", "diff", str(shop / "policies"), str(new), "--json")
    assert ran.code == 1
    ran = k8slab("policy", "diff", str(shop), str(shop), "--json")
    assert (ran.code, json.loads(ran.out)) == (0, [])
    old = tmp_path / "old.yaml"
    old.write_text(f"{SHOP}---{POLICY}")
    (change,) = json.loads(k8slab("policy", "diff", str(old), str(new), "--json").out)
    assert change == {
        "change": "changed",
        "from": "shop/db",
        "to": "shop/deployment/web",
        "before": "TCP 8080",
        "after": "TCP 9090",
        "because_of": ["NetworkPolicy shop/web"],
    }


def test_policies_alone_are_compared_with_the_workloads_that_both_states_have(
    k8slab, shop, tmp_path
):
    old, new = shop / "policies" / "web.yaml", tmp_path / "new.yaml"
    new.write_text(POLICY.replace("8080", "9090"))
    ran = k8slab("policy", "diff", str(old), str(new))
    assert (ran.code, ran.out) == (2, "")
    assert "there is no pod and no workload in either state" in ran.err
    ran = k8slab("policy", "diff", "-f", str(shop / "shop.yaml"), str(old), str(new), "-o", "md")
    assert ran.code == 1
    assert "| changed | shop/db | shop/deployment/web | TCP 8080 | TCP 9090 |" in ran.out


def test_a_live_cluster_is_compared_with_the_manifests_of_its_workloads(k8slab, shop, monkeypatch):
    """Pods of the cluster have names of their own, and the server fills policies in."""
    from k8slab.cli import sources  # noqa: PLC0415

    objects = list(yaml.safe_load_all(f"{SHOP}---{POLICY}"))
    deployment, policy = objects[0], objects[-1]
    policy["spec"]["ingress"][0]["ports"][0]["protocol"] = "TCP"
    owner = {"kind": "ReplicaSet", "name": "web-7f", "controller": True}
    labels = {"app": "web", "pod-template-hash": "7f"}
    for number in range(2):
        metadata = {"name": f"web-7f-{number}", "namespace": "shop", "labels": labels}
        objects.append(
            {
                **deployment["spec"]["template"],
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {**metadata, "ownerReferences": [owner]},
                "status": {"podIP": f"10.244.0.{number + 7}"},
            }
        )
    gather = sources.gather
    monkeypatch.setattr(
        sources, "gather", lambda paths, name="": gather(paths, name) if paths else objects
    )
    ran = k8slab("policy", "diff", str(shop))
    assert (ran.code, ran.out, ran.err) == (0, "", "no connection changes\n")
    policy["spec"]["ingress"][0]["ports"][0]["port"] = 9
    (change,) = json.loads(k8slab("policy", "diff", str(shop), "--json").out)
    assert (change["to"], change["after"]) == ("shop/deployment/web", "TCP 9")


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("policy decide -f {} shop/d", {"shop/db", "shop/deployment/web"}),
        ("policy decide -f {} shop/db svc", {"svc:shop/web"}),
        ("policy connections -f {} --focus shop/db", {"shop/db"}),
        ("policy audit -f {} --rules pci", {"pci-dss-v4"}),
        ("policy decide -f /no/such/file shop", set()),
        ("policy explain -f {} shop/db svc", {"svc:shop/web"}),
        ("policy explain -f {} shop/db shop/db sh", set()),
        ("policy decide -f {} shop/db shop/db sh", set()),
        ("trace shop/db shop/db sh", set()),
        ("graph policy -f {} -n sh", {"shop"}),
    ],
)
def test_completion_offers_who_is_in_the_manifests(
    k8slab, shop, monkeypatch, capsys, words, wanted
):
    typed = ["k8slab", *words.format(shop).split()]
    monkeypatch.setenv("_K8SLAB_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", " ".join(typed))
    monkeypatch.setenv("COMP_CWORD", str(len(typed) - 1))
    with pytest.raises(SystemExit):
        k8slab()
    found = [line.split(",", 1) for line in capsys.readouterr().out.split()]
    assert {value for kind, value in found if kind == "plain"} == wanted


def test_suggested_policies_admit_the_flows_and_pass_their_own_audit(k8slab, tmp_path):
    (tmp_path / "shop.yaml").write_text(SHOP)
    flows = tmp_path / "flows.jsonl"
    flows.write_text('{"from": "shop/db", "to": "svc:shop/web", "port": 80}\n')
    ran = k8slab("policy", "suggest", "--from", str(flows), "-f", str(tmp_path / "shop.yaml"))
    assert (ran.code, ran.err) == (0, "")
    assert {p["kind"] for p in yaml.safe_load_all(ran.out)} == {"NetworkPolicy"}
    (tmp_path / "made.yaml").write_text(ran.out)
    argv = ["shop/db", "shop/deployment/web", "-f", str(tmp_path)]
    assert k8slab("policy", "decide", *argv, "8080").code == 0
    assert k8slab("policy", "decide", *argv, "8081").code == 1
    ran = k8slab("policy", "audit", str(tmp_path), "--json")
    assert (ran.code, json.loads(ran.out)["findings"]) == (0, [])


def test_a_flow_that_cannot_be_read_is_named_with_its_line(k8slab, shop, tmp_path):
    flows = tmp_path / "flows.jsonl"
    flows.write_text("\n{}\n")
    ran = k8slab("policy", "suggest", "--from", str(flows), "-f", str(shop))
    assert ran.code == 2
    assert f"{flows}:2: the flow has no from" in ran.err


@pytest.mark.parametrize(
    ("least", "code"), [("note", 1), ("warning", 1), ("error", 0), ("never", 0)]
)
def test_the_severity_that_fails_an_audit_can_be_chosen(k8slab, shop, least, code):
    ran = k8slab("policy", "audit", "-f", str(shop), "--fail-on", least)
    assert ran.code == code
    assert "no-default-deny" in ran.out


def test_an_audit_is_written_as_html_and_sarif(k8slab, shop, tmp_path):
    for form, start in (("html", "<!doctype html>"), ("sarif", "{")):
        out = tmp_path / f"report.{form}"
        ran = k8slab("policy", "audit", "-f", str(shop), "-o", form, "--out", str(out))
        assert (ran.code, ran.out) == (1, "")
        assert out.read_text().startswith(start)
        assert "written to" in ran.err


def test_a_lint_prints_lines_as_compilers_do_and_goes_on_after_a_broken_file(
    k8slab, shop, tmp_path
):
    (tmp_path / "bad.yaml").write_text("a: b: c\n")
    (tmp_path / "odd.yaml").write_text(POLICY + "  policyTypes: [Egress]\n")
    ran = k8slab("policy", "lint", str(tmp_path / "bad.yaml"), str(tmp_path / "odd.yaml"))
    assert ran.code == 2
    first, second = ran.out.splitlines()
    assert first.startswith(f"{tmp_path}/bad.yaml:1: error: mapping values are not allowed")
    assert first.endswith("quote text that contains ': ') [unreadable]")
    assert second.startswith(f"{tmp_path}/odd.yaml:7: warning: NetworkPolicy shop/web spec.ingress")
    assert k8slab("policy", "lint", str(shop / "policies")).code == 0
    assert k8slab("policy", "lint").code == 2


def test_a_lint_imports_neither_the_engine_nor_the_network():
    import subprocess  # noqa: PLC0415

    code = (
        "import sys\nfrom k8slab.cli.main import run\n"
        "run(['policy', 'lint', '-'])\n"
        "print([m for m in ('k8slab.policy.estate', 'asyncio', 'kubernetes', 'k8slab.clusters')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=POLICY, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_what_cannot_be_read_is_a_finding_for_programs_too(k8slab, tmp_path):
    (tmp_path / "a.yaml").write_text("kind: {{ .Values.kind }}\n")
    (fault,) = json.loads(k8slab("policy", "lint", str(tmp_path), "--json").out)
    assert (
        fault.pop("remedy") == "this looks like a template: read what `helm template` makes of it"
    )
    assert fault == {
        "check": "unreadable",
        "severity": "error",
        "message": "a key must be text",
        "place": f"{tmp_path}/a.yaml:1",
    }


@pytest.mark.parametrize(
    "argv",
    [
        ["policy", "decide", "--flows", "no/such.jsonl"],
        ["policy", "suggest", "--from", "no/such.jsonl"],
        ["policy", "audit", "--out", "no/such/report.html"],
        ["policy", "audit", "--rules", "no/such.yaml"],
        ["graph", "policy", "-o", "dot", "--out", "no/such/graph.dot"],
    ],
    ids=lambda argv: " ".join(argv[1:3]),
)
def test_a_path_that_cannot_be_is_wrong_usage_and_no_traceback(k8slab, shop, argv):
    ran = k8slab(*argv, "-f", str(shop))
    assert ran.code == 2
    assert "no/such" in ran.err
    assert "o such file or directory" in ran.err or "there is no directory no/such" in ran.err


def test_a_name_that_nobody_has_is_answered_with_who_may_be_meant(k8slab, shop):
    def hint(*flow):
        return k8slab("policy", "decide", *flow, "80", "-f", str(shop)).err.splitlines()[1].strip()

    assert hint("shop/web", "shop/db") == "is one of these meant: shop/deployment/web?"
    assert hint("shop/dbs", "shop/db") == "is one of these meant: shop/db?"
    assert hint("shop/db", "svc:shop/wbe") == "is one of these meant: svc:shop/web?"
    assert "no node is among" in hint("node:n1", "shop/db")
    assert "ask about ip:ADDRESS" in hint("shop/db", "name:example.com")
    assert hint("shop/db", "far/nobody") == "is the name right?"


def test_the_explanation_tells_what_a_service_becomes_and_what_the_rule_says(k8slab, shop):
    told = k8slab("policy", "explain", "shop/db", "svc:shop/web", "80", "-f", str(shop)).out
    assert told.splitlines()[1:] == [
        "  svc:shop/web port 80 is port 8080 of shop/deployment/web: that is what policies see",
        "  egress of shop/db: allow, no policy selects it for egress",
        "  ingress of shop/deployment/web: allow, a rule of shop/web admits it",
        "    shop/web spec.ingress[0]: from pods app=db of namespace shop, TCP 8080",
    ]
    told = k8slab("policy", "explain", "shop/db", "shop/deployment/web", "http", "-f", str(shop))
    assert "port http is 8080 on shop/deployment/web" in told.out


def test_a_manifest_that_cannot_be_read_is_wrong_usage_with_its_place(k8slab, tmp_path):
    (tmp_path / "a.yaml").write_text("kind: Pod\n")
    ran = k8slab("policy", "connections", "-f", str(tmp_path))
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"error: {tmp_path}/a.yaml:1: the object has no apiVersion\n"


def test_a_live_cluster_is_read_through_its_api(k8slab, monkeypatch):
    from k8slab.cli import sources  # noqa: PLC0415
    from k8slab.objects import manifests  # noqa: PLC0415

    by_path = {
        "/apis": {"groups": [{"versions": [{"groupVersion": "networking.k8s.io/v1"}]}]},
        "/apis/networking.k8s.io/v1": {"resources": [{"name": "networkpolicies"}]},
    }
    for manifest in manifests.load_text(f"{SHOP}---{POLICY}"):
        obj = manifest.object
        plural = {"Pod": "pods", "Service": "services", "NetworkPolicy": "networkpolicies"}
        if obj["kind"] in plural:
            root = "/api/v1" if obj["apiVersion"] == "v1" else f"/apis/{obj['apiVersion']}"
            listed = {"apiVersion": obj["apiVersion"], "kind": f"{obj['kind']}List"}
            by_path[f"{root}/{plural[obj['kind']]}"] = {**listed, "items": [obj]}
    empty = {"apiVersion": "v1", "kind": "NodeList", "items": None}

    class Cluster:
        name = "fake"

        def request(self, method, path):
            return by_path.get(path, empty)

    monkeypatch.setattr(sources, "attach", lambda name: Cluster())
    ran = k8slab("policy", "decide", "ip:1.2.3.4", "shop/db", "80")
    assert (ran.code, ran.out.splitlines()[0]) == (0, "allow: ip:1.2.3.4 -> shop/db port 80/TCP")
    ran = k8slab("policy", "audit", "--json")
    assert {f["check"] for f in json.loads(ran.out)["findings"]} >= {"no-policy"}


@needs_dot
@pytest.mark.parametrize("what", ["policy", "matrix", "topology"])
def test_pictures_are_drawn_in_every_form(k8slab, shop, tmp_path, what):
    ran = k8slab("graph", what, "-f", str(shop))
    assert ran.out.startswith('<svg role="img"')
    assert k8slab("graph", what, "-f", str(shop), "-o", "dot").out.startswith("digraph")
    assert json.loads(k8slab("graph", what, "-f", str(shop), "--json").out)
    for form, magic in (("png", b"\x89PNG"), ("pdf", b"%PDF")):
        out = tmp_path / f"g.{form}"
        assert k8slab("graph", what, "-f", str(shop), "--out", str(out)).code == 0
        assert out.read_bytes().startswith(magic)


@needs_dot
def test_the_difference_is_drawn_with_marks(k8slab, shop, tmp_path):
    old = tmp_path / "old.yaml"
    old.write_text(SHOP)
    ran = k8slab("graph", "diff", str(old), str(shop), "-o", "dot")
    assert "- all" in ran.out
    assert "style=dashed, arrowhead=tee" in ran.out


def test_an_unknown_form_is_wrong_usage(k8slab, shop):
    ran = k8slab("graph", "policy", "-f", str(shop), "--out", "graph.gif")
    assert ran.code == 2
    assert "there is no form 'gif'" in ran.err
