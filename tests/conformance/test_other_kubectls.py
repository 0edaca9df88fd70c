"""The battery with other kubectls than the installed one: Debian's old, and that of our version."""

import battery
import kubectls
import pytest
from playing import applied, drained, pinned, play

pytestmark = pytest.mark.timeout(kubectls.BUILD_SECONDS + 240)
"""The first test of the newest kubectl waits until it is built."""

SAMPLE = ("describe", "exec, attach, cp and logs")
"""What of the table kubectl 1.20 is asked whenever the tests run: old APIs, old streams."""


@pytest.mark.slow
@pytest.mark.parametrize("subject", battery.SUBJECTS)
def test_the_kubectl_of_our_version_finds_the_same_for(
    subject, cluster, namespace, with_kubectl, built_kubectl
):
    shell = applied(cluster, namespace, with_kubectl(built_kubectl))
    play(shell, battery.SUBJECTS[subject])


@pytest.mark.parametrize(
    "subject",
    [
        pytest.param(subject, marks=() if subject in SAMPLE else pytest.mark.slow)
        for subject in battery.SUBJECTS
    ],
)
def test_debians_old_kubectl_finds_what_it_would_on_a_real_cluster_for(
    subject, cluster, namespace, with_kubectl, debians_kubectl
):
    shell = applied(cluster, namespace, with_kubectl(debians_kubectl))
    play(shell, battery.SUBJECTS[subject], old=True)


@pytest.mark.slow
def test_debians_old_kubectl_drains_too(cluster, namespace, with_kubectl, debians_kubectl):
    drained(cluster, pinned(cluster, namespace, with_kubectl(debians_kubectl)), old=True)


@pytest.mark.slow
def test_the_kubectl_of_our_version_drains_too(cluster, namespace, with_kubectl, built_kubectl):
    drained(cluster, pinned(cluster, namespace, with_kubectl(built_kubectl)))
