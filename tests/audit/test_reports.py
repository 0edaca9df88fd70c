import datetime as dt
import json
from html.parser import HTMLParser

import fastjsonschema
import pytest
import sarif_shape
from audit_kit import CLOSED, SHOP, policy

from k8slab import audit
from k8slab.audit import rulefile
from k8slab.audit.catalogue import CHECKS
from k8slab.audit.finding import steps
from k8slab.audit.report import html, sarif, text
from k8slab.errors import ManifestError
from k8slab.objects import manifests

TODAY = dt.date(2026, 11, 21)
valid = fastjsonschema.compile(sarif_shape.LOG)
RULES = """
title: Cards
annotations:
- {key: cards/owner, namespaces: team=shop, requirement: C 1, matches: '\\S+@\\S+'}
- {key: cards/reviewed, namespaces: team=shop, severity: error, max_age_days: 100}
- {key: elsewhere, namespaces: team=other}
suppressions:
- {check: no-default-deny, subject: Namespace sh*, reason: next week, until: 2026-12-01}
- {check: no-policy, subject: Namespace shop, reason: it was due, until: 2026-11-20}
- {check: '*', subject: Namespace none, reason: typo, until: 2027-01-01}
"""


@pytest.fixture
def rules(tmp_path):
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    return rulefile.load(str(file))


def run(*texts, rules=None):
    return audit.audit(manifests.load_text("".join(texts), "dir a/b.yaml"), rules, today=TODAY)


def test_suppressions_hide_until_their_date_and_are_findings_afterwards(rules):
    report = run(SHOP, rules=rules)
    assert [f.check.name for f, _ in report.suppressed] == ["no-default-deny"]
    found = {f.check.name: f for f in report.findings}
    assert "no-policy" in found
    assert "until 2026-11-20: it was due" in found["suppression-expired"].message
    assert "Namespace none" in found["suppression-unused"].message


def test_annotations_are_listed_and_missing_wrong_and_old_ones_found(rules):
    annotated = "name: web, namespace: shop"
    written = "annotations: {cards/owner: nobody, cards/reviewed: 2026-01-01}"
    report = run(SHOP, CLOSED.replace(annotated, f"{annotated}, {written}"), rules=rules)
    found = {(f.check.name, f.subject): f for f in report.findings}
    web = "NetworkPolicy shop/web"
    assert "is not like" in found["annotation-wrong", web].message
    assert found["annotation-wrong", web].place.startswith("dir a/b.yaml:")
    assert "324 days ago" in found["annotation-old", web].message
    assert found["annotation-old", web].severity is audit.Severity.ERROR
    assert ("annotation-missing", "NetworkPolicy shop/dns") in found
    assert len(report.annotations) == 6
    assert "cards/owner = nobody" in text.text(report)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("- {check: no-polcy, subject: a, reason: b, until: 2027-01-01}", "no check 'no-polcy'"),
        ("- {check: no-policy, subject: a, reason: b, until: soon}", "'soon' is not a date"),
        ("- {check: no-policy, subject: a, until: 2027-01-01}", "reason is missing"),
        ("- {check: no-policy, subjekt: a}", "unknown field subjekt"),
        ("- text", "a mapping is needed"),
    ],
)
def test_a_fault_in_a_rule_file_is_said_with_its_place(tmp_path, line, words):
    file = tmp_path / "r.yaml"
    file.write_text(f"suppressions:\n{line}\n")
    with pytest.raises(ManifestError, match=words) as raised:
        rulefile.load(str(file))
    assert raised.value.place == str(file)
    assert "suppressions[0]" in str(raised.value)


def test_no_file_of_the_current_directory_takes_the_place_of_a_shipped_one(tmp_path, monkeypatch):
    (tmp_path / "pci-dss-v4").write_text("title: nothing is asked for")
    monkeypatch.chdir(tmp_path)
    assert rulefile.load("pci-dss-v4").annotations
    assert rulefile.load("./pci-dss-v4").title == "nothing is asked for"


