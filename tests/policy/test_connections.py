"""All connections by name, what changes between estates, and who else could connect."""

import pytest
import yaml
from shop import WORLD

from k8slab import policy
from k8slab.audit.estates import Size, realistic
from k8slab.errors import UsageError
from k8slab.policy import Flow, Party
from k8slab.policy.addresses import network


def network_policy(spec, name="p", namespace="shop"):
    return {
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": yaml.safe_load("{" + spec + "}"),
    }


def compiled(*specs):
    policies = [network_policy(spec, f"p{number}") for number, spec in enumerate(specs)]
    return policy.compile([*yaml.safe_load(WORLD), *policies])


DB = "podSelector: {matchLabels: {app: db}}, "


def into_db(estate):
    return [str(row) for row in estate.connections() if str(row.destination) == "shop/db"]


def test_ranges_of_addresses_are_exact_and_few():
    block = "{ipBlock: {cidr: 203.0.113.0/24, except: [203.0.113.128/25]}}"
    estate = compiled(
        DB + f"ingress: [{{from: [{block}]}}, "
        "{from: [{ipBlock: {cidr: 203.0.112.0/24}}], ports: [{port: 80}]}]",
        DB + "ingress: [{from: [{ipBlock: {cidr: 203.0.113.128/26}}], ports: [{port: 80}]}]",
    )
    assert into_db(estate) == [
        "203.0.112.0/24, 203.0.113.128/26 -> shop/db: TCP 80",
        "203.0.113.0/25 -> shop/db: all",
    ]


def test_ranges_of_ports_are_joined():
    ports = "[{port: 80, endPort: 85}, {port: 86}, {port: 84, endPort: 90}, {port: http}]"
    estate = compiled(DB + f"ingress: [{{from: [{{podSelector: {{}}}}], ports: {ports}}}]")
    assert into_db(estate) == [
        "shop/bare -> shop/db: TCP 80-90,8080",
        "shop/web -> shop/db: TCP 80-90,8080",
    ]


def test_the_compact_form_is_disjoint_and_says_the_same():
    estate = compiled(DB + "ingress: [{from: [{podSelector: {}}]}]", "podSelector: {}")
    pairs = [
        (str(source), str(destination), str(block.ports))
        for block in estate.connections().blocks()
        for source in block.sources
        for destination in block.destinations
    ]
    assert len(pairs) == len(set(pairs))
    rows = {(str(r.source), str(r.destination), str(r.ports)) for r in estate.connections()}
    alone = {(name, name, "all") for name in estate.pods}
    assert set(pairs) - alone == rows


def test_connections_of_one_workload_and_between_two_pods():
    estate = compiled(DB + "ingress: [{from: [{podSelector: {}}], ports: [{port: 80}]}]")
    connections = estate.connections()
    rows = [str(row) for row in connections.of(Party("pod", "db", "shop"))]
    assert rows
    assert all("shop/db" in row for row in rows)
    assert str(connections.between("shop/web", "shop/db")) == "TCP 80"
    assert str(connections.between("shop/db", "shop/db")) == "all"
    assert str(connections.between("ip:203.0.113.9", "shop/db")) == "none"
    assert str(connections.between("shop/db", "ip:203.0.113.9")) == "all"
    with pytest.raises(UsageError, match="nothing is known about shop/nobody"):
        list(connections.of(Party("pod", "nobody", "shop")))


def replicas(*addresses, **more):
    owner = {"kind": "ReplicaSet", "name": "web-1", "controller": True}
    for number, address in enumerate(addresses):
        metadata = {"name": f"web-1-{number}", "namespace": "shop", "labels": {"app": "web"},
                    "ownerReferences": [owner]}  # fmt: skip
        yield {"kind": "Pod", "metadata": metadata, "spec": {"containers": []},
               "status": {"podIP": address}, **more}  # fmt: skip


LABELLED = {"name": "client", "namespace": "shop", "labels": {"app": "c"}}
CLIENT = {"kind": "Pod", "metadata": LABELLED, "spec": {"containers": []},
          "status": {"podIP": "10.0.9.9"}}  # fmt: skip


def named_groups(*policies):
    estate = policy.compile([*replicas("10.0.0.1", "10.0.1.1"), CLIENT, *policies])
    return [group.name for group in estate.connections().groups]


def test_replicas_are_one_group_unless_a_policy_tells_them_apart():
    apart = network_policy(
        "podSelector: {matchLabels: {app: c}}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/24}}]}]"
    )
    assert named_groups() == ["shop/client", "shop/replicaset/web-1"]
    assert named_groups(apart) == [
        "shop/client",
        "shop/replicaset/web-1 (web-1-0)",
        "shop/replicaset/web-1 (web-1-1)",
    ]


def test_a_range_that_makes_no_difference_in_the_end_divides_nobody():
    blocks = "[{ipBlock: {cidr: 10.0.0.0/24}}, {ipBlock: {cidr: 10.0.1.0/24}}]"
    both = network_policy(
        f"podSelector: {{matchLabels: {{app: c}}}}, ingress: [{{from: {blocks}}}]"
    )
    assert named_groups(both) == ["shop/client", "shop/replicaset/web-1"]


