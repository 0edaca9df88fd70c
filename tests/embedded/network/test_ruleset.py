"""Differences of a table, against a model of nftables and against the kernel."""

import re
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k8slab.embedded import linux
from k8slab.embedded.network.nft import Nft
from k8slab.embedded.network.ruleset import Fragment, Table, comment, hashed_name


class Model:
    """As much of nftables as the differences use; refuses what the kernel refuses."""

    def __init__(self):
        self.sets, self.chains, self.elements = {}, {}, {"shared": {}}

    def run(self, text):
        for line in text.splitlines():
            verb, kind, _family, _table, name, *rest = line.split(" ", 5)
            getattr(self, f"{verb}_{kind}")(name, rest[0] if rest else "")
        for reference in self.references():
            assert reference in self.chains or reference in self.sets, reference

    def references(self):
        rules = [rule for chain in self.chains.values() for rule in chain]
        values = [value for found in self.elements.values() for value in found.values()]
        return [m for text in rules + values for m in re.findall(r"(?:goto |jump |@)(\S+)", text)]

    def add_set(self, name, declaration):
        assert name not in self.sets
        self.sets[name], self.elements[name] = declaration, {}

    def delete_set(self, name, _):
        assert name not in self.references()
        del self.sets[name], self.elements[name]

    def add_chain(self, name, _):
        assert name not in self.chains
        self.chains[name] = []

    def flush_chain(self, name, _):
        self.chains[name] = []

    def delete_chain(self, name, _):
        assert self.chains[name] == []
        assert name not in self.references()
        del self.chains[name]

    def add_rule(self, name, rule):
        self.chains[name].append(rule)

    def add_element(self, name, items):
        for item in items.strip("{} ").split(", "):
            key, _, value = item.partition(" : ")
            assert key not in self.elements[name]
            self.elements[name][key] = value

    def delete_element(self, name, items):
        for key in items.strip("{} ").split(", "):
            del self.elements[name][key]

    def state(self):
        return (self.sets, self.chains, self.elements)


@st.composite
def fragments(draw, key):
    chains = draw(st.lists(st.sampled_from("xyz"), unique=True, max_size=3))
    sets = draw(st.lists(st.sampled_from("pq"), unique=True, max_size=2))
    rules = ["accept", *(f"jump {key}-{c}" for c in chains if c > "x")]
    rules += [f"ip saddr @{key}-{s} drop" for s in sets]
    elements = {
        (f"{key}-{name}", f"10.0.0.{number}"): ""
        for name in sets
        for number in draw(st.sets(st.integers(1, 5)))
    }
    for number in draw(st.sets(st.integers(1, 5))) if chains else ():
        elements["shared", str(number)] = f"goto {key}-{chains[0]}"
    own = {}
    for chain in chains:
        # Only towards later chains: nftables refuses loops.
        allowed = [r for r in rules if not r.startswith("jump") or r[-1] > chain]
        own[f"{key}-{chain}"] = tuple(draw(st.lists(st.sampled_from(allowed), max_size=3)))
    return Fragment(own, {f"{key}-{s}": "type ipv4_addr;" for s in sets}, elements)


keys = st.sampled_from("abcd")
steps = st.lists(
    st.dictionaries(keys, st.booleans(), min_size=1).flatmap(
        lambda chosen: st.fixed_dictionaries(
            {(key,): fragments(key) if keep else st.none() for key, keep in chosen.items()}
        )
    ),
    max_size=8,
)


def from_scratch(wanted):
    table, model = Table("ip", "t"), Model()
    model.run(table.plan(wanted).text)
    return model.state()


@given(steps)
def test_differences_lead_to_the_same_table_as_writing_it_anew(steps):
    table, model, wanted = Table("ip", "t"), Model(), {}
    for changes in steps:
        plan = table.plan(changes)
        model.run(plan.text)
        table.commit(plan)
        wanted.update(changes)
        wanted = {key: fragment for key, fragment in wanted.items() if fragment is not None}
        assert model.state() == from_scratch(wanted)
        assert table.plan(wanted).text == ""
    plan = table.plan(dict.fromkeys(wanted))
    model.run(plan.text)
    assert model.state() == ({}, {}, {"shared": {}})


@pytest.mark.kernel
def test_the_kernel_accepts_the_same_differences():
    @settings(max_examples=20, deadline=None)
    @given(steps)
    def check(steps):
        base = "table ip t { map shared { type mark : verdict ; } ; }\n"
        with closing(Nft(linux.new_netns())) as nft:
            table, model = Table("ip", "t"), Model()
            nft.run(base)
            for changes in steps:
                plan = table.plan(changes)
                nft.run(plan.text)
                model.run(plan.text)
                table.commit(plan)
            listed = nft.run("list table ip t")
            assert set(re.findall(r"chain (\S+)", listed)) == set(model.chains)
            assert set(re.findall(r"set (\S+) {", listed)) == set(model.sets)
            assert listed.count(": goto") == len(model.elements["shared"])
            assert listed.count(" drop") == str(model.chains).count(" drop")

    check()


def test_nothing_is_known_before_the_kernel_has_accepted():
    table = Table("ip", "t")
    changes = {("a",): Fragment(chains={"a": ("accept",)})}
    first = table.plan(changes)
    assert ("a",) not in table
    assert table.plan(changes).text == first.text
    table.commit(first)
    assert ("a",) in table
    assert table.plan(changes).text == ""


def test_the_first_claim_by_name_has_a_shared_element_and_the_next_inherits():
    table = Table("ip", "t")

    def claim(text):
        return Fragment(elements={("shared", "1"): text})

    def apply(changes):
        plan = table.plan(changes)
        table.commit(plan)
        return plan.text

    assert apply({("b",): claim("drop")}) == "add element ip t shared { 1 : drop }\n"
    assert apply({("a",): claim("accept")}) == (
        "delete element ip t shared { 1 }\nadd element ip t shared { 1 : accept }\n"
    )
    assert apply({("c",): claim("drop")}) == ""
    assert apply({("a",): None, ("c",): None}) == (
        "delete element ip t shared { 1 }\nadd element ip t shared { 1 : drop }\n"
    )
    assert apply({("b",): None}) == "delete element ip t shared { 1 }\n"


@given(st.text("abc/-.:", max_size=300), st.text("abc/-.:", max_size=300))
def test_names_fit_nftables_and_stay_different(one, two):
    name = hashed_name("service", one)
    assert len(name) <= 127
    assert re.fullmatch(r"[a-z]+-[A-Z2-7]{8}-[a-z/.-]*", name)
    assert (name == hashed_name("service", two)) is (one == two)


def test_comments_fit_nftables():
    assert comment('a "quoted" word') == "comment \"a 'quoted' word\""
    assert len(comment("x" * 300)) == len('comment ""') + 127
