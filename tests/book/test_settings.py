"""The page of settings says what the code does where nobody says otherwise."""

import os
import re
from pathlib import Path

import pytest
from bookmaking import stage

from k8slab.cli.main import k8slab
from k8slab.clusters import records
from k8slab.clusters.wanted import Wanted
from k8slab.course import Journal
from k8slab.embedded import config

PAGE = (stage.BOOK / "settings.md").read_text(encoding="utf-8")
NOT_OF_A_CLUSTER = {"--help", "--name", "--json", "--keep-mine"}
"""Options of `k8slab reset` that do not say how a cluster is made."""


def rows(heading):
    """Return the rows of a section's table by their first cell; cells are texts."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = [
        [cell.strip() for cell in line.strip("| ").split(" | ")]
        for line in section.splitlines()
        if line.startswith("| `")
    ]
    assert found, heading
    return {cells[0].strip("`"): cells[1:] for cells in found}


def words(text):
    """Return what stands between backticks."""
    return re.findall("`([^`]+)`", text)


@pytest.fixture
def nobody(monkeypatch):
    """Give an environment in which no variable of ours is set."""
    for name in rows("Variables"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/anna")


def test_variables_that_are_not_set_mean_what_the_page_says(nobody, monkeypatch):
    told = {name: words(cells[1]) for name, cells in rows("Variables").items()}
    by_xdg, otherwise = told["K8SLAB_HOME"]
    assert config.state_home() == Path(otherwise).expanduser()
    assert Journal().path == config.state_home() / told["K8SLAB_JOURNAL"][0]
    assert records.chosen_name() == told["K8SLAB_CLUSTER"][0]
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert str(config.state_home()) == os.path.expandvars(by_xdg)


def test_a_cluster_is_made_as_the_page_says_unless_asked_otherwise():
    without = {option: cells[1] for option, cells in rows("A cluster").items()}
    made, wanted = config.ClusterConfig(), Wanted()
    assert int(without["--nodes"]) == made.nodes
    (family,) = words(without["--ip-family"])
    assert config.IP_FAMILIES[family] == wanted.ip_versions
    both = Wanted(ip_family="dual")
    assert without["--pod-cidr"].split(", ") == both.cidrs("pod")
    assert without["--service-cidr"].split(", ") == both.cidrs("service")
    assert made.pod_cidrs == wanted.cidrs("pod")
    assert made.service_cidrs == wanted.cidrs("service")
    pools = [ranges.load_balancers for ranges in config.RANGES.values()]
    assert made.load_balancer
    assert without["--no-load-balancer"] == f"addresses from {', '.join(pools)}"


def test_the_page_has_every_option_that_decides_how_a_cluster_is_made():
    options = {
        option.opts[0]: option
        for option in k8slab.commands["reset"].params
        if option.opts[0][0] == "-"
    }
    table = rows("A cluster")
    assert set(table) == set(options) - NOT_OF_A_CLUSTER
    for name in ("--ip-family", "--provider"):
        assert words(table[name][0]) == list(options[name].type.choices)


def test_the_files_of_a_cluster_are_where_the_page_says(cluster):
    home = config.state_home()
    told = [name.replace("NAME", cluster.name) for name in rows("Files")]
    of_it = [home / name for name in told if name.startswith("clusters/")]
    assert len(of_it) == 4
    assert [path for path in of_it if not path.is_file()] == []
    assert oct((home / "clusters" / cluster.name / "kubeconfig").stat().st_mode)[-4:] == "0600"


def test_all_that_lies_in_the_state_directory_is_on_the_page():
    told = {Path(name).parts[0] for name in rows("Files")}
    passing = {"locks", "grading"}  # hold nothing that anybody reads, or that stays
    assert {*config.OURS} - passing == told