def test_what_a_rule_matches_and_what_a_policy_selects():
    estate = compiled(DB + "ingress: [{from: [{ipBlock: {cidr: 10.244.0.0/24}}]}]")
    (made,) = estate.policies
    assert estate.selected(made) == ("shop/db",)
    found = estate.matched(made.rules["ingress"][0])
    assert found.pods == ("shop/bare", "shop/db", "shop/web")
    assert found.outside == network("10.244.0.0/24")


# Differences.


def test_changes_name_the_policies_that_caused_them():
    old = compiled(DB + "ingress: [{from: [{podSelector: {}}], ports: [{port: 80}]}]")
    new = compiled(
        DB + "ingress: [{from: [{podSelector: {}}], ports: [{port: 81}]}]",
        "podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {}}]}]",
    )
    found = [str(change) for change in policy.diff(old, new)]
    assert "changed: shop/web -> shop/db: TCP 80 -> TCP 81 (NetworkPolicy shop/p0)" in found
    assert "removed: other/web -> shop/web: all (NetworkPolicy shop/p1)" in found
    assert "removed: 0.0.0.0/0 -> shop/web: all (NetworkPolicy shop/p1)" in found
    assert not any("shop/bare -> shop/web" in change for change in found)


def test_nothing_changes_between_equal_estates():
    spec = DB + "ingress: [{from: [{podSelector: {}}], ports: [{port: 80}]}]"
    assert policy.diff(compiled(spec), compiled(spec)) == ()


def test_policies_that_say_the_same_in_other_words_are_no_difference():
    one = DB + "ingress: [{ports: [{port: 80, endPort: 82}]}]"
    other = DB + "ingress: [{ports: [{port: 82}]}, {ports: [{port: 80}, {port: 81}]}]"
    assert policy.diff(compiled(one), compiled(other)) == ()


def test_a_pod_that_is_relabelled_changes_connections_without_a_policy():
    spec = DB + "ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]"
    objects = [*yaml.safe_load(WORLD), network_policy(spec)]
    relabelled = yaml.safe_load(WORLD)
    relabelled[4]["metadata"]["labels"] = {"app": "other"}
    found = policy.diff(policy.compile(objects), policy.compile([*relabelled, objects[-1]]))
    assert [str(change) for change in found] == ["removed: shop/web -> shop/db: all"]


def test_a_workload_that_goes_takes_its_connections_with_it():
    less = [obj for obj in yaml.safe_load(WORLD) if obj["metadata"]["name"] != "bare"]
    found = policy.diff(compiled(), policy.compile(less))
    assert {change.kind for change in found} == {"removed"}
    assert all("shop/bare" in str(change) for change in found)


def test_ranges_that_one_policy_opens_are_told_once():
    block = "ingress: [{{from: [{{ipBlock: {{cidr: {}}}}}]}}]"
    old, new = (
        compiled(DB + block.format(cidr)) for cidr in ("198.51.100.0/25", "198.51.100.0/24")
    )
    found = [str(change) for change in policy.diff(old, new)]
    assert found == ["added: 198.51.100.128/25 -> shop/db: all (NetworkPolicy shop/p0)"]


def replica(workload, number, labels, **spec):
    """Return a pod of a Deployment, under the name that its ReplicaSet would give it."""
    owner = {"kind": "ReplicaSet", "name": f"{workload}-1f", "controller": True}
    return {
        "kind": "Pod",
        "metadata": {
            "name": f"{workload}-1f-{number}",
            "namespace": "shop",
            "labels": {**labels, "pod-template-hash": "1f"},
            "ownerReferences": [owner],
        },
        "spec": {"containers": [{}]},
        "status": {"podIP": f"10.244.9.{number}"},
        **spec,
    }


def deployment(labels):
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{}]}}
    metadata = {"name": "api", "namespace": "shop"}
    return {"kind": "Deployment", "metadata": metadata, "spec": {"template": template}}


API = {"app": "api"}
FROM_DB = "podSelector: {matchLabels: {app: api}}, ingress: [{from: [{podSelector: "
FROM_DB += "{matchLabels: {app: db}}}], ports: [{port: %s}]}]"


def with_api(*pods, port=80):
    made = [deployment(API), *pods, network_policy(FROM_DB % port)]
    return policy.compile([*yaml.safe_load(WORLD), *made])


def test_replicas_that_were_replaced_or_do_not_run_yet_are_no_difference():
    template = with_api()
    one, two = with_api(replica("api", 1, API)), with_api(*(replica("api", n, API) for n in (2, 3)))
    for old, new in ((template, one), (one, template), (one, two), (two, template)):
        assert policy.diff(old, new) == ()


def test_a_change_between_a_template_and_its_replicas_is_told_of_the_workload():
    (change,) = policy.diff(with_api(), with_api(replica("api", 1, API), port=81))
    assert str(change) == (
        "changed: shop/db -> shop/deployment/api: TCP 80 -> TCP 81 (NetworkPolicy shop/p)"
    )


