"""What silences a symptom and is no repair: it opens too much, or asks less. It mends nothing."""

import pytest
from challenges_kit import seed_of, variants

from k8slab.challenges import Choice, actions, catalogue, start
from k8slab.challenges.paths import changed
from k8slab.course.journal import Journal
from k8slab.course.names import fill
from k8slab.course.sealing import unseal
from k8slab.grading.watched import pattern_of

CONTAINER = "spec.template.spec.containers[0]"
PROBE = f"{CONTAINER}.readinessProbe"
ANOTHER = {"spec.selector.app": "<<other>>", "spec.ports[0].targetPort": 8080}

FALSE = {
    "another program answers for it": ("F01", ANOTHER),
    "who is not ready gets requests": ("F02", {PROBE: None}),
    "a probe that always says yes": ("F02", {PROBE: {"exec": {"command": ["true"]}}}),
    "another program answers, too": ("F03", ANOTHER),
    "any certificate will do": ("F07", {f"{PROBE}.exec.command[2]": 'curl -k "$PARTNER"'}),
    "anybody is asked": ("F07", {f"{CONTAINER}.env[0].value": "https://example.com/"}),
    "nobody is asked": ("F07", {f"{PROBE}.exec.command[2]": "true # PARTNER"}),
    "another server is asked": ("F10", {f"{CONTAINER}.env[1].value": "http://example.com/"}),
    "it leaves its node's network": (
        "F10",
        {
            "spec.template.spec.hostNetwork": None,
            f"{CONTAINER}.env[1].value": "http://<<server>>:<<service-port>>/",
        },
    ),
    "answers are not counted": ("F12", {f"{PROBE}.exec.command[2]": "test -e /tmp/answers"}),
    "answers are made up": (
        "F12",
        {
            f"{CONTAINER}.command": ["sh", "-c"],
            f"{CONTAINER}.args": ["while date +%N >>/tmp/answers; do sleep 0.1; done"],
        },
    ),
    "no name is looked up": ("F29", {f"{PROBE}.exec.command[2]": "true find.py"}),
    "port 53 of everybody": ("F32", {"spec.egress[1].to": None}),
    "every port of the server": ("F32", {"spec.egress[0].ports": None}),
    "port 53 of everybody, too": ("F33", {"spec.egress[2].to": None}),
    "every namespace": ("F34", {"spec.ingress[1].from[0].namespaceSelector": {}}),
    "the client's labels, wherever": (
        "F35",
        {"spec.ingress[0].from[0].namespaceSelector": {}},
    ),
    "every port": ("F35", {"spec.ingress[0].ports": None}),
    "everybody": ("F36", {"spec.ingress[1].from": None}),
}
"""Of the object as it should be, the fields that are otherwise."""


def begun(cluster, tmp_path, fault, seed=100):
    journal = Journal(tmp_path / "journal.sqlite")
    challenge = start(cluster, Choice(fault=fault, seed=seed), journal=journal)
    return challenge, unseal(challenge.begun.data["sealed"], "the journal")["words"]


@pytest.mark.parametrize(("fault", "fields"), FALSE.values(), ids=FALSE.keys())
def test_what_only_silences_the_symptom_does_not_mend_it(cluster, tmp_path, fault, fields):
    challenge, named = begun(cluster, tmp_path, fault)
    try:
        (right,) = challenge.case.mended
        values = {
            path: fill(value, named, fault) if isinstance(value, str) else value
            for path, value in fields.items()
        }
        actions.replace(cluster, changed(right, values))
        if (kind := pattern_of(right)).startswith("deployments"):
            name = kind.partition("/")[2]
            cluster.wait("deployments.apps", name, challenge.namespace)
        score = challenge.check()
        assert not score.fixed, score.text()
    finally:
        challenge.stop()


def test_no_namespace_of_an_earlier_challenge_is_taken_for_a_new_ones(cluster, tmp_path):
    """The first of two may be gone while the other still goes, and takes nothing new."""
    earlier, _ = begun(cluster, tmp_path, "F35")
    (other,) = {*earlier.case.namespaces} - {earlier.namespace}
    earlier.stop()
    for name in earlier.case.namespaces:
        cluster.wait("namespaces", name, until="delete")
    left = {"name": "left", "namespace": other}
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}}])
    cluster.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": left}])
    challenge, _ = begun(cluster, tmp_path, "F35")
    try:
        assert cluster.get("configmaps", "left", other) is None
    finally:
        challenge.stop()


def test_a_script_that_makes_answers_up_mends_nothing(cluster, tmp_path):
    challenge, _ = begun(cluster, tmp_path, "F12")
    loop = "while date +%N >>/tmp/answers; do sleep 0.1; done\n"
    again = 'spec.template.metadata.annotations["kubectl.kubernetes.io/restartedAt"]'
    (client,) = challenge.case.mended
    deployment = pattern_of(client)
    try:
        actions.run(
            cluster,
            challenge.case,
            [
                {"change": "configmaps/asking", "set": {'data["ask.sh"]': loop}},
                {"change": deployment, "set": {again: "now"}},
                {"wait": deployment},
            ],
        )
        score = challenge.check()
        assert not score.fixed, score.text()
    finally:
        challenge.stop()


POLICY_FAULTS = [
    pytest.param(one.id, seed_of(number, variants(one)), id=f"{one.id}-{number}")
    for one in catalogue.injectable()
    if "networkpolicies.networking.k8s.io/*" in one.recipe.read_text(encoding="utf-8")
    for number in range(variants(one))
]


@pytest.mark.parametrize(("fault", "seed"), POLICY_FAULTS)
def test_deleting_all_policies_is_no_way_to_mend(cluster, tmp_path, fault, seed):
    challenge, _ = begun(cluster, tmp_path, fault, seed)
    try:
        kind = "networkpolicies.networking.k8s.io"
        for policy in cluster.list(kind, challenge.namespace):
            cluster.delete(kind, policy["metadata"]["name"], challenge.namespace)
        score = challenge.check()
        assert not score.fixed, score.text()
    finally:
        challenge.stop()


@pytest.mark.parametrize(
    ("fault", "edit"),
    [
        pytest.param("F26", [r"forward \. \S+", "forward . 192.0.2.1"], id="a dead upstream"),
        pytest.param(
            "F42",
            [r"froward \. \S+", "hosts {\n 192.168.1.20 wiki.corp.test\n }"],
            id="one name by hand",
        ),
    ],
)
def test_a_name_server_is_mended_when_all_names_are_found(cluster, tmp_path, fault, edit):
    challenge, _ = begun(cluster, tmp_path, fault)
    again = 'spec.template.metadata.annotations["kubectl.kubernetes.io/restartedAt"]'
    where = {"namespace": "kube-system"}
    try:
        actions.run(
            cluster,
            challenge.case,
            [
                {"change": "configmaps/coredns", "edit": {"data.Corefile": edit}, **where},
                {"change": "deployments.apps/coredns", "set": {again: "now"}, **where},
                {"wait": "deployments.apps/coredns", **where},
            ],
        )
        score = challenge.check()
        assert not score.fixed, score.text()
    finally:
        challenge.stop()