def test_the_shipped_rule_file_is_found_by_its_name_and_asks_for_a_review():
    found = rulefile.load("pci-dss-v4")
    assert {a.max_age_days for a in found.annotations} == {0, 183}
    with pytest.raises(ManifestError, match="pci-dss-v4"):
        rulefile.load("pci-dss-v9")


def test_sarif_names_rules_places_levels_and_suppressions(rules):
    log = json.loads(json.dumps(sarif.sarif(run(SHOP, rules=rules))))
    assert log["version"] == "2.1.0"
    (only,) = log["runs"]
    names = [rule["id"] for rule in only["tool"]["driver"]["rules"]]
    assert names == list(CHECKS)
    for result in only["results"]:
        assert names[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note")
        assert result["message"]["text"]
    by_rule = {result["ruleId"]: result for result in only["results"]}
    place = by_rule["no-policy"]["locations"][0]["physicalLocation"]
    assert place == {
        "artifactLocation": {"uri": "dir%20a/b.yaml"},
        "region": {"startLine": 2},
    }
    assert by_rule["no-default-deny"]["suppressions"] == [
        {"kind": "external", "justification": "next week (until 2026-12-01)"}
    ]
    prints = [result["partialFingerprints"]["k8slab/v1"] for result in only["results"]]
    assert len(set(prints)) == len(prints)


def test_sarif_has_the_shape_that_the_standard_gives(rules):
    spec = "podSelector: {matchLabels: {app: web}}\ningress: [{ports: [{port: 80}]}]"
    log = sarif.sarif(run(SHOP, policy(spec), rules=rules))
    assert log["runs"][0]["results"]
    valid(json.loads(json.dumps(log)))
    for result in log["runs"][0]["results"]:
        told = result["message"]["text"]
        assert told.rpartition(". ")[2][0].isupper(), told
        assert told.endswith("."), told


def test_sarif_of_a_live_cluster_has_no_file_and_that_of_a_text_has_its_name():
    objects = [manifest.object for manifest in manifests.load_text(SHOP, "x")]
    log = sarif.sarif(audit.audit(objects, today=TODAY))
    valid(log)
    assert not [r for r in log["runs"][0]["results"] if "physicalLocation" in r["locations"][0]]
    log = sarif.sarif(audit.audit(manifests.load_text(SHOP, "standard input"), today=TODAY))
    valid(log)


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.words, self.tags = [], [], set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_html_page_is_well_formed_escaped_and_without_scripts(rules):
    spec = "podSelector: {matchLabels: {app: web}}\ningress: [{ports: [{port: 80}]}]"
    report = run(SHOP, policy(spec), "\n---\n", '{apiVersion: v1, kind: "<b>"}', rules=rules)
    reader = Reader()
    reader.feed(html.html(report))
    assert reader.open == []
    assert not {"script", "link", "img", "b"} & reader.tags
    told = " ".join(reader.words)
    assert "write port 8080" in told
    assert "next week" in told


def test_text_gives_place_reason_and_remedy_and_json_the_same_values(rules):
    report = run(SHOP, rules=rules)
    told = text.text(report)
    assert "dir a/b.yaml:2: Namespace shop: no policy selects" in told
    assert "  do:  " in told
    assert told.endswith(report.summary)
    values = text.to_json(report)
    assert len(values["findings"]) == len(report.findings)
    assert values["suppressed"][0]["until"] == "2026-12-01"


def test_paths_of_fields_are_split_into_steps():
    assert steps('metadata.annotations["a.b/c"].x[2]') == (
        "metadata", "annotations", "a.b/c", "x", 2
    )  # fmt: skip
    assert steps("") == ()


def test_every_check_explains_itself():
    for check in CHECKS.values():
        assert check.title[0].isupper()
        assert check.why.endswith(".")
        assert check.remedy.endswith(".")