def test_replicas_with_other_labels_than_their_template_are_a_difference():
    found = policy.diff(with_api(), with_api(replica("api", 1, {"app": "ipa"})))
    assert found
    assert {change.causes for change in found} == {()}


WEB = "podSelector: {matchLabels: {app: web}}, "


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        # p1 is rewritten too, where it has no say in what changes.
        ([DB + "ingress: [{ports: [{port: 80}]}]", WEB + "ingress: [{ports: [{port: 1}]}]"],
         [DB + "ingress: [{ports: [{port: 81}]}]", WEB + "ingress: [{ports: [{port: 2}]}]"],
         {"NetworkPolicy shop/p0"}),
        # Both admit it now; what else p1 admits is no cause.
        ([DB + "ingress: []", DB + "ingress: [{ports: [{port: 5}]}]"],
         [DB + "ingress: [{ports: [{port: 80}]}]",
          DB + "ingress: [{ports: [{port: 5}, {port: 80}]}]"],
         {"NetworkPolicy shop/p0", "NetworkPolicy shop/p1"}),
        # The first policy that isolates takes away; a second one that isolates too does not.
        ([], [DB + "ingress: []"], {"NetworkPolicy shop/p0"}),
        ([DB + "ingress: [{ports: [{port: 80}]}]", WEB],
         [DB + "ingress: [{ports: [{port: 81}]}]", DB + "ingress: []"],
         {"NetworkPolicy shop/p0"}),
    ],
)  # fmt: skip
def test_only_policies_that_changed_their_mind_about_a_pair_are_causes(before, after, wanted):
    found = policy.diff(compiled(*before), compiled(*after))
    into = [change for change in found if str(change.destination) == "shop/db"]
    assert into
    assert {cause for change in into for cause in change.causes} == wanted


def test_policies_that_isolate_no_more_are_causes_in_the_order_of_their_names():
    found = policy.diff(compiled(*[DB + "ingress: []"] * 8), compiled())
    into = [change for change in found if str(change.destination) == "shop/db"]
    names = tuple(f"NetworkPolicy shop/p{number}" for number in range(8))
    assert {change.causes for change in into} == {names}


def test_a_policy_that_a_server_filled_in_is_the_same():
    old = compiled(DB + "ingress: [{ports: [{port: 80}]}]")
    relabelled = yaml.safe_load(WORLD)
    relabelled[4]["metadata"]["labels"] = {"app": "other"}
    filled = DB + "policyTypes: [Ingress], ingress: [{ports: [{port: 80, protocol: TCP}]}]"
    found = policy.diff(old, policy.compile([*relabelled, network_policy(filled, "p0")]))
    assert {change.causes for change in found} <= {()}


# Who else.


def test_an_opening_tells_who_could_come():
    estate = compiled(
        DB + "ingress: [{from: [{namespaceSelector: {matchLabels: {team: z}}, "
        "podSelector: {matchLabels: {role: monitor}}}], ports: [{port: 80}]}]"
    )
    found = [str(opening) for opening in estate.openings() if opening.group.name == "shop/db"]
    assert found == [
        "pods role=monitor of namespaces team=z -> shop/db: TCP 80",
        "shop/db -> any pod of any namespace: all",
    ]


def test_what_everybody_may_is_not_told_again_for_some():
    estate = compiled(
        DB + "ingress: [{from: [{namespaceSelector: {}}], ports: [{port: 80}]}, "
        "{from: [{podSelector: {matchLabels: {app: x}}}], ports: [{port: 80}, {port: 81}]}]"
    )
    found = [
        str(o) for o in estate.openings() if o.group.name == "shop/db" and o.direction == "ingress"
    ]
    assert found == [
        "any pod of any namespace -> shop/db: TCP 80",
        "pods app=x of namespace shop -> shop/db: TCP 81",
    ]


# Scale.


def test_a_large_estate_agrees_with_decisions_at_random():
    estate = policy.compile(realistic(Size(400, 120, 10), seed=5))
    connections, keys = estate.connections(), sorted(estate.pods)
    for number, source in enumerate(keys):
        destination = keys[number * 7919 % len(keys)]
        for port in (53, 5432, 8080, 9000):
            said = connections.between(source, destination).has("TCP", port)
            verdict = estate.decide(Flow.of(source, destination, port))
            denied = any(reason.action.value == "deny" for reason in verdict.reasons)
            assert verdict.allowed is said is not denied


def test_one_policy_replaced_in_a_large_estate_is_as_compiled_anew():
    objects = realistic(Size(400, 120, 10), seed=6)
    estate = policy.compile(objects)
    assert estate.reach.areas
    number = next(n for n, obj in enumerate(objects) if obj["kind"] == "NetworkPolicy")
    other = {**objects[number], "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}}
    fresh = policy.compile([*objects[:number], other, *objects[number + 1 :]])
    assert [*map(str, estate.replace(other).connections())] == [*map(str, fresh.connections())]
    assert policy.diff(estate.replace(other), fresh) == ()
